"""Cooling loops of the settings, and what their sensors come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colossus_tui.hub.facility.points import NAME_LENGTH, Quantity, Subject, SubjectKind
from colossus_tui.hub.facility.trouble import Trouble
from colossus_tui.model import Alert, CoolingLoop, Measured, Quality, Severity

if TYPE_CHECKING:  # settings are read without numpy
    from colossus_tui.hub.facility.values import Values

SETTINGS = ("name", "halls", "max_supply_celsius", "density_kg_per_m3", "joules_per_kg_kelvin")
# Water at 35 °C; glycol has other figures, which the settings can state. IAPWS-95.
WATER_DENSITY, WATER_HEAT = 994.0, 4_180.0
LEAK = 0.5  # from here on a detector's value is a leak


class LoopError(ValueError):
    """A cooling loop in the settings is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """One cooling loop from the settings.

    Attributes:
        density_kg_per_m3: Of the coolant.
        joules_per_kg_kelvin: Heat that warms a kilogram of it by one degree.
    """

    name: str
    halls: tuple[str, ...] = ()
    max_supply_celsius: float | None = None
    density_kg_per_m3: float = WATER_DENSITY
    joules_per_kg_kelvin: float = WATER_HEAT


def parse(tables: Any) -> tuple[LoopConfig, ...]:
    """Return the checked loops.

    Raises:
        LoopError: One is wrong.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise LoopError("cooling_loops: must be tables, as in [[cooling_loops]]")
    found = tuple(_parsed(number, table) for number, table in enumerate(tables, 1))
    names = [loop.name for loop in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LoopError(f"cooling_loops: {twice[0]!r} is the name of two")
    return found


def _parsed(number: int, table: dict[str, Any]) -> LoopConfig:
    where = f"cooling_loops, the {number}."
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise LoopError(f"{where}: {unknown[0]!r} is no setting; known: {', '.join(SETTINGS)}")
    name, halls = table.get("name"), table.get("halls", [])
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
        raise LoopError(f"{where}: name must be text of at most {NAME_LENGTH} characters")
    where = f"{where} ({name})"
    if not isinstance(halls, list) or not all(isinstance(hall, str) and hall for hall in halls):
        raise LoopError(f'{where}: halls must be a list of names, as in ["hall-A"]')
    highest = None
    if "max_supply_celsius" in table:
        highest = _number(where, table, "max_supply_celsius", -60.0)
    return LoopConfig(
        name,
        tuple(halls),
        highest,
        _number(where, table, "density_kg_per_m3", 0.0, WATER_DENSITY),
        _number(where, table, "joules_per_kg_kelvin", 0.0, WATER_HEAT),
    )


def _number(
    where: str, table: dict[str, Any], name: str, above: float, default: float = 0.0
) -> float:
    value = table.get(name, default)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not above < value < math.inf
    ):
        raise LoopError(f"{where}: {name} must be a number above {above:g}")
    return float(value)


class Loops:
    """The cooling loops as they are now: those of the settings, then others that are heard."""

    def __init__(self, configured: Sequence[LoopConfig], values: Values) -> None:
        self._configured = {loop.name: loop for loop in configured}
        self._values = values

    def now(self) -> tuple[CoolingLoop, ...]:
        """Return every loop."""
        heard = (subject.name for subject in self._values.points.subjects(SubjectKind.LOOP))
        names = dict.fromkeys([*self._configured, *heard])
        return tuple(self._measured(self._configured.get(n) or LoopConfig(n)) for n in names)

    def _measured(self, loop: LoopConfig) -> CoolingLoop:
        def value(quantity: Quantity) -> Measured | None:
            return self._values.measured(Subject(SubjectKind.LOOP, loop.name), quantity)

        found = CoolingLoop(
            name=loop.name,
            halls=loop.halls,
            supply_celsius=value(Quantity.SUPPLY_TEMPERATURE),
            return_celsius=value(Quantity.RETURN_TEMPERATURE),
            flow_m3_per_second=value(Quantity.FLOW),
            leak=value(Quantity.LEAK),
            max_supply_celsius=loop.max_supply_celsius,
        )
        return _with_heat(found, loop)

    def troubles(self) -> Iterator[Trouble]:
        """Yield what is wrong with loops: leaks first, then warm supply."""
        loops = self.now()
        for loop in loops:
            leak, name = loop.leak, f"cooling loop {loop.name}"
            if leak is not None and leak.value >= LEAK and leak.quality is not Quality.BAD:
                old = "" if leak.quality is Quality.GOOD else f" ({leak.quality})"
                alert = Alert(Severity.CRITICAL, "cooling.leak", f"{name}: leak detected{old}")
                yield Trouble(name, alert, loop.halls)
        for loop in loops:
            supply, highest = loop.supply_celsius, loop.max_supply_celsius
            if supply is None or highest is None or supply.quality is not Quality.GOOD:
                continue
            if supply.value > highest:
                name = f"cooling loop {loop.name}"
                text = f"{name}: supply {supply.value:.1f} °C, at most {highest:g} °C is set"
                alert = Alert(Severity.WARNING, "cooling.supply", text)
                yield Trouble(name, alert, loop.halls)


def _with_heat(loop: CoolingLoop, config: LoopConfig) -> CoolingLoop:
    """Add the heat that is carried: flow x density x heat capacity x warming."""
    supply, back, flow = loop.supply_celsius, loop.return_celsius, loop.flow_m3_per_second
    if supply is None or back is None or flow is None:
        return loop
    if not all(one.quality is Quality.GOOD for one in (supply, back, flow)):
        return loop
    mass = flow.value * config.density_kg_per_m3
    watts = mass * config.joules_per_kg_kelvin * (back.value - supply.value)
    return CoolingLoop(
        loop.name, loop.halls, supply, back, flow, loop.leak, watts, loop.max_supply_celsius
    )
