"""What the matrix needs of a backend: runs in the state that a verb needs, and the bare facts.

A backend joins the matrix with one subclass of `Stand` in a module of its own and a line in
conftest.py.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from colossus_tui.client import Client, ColossusError, DeadlineError, RefusedError
from colossus_tui.model import Action, ActionParameters, PriorityClass, Run, RunDetail
from tests.e2e.product import Product
from tests.support import until

FUSE_SECONDS = 60.0
END_SECONDS = 60.0
# A verb, or two of them where a verb does two different things.
VERBS = {
    "checkpoint": "checkpoint",
    "pause": "pause",
    "freeze": "freeze",
    "resume": "resume",
    "thaw": "resume",
    "reprioritize": "reprioritize",
    "stop": "stop",
    "start": "start",
    "cap": "cap",
}
MAKES = {"pause": "paused", "freeze": "frozen", "stop": "stopped"}  # else running


@dataclass
class Facts:
    """What is so of a run, as far as doing something twice would show in it."""

    attempt: int
    saved_steps: frozenset[int]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Cell:
    """One verb on one run."""

    case: str
    run_id: str
    before: Facts
    parameters: ActionParameters
    action_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: Action | None = None
    rank_killed: bool = False


class Stand:
    """A site of one backend, with a run for every case.

    Attributes:
        stride: Every how many journal points the hub is killed unless --thorough is given.
        needs: State that a case's run is brought to, where not running.
        rest: State from which a run without the hook is resumed.
        absent: Cases that this backend does not have, and why.
        without_a_rank: How each case may end when a rank was killed in it, where not observed.
    """

    name: ClassVar[str] = ""
    rest: ClassVar[str] = ""
    stride: ClassVar[int] = 3
    needs: ClassVar[dict[str, str]] = {"resume": "paused", "thaw": "frozen", "start": ""}
    absent: ClassVar[dict[str, str]] = {}
    without_a_rank: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, product: Product) -> None:
        self.product = product
        self.client = Client(product.address, operator="alice")
        self.runs: dict[str, str] = {}
        self.armed = product.folder / "die.json"
        self.pool = ThreadPoolExecutor(16)

    def close(self) -> None:
        """Let go of the client; whoever made the product ends it."""
        self.pool.shutdown(cancel_futures=True)
        self.client.close()

    # --- what each backend gives -----------------------------------------------------------

    def fresh(self, case: str, *, hooked: bool) -> str:
        """Return a new run that runs; for "start" a name that is free."""
        raise NotImplementedError

    def start_hub(self) -> None:
        """Start the hub anew, so that it may die where `armed` says."""
        raise NotImplementedError

    def agents(self) -> Iterable[int]:
        """Return the pids of the agents."""
        raise NotImplementedError

    def restart_agents(self) -> None:
        """Kill every agent and start another in its place."""
        raise NotImplementedError

    def processes(self, run_id: str) -> list[int]:
        """Return every process of a run, as the kernel tells it."""
        raise NotImplementedError

    def frozen_groups(self) -> list[str]:
        """Return the control groups of runs that are frozen."""
        return []

    def facts(self, case: str, run_id: str) -> Facts:
        """Return what is so of a run now."""
        raise NotImplementedError

    def effect(self, cell: Cell) -> str:
        """Return what of an observed action is not as its verb promises; "" when all is."""
        raise NotImplementedError

    def next_verb(self, run: Run) -> str:
        """Return a verb that this run must obey now; "" where none is left."""
        raise NotImplementedError

    # --- runs and their states -------------------------------------------------------------

    def cases(self) -> list[str]:
        """Return what this backend can do."""
        return [case for case in VERBS if case not in self.absent]

    def run(self, run_id: str) -> Run:
        """Return a run as consoles see it."""
        return self.client.run(run_id).run

    def detail(self, run_id: str) -> RunDetail:
        """Return a run down to its ranks."""
        return self.client.run(run_id)

    def state(self, run_id: str) -> str:
        """Return a run's state; "" for a run that nobody knows."""
        runs = {run.run_id: run for run in self.client.runs()}
        return runs[run_id].state if run_id in runs else ""

    def each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Do it with all at the same time."""
        return list(self.pool.map(work, items))

    def prepare(self, cases: Iterable[str] | None = None, *, hooked: bool = True) -> list[Cell]:
        """Return a cell for every case, its run in the state that the verb needs."""
        until(self._is_linked, 40, message="all agents, after a hub's death, to be linked")
        return self.each(
            lambda case: self._prepare(case, hooked=hooked),
            self.cases() if cases is None else cases,
        )

    def _is_linked(self) -> bool:
        linked = [node for node in self.client.nodes() if node.linked]
        return len(linked) == len(list(self.agents()))

    def _prepare(self, case: str, *, hooked: bool) -> Cell:
        key = case if hooked else f"{case}-plain"
        run_id = self.runs.get(key, "")
        if not run_id or case == "start" or not self.next_verb(self.run(run_id)):
            run_id = self.runs[key] = self.fresh(case, hooked=hooked)
        needed = self.needs.get(case, "running")
        self.bring(run_id, self.rest if needed == "paused" and not hooked else needed)
        return Cell(case, run_id, self.facts(case, run_id), self.parameters(case, run_id))

    def bring(self, run_id: str, wanted: str) -> None:
        """Bring a run from whatever state to the wanted one."""
        if not wanted:
            return
        try:
            until(lambda: self._is_calm(run_id), 40, message=f"{run_id} to be calm")
        except AssertionError as error:
            nodes = [(node.node_name, node.linked) for node in self.client.nodes()]
            actions = self.client.actions(run_id=run_id, limit=2)
            ranks = [(pid, letter(pid)) for pid in self.processes(run_id)]
            error.add_note(f"{self.detail(run_id)}\n{actions}\n{nodes}\nprocesses {ranks}")
            raise
        if self.state(run_id) == wanted:
            return
        if self.state(run_id) != "running":
            self.act("resume", run_id)
            self.wait_state(run_id, "running")
        if wanted == "frozen":
            self.act("freeze", run_id, ActionParameters(fuse_seconds=FUSE_SECONDS))
        elif wanted != "running":
            self.act({"paused": "pause", "stopped": "stop"}[wanted], run_id)
        self.wait_state(run_id, wanted)

    def _is_calm(self, run_id: str) -> bool:
        run = self.run(run_id)
        return run.state not in ("starting", "resuming", "pausing", "stopping") and (
            not run.open_action_id
        )

    def wait_state(self, run_id: str, state: str) -> None:
        """Wait until the hub shows a run so."""
        until(lambda: self.state(run_id) == state, 30, message=f"{run_id} to be {state}")

    def act(self, verb: str, run_id: str, parameters: ActionParameters | None = None) -> Action:
        """Do something that must work."""
        action = self.client.act(verb, run_id, parameters, wait=True, timeout=END_SECONDS)
        assert action.state == "observed", f"{verb} of {run_id}: {action.state}, {action.detail}"
        return action

    def parameters(self, case: str, run_id: str) -> ActionParameters:
        """Return what a case's verb is asked with."""
        del run_id
        match case:
            case "freeze":
                return ActionParameters(fuse_seconds=FUSE_SECONDS)
            case "reprioritize":
                return ActionParameters(priority_class=PriorityClass.P4)
            case _:
                return ActionParameters()

    # --- acting ----------------------------------------------------------------------------

    def submit(self, cell: Cell) -> Action | None:
        """Ask for it; None when the hub did not live to answer."""
        try:
            cell.answer = self.client.submit(
                VERBS[cell.case], cell.run_id, cell.parameters, action_id=cell.action_id
            )
        except ColossusError:
            return None
        return cell.answer

    def end(self, cell: Cell) -> Action:
        """Return the action once it has ended."""
        try:
            return self.client.wait(cell.action_id, END_SECONDS)
        except DeadlineError:
            (action,) = (a for a in self.client.actions() if a.action_id == cell.action_id)
            raise AssertionError(f"{cell.case} has no end: {action.stages}") from None

    def dispatched(self, cell: Cell) -> None:
        """Wait until the backend has begun with it."""
        for action in self.client.follow(cell.action_id):
            if action.state == "dispatched" or action.state.is_end:
                return

    # --- killing ---------------------------------------------------------------------------

    def signal_agents(self, number: int) -> None:
        """Send a signal to every agent."""
        for pid in self.agents():
            os.kill(pid, number)

    def kill_rank(self, cell: Cell) -> None:
        """Kill rank 0 of a run that has one."""
        cell.rank_killed = True
        if self.state(cell.run_id):
            for rank in self.detail(cell.run_id).ranks:
                if rank.rank == 0 and rank.alive:
                    with suppress(ProcessLookupError):  # it went before the hub heard of it
                        os.kill(rank.pid, signal.SIGKILL)

    def kill_new_rank(self, cell: Cell) -> None:
        """Kill a rank of the attempt that an action has begun, as soon as there is one."""
        pids = until(lambda: self.processes(cell.run_id), 30, message="a rank")
        with suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)

    def stall(self) -> None:
        """Let nobody carry out anything."""
        self.signal_agents(signal.SIGSTOP)

    def go_on(self) -> None:
        """End what `stall` began."""
        self.signal_agents(signal.SIGCONT)

    def hurry(self, cell: Cell) -> None:
        """Give a cell's action very little time."""
        cell.parameters = replace(cell.parameters, timeout_seconds=2.0)

    def arm(self, points: Mapping[str, int]) -> None:
        """Let the hub die once each action has come to its point of the journal."""
        partial = self.armed.with_suffix(".part")
        partial.write_text(json.dumps(points))
        partial.rename(self.armed)

    def revive_hub(self) -> None:
        """Wait for the hub's death, and start it again."""
        hub = self.product.hub
        assert hub is not None
        until(lambda: hub.poll() is not None, 60, message="the hub to die")
        self.armed.unlink(missing_ok=True)
        self.start_hub()
        self.client.close()
        self.client = Client(self.product.address, operator="alice")

    # --- judging ---------------------------------------------------------------------------

    def problems(self, cell: Cell, allowed: Iterable[str] = ("observed",)) -> list[str]:
        """Return what is wrong with a cell, and whether its run obeys a next action."""
        try:
            action = self.end(cell)
        except AssertionError as error:
            return [str(error)]
        found = []
        if action.state not in allowed:
            found.append(f"it is {action.state}: {action.detail}")
        open_ids = {a.action_id for a in self.client.actions(run_id=cell.run_id, open_only=True)}
        if open_ids or (self.state(cell.run_id) and self.run(cell.run_id).open_action_id):
            found.append(f"actions still hold the run: {open_ids}")
        if action.state == "observed":
            try:
                until(lambda: not self.effect(cell), 10)
            except AssertionError:
                found.append(self.effect(cell))
        found += self._stopped(cell)
        if not found:
            try:
                self.obeys(cell)
            except (AssertionError, ColossusError) as error:
                told = [
                    f"{one.verb}: {[f'{stage.state}: {stage.detail}' for stage in one.stages]}"
                    for one in self.client.actions(run_id=cell.run_id, limit=2)
                ]
                found.append(f"what comes next: {error}; newest: {told}")
        stages = [f"{stage.state}: {stage.detail}" for stage in action.stages]
        return [f"{cell.case} of {cell.run_id}: {text} {stages}" for text in found]

    def _stopped(self, cell: Cell) -> list[str]:
        """Return processes that are left stopped though their run is not frozen."""

        def stopped() -> list[int]:
            return [pid for pid in self.processes(cell.run_id) if letter(pid) in ("T", "t")]

        if self.state(cell.run_id) == "frozen":
            return []

        def groups() -> list[str]:
            return [group for group in self.frozen_groups() if cell.run_id in group]

        try:
            until(lambda: not stopped() and not groups(), 10)
        except AssertionError:
            return [f"left stopped: {stopped()}, left frozen: {groups()}"]
        return []

    def obeys(self, cell: Cell) -> None:
        """See that the run does what it is told next, once its agents are back and it is calm."""
        if self.state(cell.run_id) and self.next_verb(self.run(cell.run_id)):
            until(lambda: self._obeyed(cell.run_id), 45, message="it to obey")

    def _obeyed(self, run_id: str) -> bool:
        verb = self.next_verb(self.run(run_id))
        if not verb:
            return True  # it has ended since
        if not self.client.preview(verb, run_id).allowed:
            return False
        with suppress(RefusedError):
            return self.client.act(verb, run_id, wait=True, timeout=END_SECONDS).state == "observed"
        return False


def letter(pid: int) -> str:
    """Return the kernel's letter for a process; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def with_environment(mark: str) -> list[int]:
    """Return the processes whose environment holds this entry."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                entries = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark.encode() in entries and letter(int(name)) not in ("", "Z"):
                found.append(int(name))
    return found


def whole_steps(folder: Path, ranks: int) -> frozenset[int]:
    """Return the steps of which every rank's part is on disk."""
    parts = [
        {int(path.name.split("-")[1]) for path in folder.glob(f"step-*-rank-{rank}.npz")}
        for rank in range(ranks)
    ]
    return frozenset(set.intersection(*parts)) if parts else frozenset()
