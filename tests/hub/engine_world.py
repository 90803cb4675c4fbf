"""A world for the engine: real engine, gate and journal; scripted runs, backend, disk and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colossus_protos.v1 import action_pb2
from colossus_tui.hub.actions.drain import Drain
from colossus_tui.hub.actions.engine import Engine
from colossus_tui.hub.actions.gate import Gate
from colossus_tui.hub.actions.ports import HeldGpu, ObservedRun, PowerRange
from colossus_tui.hub.actions.rules import Rule
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    NodeOwner,
    Order,
    Outlook,
    RefusalError,
    Stage,
)
from colossus_tui.hub.database import Database
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.shed.loads import Loads
from colossus_tui.hub.shed.restoring import Restoring
from colossus_tui.hub.shed.shedding import Shedding
from colossus_tui.hub.shed.verbs import SiteVerbs
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    Event,
    PlaceKind,
    PowerPlace,
    PriorityClass,
    ReasonCode,
    Run,
    RunSpec,
    RunState,
    Verb,
)
from colossus_tui.model.action import TRANSITIONS
from colossus_tui.wire import from_proto

TIMEOUT_SECONDS = 100.0
WRITE_BEATS = 5  # turns of the event loop until a write is over
GUARDED = "guarded"  # a run that needs two operators
RUNS = ("a", "b", GUARDED)
START_NS = 1_700_000_000 * 10**9


def since(action: Action) -> int:
    """Return when an action was accepted, or asked for where it never was, in Unix ns."""
    accepted = [s.time_unix_ns for s in action.stages if s.state is ActionState.ACCEPTED]
    return (accepted or [action.requested_time_unix_ns])[0]


class Clock:
    """The time of engine and loop; it moves when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def time_ns(self) -> int:
        """Return the wall clock, as `time.time_ns` does; no two readings are the same."""
        self.now += 1e-6
        return START_NS + int(self.now * 1e9)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow that clock."""

    def __init__(self, clock: Clock) -> None:
        self._test_clock = clock
        super().__init__()

    def time(self) -> float:
        """Return the clock's time."""
        return self._test_clock.now


class Disk(Database):
    """The hub's database; it dies with the hub, at a write that the test chooses.

    Attributes:
        writes_left: Writes until the hub dies; None for many.
        log: Every state of an action that came to be on disk, in order.
    """

    def __init__(self, path: Path, log: list[Action]) -> None:
        super().__init__(path)
        self.fetch_now("pragma synchronous = off")  # only processes die here, not machines
        self.writes_left: int | None = None
        self.log = log

    @property
    def is_dead(self) -> bool:
        """Whether the hub has died at a write."""
        return self.writes_left == 0

    async def write(self, statement: str, rows: Any) -> None:
        """Write as the hub's database does, until the hub dies."""
        if self.is_dead:
            await asyncio.Event().wait()
        if self.writes_left is not None:
            self.writes_left -= 1
        # As with a thread: what is begun is done, also when who waits for it is cancelled.
        self._thread.submit(self._write, statement, kept := list(rows)).result()
        for row in kept:
            self._take(from_proto(Action, action_pb2.Action.FromString(row[4])))
        for _ in range(WRITE_BEATS):
            await asyncio.sleep(0)
        if self.is_dead:
            await asyncio.Event().wait()  # on disk, and nobody learns of it

    def _take(self, action: Action) -> None:
        before = next((a for a in reversed(self.log) if a.action_id == action.action_id), None)
        if before is not None:
            allowed = TRANSITIONS.get(before.state, frozenset())
            same = before.state is action.state and not before.state.is_end
            assert same or action.state in allowed, f"{before.state} to {action.state}"
            assert action.stages[: len(before.stages)] == before.stages, "a stage was lost"
        if action.state.is_end and action.reason_code is ReasonCode.TIMEOUT:
            waited = action.updated_time_unix_ns - since(action)
            assert waited >= TIMEOUT_SECONDS * 1e9, "given up before its time"
        times = [stage.time_unix_ns for stage in action.stages]
        assert times == sorted(times)
        assert action.updated_time_unix_ns == times[-1]
        self.log.append(action)


@dataclass
class World:
    """What outlives the hub: runs, and who carries out which action on them."""

    clock: Clock
    runs: dict[str, Run] = field(default_factory=dict)
    log: list[Action] = field(default_factory=list)
    script: dict[str, asyncio.Queue[Any]] = field(default_factory=dict)  # of what is executed now
    sealed: set[str] = field(default_factory=set)  # a stage has said that it cannot be taken back
    events: list[Event] = field(default_factory=list)
    linked: bool = True

    def __post_init__(self) -> None:
        for run_id in RUNS:
            self.runs[run_id] = Run(run_id, state=RunState.RUNNING, generation=1)

    def change(self, run_id: str, **changes: Any) -> None:
        """Change a run as its owner would; its generation grows."""
        run = self.runs[run_id]
        self.runs[run_id] = replace(run, generation=run.generation + 1, **changes)

    def on_disk(self) -> dict[str, Action]:
        """Return the newest state of every action that is on disk."""
        return {action.action_id: action for action in self.log}


class Registry:
    """The runs as the engine sees them."""

    def __init__(self, world: World) -> None:
        self._world = world
        for run_id, run in world.runs.items():  # a hub that starts knows of no action
            world.runs[run_id] = replace(run, open_action_id="")

    def get(self, run_id: str) -> Run | None:
        return self._world.runs.get(run_id)

    def observed(self, run_id: str) -> ObservedRun | None:
        linked = frozenset({"n1"}) if self._world.linked else frozenset()
        return ObservedRun(run_id, 1, (), 1, 0, 0, {"n1": 0.0}, linked, None, (), None)

    def held_gpus(self, run_id: str) -> tuple[HeldGpu, ...]:
        return ()

    def release_refusal(self, node_name: str) -> str:
        return ""

    def power_range(self, run_id: str) -> PowerRange:
        return PowerRange()

    async def wait_change(self, run_id: str, timeout_seconds: float) -> None:
        await asyncio.sleep(timeout_seconds)

    def register(self, spec: RunSpec, node_name: str) -> None:
        raise AssertionError("the scripted backend starts nothing")

    def set_open_action(self, run_id: str, action_id: str) -> None:
        run = self._world.runs.get(run_id)
        if run is not None:
            self._world.runs[run_id] = replace(run, open_action_id=action_id)

    def set_state(self, run_id: str, state: RunState, why: str) -> None:
        raise AssertionError("the scripted backend sets no state")

    def settle(self, run_id: str, why: str) -> None:
        return

    async def keep(self, run_id: str) -> None:
        for _ in range(WRITE_BEATS):
            await asyncio.sleep(0)

    def set_priority_class(self, run_id: str, priority_class: PriorityClass) -> None:
        raise AssertionError("the scripted backend sets no class")


class EventLog:
    """Where events go."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, event: Event) -> None:
        self._world.events.append(event)


class Backend:
    """Does what the test says, when it says so; checks what must be so before it begins."""

    name = "local"
    nodes: NodeOwner | None = None

    def __init__(self, world: World) -> None:
        self._world = world
        self._begun: set[str] = set()  # by this hub

    async def discover(self) -> None:
        await asyncio.Event().wait()

    def capabilities(self, run: Run) -> Mapping[Verb, str]:
        return {}

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        if run is not None and run.state is not RunState.RUNNING:
            raise RefusalError(ReasonCode.CONFLICT, f"the run is {run.state}")

    def preview(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> Outlook:
        return Outlook("happens")

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        return TIMEOUT_SECONDS

    async def execute(self, order: Order) -> str:
        world, identity = self._world, order.action.action_id
        kept = world.on_disk().get(identity)
        assert kept is not None, "it is carried out before it is on disk"
        assert not kept.state.is_end, "it is carried out after its end"
        assert identity not in self._begun, "it is carried out twice at once"
        self._begun.add(identity)
        script = world.script[identity] = asyncio.Queue()
        try:
            while True:
                match await script.get():
                    case Stage() as stage:
                        await order.report(stage)
                        if stage.can_cancel is False:
                            world.sealed.add(identity)
                    case Exception() as error:
                        raise error
                    case detail:
                        return str(detail)
        finally:
            if world.script.get(identity) is script:
                del world.script[identity]


FAILURES: Sequence[Exception] = (
    ActionFailedError(ReasonCode.BACKEND_FAILED, "did not happen"),
    ActionFailedError(ReasonCode.UNREACHABLE, "who knows", ActionState.UNCONFIRMED),
    ActionFailedError(ReasonCode.UNREACHABLE, "half of it", ActionState.PARTIAL),
    RefusalError(ReasonCode.UNSUPPORTED, "not with this run"),
    OSError("a surprise"),
)


def _nothing() -> PowerPlace:
    return PowerPlace(PlaceKind.SITE, "")


class Hub:
    """One hub of that world: engine, gate and journal on its disk."""

    def __init__(self, world: World, path: Path) -> None:
        self.disk = Disk(path, world.log)
        self.holding: dict[str, str] = {}
        registry, backends = Registry(world), {"local": Backend(world)}
        self.journal = Journal(self.disk)
        self._registry = registry
        gate = Gate(
            registry,
            backends,
            {},
            (Rule(runs=(GUARDED,), approvals=2),),
            self.holding,
            Drain(registry, backends, world.runs.values),
            self._site_verbs(registry),
        )
        self.engine = Engine(registry, EventLog(world), self.journal, gate, self.holding)
        self.task = asyncio.get_event_loop().create_task(self.engine.run())

    def _site_verbs(self, registry: Registry) -> SiteVerbs:
        """Return verbs on a site of which nothing is measured."""
        store = Store()
        loads = Loads(tuple, registry, store, RollUps(store, Nodes(store)), ShedConfig())
        shedding = Shedding("site", loads, ShedConfig(), self.journal, _nothing)
        return SiteVerbs(shedding, Restoring("site", registry, self.journal, _nothing), "site")

    async def drop(self) -> None:
        """Let go of everything without another write, as a crash does."""
        self.disk.writes_left = 0
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.sleep(0)
        self.disk.close()
