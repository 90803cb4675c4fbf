"""What each place draws, by the building's meter where that is to be trusted, else by its nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.facility.points import Quantity, Subject, SubjectKind
from colossus_tui.hub.facility.values import STALE_SECONDS
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.site.limits import LimitConfig
from colossus_tui.hub.site.sums import CHANGE_SECONDS, Level, NodePower
from colossus_tui.hub.store import APART, Store
from colossus_tui.model import Measured, PlaceKind, PowerPlace, PowerView, Quality
from colossus_tui.model.power import METER

SHORT_SECONDS, LONG_SECONDS = CHANGE_SECONDS  # of the changes that are told
NO_CODE = -1


class Power:
    """The power of every place, as of the last tick.

    Attributes:
        facility: The building's own sensors.
    """

    def __init__(
        self,
        store: Store,
        nodes: NodePower,
        facility: Facility,
        limits: Sequence[LimitConfig] = (),
        feeds: Sequence[FeedConfig] = (),
    ) -> None:
        self._store, self._nodes, self._feeds = store, nodes, feeds
        self.facility = facility
        self._tightest: dict[tuple[PlaceKind, str], tuple[str, float | None]] = {}
        of_feeds = ((PlaceKind.FEED, one.name, f"feed {one.name}", one.watts) for one in feeds)
        of_halls = (
            (PlaceKind.HALL if one.hall else PlaceKind.SITE, one.hall, one.name, one.watts)
            for one in limits
            if not one.rack
        )
        for kind, place, name, watts in (*of_feeds, *of_halls):
            _, before = self._tightest.get((kind, place), ("", None))
            if before is None or watts < before:
                self._tightest[kind, place] = name, watts
        self._racks = [one for one in limits if one.rack]

    def tick(self) -> None:
        """Sum up what nodes and sensors say now; the roll-ups have ticked."""
        self._nodes.tick()
        self.facility.tick()

    # --- places ----------------------------------------------------------------------------

    def site(self) -> PowerPlace:
        """Return what the whole site draws."""
        return self._place(PlaceKind.SITE, Subject(SubjectKind.SITE), self._nodes.site, 0)

    def feed(self, name: str) -> PowerPlace:
        """Return what a feed supplies."""
        code = next((i for i, feed in enumerate(self._feeds) if feed.name == name), NO_CODE)
        subject = Subject(SubjectKind.FEED, name)
        return self._place(PlaceKind.FEED, subject, self._nodes.feeds, code)

    def hall(self, name: str) -> PowerPlace:
        """Return what a hall draws."""
        code, feed = self._store.halls.known(name), self._nodes.feed_of(name)
        parent = self._feeds[feed].name if feed >= 0 else ""
        subject = Subject(SubjectKind.HALL, name)
        return self._place(PlaceKind.HALL, subject, self._nodes.halls, code, parent)

    def racks(self, hall: str) -> list[PowerPlace]:
        """Return what each rack of a hall draws, by name."""
        codes = self._nodes.racks_of.get(hall, ())
        names = (self._store.racks.names[code].partition(APART)[2] for code in codes)
        racks = [self._rack(hall, name, code) for name, code in zip(names, codes, strict=True)]
        return sorted(racks, key=lambda place: place.name)

    def _rack(self, hall: str, name: str, code: int) -> PowerPlace:
        subject = Subject(SubjectKind.RACK, name, hall)
        return self._place(PlaceKind.RACK, subject, self._nodes.racks, code, hall)

    def _place(
        self, kind: PlaceKind, subject: Subject, level: Level, code: int, parent: str = ""
    ) -> PowerPlace:
        """Return a place: what its nodes measure, and over that what its meter does."""
        limit_name, limit_watts = self._limit(kind, subject)
        facts: dict[str, Any] = {"limit_name": limit_name, "limit_watts": limit_watts}
        if 0 <= code < level.sums.nodes.size:
            facts |= _by_nodes(level, code)
        if self.facility.values.points.of(subject, Quantity.POWER):
            facts |= self._by_meter(subject)
        return PowerPlace(kind, subject.name, parent, **facts)

    def _limit(self, kind: PlaceKind, subject: Subject) -> tuple[str, float | None]:
        """Return the tightest limit of a place; no watts for none."""
        key = kind, subject.name
        if kind is PlaceKind.RACK:
            key = kind, f"{subject.hall}{APART}{subject.name}"
            if key not in self._tightest:  # each of a site's racks is looked at once
                own = [one for one in self._racks if one.is_of_rack(subject.hall, subject.name)]
                found = min(own, key=lambda one: one.watts, default=None)
                self._tightest[key] = (found.name, found.watts) if found else ("", None)
        return self._tightest.get(key, ("", None))

    def _by_meter(self, subject: Subject) -> dict[str, Any]:
        """Return what a meter makes of a place: its figures, or why it is not believed."""
        values = self.facility.values
        meter = values.measured(subject, Quantity.POWER)
        if meter is None or meter.quality is not Quality.GOOD:
            return {"meter": meter, "detail": _why_not(meter)}
        return {
            "drawn_watts": meter.value,
            "basis": f"{METER} (modelled)" if meter.modelled else METER,
            "meter": meter,
            "age_seconds": meter.age_seconds,
            "change_1s_watts": values.change(subject, Quantity.POWER, SHORT_SECONDS),
            "change_60s_watts": values.change(subject, Quantity.POWER, LONG_SECONDS),
        }

    def full_racks(self, limit: LimitConfig, share: float) -> list[PowerPlace]:
        """Return the racks that draw so much of a limit of racks, the fullest first."""
        least = share * limit.watts
        found = [
            self._rack(hall, rack, self._store.racks.known(f"{hall}{APART}{rack}"))
            for hall, rack in dict.fromkeys(self._heavy_racks(least))
            if limit.is_of_rack(hall, rack)
        ]
        full = [one for one in found if (one.drawn_watts or 0.0) >= least]
        return sorted(full, key=lambda one: -(one.drawn_watts or 0.0))

    def _heavy_racks(self, watts: float) -> Iterator[tuple[str, str]]:
        """Yield hall and name of racks that draw so much by their nodes, or by their meters."""
        for code in np.flatnonzero(self._nodes.racks.sums.watts >= watts).tolist():
            hall, _, rack = self._store.racks.names[code].partition(APART)
            yield hall, rack
        values = self.facility.values
        for subject in values.points.subjects(SubjectKind.RACK):
            meter = values.measured(subject, Quantity.POWER)
            if meter is not None and meter.value >= watts:
                yield subject.hall, subject.name

    # --- the tree --------------------------------------------------------------------------

    def view(self, hall: str = "") -> PowerView:
        """Return the site's power; the racks of one hall follow it."""
        return PowerView(
            places=tuple(self._tree(hall)),
            loops=self.facility.loops.now(),
            links=self.facility.links(),
            faults=self.facility.faults(),
            hall=hall,
        )

    def _tree(self, opened: str) -> Iterator[PowerPlace]:
        yield self.site()
        by_feed: dict[str, list[PowerPlace]] = {}
        for name in sorted(self._hall_names()):
            place = self.hall(name)
            by_feed.setdefault(place.parent, []).append(place)
        for name in self._feed_names():
            yield self.feed(name)
            yield from self._opened(by_feed.get(name, ()), opened)
        yield from self._opened(by_feed.get("", ()), opened)

    def _feed_names(self) -> list[str]:
        """Return the feeds of the settings, then others that the building tells of."""
        heard = self.facility.values.points.subjects(SubjectKind.FEED)
        return list(dict.fromkeys([*(f.name for f in self._feeds), *(one.name for one in heard)]))

    def _hall_names(self) -> set[str]:
        """Return the halls of nodes, of the settings and of the building."""
        named = {hall for feed in self._feeds for hall in feed.halls}
        limited = {place for kind, place in self._tightest if kind is PlaceKind.HALL}
        heard = self.facility.values.points.subjects(SubjectKind.HALL)
        return {*self._store.halls.names, *named, *limited, *(one.name for one in heard)}

    def _opened(self, halls: Iterable[PowerPlace], opened: str) -> Iterator[PowerPlace]:
        for hall in halls:
            yield hall
            if hall.name == opened:
                yield from self.racks(opened)


def _by_nodes(level: Level, code: int) -> dict[str, Any]:
    """Return what nodes make of a place."""
    sums, past = level.sums, level.past
    parts = {"GPUs": float(sums.gpu_watts[code]), "CPUs": float(sums.cpu_watts[code])}
    known = {name: watts for name, watts in parts.items() if not math.isnan(watts)}
    return {
        "drawn_watts": sum(known.values()) if known else None,
        "basis": " + ".join(known),
        "gpu_watts": known.get("GPUs"),
        "cpu_watts": known.get("CPUs"),
        "node_count": int(sums.nodes[code]),
        "reporting_node_count": int(sums.reporting_nodes[code]),
        "gpu_count": int(sums.gpus[code]),
        "reporting_gpu_count": int(sums.reporting_gpus[code]),
        "age_seconds": float(sums.ages[code]),
        "change_1s_watts": past.change(code, SHORT_SECONDS),
        "change_60s_watts": past.change(code, LONG_SECONDS),
    }


def _why_not(meter: Measured | None) -> str:
    """Return why a meter is not believed; no age, so that it stays the same sentence."""
    if meter is None:
        return "its meter has told nothing yet"
    if meter.quality is Quality.STALE:
        return f"its meter told nothing new for over {STALE_SECONDS:.0f} s"
    return f"its meter's value is {meter.quality}"
