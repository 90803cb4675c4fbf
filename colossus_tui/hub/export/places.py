"""The series of runs, halls and the site, taken from the hub's roll-ups."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import numpy as np

from colossus_tui.hub.export.family import Family, Outgoing, thing_labels
from colossus_tui.hub.export.names import place_names
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Names, Store
from colossus_tui.model import Place, PlaceKind, RollUp

NAN = math.nan
LABELS = {PlaceKind.RUN: "run", PlaceKind.HALL: "hall", PlaceKind.SITE: ""}


class PlaceSeries:
    """The series of all runs, or all halls, or of the site."""

    def __init__(
        self, kind: PlaceKind, store: Store, roll_ups: RollUps, metrics: Sequence[str],
        extra: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._kind = kind
        self._store = store
        self._roll_ups = roll_ups
        self._metrics = metrics
        self._extra = extra
        names = place_names(kind.value, metrics)
        self._width = len(names)
        self._family = Family(names, extra)
        self._rows = Names()

    async def advance(self, unix_ms: int) -> Outgoing:
        """Return the samples of now; between two places others have their turn."""
        found = []
        for name in self._known():
            found += self._roll_ups.places(self._kind, name=name)
            await asyncio.sleep(0)
        rows = [self._row(place.name) for place in found]
        values = np.full((self._width, self._family.count), NAN)
        for row, place in zip(rows, found, strict=True):
            values[:, row] = self._figures(place)
        return self._family.advance(values, unix_ms)

    def _known(self) -> Sequence[str]:
        match self._kind:
            case PlaceKind.RUN:
                return self._roll_ups.runs()
            case PlaceKind.HALL:
                return tuple(self._store.halls.names)
        return ("",)

    def _row(self, name: str) -> int:
        row = self._rows.code(name) if name else 0
        if row >= self._family.count:
            own = {LABELS[self._kind]: name} if name else {}
            self._family.relabel(np.array([row]), [thing_labels(own, self._extra)])
        return row

    def _figures(self, place: Place) -> list[float]:
        rolled = {roll_up.metric: roll_up for roll_up in place.roll_ups}
        counts = [rolled[metric].reporting_count for metric in self._metrics if metric in rolled]
        figures: list[float] = [place.gpu_count, max(counts, default=0)]
        for metric in self._metrics:
            figures += _statistics(rolled.get(metric))
        return figures


def _statistics(roll_up: RollUp | None) -> tuple[float, ...]:
    """Return coverage and statistics in the order of their names."""
    if roll_up is None or not roll_up.reporting_count:
        return (0.0, NAN, NAN, NAN, NAN, NAN)
    known = roll_up.sum, roll_up.min, roll_up.median, roll_up.p99, roll_up.max
    return (roll_up.reporting_count, *known)
