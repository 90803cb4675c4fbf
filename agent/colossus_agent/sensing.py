"""Reading sensors that may hang: calls with deadlines, carried out by a thread that is replaced."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from colossus_agent.readings import (
    CollectorStatus,
    Column,
    MissingError,
    MissingReason,
    SensorStatus,
    Value,
)

T = TypeVar("T")
LOG = logging.getLogger(__name__)
NAN = float("nan")
ABANDONED_LIMIT = 16  # threads of one worker that are left behind in calls that hang
HANGING_LIMIT = 2  # calls of one GPU that may hang before the GPU is left alone
# Seconds until a call without a value is made again: at first, and at most after doubling.
RETRY_SECONDS = {
    MissingReason.UNSUPPORTED: (600.0, 600.0),  # a new driver may bring it
    MissingReason.NOT_PERMITTED: (60.0, 600.0),
    MissingReason.FAILED: (1.0, 60.0),
    MissingReason.LOST: (30.0, 30.0),
    MissingReason.STUCK: (0.5, 60.0),  # counted from the late return
}
EARLY_SECONDS = 0.1  # a period may end this much before its tick


@dataclass(slots=True, eq=False)
class _Gpu:
    """What the calls about one GPU share; a call about the host has one of its own."""

    calls: list[Call] = field(default_factory=list)
    hanging_count: int = 0
    is_lost: bool = False

    @property
    def is_hanging(self) -> bool:
        return self.hanging_count >= HANGING_LIMIT


@dataclass(slots=True, eq=False)
class Call:
    """One read of a source.

    Attributes:
        name: What is called, for statuses.
        columns: Names of the columns that `read` returns values for, in order; may be none.
        read: Returns the values; raises MissingError when there are none. With nothing to return
            it only says that the columns are no longer missing on its account.
        period_seconds: How often it is due; 0 is every round, infinity until it succeeded once.
        gpu_index: GPU, or -1 for the host.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[], Sequence[Value]]
    period_seconds: float = 0.0
    gpu_index: int = -1
    due: float = 0.0
    stuck: bool = False
    failures: int = 0
    succeeded: bool = False
    cells: tuple[int, ...] = ()
    has_missing: bool = False
    gpu: _Gpu = field(default_factory=_Gpu)

    def retry_after(self, reason: MissingReason) -> float:
        """Return the seconds to wait before the next try."""
        first, most = RETRY_SECONDS[reason]
        return float(min(most, first * 2 ** min(self.failures - 1, 16)))


class Table:
    """Latest values of one worker: a matrix [row, column] and why some have none.

    Only the worker's current thread writes values; readers copy whole buffers.
    """

    def __init__(self, columns: Sequence[Column], row_count: int) -> None:
        self._index = {column.name: index for index, column in enumerate(columns)}
        self._width = len(columns)
        self.values = array("f", [NAN]) * (self._width * row_count)
        self.missing: dict[tuple[int, str], SensorStatus] = {}
        self._times = array("q", [0]) * len(self.values)

    def bind(self, call: Call) -> None:
        """Let a call know where its values go."""
        base = max(call.gpu_index, 0) * self._width
        call.cells = tuple(base + self._index[name] for name in call.columns)

    def put(self, call: Call, values: Sequence[Value], unix_ns: int) -> None:
        """Keep what a call returned."""
        if call.has_missing:
            call.has_missing = False
            for name in call.columns or (call.name,):
                self.missing.pop((call.gpu_index, name), None)
        if not values:
            return
        for cell, value, name in zip(call.cells, values, call.columns, strict=True):
            if isinstance(value, MissingError):
                self._miss(call, name, cell, value, unix_ns)
                continue
            self.values[cell] = value
            if value == value:  # a NaN is none yet
                self._times[cell] = unix_ns

    def miss(self, call: Call, error: MissingError, unix_ns: int) -> None:
        """Note that a call has no values now; since when is kept while the reason stays."""
        for name, cell in zip(call.columns, call.cells, strict=True):
            self._miss(call, name, cell, error, unix_ns)
        if not call.columns:
            self._miss(call, call.name, None, error, unix_ns)

    def _miss(
        self, call: Call, name: str, cell: int | None, error: MissingError, unix_ns: int
    ) -> None:
        call.has_missing = True
        if cell is not None:
            self.values[cell] = NAN
        key = (call.gpu_index, name)
        known = self.missing.get(key)
        if known is None or known.reason is not error.reason:
            last = self._times[cell] if cell is not None else 0
            self.missing[key] = SensorStatus(
                call.gpu_index, name, error.reason, unix_ns, last, str(error)[:256]
            )


_Current: TypeAlias = tuple[Call, int, float]  # the call under way, its position, since when


class Worker:
    """Goes through its calls each time it is asked to, in a thread of its own.

    A thread whose call passes the deadline is left behind with it, and another one goes on with
    the other calls. Such threads are daemons inside the driver: only `os._exit` ends them.

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
        self.status = CollectorStatus(name, 0.0, True, 0)
        self._deadline = deadline_seconds
        self._calls: list[Call] = []
        self._gpus: dict[int, _Gpu] = {}
        self._go = threading.Event()
        self._lock = threading.Lock()
        self._generation = 0
        self._current: _Current | None = None
        self._abandoned = 0
        self._stands_still = False
        self._closed = False
        self._next_due = 0.0
        self._finished: Callable[[], None] = lambda: None
        self.add(calls)
        self._start(0, 0.0)

    def add(self, calls: Sequence[Call]) -> None:
        """Take on more calls; a round under way makes them too."""
        for call in calls:
            self.table.bind(call)
            if call.gpu_index >= 0:
                call.gpu = self._gpus.setdefault(call.gpu_index, call.gpu)
                call.gpu.calls.append(call)
        self._calls += calls

    def _start(self, position: int, began: float) -> None:
        threading.Thread(
            target=self._run,
            args=(self._generation, position, began),
            name=f"{self.name}-{self._generation}",
            daemon=True,
        ).start()

    def begin(self, finished: Callable[[], None]) -> bool:
        """Ask for a round; `finished` is called from the worker's thread at its end.

        Returns whether there is anything to do; if not, `finished` is not called.
        """
        if time.monotonic() < self._next_due:
            return False
        self._finished = finished
        self._go.set()
        return True

    def close(self) -> None:
        """Let the thread end; one that hangs is left to the process's exit."""
        self._closed = True
        self._go.set()

    @property
    def is_stuck(self) -> bool:
        """Whether a thread of this worker is inside a call that does not return."""
        return self._abandoned > 0 or self._overdue() is not None

    def _overdue(self) -> _Current | None:
        current = self._current
        late = current is not None and time.monotonic() - current[2] >= self._deadline
        return current if late else None

    def watch(self) -> None:
        """Mark a call past its deadline as stuck and let another thread take over."""
        if self._overdue() is None:
            return
        with self._lock:
            current = self._overdue()
            if current is None:
                return
            call, position, since = current
            if not call.stuck:
                self._hold(call)
            if self._abandoned + 1 >= ABANDONED_LIMIT:
                self._stand_still()
                return
            self._generation += 1
            self._abandoned += 1
            self._current = None
            self._start(position + 1, since)

    def _hold(self, call: Call) -> None:
        call.stuck = True
        call.failures += 1
        text = f"{call.name} has not returned for {self._deadline:g} s"
        now = time.time_ns()
        self.table.miss(call, MissingError(MissingReason.STUCK, text), now)
        LOG.warning("sensor=stuck gpu=%d call=%s", call.gpu_index, call.name)
        call.gpu.hanging_count += 1
        if call.gpu.hanging_count == HANGING_LIMIT:
            error = MissingError(MissingReason.STUCK, f"not asked, since {text}")
            for other in call.gpu.calls:
                if not other.stuck and other.due != math.inf:
                    self.table.miss(other, error, now)

    def _stand_still(self) -> None:
        if self._stands_still:
            return
        self._stands_still = True
        LOG.warning("collector=stuck name=%s hanging=%d", self.name, ABANDONED_LIMIT)
        error = MissingError(MissingReason.STUCK, f"{ABANDONED_LIMIT} calls do not return")
        for call in self._calls:
            if not call.stuck and call.due != math.inf:
                self.table.miss(call, error, time.time_ns())

    def _run(self, generation: int, position: int, began: float) -> None:
        while True:
            if position == 0:
                self._go.wait()
                self._go.clear()
                began = time.monotonic()
            if self._closed:
                return
            while position < len(self._calls):
                call = self._calls[position]
                due = call.due <= began and not call.stuck and not call.gpu.is_hanging
                if due and not self._make(call, position, generation):
                    return
                position += 1
            position = 0
            self._next_due = self._soonest()
            self._report(time.monotonic() - began)
            self._finished()

    def _soonest(self) -> float:
        soonest = math.inf
        for call in self._calls:
            if call.due < soonest and not call.stuck:
                soonest = call.due
                if not soonest:  # every round, and of a GPU the first call already is
                    break
        return soonest

    def _make(self, call: Call, position: int, generation: int) -> bool:
        """Make one call; return False when this thread was left behind meanwhile."""
        self._current = (call, position, time.monotonic())
        values: Sequence[Value] = ()
        missing: MissingError | None = None
        try:
            values = call.read()
        except MissingError as error:
            missing = error
        except Exception as error:  # noqa: BLE001  # a sensor's surprise must not end the others
            LOG.warning("sensor=failed call=%s error=%r", call.name, error)
            missing = MissingError(MissingReason.FAILED, repr(error))
        with self._lock:
            left_behind = generation != self._generation
            if call.stuck:
                self._let_go(call)
            if left_behind:
                self._abandoned -= 1
                return False
            self._current = None
        if self._stands_still:
            self._stands_still = False
            _make_due(self._calls)
        if missing is None:
            self._succeeded(call, values)
        else:
            self._missed(call, missing)
        return True

    def _let_go(self, call: Call) -> None:
        call.stuck = False
        call.due = time.monotonic() + call.retry_after(MissingReason.STUCK)
        self._next_due = 0.0
        call.gpu.hanging_count -= 1
        if call.gpu.hanging_count == HANGING_LIMIT - 1:
            _make_due(other for other in call.gpu.calls if other is not call)

    def _succeeded(self, call: Call, values: Sequence[Value]) -> None:
        call.failures = 0
        if call.period_seconds and not _is_first_of_rate(values):
            now, period = time.monotonic(), call.period_seconds
            if not call.succeeded and period != math.inf:
                # Rare calls of many GPUs are spread over the period, each at a place of its own.
                period *= 1 - self._calls.index(call) * 0.618 % 1
            call.due = now + period - EARLY_SECONDS
            call.succeeded = True
        self.table.put(call, values, time.time_ns())
        if call.gpu.is_lost:
            call.gpu.is_lost = False
            _make_due(call.gpu.calls)

    def _missed(self, call: Call, error: MissingError) -> None:
        call.failures += 1
        call.due = time.monotonic() + call.retry_after(error.reason)
        self.table.miss(call, error, time.time_ns())
        if call.gpu_index < 0 or error.reason is not MissingReason.LOST:
            return
        call.gpu.is_lost = True
        for other in call.gpu.calls:
            if other is not call and not other.stuck and other.due != math.inf:
                other.due = call.due
                self.table.miss(other, error, time.time_ns())

    def _report(self, seconds: float) -> None:
        failing = [
            status
            for status in list(self.table.missing.values())
            if status.reason not in (MissingReason.UNSUPPORTED, MissingReason.NOT_PERMITTED)
        ]
        detail = f"{len(failing)} sensors without a value" if failing else ""
        last = self.status.last_success_unix_ns if failing else time.time_ns()
        self.status = CollectorStatus(self.name, seconds, not failing, last, detail)


def _is_first_of_rate(values: Sequence[Value]) -> bool:
    """Return whether there is a NaN, as when a rate has no past: asked again in the next round."""
    return any(value != value for value in values)


def _make_due(calls: Iterable[Call]) -> None:
    for call in calls:
        if call.due != math.inf:
            call.due = 0.0


class Apart:
    """Calls about GPUs in threads of their own: of each GPU one thread at most is left behind."""

    def __init__(self) -> None:
        self._left: dict[int, threading.Thread] = {}  # by GPU; the call has not returned yet

    def within(self, seconds: float, gpu_index: int, name: str, call: Callable[[], T]) -> T:
        """Make one call, and return what it returned.

        Raises:
            MissingError: It raised it, or has not returned in time; then its thread is left
                behind, and until that ends the GPU is not asked again.
        """
        before = self._left.get(gpu_index)
        if before is not None and before.is_alive():
            raise MissingError(MissingReason.STUCK, f"not asked, since {before.name} hangs")
        found: list[T] = []
        wrong: list[MissingError] = []

        def make() -> None:
            try:
                found.append(call())
            except MissingError as error:
                wrong.append(error)

        thread = self._left[gpu_index] = threading.Thread(target=make, name=name, daemon=True)
        thread.start()
        thread.join(seconds)
        if wrong:
            raise wrong[0]
        if not found:
            reason = MissingReason.STUCK if thread.is_alive() else MissingReason.FAILED
            raise MissingError(reason, f"{name} has not returned for {seconds:g} s")
        return found[0]


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
