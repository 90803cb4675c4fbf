"""Where the site's power goes, against named limits, and the loops that take its heat away."""

from __future__ import annotations

from enum import StrEnum

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.site import PlaceKind

NEAR_RATIO, FULL_RATIO = 0.90, 0.97  # of a limit: a warning, and critical
METER = "meter"  # the basis of what the building itself measures


class Quality(StrEnum):
    """How far a sensor's value can be trusted; what is too old is stale."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Measured:
    """A value of the building's sensors; of a leak detector 1 for a leak, 0 for none."""

    value: float
    quality: Quality = Quality.GOOD
    age_seconds: float = 0.0
    modelled: bool = False


@dataclass(frozen=True, slots=True)
class PowerPlace:
    """What one place draws; meanings and units as in power.proto."""

    kind: PlaceKind
    name: str
    parent: str = ""
    limit_watts: float | None = None
    limit_name: str = ""
    drawn_watts: float | None = None
    basis: str = ""
    meter: Measured | None = None
    gpu_watts: float | None = None
    cpu_watts: float | None = None
    change_1s_watts: float | None = None
    change_60s_watts: float | None = None
    node_count: int = 0
    reporting_node_count: int = 0
    gpu_count: int = 0
    reporting_gpu_count: int = 0
    age_seconds: float = 0.0
    detail: str = ""

    @property
    def title(self) -> str:
        """What it is called: its kind and name, once where the name says its kind. Untrusted."""
        is_said = self.kind is PlaceKind.RACK or self.name.lower().startswith(self.kind)
        return self.name if is_said and self.name else f"{self.kind} {self.name}".rstrip()

    @property
    def headroom_watts(self) -> float | None:
        """What may be drawn beside; below 0 over the limit."""
        if self.limit_watts is None or self.drawn_watts is None:
            return None
        return self.limit_watts - self.drawn_watts

    @property
    def used_ratio(self) -> float | None:
        """How much of the limit is drawn."""
        if not self.limit_watts or self.drawn_watts is None:
            return None
        return self.drawn_watts / self.limit_watts

    @property
    def node_watts(self) -> float | None:
        """What its nodes measure: GPUs, and processors where they do."""
        if self.gpu_watts is None and self.cpu_watts is None:
            return None
        return (self.gpu_watts or 0.0) + (self.cpu_watts or 0.0)

    @property
    def other_watts(self) -> float | None:
        """What its meter measures beside its nodes; None unless both are known and complete."""
        nodes = self.node_watts
        if not self.basis.startswith(METER) or nodes is None or self.drawn_watts is None:
            return None
        return self.drawn_watts - nodes


@dataclass(frozen=True, slots=True)
class CoolingLoop:
    """A cooling loop; meanings and units as in power.proto."""

    name: str
    halls: tuple[str, ...] = ()
    supply_celsius: Measured | None = None
    return_celsius: Measured | None = None
    flow_m3_per_second: Measured | None = None
    leak: Measured | None = None
    heat_watts: float | None = None
    max_supply_celsius: float | None = None

    @property
    def delta_celsius(self) -> float | None:
        """How much warmer it comes back; None where a temperature is not known."""
        if self.supply_celsius is None or self.return_celsius is None:
            return None
        return self.return_celsius.value - self.supply_celsius.value


@dataclass(frozen=True, slots=True)
class FacilityLink:
    """How the hub stands with one source of facility values: "connecting", "up" or "away"."""

    kind: str
    address: str
    state: str = "connecting"
    detail: str = ""
    since_unix_ns: int = 0
    value_count: int = 0


@dataclass(frozen=True, slots=True)
class FacilityFault:
    """Values that could not be taken, of one kind; the last of them in full."""

    kind: str
    count: int
    source: str = ""
    detail: str = ""
    time_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class PowerView:
    """The site's power as it is now: the site, its feeds each with its halls, halls of no feed.

    Attributes:
        hall: The hall whose racks follow it; "" for none.
    """

    places: tuple[PowerPlace, ...] = ()
    loops: tuple[CoolingLoop, ...] = ()
    links: tuple[FacilityLink, ...] = ()
    faults: tuple[FacilityFault, ...] = ()
    hall: str = ""

    def depths(self) -> list[int]:
        """Return how deep each place lies: halls under their feed, racks under their hall."""
        found: list[int] = []
        hall = 1
        for place in self.places:
            if place.kind is PlaceKind.HALL:
                hall = 2 if place.parent else 1
            deep = {PlaceKind.SITE: 0, PlaceKind.HALL: hall, PlaceKind.RACK: hall + 1}
            found.append(deep.get(place.kind, 1))
        return found
