"""Actions, preflights and the states an action may pass through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.shed import Shed, ShedPlan
from colossus_tui.model.verb import Verb


class ActionState(StrEnum):
    """How far an action came; see TRANSITIONS."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    DISPATCHED = "dispatched"
    OBSERVED = "observed"
    PARTIAL = "partial"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"

    @property
    def is_end(self) -> bool:
        """Whether the action has ended."""
        return self in END_STATES


END_STATES = frozenset(
    {
        ActionState.OBSERVED,
        ActionState.PARTIAL,
        ActionState.FAILED,
        ActionState.UNCONFIRMED,
        ActionState.REFUSED,
    }
)

TRANSITIONS: Mapping[ActionState, frozenset[ActionState]] = MappingProxyType(
    {
        # It stays requested while it waits for another operator's approval.
        ActionState.REQUESTED: frozenset({ActionState.ACCEPTED, ActionState.REFUSED}),
        ActionState.ACCEPTED: frozenset(
            {ActionState.DISPATCHED, ActionState.FAILED, ActionState.UNCONFIRMED}
        ),
        ActionState.DISPATCHED: frozenset(
            {
                ActionState.OBSERVED,
                ActionState.PARTIAL,
                ActionState.FAILED,
                ActionState.UNCONFIRMED,
            }
        ),
    }
)


class ReasonCode(StrEnum):
    """Why an action was refused or failed, for programs."""

    POLICY = "policy"
    UNSUPPORTED = "unsupported"
    CONFLICT = "conflict"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    BACKEND_DENIED = "backend_denied"
    BACKEND_FAILED = "backend_failed"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class Confirmation(StrEnum):
    """What the operator must do before the hub takes the action."""

    NONE = "none"
    YES_NO = "yes_no"
    TYPE_NAME = "type_name"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """How to start a run on the local backend."""

    run_id: str
    argv: tuple[str, ...] = ()
    working_directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    priority_class: PriorityClass = PriorityClass.P2
    rank_count: int = 1
    label: str = ""
    watchdog_seconds: float = 0.0
    grace_seconds: float = 600.0
    start_id: str = ""


@dataclass(frozen=True, slots=True)
class ActionParameters:
    """What a verb needs beyond the run; 0 or None means the verb's default."""

    priority_class: PriorityClass | None = None
    fuse_seconds: float = 0.0
    force: bool = False
    timeout_seconds: float = 0.0
    spec: RunSpec | None = None
    node_name: str = ""
    grace_seconds: float = 0.0
    release_gpus: bool = False
    cap_watts: float = 0.0
    shed: Shed | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a preflight, with where it comes from."""

    name: str
    label: str
    value: float | None = None
    unit: str = ""
    basis: str = ""


@dataclass(frozen=True, slots=True)
class RunOutlook:
    """What a drain would do with one run on the node; `detail` is untrusted text."""

    run_id: str
    can_move: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What an action would cost and meet, before it is done."""

    verb: Verb
    run_id: str
    generation: int = 0
    allowed: bool = False
    refusal: ReasonCode | None = None
    refusal_detail: str = ""
    effect: str = ""
    figures: tuple[Figure, ...] = ()
    warnings: tuple[str, ...] = ()
    confirmation: Confirmation = Confirmation.YES_NO
    time_unix_ns: int = 0
    approvals_needed: int = 0
    node_name: str = ""
    runs: tuple[RunOutlook, ...] = ()
    plan: ShedPlan | None = None

    @property
    def subject(self) -> str:
        """Name of the run, node or site; what an operator types to confirm."""
        return self.run_id or self.node_name or (self.plan.site_name if self.plan else "")


@dataclass(frozen=True, slots=True)
class BulkPreflight:
    """What one verb on several runs would cost; the figures are sums over those that allow it."""

    verb: Verb
    preflights: tuple[Preflight, ...] = ()
    figures: tuple[Figure, ...] = ()
    allowed_count: int = 0
    confirmation: Confirmation = Confirmation.YES_NO


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a rank takes up its work."""

    rank: int
    step: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class RankResult:
    """What one rank said to a directive."""

    rank: int
    ok: bool = False
    detail: str = ""
    step: int = -1
    nice: int = 0


@dataclass(frozen=True, slots=True)
class ActionStage:
    """One entry in an action's history."""

    time_unix_ns: int
    state: ActionState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One verb on one run, a node or the site by one operator."""

    action_id: str
    verb: Verb
    run_id: str
    state: ActionState = ActionState.REQUESTED
    reason_code: ReasonCode | None = None
    detail: str = ""
    operator: str = ""
    reason: str = ""
    requested_time_unix_ns: int = 0
    updated_time_unix_ns: int = 0
    agreed_step: int = -1
    stages: tuple[ActionStage, ...] = ()
    ranks: tuple[RankResult, ...] = ()
    confirmed_node_count: int = 0
    node_count: int = 0
    parameters: ActionParameters = field(default_factory=ActionParameters)
    attempt: int = 0
    approvals: tuple[str, ...] = ()
    approvals_needed: int = 0
    can_cancel: bool = False
    missing_nodes: tuple[str, ...] = ()
    confirmed_rank_count: int = 0
    rank_count: int = 0
    parent_action_id: str = ""

    @property
    def subject(self) -> str:
        """Name of the run or node that it is about, or the site."""
        return "the site" if self.verb.is_on_site else self.run_id or self.parameters.node_name


def sheds_in_force(actions: Iterable[Action]) -> list[Action]:
    """Return the sheds among these that did something and were not undone, the newest first."""
    known = list(actions)
    undone = {
        one.parameters.shed.shed_action_id
        for one in known
        if one.verb is Verb.RESTORE
        and one.parameters.shed is not None
        and one.state is ActionState.OBSERVED
    }
    found = [
        one
        for one in known
        if one.verb is Verb.SHED
        and one.state in (ActionState.OBSERVED, ActionState.PARTIAL, ActionState.UNCONFIRMED)
        and one.action_id not in undone
    ]
    return sorted(found, key=lambda one: -one.requested_time_unix_ns)
