"""Runs on this node that a scheduler started: seen, asked and frozen here, never begun or ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from colossus_agent.control.freeze import Freezer
from colossus_agent.control.process import ProcessId, ProcessStat, find, find_inner, table
from colossus_agent.logs.reader import RunLog
from colossus_agent.runs.attempt import NO_HOOK, printed
from colossus_agent.runs.jobs import Job, Jobs, environment_of, outputs
from colossus_agent.runs.pages import AttemptPages, RankProgress
from colossus_agent.runs.state import LocalRank, LocalRun, LocalRunState, RankExit
from colossus_hook import placement
from colossus_hook.page import Identity

_LOOK_SECONDS = 1.0
_KEPT_SECONDS = 600.0  # how long an ended attempt's pages stay for whoever looks into them
_OWNER = re.compile(r"colossus-(\d{1,10})")
_RUN = re.compile(r"(slurm|k8s)-[A-Za-z0-9._-]{1,59}")
_SCHEDULERS = {"slurm": "slurm", "k8s": "kubernetes"}
_LAUNCHERS = frozenset({"srun", "slurmstepd"})  # stopping these would look like a dead node


class Foreign:
    """One attempt of a scheduler's job on this node.

    Args:
        pages: Folder of its rank pages; None for a run without the hook.
        state: Folder of our own for what a freeze writes down.
    """

    def __init__(self, run_id: str, number: int, pages: Path | None, state: Path, node: str):
        self.run_id = run_id
        self.number = number
        self.page_folder = pages
        self.pages = AttemptPages(pages or Path(os.devnull))
        # An output that is appended to begins with what the attempts before have printed.
        self.log = RunLog(is_old=number > 1)
        self._printed: list[RankProgress] = []
        self.is_leaving = False  # without processes since the last look
        self._node = node
        self._state = state
        self._ended = 0.0
        self._processes: dict[Identity, ProcessId | None] = {}

    @property
    def freezer(self) -> Freezer:
        """What freezes and thaws it: stop signals, since its control group is the scheduler's."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Freezer(self._state, None, self.family)

    def family(self) -> list[ProcessStat]:
        """Return every process of the job on this node but the scheduler's own."""
        return [stat for stat in table().values() if _belongs(stat.pid, self.run_id, self._node)]

    def follow(self, job: Job | None) -> None:
        """Read what a run without hook has printed since the last call."""
        if job is not None:
            self.log.follow(outputs(job))
        self._printed += printed(self.log)

    def read(self) -> list[RankProgress]:
        """Return what the ranks reported since the last call; without a hook, what they printed."""
        found, self._printed = self._printed, []
        return self.pages.read() if self.pages.ranks else found

    @property
    def step_source(self) -> str:
        """Where its steps come from; "" while nothing tells of any."""
        return "hook" if self.pages.ranks else self.log.source

    def alive(self) -> list[int]:
        """Return the ranks whose processes live; rank 0 stands for a run without the hook."""
        if not self.pages.ranks:
            return [0] if self.family() else []
        return [rank for rank, page in self.pages.ranks.items() if self._stat(page) is not None]

    def unready(self) -> str:
        """Return why not every rank here could promise a step; "" when all can."""
        self.pages.refresh()
        hooked, alive = self.pages.ranks, self.alive()
        if not hooked:
            return NO_HOOK
        if len(alive) < len(hooked):
            return f"{len(alive)}/{len(hooked)} ranks on this node are alive"
        return ""

    def observe(self) -> LocalRun:
        """Look at every rank and return what is so now."""
        self.pages.refresh()
        ranks = tuple(self._rank(rank) for rank in sorted(self.pages.ranks))
        living = any(rank.alive for rank in ranks)
        self._ended = 0.0 if living or not ranks else self._ended or time.monotonic()
        deadline = self.freezer.deadline_unix_ns()
        frozen = bool(deadline) and self.freezer.is_frozen()
        state = LocalRunState.RUNNING if living or frozen or not ranks else LocalRunState.ENDED
        return LocalRun(
            run_id=self.run_id,
            attempt=self.number,
            state=LocalRunState.FROZEN if frozen else state,
            priority_class="P2",
            ranks=ranks,
            fuse_deadline_unix_ns=deadline if frozen else 0,
            process_count=sum(rank.alive for rank in ranks),
            rank_count=max((page.world_size for page in self.pages.ranks.values()), default=0),
            facts_json=json.dumps(self.log.facts | self.pages.facts()),
            backend=_SCHEDULERS[self.run_id.partition("-")[0]],
        )

    def _stat(self, page: Identity) -> ProcessStat | None:
        """Return the process that wrote a page; None when it is gone.

        It writes the page itself, so who is not there when its page is first seen will not come.
        """
        if page not in self._processes:
            inode = self.pages.inode(page.rank)
            inner = find_inner(ProcessId(page.pid, page.start_time_ticks), inode)
            self._processes[page] = inner.identity if inner else None
        known = self._processes[page]
        return find(known) if known is not None else None

    def _rank(self, rank: int) -> LocalRank:
        page = self.pages.ranks[rank]
        stat = self._stat(page)
        return LocalRank(
            rank=rank,
            local_rank=page.local_rank,
            pid=stat.pid if stat else page.pid,
            start_time_ticks=page.start_time_ticks,
            alive=stat is not None,
            state=stat.state if stat else "",
            exit=None if stat else RankExit(False),
            nice=stat.nice if stat else 0,
            hooked=True,
            step=self.pages.step(rank),
            process_count=int(stat is not None),
        )

    def is_forgotten(self) -> bool:
        """Return whether it ended so long ago that nobody asks any more."""
        return bool(self._ended) and time.monotonic() - self._ended > _KEPT_SECONDS

    def close(self) -> None:
        """Let go of the pages and of the output."""
        self.pages.close()
        self.log.close()


class Foreigners:
    """All such runs of this node, found by the pages of their hooks, else by their processes.

    Args:
        state: Our own folder; what a freeze needs lies in a folder of its run below it.
        node_name: As the scheduler calls this node; several may share a machine.
    """

    def __init__(self, state: Path, node_name: str) -> None:
        self._state = state
        self._node = node_name
        self._known: dict[str, Foreign] = {}
        self._looked = -_LOOK_SECONDS
        self._jobs = Jobs(node_name)
        self._ended: dict[Path, int] = {}  # attempts without a process, and their folders' times

    def get(self, run_id: str) -> Foreign | None:
        """Return the run, or None."""
        return self._known.get(run_id)

    def told(self, cap: Callable[[str], float]) -> list[Foreign]:
        """Return those of which there is more to tell than their scheduler does.

        Args:
            cap: Returns the power limit that was put on a run's GPUs; 0 for none.
        """
        return [
            known
            for known in self._known.values()
            if known.step_source or known.freezer.deadline_unix_ns() or cap(known.run_id)
        ]

    def seek(self, run_id: str) -> Foreign | None:
        """Return the run also when it has no hook, by its processes."""
        self._looked = -_LOOK_SECONDS
        self.refresh()
        if run_id not in self._known and _RUN.fullmatch(run_id):
            unhooked = Foreign(run_id, 1, None, self._state / run_id, self._node)
            if not unhooked.family():
                return None
            self._known[run_id] = unhooked
        return self._known.get(run_id)

    def refresh(self) -> None:
        """Take up runs that have come and let go of those that ended long ago."""
        now = time.monotonic()
        if not self._node or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        found: dict[str, tuple[int, Path]] = {}
        folders = list(self._folders())
        self._ended = {path: self._ended[path] for *_, path in folders if path in self._ended}
        for run_id, number, folder in folders:
            if run_id not in found or number > found[run_id][0]:
                found[run_id] = (number, folder)
        for run_id, (number, folder) in found.items():
            known = self._known.get(run_id)
            if known is None or known.number < number or known.page_folder is None:
                looked = time.time_ns()
                changed = _changed_unix_ns(folder)
                if self._ended.get(folder) == changed:
                    continue
                newer = Foreign(run_id, number, folder, self._state / run_id, self._node)
                newer.pages.refresh()
                if not newer.alive():
                    newer.close()  # ended before this agent began, or about to write its pages
                    # Else a page may come in the same tick; the time is that before the look, as
                    # the agent may have been kept waiting since.
                    if looked - changed > 1e9:
                        self._ended[folder] = changed
                    continue
                if known is not None:
                    known.close()
                self._known[run_id] = newer
        jobs = self._jobs.look()
        self._take_up(jobs)
        for run_id, known in list(self._known.items()):
            if known.page_folder is not None:
                gone = run_id not in found
            else:
                gone = known.is_leaving
                known.is_leaving = run_id not in jobs and not known.freezer.deadline_unix_ns()
                known.follow(jobs.get(run_id))
            if gone or known.is_forgotten():
                self._forget(known)

    def _take_up(self, jobs: Mapping[str, Job]) -> None:
        """Hold jobs without a hook too: they may print how far they are."""
        for run_id, job in jobs.items():
            known = self._known.get(run_id)
            if known is not None and known.number >= job.attempt:
                continue
            if known is not None:
                known.close()
            state = self._state / run_id
            self._known[run_id] = Foreign(run_id, job.attempt, None, state, self._node)

    def _forget(self, known: Foreign) -> None:
        del self._known[known.run_id]
        known.close()
        shutil.rmtree(self._state / known.run_id, ignore_errors=True)
        if known.page_folder is not None and known.is_forgotten():
            shutil.rmtree(known.page_folder, ignore_errors=True)
            for parent in (known.page_folder.parent, known.page_folder.parent.parent):
                with suppress(OSError):
                    parent.rmdir()

    def _folders(self) -> Iterator[tuple[str, int, Path]]:
        """Yield run, attempt and folder of every attempt that has pages for this node."""
        for owner in _names(placement.PAGE_ROOT):
            match = _OWNER.fullmatch(owner)
            if match is None:
                continue
            home = os.path.join(placement.PAGE_ROOT, owner)
            for run_id in _names(home):
                if _RUN.fullmatch(run_id) is None:
                    continue
                for attempt in _names(os.path.join(home, run_id)):
                    folder = os.path.join(home, run_id, attempt, self._node)
                    uid = int(match[1])
                    if attempt.isdecimal() and placement.is_own(folder, uid):
                        yield run_id, int(attempt), Path(folder)


def any_pages() -> bool:
    """Return whether any user's runs have pages on this machine that no agent has started."""
    return any(_OWNER.fullmatch(name) for name in _names(placement.PAGE_ROOT))


def _changed_unix_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _belongs(pid: int, run_id: str, node: str) -> bool:
    """Return whether a process is of this job on this node, by the environment it was given."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    if name in _LAUNCHERS:
        return False
    job = placement.find_job(environment_of(raw))
    return job is not None and (job.run_id, job.node) == (run_id, node)
