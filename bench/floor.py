"""The least that a fan-out can cost: a bare grpc.aio server says a word to all and hears them.

`python -m bench.floor STREAMS TIMES` prints its port, waits for as many streams, then asks all of
them three times in a row, as an agreement does, so many times; prints the milliseconds as JSON.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.measure import ROOT, end
from bench.streams import Stream
from colossus_tui.hub.server import OPTIONS

DIRECTIVE, ANSWER = bytes(90), bytes(110)  # about as long as the real ones
ROUNDS = 3


class Floor:
    """Streams without anything behind them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heard = 0
        self._queues: list[asyncio.Queue[bytes]] = []
        self._all = asyncio.Event()
        self._linked = asyncio.Event()

    async def link(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        del context
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        reader = asyncio.create_task(self._read(requests))
        self._queues.append(queue)
        if len(self._queues) == self._count:
            self._linked.set()
        try:
            while True:
                yield await queue.get()
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        async for _ in requests:
            self._heard += 1
            if self._heard == self._count:
                self._all.set()

    async def measure(self, times: int) -> list[float]:
        """Return the milliseconds that each fan-out took."""
        await self._linked.wait()
        found = []
        for _ in range(times):
            await asyncio.sleep(0.1)
            begun = time.perf_counter()
            for _ in range(ROUNDS):
                self._heard = 0
                self._all.clear()
                for queue in self._queues:
                    queue.put_nowait(DIRECTIVE)
                await self._all.wait()
            found.append((time.perf_counter() - begun) * 1000)
        return found


async def serve(count: int, times: int) -> None:
    """Serve, measure and print."""
    floor = Floor(count)
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(floor.link)
    handlers = grpc.method_handlers_generic_handler("floor.Floor", {"Link": handler})
    server.add_generic_rpc_handlers((handlers,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    found = await floor.measure(times)
    print(json.dumps(found), flush=True)
    await server.stop(0)


def measure(count: int, times: int) -> list[float]:
    """Return the milliseconds of each fan-out; this process answers for the streams."""
    argv = [sys.executable, "-m", "bench.floor", str(count), str(times)]
    server = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
    streams: dict[int, Stream] = {}
    assert server.stdout is not None
    try:
        address = ("127.0.0.1", int(server.stdout.readline()))
        streams = {
            one.fileno(): one
            for one in (Stream(address, "/floor.Floor/Link") for _ in range(count))
        }
        with select.epoll() as epoll:
            for descriptor in (*streams, server.stdout.fileno()):
                epoll.register(descriptor, select.EPOLLIN)
            while True:
                for descriptor, _ in epoll.poll():
                    if descriptor == server.stdout.fileno():
                        found: list[float] = json.loads(server.stdout.readline())
                        return found
                    stream = streams[descriptor]
                    for _ in stream.receive():
                        stream.send(ANSWER)
    finally:
        for stream in streams.values():
            stream.close()
        end(server)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
