"""What every backend offers; a new scheduler is one new folder behind this."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    Figure,
    Job,
    PriorityClass,
    RankResult,
    ReasonCode,
    Run,
    RunState,
    Verb,
)


class RefusalError(Exception):
    """An action cannot be done; nothing was tried."""

    def __init__(self, code: ReasonCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class ActionFailedError(Exception):
    """An action was tried and surely did not happen, or only in part."""

    def __init__(
        self, code: ReasonCode, detail: str, state: ActionState = ActionState.FAILED
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.state = state


@dataclass(frozen=True, slots=True)
class Stage:
    """What a backend has to say while it carries an action out; None leaves a part as it is.

    `can_cancel` goes to False just before the first thing that cannot be taken back.
    """

    detail: str
    agreed_step: int | None = None
    ranks: tuple[RankResult, ...] | None = None
    rank_count: int | None = None
    confirmed_rank_count: int | None = None
    node_count: int | None = None
    confirmed_node_count: int | None = None
    missing_nodes: tuple[str, ...] | None = None
    can_cancel: bool | None = None


Report = Callable[[Stage], Awaitable[None]]  # returns once the stage is on disk


class Part(Protocol):
    """Carries out a part of an order, and yields that action each time it changes."""

    def __call__(
        self, verb: Verb, run_id: str, parameters: ActionParameters | None = None
    ) -> AsyncGenerator[Action, None]: ...


def _no_part(
    verb: Verb, run_id: str, parameters: ActionParameters | None = None
) -> AsyncGenerator[Action, None]:
    raise AssertionError(f"{verb} of {run_id}: this order has no parts")


def part_id(whole_id: str, verb: Verb, run_id: str, parameters: ActionParameters) -> str:
    """Return the identity of a part of an action: the same part is the same action."""
    limit = f"/{parameters.cap_watts:g}" if verb is Verb.CAP else ""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{whole_id}/{verb}/{run_id}{limit}"))


@dataclass(frozen=True, slots=True)
class Order:
    """One action to carry out.

    Attributes:
        leaving: Set when the hub ends: what was begun stays as it is for the next hub to finish.
        part: Carries out a verb on one run as a part of this order, for the same operator; yields
            that action each time it changes. The same part is done once, also after a crash.
        begun: Runs that parts were begun on before a crash.
    """

    action: Action
    report: Report
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    part: Part = _no_part
    begun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What only the backend can say of an action before it is done."""

    effect: str  # one sentence
    figures: tuple[Figure, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a scheduler holds one of its nodes; texts are its own."""

    state: str  # such as "IDLE+DRAIN"
    reason: str = ""
    is_cordoned: bool = False  # gets no new work
    is_busy: bool = False  # has work now


@dataclass(frozen=True, slots=True)
class Sighting:
    """One run as its scheduler says it is now."""

    run_id: str
    job: Job
    state: RunState
    why: str
    attempt: int
    priority_class: PriorityClass | None  # None: the scheduler does not tell
    started_unix_ns: int
    command: str


class RunSightings(Protocol):
    """Where a backend tells what it found; the hub's registry."""

    def take_sightings(self, backend: str, sightings: Mapping[str, Sighting]) -> None:
        """Take the scheduler's word on all of its runs; those it does not name are gone."""

    def lose_sight(self, backend: str, why: str) -> None:
        """Note that the scheduler does not answer; its runs keep what they had, growing older."""


class NodeOwner(Protocol):
    """The part of a backend that can keep new work from a node."""

    def standing(self, node_name: str) -> Standing | None:
        """Return how it last held the node; None for one that is not its own."""

    def cordoned(self) -> Mapping[str, Standing]:
        """Return by name the nodes that last got no new work; not made anew for each question."""

    async def read(self, node_name: str) -> Standing:
        """Return how it holds the node now.

        Raises:
            ActionFailedError: It does not say.
        """

    async def cordon(self, node_name: str, reason: str) -> None:
        """Keep new work from the node; what runs there goes on.

        Raises:
            ActionFailedError: It was denied, or failed.
        """

    async def uncordon(self, node_name: str) -> None:
        """Give the node back to new work.

        Raises:
            ActionFailedError: It was denied, or failed.
        """


class Backend(Protocol):
    """Owner of runs' processes: discovers, says what it can, previews, executes, observes.

    Attributes:
        name: What its runs call it.
        nodes: Keeps new work from its nodes; None where nobody can.
    """

    name: str

    @property
    def nodes(self) -> NodeOwner | None: ...

    async def discover(self) -> None:
        """Keep the registry in step with what the owner of the processes sees, until cancelled."""

    def capabilities(self, run: Run) -> Mapping[Verb, str]:
        """Return for each verb that it could never do with this run why, and the remedy."""

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run's state lets this be done now.

        Raises:
            RefusalError: It does not; why.
        """

    def preview(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> Outlook:
        """Return what will happen, and the figures that only the backend knows."""

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was.

        Safe to begin anew for the same action after a crash. Cancelled, it takes back what it can.

        Raises:
            ActionFailedError: It did not happen.
        """
