"""One attempt of a run on this node: its ranks' processes, their ends and their pages."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colossus_agent.control import cgroup
from colossus_agent.control.freeze import Freezer
from colossus_agent.control.process import ProcessId, ProcessStat, family, find
from colossus_agent.logs.reader import RunLog
from colossus_agent.runs.pages import AttemptPages, RankProgress
from colossus_agent.runs.record import RecordError, RunFolder, RunSpec, read_json
from colossus_agent.runs.state import LocalRank, LocalRun, LocalRunState, RankExit

_SCAN_SECONDS = 5.0  # how often the whole process table is read for a run without a control group
_TAIL_BYTES = 2048
NO_HOOK = "not supported by this run: it has no hook on every rank"


@dataclass
class Attempt:
    """What the agent knows of one run's newest attempt here.

    The ranks are found again by what the keeper wrote down; pid, start time and control group must
    match, or the process is somebody else's.
    """

    folder: RunFolder
    spec: RunSpec
    number: int
    priority_class: str
    processes: dict[int, ProcessId] = field(default_factory=dict)
    group: Path | None = None
    pages: AttemptPages = field(init=False)
    log: RunLog = field(init=False)
    ends: dict[int, RankExit] = field(default_factory=dict)
    kill_time: float | None = None  # monotonic; when SIGKILL follows a SIGTERM
    _count: int = 0
    _counted_time: float = -_SCAN_SECONDS
    _unseen_since: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pages = AttemptPages(self.path)
        self.log = RunLog()
        # Megatron-LM prints on its last rank, torchtitan on its first.
        self.log.follow(str(self.path / f"rank-{rank}.log") for rank in self._printing_ranks())

    def _printing_ranks(self) -> list[int]:
        count = self.spec.rank_count
        return sorted(range(count), key=lambda rank: min(rank, count - 1 - rank))

    @property
    def path(self) -> Path:
        """The attempt's folder."""
        return self.folder.attempt(self.number)

    def load(self) -> None:
        """Read which processes the keeper started."""
        for rank in range(self.spec.rank_count):
            try:
                record = read_json(self.path / f"rank-{rank}.json")
            except RecordError as error:
                self.ends[rank] = RankExit(False, detail=str(error))
                continue
            if record is None:
                continue
            self.processes[rank] = ProcessId(
                _integer(record, "pid"), _integer(record, "start_time_ticks")
            )
            if record.get("cgroup"):
                self.group = Path(str(record["cgroup"]))

    def family(self) -> list[ProcessStat]:
        """Return every process of the run on this node."""
        members = cgroup.members(self.group) if self.group else []
        mark = f"COLOSSUS_PAGE_DIR={self.path}".encode()
        return family(self.processes.values(), members, keeper=self._keeper(), mark=mark)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.spec.run_id

    @property
    def freezer(self) -> Freezer:
        """What freezes and thaws this attempt."""
        return Freezer(self.path, self.group, self.family)

    def process_count(self, *, fresh: bool = False) -> int:
        """Return how many processes the run has here."""
        if self.group is not None:
            return len(cgroup.members(self.group))
        now = time.monotonic()
        if fresh or now - self._counted_time >= _SCAN_SECONDS:
            self._count, self._counted_time = len(self.family()), now
        return self._count

    def alive(self) -> list[int]:
        """Return the ranks whose processes live."""
        return [rank for rank, identity in self.processes.items() if find(identity)]

    def unready(self) -> str:
        """Return why not every rank here could promise a step; "" when all can."""
        self.pages.refresh()
        alive, hooked = self.alive(), self.pages.ranks
        if not hooked or not all(rank in hooked for rank in alive):
            return NO_HOOK
        if len(alive) < self.spec.rank_count:
            return f"{len(alive)}/{self.spec.rank_count} ranks are alive"
        return ""

    def read(self) -> list[RankProgress]:
        """Return what the ranks reported since the last call; without a hook, what they printed."""
        return self.pages.read() if self.pages.ranks else printed(self.log)

    @property
    def step_source(self) -> str:
        """Where its steps come from; "" while nothing tells of any."""
        return "hook" if self.pages.ranks else self.log.source

    def observe(self) -> LocalRun:
        """Look at every rank and return what is so now."""
        self.pages.refresh()
        ranks = tuple(self._rank(rank) for rank in range(self.spec.rank_count)) + tuple(
            self._page_rank(rank) for rank in sorted(self.pages.ranks) if rank not in self.processes
        )
        own = ranks[: self.spec.rank_count]
        ended = all(rank.exit is not None for rank in own)
        deadline = self.freezer.deadline_unix_ns() if not ended else 0
        state = self._state(own, ended, frozen=bool(deadline) and self.freezer.is_frozen())
        facts = self.log.facts | self.pages.facts()
        identities = self.pages.ranks.values()
        return LocalRun(
            run_id=self.spec.run_id,
            attempt=self.number,
            state=state,
            priority_class=self.priority_class,
            ranks=ranks,
            fuse_deadline_unix_ns=deadline if state is LocalRunState.FROZEN else 0,
            cgroup=str(self.group or ""),
            process_count=self.process_count(fresh=ended or self.kill_time is not None),
            label=self.spec.label,
            command=" ".join(self.spec.argv)[:1024],
            rank_count=max([self.spec.rank_count, *(page.world_size for page in identities)]),
            facts_json=json.dumps(self._with_watchdog(facts)),
            output_tail=self._tail() if ended and _failed(own) else "",
            start_id=self.spec.start_id,
        )

    def _with_watchdog(self, facts: dict[str, float]) -> dict[str, float]:
        known = [
            seconds
            for seconds in (facts.get("watchdog_seconds", 0.0), self.spec.watchdog_seconds)
            if seconds > 0
        ]
        return facts | ({"watchdog_seconds": min(known)} if known else {})

    def _state(self, ranks: tuple[LocalRank, ...], ended: bool, *, frozen: bool) -> LocalRunState:
        if ended:
            unknown = any(rank.exit is not None and not rank.exit.known for rank in ranks)
            return LocalRunState.LOST if unknown else LocalRunState.ENDED
        if frozen:
            return LocalRunState.FROZEN
        if all(rank.pid == 0 for rank in ranks):
            return LocalRunState.STARTING
        return LocalRunState.RUNNING

    def _rank(self, rank: int) -> LocalRank:
        identity = self.processes.get(rank)
        stat = find(identity) if identity else None
        return LocalRank(
            rank=rank,
            local_rank=rank,
            pid=identity.pid if identity else 0,
            start_time_ticks=identity.start_time_ticks if identity else 0,
            alive=stat is not None,
            state=stat.state if stat else "",
            exit=None if stat else self._end(rank),
            nice=stat.nice if stat else 0,
            hooked=rank in self.pages.ranks,
            step=self.pages.step(rank),
            process_count=int(stat is not None),
        )

    def _page_rank(self, rank: int) -> LocalRank:
        """A rank that a launcher such as torchrun started below one of ours."""
        page = self.pages.ranks[rank]
        stat = find(ProcessId(page.pid, page.start_time_ticks))
        return LocalRank(
            rank=rank,
            local_rank=page.local_rank,
            pid=page.pid,
            start_time_ticks=page.start_time_ticks,
            alive=stat is not None,
            state=stat.state if stat else "",
            exit=None if stat else self._launchers_end(),
            nice=stat.nice if stat else 0,
            hooked=True,
            step=self.pages.step(rank),
            process_count=int(stat is not None),
        )

    def _launchers_end(self) -> RankExit | None:
        """Return the end of whoever started ranks of its own; None while it may start them again.

        Only a parent learns how a process ended, and a launcher ends as its ranks did.
        """
        if self.alive():
            return None
        ends = [self._end(rank) for rank in self.processes]
        return next((end for end in ends if end != RankExit(True)), RankExit(True))

    def _end(self, rank: int) -> RankExit | None:
        """Return how a rank that is gone ended; None while the keeper may still write it down."""
        if rank in self.ends:
            return self.ends[rank]
        try:
            record = read_json(self.path / f"exit-{rank}.json")
        except RecordError as error:
            self.ends[rank] = RankExit(False, detail=str(error))
            return self.ends[rank]
        if record is not None:
            self.ends[rank] = RankExit(
                True,
                _integer(record, "exit_code"),
                _integer(record, "exit_signal"),
                str(record.get("detail", ""))[:1024],
            )
        elif not self._keeper_lives():
            since = self._unseen_since.setdefault(rank, time.monotonic())
            if time.monotonic() - since > 1.0:
                self.ends[rank] = RankExit(False, detail="its keeper is gone too")
        return self.ends.get(rank)

    def _keeper(self) -> ProcessId | None:
        try:
            record = read_json(self.path / "keeper.json")
        except RecordError:
            return None
        if record is None:
            return None
        return ProcessId(_integer(record, "pid"), _integer(record, "start_time_ticks"))

    def _keeper_lives(self) -> bool:
        keeper = self._keeper()
        return keeper is not None and find(keeper) is not None

    def _tail(self) -> str:
        try:
            with (self.path / "rank-0.log").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def close(self) -> None:
        """Let go of pages and of an empty control group."""
        self.pages.close()
        self.log.close()
        if self.group is not None:
            cgroup.remove(self.group)


def printed(log: RunLog) -> list[RankProgress]:
    """Return the steps that a run without hook has printed since the last call."""
    steps = log.read()
    return [RankProgress(0, tuple(steps), 0, is_whole_run=True)] if steps else []


def _integer(record: dict[str, Any], name: str) -> int:
    value = record.get(name, 0)
    return value if isinstance(value, int) else 0


def _failed(ranks: tuple[LocalRank, ...]) -> bool:
    return any(
        rank.exit is not None and (not rank.exit.known or rank.exit.exit_code or rank.exit.detail)
        for rank in ranks
    )
