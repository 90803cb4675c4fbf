"""GPUs that cost and do no work: free, or idle in a run's hands; whose, since when, how dear."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.money.allocated import without_process
from colossus_tui.hub.money.ledger import HOUR_SECONDS, Ledger, unseen
from colossus_tui.hub.money.prices import IDLE_SECONDS
from colossus_tui.hub.nodes import STALE_SECONDS, Nodes
from colossus_tui.hub.store import Rows, Store
from colossus_tui.model import IdleGroup, IdleKind, IdleView, RunState

if TYPE_CHECKING:
    from colossus_tui.hub.runs.live import LiveRun

IDLE_RATIO = 0.05  # utilisation and SM activity under it are no work
LEFT_BYTES = 512 * 1024 * 1024  # less than that a context takes that is about to go
LARGE_GPUS, LARGE_TICKS = 50_000, 5  # of a large site not each second
NAMED_NODES = 4
GROUP_LIMIT = 500
_FREE, _HELD, _LEFT, _GIVEN = range(4)
Seconds = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class Idle:
    """Watches every GPU of the store, once a tick, over its columns.

    A held GPU is idle when it did no work for `seconds`, and at once when its run is frozen or
    hangs, for then it may look busy; held is also what a scheduler has given to a run that has no
    process there. A free one is idle when no run holds it and it does no work. What is not measured
    is not called idle.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
        ages_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._ledger = ledger
        self._clock = clock
        self._ages_clock = ages_clock
        self.seconds = ledger.prices.idle_seconds if ledger.prices is not None else IDLE_SECONDS
        # Unix seconds by row: when it was first looked at; when it last worked or could not be
        # judged; when a run last held it.
        self._first: Seconds = np.zeros(0, dtype=np.uint32)
        self._worked: Seconds = np.zeros(0, dtype=np.uint32)
        self._held: Seconds = np.zeros(0, dtype=np.uint32)
        self._ticks = 0
        self._kind: npt.NDArray[np.int8] = np.zeros(0, dtype=np.int8)  # by row; -1 is not idle
        self._owner: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # by row; code of a run
        self._since: Seconds = np.zeros(0, dtype=np.uint32)
        self._per_hour = dict.fromkeys(IdleKind, 0.0)
        self._judged = self._count = 0
        self._runs: Mapping[str, LiveRun] = {}
        self._view: IdleView | None = None  # made when it is asked for

    def tick(self, runs: Mapping[str, LiveRun]) -> None:
        """Look at every GPU."""
        self._ticks += 1
        if self._store.gpus.row_count >= LARGE_GPUS and self._ticks % LARGE_TICKS != 1:
            return
        self._runs, self._view = runs, None
        store, now = self._store, int(self._clock())
        count = store.gpus.row_count
        self._grow(count, now)
        node_of, run_of = store.node_of[:count], store.run_of[:count]
        is_gpu = node_of >= 0
        fresh = store.ages(self._ages_clock()) < STALE_SECONDS
        live = is_gpu & fresh[node_of] if count else is_gpu
        known, idle = self._measured(live)
        self._count, self._judged = int(np.count_nonzero(is_gpu)), int(np.count_nonzero(known))
        self._worked[~idle] = now
        self._held[run_of >= 0] = now
        self._judge(live, idle, run_of, now)

    def _grow(self, count: int, now: int) -> None:
        if count > self._worked.size:
            more = np.full(count - self._worked.size, now, dtype=np.uint32)
            self._first = np.concatenate((self._first, more))
            self._worked = np.concatenate((self._worked, more))
            self._held = np.concatenate((self._held, more))

    def _measured(self, live: Flags) -> tuple[Flags, Flags]:
        """Return which GPUs tell whether they work, and which of them do none."""
        column = self._store.gpus.column
        with np.errstate(invalid="ignore"):
            use, active = column("gpu_utilisation"), column("sm_active")
            known = live & (np.isfinite(use) | np.isfinite(active))
            works = (use >= IDLE_RATIO) | (active >= IDLE_RATIO)
        return known, known & ~works

    def _judge(self, live: Flags, idle: Flags, run_of: Any, now: int) -> None:
        """Say of each GPU how it is idle, and since when."""
        store, count = self._store, run_of.size
        codes = np.append(self._stopped_since(now), np.uint32(0))  # the last is of code -1
        stopped = codes[run_of]
        kind = np.full(count, -1, dtype=np.int8)
        since = self._worked.copy()
        free = idle & (run_of < 0)
        kind[free] = _FREE
        since[free] = np.maximum(self._held[free], since[free])
        memory = store.gpus.column("memory_used")
        left = free & (store.holder_of[:count] >= 0) & (memory > LEFT_BYTES)
        kind[left] = _LEFT
        kind[idle & (run_of >= 0) & (self._worked <= self._long_ago(now))] = _HELD
        stands = live & (stopped > 0)
        kind[stands] = _HELD
        since[stands] = stopped[stands]
        self._kind, self._since = kind, since
        self._owner = run_of.copy()
        self._owner[left] = store.holder_of[:count][left]
        self._give(free, now)

    def _long_ago(self, now: int) -> int:
        """Return since when a held GPU must have done no work."""
        return max(now - math.ceil(self.seconds), 0)

    def _give(self, free: Flags, now: int) -> None:
        """Take free GPUs of nodes that a scheduler has given to runs for theirs."""
        given = {run_id: run for run_id, run in self._runs.items() if run.scheduled is not None}
        if not given:
            return
        runs = self._store.runs
        seen = np.bincount(self._store.run_of[: free.size] + 1, minlength=len(runs.names) + 1)
        for run_id, run in given.items():
            code = runs.known(run_id)
            if run.scheduled is None or not unseen(run, int(seen[code + 1]) if code >= 0 else 0):
                continue
            rows = without_process(self._store, self._nodes, run, free)
            if not rows.size:
                continue
            running = self._ages_clock() - run.scheduled.running_since
            since = np.maximum(self._since[rows], np.uint32(max(now - running, 0)))
            self._since[rows] = since
            self._kind[rows] = np.where(since <= self._long_ago(now), _GIVEN, -1)
            self._owner[rows] = runs.code(run_id)
            free[rows] = False

    def _stopped_since(self, now: int) -> Seconds:
        """Return by the store's code of a run since when it stands though it seems busy; 0: not."""
        monotonic, names = self._ages_clock(), self._store.runs.names
        found = np.zeros(len(names), dtype=np.uint32)
        for code, name in enumerate(names):
            run = self._runs.get(name)
            if run is None:
                continue
            if run.state is RunState.FROZEN:
                found[code] = _second(run.state_since_unix_ns, now)
            elif run.is_hanging(monotonic):
                found[code] = _second(run.step_time_unix_ns, now)
        return found

    # --- what is asked ---------------------------------------------------------------------

    def view(self) -> IdleView:
        """Return the idle GPUs by owner and hall, the dearest group first."""
        if self._view is None:
            self._view = self._made()
        return self._view

    def per_hour(self, kind: IdleKind) -> float | None:
        """Return what idle GPUs of a kind cost, an hour; None where that is not known."""
        view = self.view()
        if self._ledger.prices is None or not (view.groups or view.judged_gpu_count):
            return None
        return self._per_hour[kind]

    def _made(self) -> IdleView:
        rows = np.flatnonzero(self._kind >= 0)
        groups = [self._group(members) for members in self._apart(rows)]
        for kind in IdleKind:
            self._per_hour[kind] = sum(one.per_hour or 0.0 for one in groups if one.kind is kind)
        groups.sort(key=lambda one: (-(one.per_hour or 0.0), -one.gpu_count, one.run_id, one.hall))
        return IdleView(tuple(groups[:GROUP_LIMIT]), self._count, self._judged, self.seconds)

    def _apart(self, rows: Rows) -> list[Rows]:
        """Return the rows of each group: of one kind, owner and hall."""
        if not rows.size:
            return []
        store = self._store
        kind = self._kind[rows].astype(np.int64)
        owner = np.where(kind == _FREE, -1, self._owner[rows]).astype(np.int64) + 1
        hall = store.hall_of[store.node_of[rows]] + np.int64(1)
        keys = (owner * (len(store.halls.names) + 1) + hall) * 4 + kind
        order = np.argsort(keys, kind="stable")
        ends = np.flatnonzero(np.diff(keys[order])) + 1
        return np.split(rows[order], ends)

    def _group(self, rows: Rows) -> IdleGroup:
        store, kind = self._store, int(self._kind[rows[0]])
        owner = int(self._owner[rows[0]])
        run_id = store.runs.names[owner] if kind != _FREE and owner >= 0 else ""
        hall = int(store.hall_of[store.node_of[rows[0]]])
        since = self._since[rows]
        half = since.size // 2
        nodes = self._longest_idle(rows, since)
        oldest = int(since.argmin())
        return IdleGroup(
            kind=IdleKind.FREE if kind == _FREE else IdleKind.HELD,
            run_id=run_id,
            user=self._user(run_id, nodes[0]),
            hall=store.halls.names[hall] if hall >= 0 else "",
            why=self._why(kind, run_id),
            gpu_count=rows.size,
            oldest_since_unix_ns=int(since[oldest]) * 10**9,
            median_since_unix_ns=int(np.partition(since, half)[half]) * 10**9,
            at_least=bool(since[oldest] <= self._first[rows[oldest]]),
            per_hour=self._cost(rows),
            node_names=tuple(self._nodes.by_row[row].node_name for row in nodes),
        )

    def _longest_idle(self, rows: Rows, since: Seconds) -> list[int]:
        """Return the rows of some nodes, the longest idle first."""
        few = min(NAMED_NODES * 16, rows.size)
        first = np.argpartition(since, few - 1)[:few]
        first = first[np.argsort(since[first], kind="stable")]
        return list(dict.fromkeys(self._store.node_of[rows[first]].tolist()))[:NAMED_NODES]

    def _why(self, kind: int, run_id: str) -> str:
        if kind == _FREE:
            return "no run"
        if kind == _LEFT:
            return "memory left"
        if kind == _GIVEN:
            return "no process"
        run = self._runs.get(run_id)
        if run is not None and run.state is RunState.FROZEN:
            return "frozen"
        return "hung" if run is not None and run.is_hanging(self._ages_clock()) else "no work"

    def _user(self, run_id: str, node_row: int) -> str:
        """Return whose run it is: by its scheduler, else by its process on a node."""
        run = self._runs.get(run_id)
        if not run_id or (run is not None and run.scheduled is not None):
            return run.scheduled.sighting.job.user if run is not None and run.scheduled else ""
        processes = self._nodes.by_row[node_row].processes
        return next((one.user for one in processes if one.run_id == run_id), "")

    def _cost(self, rows: Rows) -> float | None:
        """Return what GPUs cost, an hour."""
        if self._ledger.prices is None:
            return None
        store = self._store
        watts = store.gpus.column("power")[rows]
        energy = float(np.nansum(watts, dtype=np.float64)) * HOUR_SECONDS * self._ledger.joule()
        return float(self._ledger.product_prices()[store.product_of[rows]].sum()) + energy


def _second(time_unix_ns: int, now: int) -> int:
    """Return the second of a time that a job states, which may be any: 1 to now."""
    return min(max(time_unix_ns // 10**9, 1), now)
