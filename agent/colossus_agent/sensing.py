"""Carrying out sensor calls so that one that hangs, fails or is missing holds up nobody else.

A worker thread goes through its calls once a tick. A call past its deadline is marked stuck, its
thread is left behind and another takes over without that call, until it returns by itself.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from colossus_agent.readings import (
    CollectorStatus,
    Column,
    MissingError,
    MissingReason,
    SensorStatus,
)

LOG = logging.getLogger(__name__)
NAN = float("nan")
ABANDONED_LIMIT = 16  # threads left behind in calls that hang; beyond it the worker stands still
RETRY_SECONDS = {
    MissingReason.UNSUPPORTED: 600.0,  # a new driver may bring it
    MissingReason.NOT_PERMITTED: 60.0,
    MissingReason.FAILED: 5.0,
    MissingReason.LOST: 30.0,
    MissingReason.STUCK: 0.0,
}


@dataclass(slots=True, eq=False)
class Call:
    """One read of a source.

    Attributes:
        name: What is called, for statuses.
        columns: Names of the columns that `read` returns values for, in order; may be none.
        read: Returns the values; raises MissingError when there are none.
        period_seconds: How often it is due; 0 is every tick.
        gpu_index: GPU, or -1 for the host.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[], Sequence[float]]
    period_seconds: float = 0.0
    gpu_index: int = -1
    due: float = 0.0
    stuck: bool = False


@dataclass(slots=True, eq=False)
class Table:
    """Latest values of one worker: a matrix [row, column] and why some have none.

    Only the worker's current thread writes values; readers copy whole buffers.
    """

    columns: tuple[Column, ...]
    row_count: int
    values: array[float] = field(init=False)
    missing: dict[tuple[int, str], SensorStatus] = field(default_factory=dict)
    last_value: dict[tuple[int, str], int] = field(default_factory=dict)
    _index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._index = {column.name: index for index, column in enumerate(self.columns)}
        self.values = array("f", [NAN]) * (len(self.columns) * self.row_count)

    def put(self, call: Call, values: Sequence[float], unix_ns: int) -> None:
        """Keep what a call returned; a NaN among it is left without a reason."""
        base = max(call.gpu_index, 0) * len(self.columns)
        for name, value in zip(call.columns, values, strict=True):
            self.values[base + self._index[name]] = value
            self.last_value[call.gpu_index, name] = unix_ns
        if self.missing:
            for name in call.columns or (call.name,):
                self.missing.pop((call.gpu_index, name), None)

    def miss(self, call: Call, reason: MissingReason, detail: str, unix_ns: int) -> None:
        """Note that a call has no values now; since when is kept while the reason stays."""
        base = max(call.gpu_index, 0) * len(self.columns)
        for name in call.columns or (call.name,):
            if name in self._index:
                self.values[base + self._index[name]] = NAN
            key = (call.gpu_index, name)
            known = self.missing.get(key)
            if known is not None and known.reason is reason:
                continue
            self.missing[key] = SensorStatus(
                call.gpu_index, name, reason, unix_ns, self.last_value.get(key, 0), detail[:256]
            )


class Worker:
    """Goes through its calls each time it is asked to, in a thread of its own.

    Args:
        name: Collector's name.
        calls: What to read, in order.
        table: Where values go.
        deadline_seconds: How long one call may take.
    """

    def __init__(
        self, name: str, calls: Sequence[Call], table: Table, deadline_seconds: float = 0.5
    ) -> None:
        self.name = name
        self.table = table
        self._calls = list(calls)
        self._deadline = deadline_seconds
        self._go = threading.Event()
        self._lock = threading.Lock()
        self._generation = 0
        self._current: tuple[Call, float] | None = None
        self._abandoned = 0
        self._closed = False
        self._finished: Callable[[], None] = lambda: None
        self.status = CollectorStatus(name, 0.0, True, 0)
        self._start(0)

    def _start(self, position: int) -> None:
        threading.Thread(
            target=self._run,
            args=(self._generation, position),
            name=f"{self.name}-{self._generation}",
            daemon=True,
        ).start()

    def begin(self, finished: Callable[[], None]) -> None:
        """Ask for a round; `finished` is called from the worker's thread at its end."""
        self._finished = finished
        self._go.set()

    def close(self) -> None:
        """Let the thread end; one that hangs is left to the process's exit."""
        self._closed = True
        self._go.set()

    @property
    def is_stuck(self) -> bool:
        """Whether a thread of this worker is inside a call that does not return."""
        return self._abandoned > 0 or self._overdue() is not None

    def _overdue(self) -> Call | None:
        current = self._current
        if current is None or time.monotonic() - current[1] < self._deadline:
            return None
        return current[0]

    def watch(self) -> None:
        """Mark a call past its deadline as stuck and let another thread take over."""
        call = self._overdue()
        if call is None:
            return
        with self._lock:
            if self._overdue() is not call or self._abandoned >= ABANDONED_LIMIT:
                return
            call.stuck = True
            detail = f"{call.name} has not returned for {self._deadline:g} s"
            self.table.miss(call, MissingReason.STUCK, detail, time.time_ns())
            LOG.warning("sensor=stuck gpu=%d call=%s", call.gpu_index, call.name)
            self._generation += 1
            self._abandoned += 1
            self._current = None
            self._start(self._calls.index(call) + 1)

    def _run(self, generation: int, position: int) -> None:
        while True:
            if position == 0:
                self._go.wait()
                self._go.clear()
            if self._closed:
                return
            started = time.monotonic()
            for call in self._calls[position:]:
                if call.stuck or call.due > started:
                    continue
                if not self._read(call, generation):
                    return
            position = 0
            self._report(time.monotonic() - started)
            self._finished()

    def _read(self, call: Call, generation: int) -> bool:
        """Make one call; return False when this thread was left behind meanwhile."""
        self._current = (call, time.monotonic())
        values: Sequence[float] = ()
        missing: MissingError | None = None
        try:
            values = call.read()
        except MissingError as error:
            missing = error
        except Exception as error:  # noqa: BLE001  # a sensor's surprise must not end the others
            LOG.warning("sensor=failed call=%s error=%r", call.name, error)
            missing = MissingError(MissingReason.FAILED, repr(error))
        with self._lock:
            if generation != self._generation:
                call.stuck = False
                call.due = 0.0
                self._abandoned -= 1
                return False
            self._current = None
        now = time.monotonic()
        if missing is None:
            call.due = now + call.period_seconds - 0.05 if call.period_seconds else 0.0
            self.table.put(call, values, time.time_ns())
        else:
            call.due = now + RETRY_SECONDS[missing.reason]
            self.table.miss(call, missing.reason, str(missing), time.time_ns())
        return True

    def _report(self, seconds: float) -> None:
        failing = [
            status
            for status in list(self.table.missing.values())
            if status.reason is not MissingReason.UNSUPPORTED
        ]
        detail = f"{len(failing)} sensors without a value" if failing else ""
        last = self.status.last_success_unix_ns if failing else time.time_ns()
        self.status = CollectorStatus(self.name, seconds, not failing, last, detail)


@contextlib.contextmanager
def system_errors(source: str) -> Iterator[None]:
    """Turn the system's errors about `source` into reasons."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(MissingReason.UNSUPPORTED, f"{source}: {error}") from None
    except PermissionError as error:
        raise MissingError(MissingReason.NOT_PERMITTED, f"{source}: {error}") from None
    except (OSError, ValueError) as error:
        raise MissingError(MissingReason.FAILED, f"{source}: {error}") from None
