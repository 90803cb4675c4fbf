"""What each place draws, by the building's meter where that is to be trusted, else by its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.facility.points import Quantity, Subject, SubjectKind
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.site.limits import LimitConfig
from colossus_tui.hub.site.sums import Level, NodePower, Sums
from colossus_tui.hub.store import APART, Store
from colossus_tui.model import Measured, PlaceKind, PowerPlace, PowerView, Quality
from colossus_tui.model.power import METER
from colossus_tui.text import duration

SHORT_SECONDS, LONG_SECONDS = 1, 60  # of the changes that are told
NO_CODE = -1
LEAST_OF_METER = 0.5  # of what a rack's meter tells its GPUs draw at least


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
        self._tightest: dict[tuple[PlaceKind, str], tuple[str, float]] = {}
        of_feeds = ((PlaceKind.FEED, one.name, f"feed {one.name}", one.watts) for one in feeds)
        of_halls = (
            (PlaceKind.HALL if one.hall else PlaceKind.SITE, one.hall, one.name, one.watts)
            for one in limits
            if not one.rack
        )
        for kind, place, name, watts in (*of_feeds, *of_halls):
            if watts < self._tightest.get((kind, place), ("", np.inf))[1]:
                self._tightest[kind, place] = name, watts
        self._racks = [one for one in limits if one.rack]

    def tick(self) -> None:
        """Sum up what nodes and sensors say now; the roll-ups have ticked."""
        self._nodes.tick()
        self.facility.tick()

    # --- places ----------------------------------------------------------------------------

    def site(self) -> PowerPlace:
        """Return what the whole site draws."""
        subject = Subject(SubjectKind.SITE)
        return self._place(PowerPlace(PlaceKind.SITE, ""), subject, self._nodes.site, 0)

    def feed(self, name: str) -> PowerPlace:
        """Return what a feed supplies."""
        code = next((i for i, feed in enumerate(self._feeds) if feed.name == name), NO_CODE)
        subject = Subject(SubjectKind.FEED, name)
        return self._place(PowerPlace(PlaceKind.FEED, name), subject, self._nodes.feeds, code)

    def hall(self, name: str) -> PowerPlace:
        """Return what a hall draws."""
        code, feed = self._store.halls.known(name), self._nodes.feed_of(name)
        place = PowerPlace(PlaceKind.HALL, name, self._feeds[feed].name if feed >= 0 else "")
        return self._place(place, Subject(SubjectKind.HALL, name), self._nodes.halls, code)

    def racks(self, hall: str) -> list[PowerPlace]:
        """Return what each rack of a hall draws, by name."""
        codes = self._nodes.racks_of.get(hall, ())
        names = (self._store.racks.names[code].partition(APART)[2] for code in codes)
        racks = [self._rack(hall, name, code) for name, code in zip(names, codes, strict=True)]
        return sorted(racks, key=lambda place: place.name)

    def _rack(self, hall: str, name: str, code: int) -> PowerPlace:
        place = PowerPlace(PlaceKind.RACK, name, hall)
        return self._place(place, Subject(SubjectKind.RACK, name, hall), self._nodes.racks, code)

    def _place(self, place: PowerPlace, subject: Subject, level: Level, code: int) -> PowerPlace:
        """Fill a place in: what its nodes measure, then what its meter does."""
        place = self._limited(place)
        if 0 <= code < level.sums.nodes.size:
            place = _by_nodes(place, level.sums, code)
            if place.drawn_watts is not None:
                place = replace(
                    place,
                    change_1s_watts=level.past.change(code, SHORT_SECONDS),
                    change_60s_watts=level.past.change(code, LONG_SECONDS),
                )
        values = self.facility.values
        if not values.points.of(subject, Quantity.POWER):
            return place
        meter = values.measured(subject, Quantity.POWER)
        if meter is None or meter.quality is not Quality.GOOD:
            return replace(place, meter=meter, detail=_why_not(meter))
        return replace(
            place,
            drawn_watts=meter.value,
            basis=f"{METER} (modelled)" if meter.modelled else METER,
            meter=meter,
            age_seconds=meter.age_seconds,
            change_1s_watts=values.change(subject, Quantity.POWER, SHORT_SECONDS),
            change_60s_watts=values.change(subject, Quantity.POWER, LONG_SECONDS),
        )

    def _limited(self, place: PowerPlace) -> PowerPlace:
        if place.kind is PlaceKind.RACK:
            own = [one for one in self._racks if one.is_of_rack(place.parent, place.name)]
            if not own:
                return place
            tightest = min(own, key=lambda one: one.watts)
            return replace(place, limit_watts=tightest.watts, limit_name=tightest.name)
        name, watts = self._tightest.get((place.kind, place.name), ("", None))
        return replace(place, limit_watts=watts, limit_name=name)

    def full_racks(self, limit: LimitConfig, share: float) -> list[PowerPlace]:
        """Return the racks that draw so much of a limit of racks, the fullest first."""
        sums, values = self._nodes.racks.sums.watts, self.facility.values
        found = []
        for code in np.flatnonzero(sums >= share * limit.watts * LEAST_OF_METER).tolist():
            hall, _, rack = self._store.racks.names[code].partition(APART)
            subject = Subject(SubjectKind.RACK, rack, hall)
            watts = float(sums[code])
            if meter := values.measured(subject, Quantity.POWER):
                watts = max(watts, meter.value)
            if watts >= share * limit.watts and limit.is_of_rack(hall, rack):
                found.append(self._rack(hall, rack, code))
        full = [one for one in found if (one.drawn_watts or 0.0) >= share * limit.watts]
        return sorted(full, key=lambda one: -(one.drawn_watts or 0.0))

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
        for feed in self._feeds:
            yield self.feed(feed.name)
            yield from self._opened(by_feed.get(feed.name, ()), opened)
        yield from self._opened(by_feed.get("", ()), opened)

    def _hall_names(self) -> set[str]:
        """Return the halls of nodes and of the settings."""
        named = {hall for feed in self._feeds for hall in feed.halls}
        limited = {place for kind, place in self._tightest if kind is PlaceKind.HALL}
        return {*self._store.halls.names, *named, *limited}

    def _opened(self, halls: Iterable[PowerPlace], opened: str) -> Iterator[PowerPlace]:
        for hall in halls:
            yield hall
            if hall.name == opened:
                yield from self.racks(opened)


def _by_nodes(place: PowerPlace, sums: Sums, code: int) -> PowerPlace:
    gpu, cpu = float(sums.gpu_watts[code]), float(sums.cpu_watts[code])
    parts: Mapping[str, float] = {"GPUs": gpu, "CPUs": cpu}
    known = {name: watts for name, watts in parts.items() if not np.isnan(watts)}
    return replace(
        place,
        drawn_watts=sum(known.values()) if known else None,
        basis=" + ".join(known),
        gpu_watts=known.get("GPUs"),
        cpu_watts=known.get("CPUs"),
        node_count=int(sums.nodes[code]),
        reporting_node_count=int(sums.reporting_nodes[code]),
        gpu_count=int(sums.gpus[code]),
        reporting_gpu_count=int(sums.reporting_gpus[code]),
        age_seconds=float(sums.ages[code]),
    )


def _why_not(meter: Measured | None) -> str:
    """Return why a meter is not believed."""
    if meter is None:
        return "its meter has told nothing yet"
    if meter.quality is Quality.STALE:
        return f"its meter told nothing for {duration(meter.age_seconds)}"
    return f"its meter's value is {meter.quality}"
