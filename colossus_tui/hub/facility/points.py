"""Which value of the building's sensors is of what: quantities, units, places, the usual topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

NAME_LENGTH = 64
POINT_LIMIT = 20_000  # twice the racks of a site; more is no building
HEARD_LIMIT = 500  # feeds, halls and loops, of each: all are shown
ABSOLUTE_ZERO_CELSIUS = -273.15


class SubjectKind(StrEnum):
    """What a value can be of."""

    SITE = "site"
    FEED = "feed"
    HALL = "hall"
    RACK = "rack"
    LOOP = "loop"


class Subject(NamedTuple):
    """What a value is of; only a rack has a hall."""

    kind: SubjectKind
    name: str = ""
    hall: str = ""

    def __str__(self) -> str:
        place = f"{self.hall}/{self.name}" if self.hall else self.name
        return f"{self.kind}:{place}" if place else str(self.kind)


class Quantity(StrEnum):
    """What is measured."""

    POWER = "power"
    SUPPLY_TEMPERATURE = "supply_temperature"
    RETURN_TEMPERATURE = "return_temperature"
    FLOW = "flow"
    LEAK = "leak"


@dataclass(frozen=True, slots=True)
class Measure:
    """How a quantity is measured.

    Attributes:
        units: Factor and offset to the unit that is kept (W, °C, m3/s), by the unit's name; the
            first is taken where none is said.
        low: Less is no value of a building's, in the unit that is kept.
        high: More is none.
        together: What the values of several points of one subject come to.
    """

    units: dict[str, tuple[float, float]]
    low: float
    high: float
    together: Callable[[Sequence[float]], float]


_TEMPERATURES = {
    "C": (1.0, 0.0),
    "F": (5 / 9, -160 / 9),
    "K": (1.0, ABSOLUTE_ZERO_CELSIUS),
}
MEASURES = {
    Quantity.POWER: Measure({"W": (1.0, 0.0), "kW": (1e3, 0.0), "MW": (1e6, 0.0)}, -1e7, 1e10, sum),
    Quantity.SUPPLY_TEMPERATURE: Measure(_TEMPERATURES, -60.0, 200.0, max),
    Quantity.RETURN_TEMPERATURE: Measure(_TEMPERATURES, -60.0, 200.0, max),
    Quantity.FLOW: Measure(
        {
            "m3/s": (1.0, 0.0),
            "m3/h": (1 / 3_600, 0.0),
            "l/s": (1e-3, 0.0),
            "l/min": (1e-3 / 60, 0.0),
            "gpm": (3.785411784e-3 / 60, 0.0),  # US gallons of 231 cubic inches
        },
        0.0,
        1e3,
        sum,
    ),
    Quantity.LEAK: Measure({"": (1.0, 0.0)}, 0.0, 1.0, max),
}
_OF_PLACES = (Quantity.POWER,)
_OF_LOOPS = (
    Quantity.SUPPLY_TEMPERATURE,
    Quantity.RETURN_TEMPERATURE,
    Quantity.FLOW,
    Quantity.LEAK,
)


class PointError(ValueError):
    """A point is wrong; the message names the field and what is known."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of the building's.

    Attributes:
        source: Where it comes from: a topic, or an address.
        unit: One of its quantity's.
    """

    source: str
    subject: Subject
    quantity: Quantity
    unit: str

    def kept(self, value: float) -> float:
        """Return a value in the unit that is kept."""
        factor, offset = MEASURES[self.quantity].units[self.unit]
        return value * factor + offset


def quantities(kind: SubjectKind) -> tuple[Quantity, ...]:
    """Return what can be measured of such a thing."""
    return _OF_LOOPS if kind is SubjectKind.LOOP else _OF_PLACES


def subject_of(text: str) -> Subject:
    """Return what "site", "feed:A", "hall:B", "rack:B/r1" or "loop:1" means.

    Raises:
        PointError: It means nothing.
    """
    word, colon, name = text.partition(":")
    try:
        kind = SubjectKind(word)
    except ValueError:
        raise PointError(
            f"of: {text[:80]!r} is nothing; give site, feed:NAME, hall:NAME, rack:HALL/NAME or "
            "loop:NAME"
        ) from None
    hall = ""
    if kind is SubjectKind.RACK:
        hall, _, name = name.partition("/")
    is_whole = bool(hall and name) if kind is SubjectKind.RACK else True
    if (kind is SubjectKind.SITE) == bool(colon) or not is_whole:
        raise PointError(f"of: {text[:80]!r}: give site alone, and rack as rack:HALL/NAME")
    if kind is not SubjectKind.SITE and not 0 < len(name) <= NAME_LENGTH:
        raise PointError(f"of: {text[:80]!r}: a name has 1 to {NAME_LENGTH} characters")
    return Subject(kind, name, hall)


def point(source: str, of: str, quantity: str, unit: str | None) -> Point:
    """Return a checked point.

    Raises:
        PointError: A part of it is wrong.
    """
    subject = subject_of(of)
    known = quantities(subject.kind)
    if quantity not in known:
        raise PointError(
            f"quantity: {quantity[:80]!r} is none of a {subject.kind}; known: {', '.join(known)}"
        )
    measured = Quantity(quantity)
    units = MEASURES[measured].units
    if unit is None:
        unit = next(iter(units))
    if unit not in units:
        names = ", ".join(repr(name) for name in units)
        raise PointError(f"unit: {unit[:80]!r} is none of {measured}; known: {names}")
    return Point(source, subject, measured, unit)


def usual(topic: str, prefix: str) -> Point | None:
    """Return the point of a topic of the usual layout; None for any other topic.

    PREFIX/site/QUANTITY, PREFIX/feed/NAME/QUANTITY (hall, loop alike),
    PREFIX/rack/HALL/NAME/QUANTITY; a unit may follow, else it is the first of the quantity's:
    W, °C, m3/s.
    """
    if not topic.startswith(f"{prefix}/"):
        return None
    word, *parts = topic[len(prefix) + 1 :].split("/")
    count = {"site": 0, "rack": 2}.get(word, 1)
    if len(parts) < count + 1:
        return None
    names, (quantity, *unit) = parts[:count], parts[count:]
    try:
        of = ":".join([word, "/".join(names)]) if names else word
        return point(topic, of, quantity, "/".join(unit) or None)
    except PointError:
        return None


class Points:
    """All points: those of the settings, and those of the usual layout as they are heard.

    A point of the settings stands for its quantity: topics of the usual layout do not add to it.
    """

    def __init__(self, configured: Sequence[Point], prefix: str) -> None:
        self.prefix = prefix
        self.all: list[Point] = []
        self._by_source: dict[str, list[int]] = {}
        self._of: dict[tuple[Subject, Quantity], list[int]] = {}
        self._subjects: dict[SubjectKind, dict[Subject, None]] = {kind: {} for kind in SubjectKind}
        for one in configured:
            self._add(one)
        self._settled = frozenset(self._of)

    def _add(self, one: Point) -> int:
        number = len(self.all)
        self.all.append(one)
        self._by_source.setdefault(one.source, []).append(number)
        self._of.setdefault((one.subject, one.quantity), []).append(number)
        self._subjects[one.subject.kind][one.subject] = None
        return number

    def of(self, subject: Subject, quantity: Quantity) -> Sequence[int]:
        """Return the numbers of the points of a quantity."""
        return self._of.get((subject, quantity), ())

    def measured(self) -> Iterator[tuple[Subject, Quantity]]:
        """Yield what there are points of: each quantity of each subject once."""
        yield from self._of

    def subjects(self, kind: SubjectKind) -> Iterable[Subject]:
        """Return what there are points of, each once."""
        return self._subjects[kind]

    def numbers(self, source: str) -> Sequence[int]:
        """Return the numbers of what comes from a source, which may be new; none for a stranger.

        Raises:
            PointError: It would be one too many, or the settings name another source for it.
        """
        known = self._by_source.get(source)
        if known is not None:
            return known
        found = usual(source, self.prefix)
        if found is None:
            return ()
        if (found.subject, found.quantity) in self._settled:
            raise PointError(
                f"the settings name another source of {found.quantity} of {found.subject}"
            )
        if len(self.all) >= POINT_LIMIT:
            raise PointError(f"more than {POINT_LIMIT} points")
        kind, heard = found.subject.kind, self._subjects[found.subject.kind]
        is_listed = kind is not SubjectKind.RACK and found.subject not in heard
        if is_listed and len(heard) >= HEARD_LIMIT:
            raise PointError(f"more than {HEARD_LIMIT} {kind}s")
        return (self._add(found),)
