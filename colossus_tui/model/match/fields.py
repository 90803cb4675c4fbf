"""What a filter may be about: the fields of runs and of GPUs, with their units; data only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TypeAlias

from colossus_tui.model.action import ActionState
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.node import Freshness
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.run import RunState
from colossus_tui.model.verb import Verb


@dataclass(frozen=True, slots=True)
class TextField:
    """A field whose values are names; where some are `known`, there are no others."""

    name: str
    meaning: str
    known: tuple[str, ...] = ()
    is_ordered: bool = False  # its known names also go with < <= > >=
    is_distinct: bool = False  # every row has its own: patterns are pieces or beginnings only


@dataclass(frozen=True, slots=True)
class NumberField:
    """A field whose values are numbers, in the first of its units.

    `metric` is the agents' column that it reads, empty where the hub knows it itself; `bits` are
    the names that a mask also goes with.
    """

    name: str
    meaning: str
    units: Mapping[str, float] = field(default_factory=dict)  # how many of the first one is
    metric: str = ""
    is_ratio: bool = False
    bits: Mapping[str, int] = field(default_factory=dict)


Field: TypeAlias = TextField | NumberField

_CLASSES = tuple(member.value for member in PriorityClass)
_RATIO = {"%": 0.01}
_CELSIUS = {"C": 1.0}
_WATTS = {"W": 1.0, "kW": 1e3}
_MEGAHERTZ = {"MHz": 1.0, "GHz": 1e3}
_SECONDS = {"s": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0}
_DAYS = {"d": 86_400.0}
_BYTES = {
    "B": 1.0,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
}
# As in model/node.py, those with one cause together.
_REASONS = {
    "idle": 0x1,
    "clocks": 0x2,
    "power": 0x4 | 0x80,
    "slowdown": 0x8,
    "sync": 0x10,
    "thermal": 0x20 | 0x40,
    "display": 0x100,
}


def _table(fields: Iterable[Field]) -> dict[str, Field]:
    return {one.name: one for one in fields}


RUN_FIELDS: Mapping[str, Field] = _table(
    (
        TextField("class", "priority class", _CLASSES, is_ordered=True),
        TextField("state", "what it is doing", tuple(member.value for member in RunState)),
        TextField("backend", "who owns its processes"),
        TextField("run", "its name"),
        TextField("label", "its label"),
        TextField("node", "one of its nodes"),
        TextField("user", "whose job it is"),
        TextField("queue", "the queue of its job"),
        NumberField("gpus", "GPUs it holds"),
        NumberField("nodes", "nodes it is on"),
        NumberField("ranks", "ranks it has"),
        NumberField("step", "last step"),
        NumberField("loss", "last loss"),
        NumberField("cost", "what it costs an hour, in the hub's currency"),
        NumberField("risk", "work at risk, hours"),
        NumberField("done", "share of its target", _RATIO, is_ratio=True),
        NumberField("late", "expected end after the planned one", _SECONDS | _DAYS),
        NumberField("ettr", "share of its time that counted", _RATIO, is_ratio=True),
        NumberField("mfu", "share of its GPUs' peak", _RATIO, is_ratio=True),
        NumberField("alerts", "alerts on it"),
    )
)
NODE_FIELDS: Mapping[str, Field] = _table(
    (
        TextField("node", "its name", is_distinct=True),
        TextField("hall", "its hall"),
        TextField("rack", "its rack"),
        TextField("state", "how fresh it is", tuple(member.value for member in Freshness)),
        TextField("scheduler", "what its scheduler says of it"),
        TextField("run", "a run on it"),
        NumberField("gpus", "GPUs it has"),
        NumberField("power", "power its GPUs draw", _WATTS),
        NumberField("temp", "its hottest GPU", _CELSIUS),
        NumberField("util", "its GPUs' utilisation", _RATIO, is_ratio=True),
        NumberField("cpu", "its CPUs' utilisation", _RATIO, is_ratio=True),
        NumberField("mem", "memory used", _BYTES),
        NumberField("load", "its load"),
        NumberField("failing", "sensors without a value"),
        NumberField("alerts", "alerts on it"),
        NumberField("age", "age of its figures", _SECONDS),
    )
)
ACTION_FIELDS: Mapping[str, Field] = _table(
    (
        TextField("verb", "what is done", tuple(member.value for member in Verb)),
        TextField("state", "how far it came", tuple(member.value for member in ActionState)),
        TextField("run", "the run it is about"),
        TextField("node", "the node it is about"),
        TextField("by", "who asked for it"),
        TextField("reason", "why"),
        NumberField("age", "time since it was asked for", _SECONDS),
    )
)
GPU_FIELDS: Mapping[str, Field] = _table(
    (
        TextField("run", "the run that holds it"),
        TextField("hall", "its hall"),
        TextField("rack", "its rack"),
        TextField("node", "its node"),
        TextField("uuid", "its UUID", is_distinct=True),
        TextField("product", "its product name"),
        TextField("class", "priority class of its run", _CLASSES, is_ordered=True),
        TextField("health", "how fresh its node is", tuple(member.value for member in Freshness)),
        NumberField("temp", "temperature", _CELSIUS, "gpu_temperature"),
        NumberField("memtemp", "temperature of its memory", _CELSIUS, "memory_temperature"),
        NumberField("power", "power it draws", _WATTS, "power"),
        NumberField("util", "utilisation", _RATIO, "gpu_utilisation", is_ratio=True),
        NumberField("tensor", "tensor cores active", _RATIO, "tensor_active", is_ratio=True),
        NumberField("sm", "SMs active", _RATIO, "sm_active", is_ratio=True),
        NumberField("dram", "memory interface active", _RATIO, "dram_active", is_ratio=True),
        NumberField("clock", "SM clock", _MEGAHERTZ, "sm_clock"),
        NumberField("mem", "memory used", _BYTES, "memory_used"),
        NumberField("xid", "last XID", metric="xid"),
        NumberField("throttle", "why it throttles", metric="clock_event_reasons", bits=_REASONS),
        NumberField("age", "age of its figures", _SECONDS),
        NumberField("rank", "the rank on it"),
        NumberField("gpu", "its index on the node"),
    )
)
