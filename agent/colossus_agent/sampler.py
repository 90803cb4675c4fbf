"""The tick: asks every worker for a round and puts what there is into one sample."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from colossus_agent.collectors.gpu import GpuCollector, GpuSource
from colossus_agent.collectors.host import host_calls, host_inventory
from colossus_agent.collectors.processes import Processes
from colossus_agent.readings import (
    HOST_COLUMNS,
    CollectorStatus,
    GpuInventory,
    HostInventory,
    MissingError,
    MissingReason,
    PowerLimits,
    ProcessSample,
    Sample,
    SensorEvent,
    SensorStatus,
)
from colossus_agent.sensing import Call, Table, Worker

ROUND_SECONDS = 0.2  # how long a tick waits for a round; what is late comes with the next
PROCESS_SECONDS = 2.0
DEADLINE_SECONDS = 0.5


class Sampler:
    """All sensors of this node.

    Args:
        node_name: As schedulers call it.
    """

    def __init__(self, node_name: str = "") -> None:
        self._gpu_source = GpuSource(DEADLINE_SECONDS)
        self._processes = Processes(node_name=node_name)
        self._samples: tuple[ProcessSample, ...] = ()
        self._gpu_holders: dict[int, frozenset[str]] = {}
        self._host_table = Table(HOST_COLUMNS, 1)
        host = [*host_calls(), Call("processes", (), self._read_processes, PROCESS_SECONDS)]
        self._host_worker = Worker("host", host, self._host_table, DEADLINE_SECONDS)
        self._inventory = host_inventory()
        self._known: dict[tuple[int, str], SensorStatus] = {}

    @property
    def _gpus(self) -> GpuCollector | None:
        return self._gpu_source.collector

    def host_inventory(self) -> HostInventory:
        """Return what does not change about the node."""
        driver = self._gpus.driver_version if self._gpus else ""
        return replace(self._inventory, driver_version=driver)

    def gpu_inventory(self) -> tuple[GpuInventory, ...]:
        """Return what does not change about its GPUs."""
        return self._gpus.inventory if self._gpus else ()

    def gpu_detail(self) -> str:
        """Return why there are no GPUs; "" when there are some."""
        return self._gpu_source.detail

    def gpu_holders(self) -> dict[int, frozenset[str]]:
        """Return the runs with a process on each GPU that tells its processes."""
        return self._gpu_holders

    def power_limits(self, index: int) -> PowerLimits:
        """Return a GPU's power limit, as the device says it now.

        Raises:
            MissingError: It does not tell.
        """
        return self._some_gpus().power_limits(index)

    def set_power_limit(self, index: int, watts: float) -> None:
        """Set a GPU's power limit.

        Raises:
            MissingError: The driver did not.
        """
        self._some_gpus().set_power_limit(index, watts)

    def _some_gpus(self) -> GpuCollector:
        if self._gpus is None:
            raise MissingError(MissingReason.UNSUPPORTED, f"no GPU: {self.gpu_detail()}")
        return self._gpus

    @property
    def is_stuck(self) -> bool:
        """Whether a thread is inside a call that does not return: only exit can end it."""
        return self._host_worker.is_stuck or self._gpu_source.is_stuck

    async def sample(self) -> Sample:
        """Ask for a round, wait at most ROUND_SECONDS for it, and return what there is."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        gpus = self._gpus
        workers = [self._host_worker, *([gpus.worker] if gpus else [])]
        busy = {"asking"}

        def finished(name: str) -> None:  # by each worker's own thread, and only the last wakes
            busy.discard(name)
            if not busy:
                with contextlib.suppress(RuntimeError):  # the loop may have ended by now
                    loop.call_soon_threadsafe(done.set)

        for worker in workers:
            worker.watch()
            busy.add(worker.name)
            if not worker.begin(partial(finished, worker.name)):
                busy.discard(worker.name)
        finished("asking")
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await done.wait()
        except TimeoutError:
            pass
        return self._gather(gpus)

    def _gather(self, gpus: GpuCollector | None) -> Sample:
        tables = [self._host_table, *([gpus.table] if gpus else [])]
        sensors = tuple(status for table in tables for status in list(table.missing.values()))
        now = time.time_ns()
        return Sample(
            unix_ns=now,
            gpu_values=gpus.table.values.tobytes() if gpus else b"",
            host_values=self._host_table.values.tobytes(),
            sensors=sensors,
            collectors=self._collectors(),
            processes=self._samples,
            events=(*(gpus.take_events() if gpus else ()), *self._changes(sensors, now)),
        )

    def _collectors(self) -> tuple[CollectorStatus, ...]:
        gpu_status = self._gpu_source.status()
        return (self._host_worker.status, *([gpu_status] if gpu_status else []))

    def _changes(self, sensors: Iterable[SensorStatus], now: int) -> list[SensorEvent]:
        """Return an event for each sensor that went stuck, failed or lost, or came back."""
        serious = {
            (status.gpu_index, status.sensor): status
            for status in sensors
            if status.reason in (MissingReason.STUCK, MissingReason.LOST, MissingReason.FAILED)
        }
        events = [
            SensorEvent(
                now,
                "critical" if status.reason is MissingReason.LOST else "warning",
                f"sensor.{status.reason}",
                f"{status.sensor} is {status.reason}: {status.detail}",
                status.gpu_index,
            )
            for key, status in serious.items()
            if key not in self._known or self._known[key].reason is not status.reason
        ]
        events += [
            SensorEvent(now, "info", "sensor.back", f"{status.sensor} has a value again", key[0])
            for key, status in self._known.items()
            if key not in serious
        ]
        self._known = serious
        return _one_a_gpu(events)

    def _read_processes(self) -> tuple[float, ...]:
        gpu_processes = self._gpus.processes() if self._gpus else {}
        self._samples = tuple(self._processes.read(gpu_processes))
        run_of = {process.pid: process.run_id for process in self._samples}
        self._gpu_holders = {
            index: frozenset(run_of.get(pid, "") for pid, _ in found) - {""}
            for index, found in gpu_processes.items()
        }
        return ()

    def close(self) -> None:
        """Let the workers end; returns at once."""
        self._host_worker.close()
        self._gpu_source.close()


def _one_a_gpu(events: list[SensorEvent]) -> list[SensorEvent]:
    """Say it once when many sensors of one GPU change alike: a lost GPU is one event."""
    groups: dict[tuple[int, str], list[SensorEvent]] = {}
    for event in events:
        groups.setdefault((event.gpu_index, event.kind), []).append(event)
    return [
        group[0]
        if len(group) == 1
        else replace(group[0], message=f"{group[0].message} (and {len(group) - 1} more sensors)")
        for group in groups.values()
    ]
