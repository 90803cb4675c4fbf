"""Choosing rows of the lists of nodes and of actions: `state!=live temp>85`, `by=eve verb=stop`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from colossus_tui.model.action import Action
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.match.expression import holds
from colossus_tui.model.match.fields import ACTION_FIELDS, NODE_FIELDS, Field
from colossus_tui.model.match.parser import read
from colossus_tui.model.node import Node

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Row(Generic[T]):
    row: T
    language: Language[T]

    def number(self, field: str) -> float | None:
        return self.language.numbers[field](self.row)

    def texts(self, field: str) -> Sequence[str]:
        return self.language.texts[field](self.row)

    def words(self) -> Sequence[str]:
        return self.language.words(self.row)


@dataclass(frozen=True, slots=True)
class Language(Generic[T]):
    """The filter language over one kind of rows.

    Attributes:
        texts: How each field's texts are read from a row.
        numbers: How each field's number is; None is not available.
        words: What a bare word may be a piece of.
    """

    fields: Mapping[str, Field]
    texts: Mapping[str, Callable[[T], Sequence[str]]]
    numbers: Mapping[str, Callable[[T], float | None]]
    words: Callable[[T], Sequence[str]]

    def parse(self, text: str) -> Callable[[T], bool]:
        """Return whether a row is meant; an empty text means every row.

        Raises:
            MatchError: A term is wrong.
        """
        expression = read(text, self.fields)
        return lambda row: holds(expression, _Row(row, self))


NODES: Language[Node] = Language(
    NODE_FIELDS,
    {
        "node": lambda node: (node.node_name,),
        "hall": lambda node: (node.hall,),
        "rack": lambda node: (node.rack,),
        "state": lambda node: (node.freshness.value,),
        "scheduler": lambda node: (node.scheduler_state,),
        "run": lambda node: node.run_ids or ("",),
    },
    {
        "gpus": lambda node: node.gpu_count,
        "power": lambda node: node.gpu_power_watts,
        "temp": lambda node: node.gpu_temperature_max_celsius,
        "util": lambda node: node.gpu_utilisation_ratio,
        "cpu": lambda node: node.cpu_utilisation_ratio,
        "mem": lambda node: node.memory_used_bytes,
        "load": lambda node: node.load_1m,
        "failing": lambda node: node.failing_sensor_count,
        "alerts": lambda node: len(node.alerts),
        "age": lambda node: node.age_seconds,
    },
    lambda node: (node.node_name, node.hall, node.rack, *node.run_ids),
)
ACTIONS: Language[Action] = Language(
    ACTION_FIELDS,
    {
        "verb": lambda action: (action.verb.value,),
        "state": lambda action: (action.state.value,),
        "run": lambda action: (action.run_id,),
        "node": lambda action: (action.parameters.node_name,),
        "by": lambda action: (action.operator,),
        "reason": lambda action: (action.reason,),
    },
    {"age": lambda action: (time.time_ns() - action.requested_time_unix_ns) / 1e9},
    lambda action: (action.subject, action.operator, action.reason, action.detail),
)
