"""Nodes as dcgm-exporter shows them, for a Prometheus to scrape: `python -m bench.exporters COUNT`.

Prints its port; node N is at /n/N with 4 GPUs and 12 metrics of DCGM's names. A line on stdin,
{"mark": N}, changes a temperature of that node at once; each line is answered with one of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

GPUS = 4
METRICS = {
    "DCGM_FI_DEV_GPU_TEMP": 55,
    "DCGM_FI_DEV_MEMORY_TEMP": 60,
    "DCGM_FI_DEV_POWER_USAGE": 950,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1_000_000,
    "DCGM_FI_DEV_SM_CLOCK": 1_980,
    "DCGM_FI_DEV_GPU_UTIL": 99,
    "DCGM_FI_DEV_FB_USED": 143_000,
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": 0,
    "DCGM_FI_DEV_XID_ERRORS": 0,
    "DCGM_FI_PROF_SM_ACTIVE": 0.9,
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.5,
    "DCGM_FI_PROF_DRAM_ACTIVE": 0.4,
}
MARK = 97
_marked: set[int] = set()


def _body(node: int) -> bytes:
    lines = []
    for metric, value in METRICS.items():
        lines.append(f"# TYPE {metric} gauge")
        for gpu in range(GPUS):
            marked = metric == "DCGM_FI_DEV_GPU_TEMP" and gpu == 0 and node in _marked
            labels = f'gpu="{gpu}",UUID="GPU-{node:08x}-{gpu}",modelName="GB200",Hostname="n{node}"'
            lines.append(f"{metric}{{{labels}}} {MARK if marked else value}")
    return ("\n".join(lines) + "\n").encode()


class Exporter(asyncio.Protocol):
    """Answers GET /n/N, one after the other on a kept connection."""

    def __init__(self, bodies: dict[int, bytes]) -> None:
        self._bodies = bodies
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            node = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
            body = self._bodies[node] if node not in _marked else _body(node)
            assert self._transport is not None
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )


async def serve(count: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    bodies = {node: _body(node) for node in range(count)}
    server = await loop.create_server(lambda: Exporter(bodies), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        _marked.clear()
        _marked.update(json.loads(line).get("mark", []))
        print(json.dumps({"cpu_seconds": sum(os.times()[:2])}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
