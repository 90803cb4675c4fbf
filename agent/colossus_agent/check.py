"""`colossus-agent --check`: every sensor, what it says, and why it says nothing."""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import sys
import time
from array import array
from collections.abc import Iterator

from colossus_agent.config import AgentConfig
from colossus_agent.control import cgroup
from colossus_agent.control.cuda import CudaCheckpoint
from colossus_agent.readings import GPU_COLUMNS, HOST_COLUMNS, Column, MissingReason, Sample
from colossus_agent.sampler import Sampler

RATE_SECONDS = 12.0  # the slowest rates are read every 10 s, and need two reads
CONNECT_SECONDS = 3.0
WRONG = frozenset(MissingReason) - {MissingReason.UNSUPPORTED}

Row = tuple[str, str, str, str]  # where, what, how it is, value or reason


def check(config: AgentConfig, *, as_json: bool = False) -> int:
    """Print what works here as a table or as JSON; return 0 when nothing is wrong, else 1.

    What a device does not have is no fault.
    """
    sampler = Sampler()
    sample = asyncio.run(_settled_sample(sampler))
    sampler.close()
    rows = [*_setting_rows(config), _release_row(config, sampler), *_host_rows(sample)]
    rows += _gpu_rows(sampler, sample) if sampler.gpu_inventory() else []
    if sampler.gpu_detail():
        rows.append(("GPU", "NVML", "none", sampler.gpu_detail()))
    wrong = any(row[2] in WRONG or row[2] == "failed" for row in rows)
    if as_json:
        names = ("where", "what", "state", "detail")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        sys.stdout.write(json.dumps({"schema_version": 1, "checks": found}) + "\n")
        return int(wrong)
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        sys.stdout.write("  ".join([*cells, _printable(row[3])]).rstrip() + "\n")
    return int(wrong)


async def _settled_sample(sampler: Sampler) -> Sample:
    """Return a sample in which rates, which need two reads, have their values."""
    deadline = time.monotonic() + RATE_SECONDS
    while True:
        sample = await sampler.sample()
        missing = {(status.gpu_index, status.sensor) for status in sample.sensors}
        values = _floats(sample.gpu_values)
        width = len(GPU_COLUMNS)
        pending = any(
            math.isnan(value) and (-1, column.name) not in missing
            for column, value in zip(HOST_COLUMNS, _floats(sample.host_values), strict=True)
        ) or any(
            math.isnan(value) and (index // width, GPU_COLUMNS[index % width].name) not in missing
            for index, value in enumerate(values)
        )
        if not pending or time.monotonic() > deadline:
            return sample
        await asyncio.sleep(1.0)


def _setting_rows(config: AgentConfig) -> Iterator[Row]:
    folder = config.state_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    detail = "" if writable else f": {folder} is not a folder that this user can write to"
    yield "node", "state_dir", "ok" if writable else "failed", f"{config.state_dir.parent}{detail}"
    yield "node", "freeze", "ok", _freeze_detail()
    if not config.hubs:
        yield "node", "hub", "none", "not given"
    for hub in config.hubs:
        try:
            _connect(hub)
            yield "node", "hub", "ok", hub
        except OSError as error:
            yield "node", "hub", "failed", f"{hub}: {error.strerror or error}"


def _release_row(config: AgentConfig, sampler: Sampler) -> Row:
    """Return whether a freeze can release GPU memory; wrong only where it is asked for."""
    cuda = CudaCheckpoint(config.cuda_checkpoint, lambda: sampler.host_inventory().driver_version)
    why = cuda.refusal()
    state = ("failed" if config.cuda_checkpoint else "none") if why else "ok"
    return "node", "release_gpus", state, why or config.cuda_checkpoint


def _freeze_detail() -> str:
    layout = cgroup.layout()
    if version := cgroup.usable():
        return f"by cgroup v{version} (control groups: {layout})"
    return f"by stop signals: this user can make no control group that freezes ({layout})"


def _connect(hub: str) -> None:
    if hub.startswith("unix:"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(CONNECT_SECONDS)
            link.connect(hub.removeprefix("unix:"))
        return
    host, _, port = hub.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _host_rows(sample: Sample) -> Iterator[Row]:
    reasons = {status.sensor: status for status in sample.sensors if status.gpu_index < 0}
    for column, value in zip(HOST_COLUMNS, _floats(sample.host_values), strict=True):
        status = reasons.pop(column.name, None)
        if status is not None:
            yield "host", column.name, status.reason, status.detail
        else:
            yield "host", column.name, *_value(column, value)
    for status in reasons.values():
        yield "host", status.sensor, status.reason, status.detail


def _gpu_rows(sampler: Sampler, sample: Sample) -> Iterator[Row]:
    values = _floats(sample.gpu_values)
    reasons = {(status.gpu_index, status.sensor): status for status in sample.sensors}
    for gpu in sampler.gpu_inventory():
        where = f"GPU {gpu.gpu_index}"
        yield where, "identity", "ok", f"{gpu.product_name} {gpu.gpu_uuid}"
        for index, column in enumerate(GPU_COLUMNS):
            status = reasons.get((gpu.gpu_index, column.name))
            if status is not None:
                yield where, column.name, status.reason, status.detail
            else:
                value = values[gpu.gpu_index * len(GPU_COLUMNS) + index]
                yield where, column.name, *_value(column, value)


def _value(column: Column, value: float) -> tuple[str, str]:
    if math.isnan(value):
        return "none", "no value yet"
    return "ok", f"{value:.6g} {column.unit}"


def _floats(data: bytes) -> array[float]:
    values = array("f")
    values.frombytes(data)
    return values


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
