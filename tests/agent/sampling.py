"""Samples this node as the agent does and writes one JSON object a tick, until its input ends."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
from array import array
from dataclasses import asdict
from typing import Any

from colossus_agent.readings import GPU_COLUMNS, HOST_COLUMNS, Column, Sample
from colossus_agent.sampler import Sampler

TICK_SECONDS = 0.25


def _rows(data: bytes, columns: tuple[Column, ...]) -> list[dict[str, float | None]]:
    values = array("f")
    values.frombytes(data)
    width = len(columns)
    return [
        {
            column.name: None if math.isnan(value) else value
            for column, value in zip(columns, values[start : start + width], strict=True)
        }
        for start in range(0, len(values), width)
    ]


def _plain(sampler: Sampler, sample: Sample) -> dict[str, Any]:
    return {
        "gpus": _rows(sample.gpu_values, GPU_COLUMNS),
        "host": _rows(sample.host_values, HOST_COLUMNS)[0],
        "inventory": [asdict(gpu) for gpu in sampler.gpu_inventory()],
        "driver": sampler.host_inventory().driver_version,
        "gpu_detail": sampler.gpu_detail(),
        "sensors": [asdict(status) for status in sample.sensors],
        "collectors": [asdict(status) for status in sample.collectors],
        "processes": [asdict(process) for process in sample.processes],
        "events": [asdict(event) for event in sample.events],
        "is_stuck": sampler.is_stuck,
    }


async def _main() -> None:
    sampler = Sampler()
    while True:
        sample = await sampler.sample()
        sys.stdout.write(json.dumps(_plain(sampler, sample)) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(TICK_SECONDS)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(_main())
