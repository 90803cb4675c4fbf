"""The site as a whole: roll-ups of places and runs, the map of its GPUs, named limits."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any

from colossus_tui.model.dataclass import dataclass


class PlaceKind(StrEnum):
    """What a roll-up covers."""

    SITE = "site"
    HALL = "hall"
    RACK = "rack"
    RUN = "run"
    FEED = "feed"  # has power, and no roll-up


@dataclass(frozen=True, slots=True)
class Extreme:
    """One GPU at the worse end of a metric; rank -1 is not known."""

    node_name: str
    gpu_index: int
    value: float
    run_id: str = ""
    rank: int = -1
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RollUp:
    """One metric over the GPUs of a place or a run; figures mean nothing where none reports."""

    metric: str
    unit: str
    count: int = 0
    reporting_count: int = 0
    sum: float = 0.0
    min: float = 0.0
    median: float = 0.0
    max: float = 0.0
    p99: float = 0.0
    age_seconds: float = 0.0
    worst: tuple[Extreme, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A place or a run with its roll-ups."""

    kind: PlaceKind
    name: str
    hall: str = ""
    node_count: int = 0
    reporting_node_count: int = 0
    gpu_count: int = 0
    roll_ups: tuple[RollUp, ...] = ()

    def roll_up(self, metric: str) -> RollUp | None:
        """Return the roll-up of one metric, or None where there is none."""
        return next((one for one in self.roll_ups if one.metric == metric), None)


@dataclass(frozen=True, slots=True)
class NamedLimit:
    """A limit of power with its name, and what is used of it; no hall or feed is the site."""

    name: str
    hall: str = ""
    limit_watts: float = 0.0
    power_watts: float | None = None
    reporting_gpu_count: int = 0
    gpu_count: int = 0
    feed: str = ""
    basis: str = ""

    @property
    def of_part(self) -> str:
        """The part of the site that it is of, in words; "" for the whole site."""
        return f"hall {self.hall}" if self.hall else f"feed {self.feed}" if self.feed else ""


# What a map can be of, beside the metrics of the GPUs: their unit.
MAP_EXTRAS = {"age": "s", "health": ""}
MAP_METRICS = (
    "power",
    "gpu_temperature",
    "gpu_utilisation",
    "tensor_active",
    "sm_clock",
    "memory_used",
    "age",
    "health",
)


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Which map: of the site its cells are racks, of a hall nodes, of a rack GPUs."""

    hall: str = ""
    rack: str = ""
    metric: str = "power"
    where: str = ""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Where the cells of a map are; changes only when nodes come or go."""

    revision: int = 0
    group_names: tuple[str, ...] = ()
    group_sizes: tuple[int, ...] = ()
    cell_names: tuple[str, ...] = ()
    gpu_counts: tuple[int, ...] = ()


FAILING_STATE = 8  # added to a cell's state where a sensor fails


@dataclass(frozen=True, slots=True)
class SiteMap:
    """A map as it is now, one number for each cell of the layout.

    Attributes:
        values: Little-endian float32; NaN is not available.
        states: int8: 1 live, 2 grey, 3 stale, 4 lost; FAILING_STATE more where a sensor fails.
        matching_counts: Little-endian int32: GPUs that the filter meets; empty without a filter.
        roll_up: Over what the map shows, or what the filter meets of it; None for age and health.
        where: The filter that it was drawn with.
    """

    hall: str = ""
    rack: str = ""
    metric: str = ""
    unit: str = ""
    layout: MapLayout | None = None
    values: bytes = b""
    states: bytes = b""
    matching_counts: bytes = b""
    matching_gpu_count: int = 0
    where_error: str = ""
    roll_up: RollUp | None = None
    where: str = ""

    def cell_values(self) -> Sequence[float]:
        """Return the cells' values."""
        return _numbers("f", self.values)

    def cell_matches(self) -> Sequence[int]:
        """Return how many GPUs of each cell the filter meets; empty without a filter."""
        return _numbers("i", self.matching_counts)


def _numbers(kind: str, data: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """One GPU that a filter meets; rank -1 is not known."""

    node_name: str
    gpu_index: int
    gpu_uuid: str = ""
    hall: str = ""
    rack: str = ""
    run_id: str = ""
    rank: int = -1
    age_seconds: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The first GPUs that a filter meets, and how many there are."""

    total_count: int
    gpus: tuple[FoundGpu, ...]
