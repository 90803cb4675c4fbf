"""What the product talks about, as immutable values; standard library only.

Field names equal those of the contracts, so `colossus_tui.wire` converts by name.
A field that may be None is None when the value is not available, never 0.
"""

from colossus_tui.model.action import (
    END_STATES,
    Action,
    ActionParameters,
    ActionStage,
    ActionState,
    Confirmation,
    Figure,
    Preflight,
    RankResult,
    ReasonCode,
    ResumePoint,
    RunSpec,
    Verb,
)
from colossus_tui.model.event import Alert, Event, Severity
from colossus_tui.model.node import (
    CollectorStatus,
    Freshness,
    Gpu,
    HostInventory,
    MetricValue,
    MigInstance,
    MissingReason,
    Node,
    NodeDetail,
    ProcessSample,
    SensorStatus,
    clock_event_reasons,
)
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.run import (
    Badput,
    Checkpoint,
    Rank,
    RankExit,
    Run,
    RunDetail,
    RunState,
    Series,
    Spread,
)
from colossus_tui.model.view import Header, Site, View

__all__ = [
    "END_STATES",
    "Action",
    "ActionParameters",
    "ActionStage",
    "ActionState",
    "Alert",
    "Badput",
    "Checkpoint",
    "CollectorStatus",
    "Confirmation",
    "Event",
    "Figure",
    "Freshness",
    "Gpu",
    "Header",
    "HostInventory",
    "MetricValue",
    "MigInstance",
    "MissingReason",
    "Node",
    "NodeDetail",
    "Preflight",
    "PriorityClass",
    "ProcessSample",
    "Rank",
    "RankExit",
    "RankResult",
    "ReasonCode",
    "ResumePoint",
    "Run",
    "RunDetail",
    "RunSpec",
    "RunState",
    "SensorStatus",
    "Series",
    "Severity",
    "Site",
    "Spread",
    "Verb",
    "View",
    "clock_event_reasons",
]
