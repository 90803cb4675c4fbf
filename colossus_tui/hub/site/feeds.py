"""Feeds of the settings: which halls or racks each supplies, and how much it may."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

SETTINGS = ("name", "megawatts", "halls", "racks")
NAME_LENGTH = 64


class FeedError(ValueError):
    """A feed in the settings is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """One feed from the settings.

    Attributes:
        racks: Patterns of HALL/RACK, with * and ?.
    """

    name: str
    watts: float
    halls: tuple[str, ...] = ()
    racks: tuple[str, ...] = ()

    def supplies_rack(self, hall: str, rack: str) -> bool:
        """Whether it supplies a rack by the rack's own name."""
        return any(fnmatchcase(f"{hall}/{rack}", pattern) for pattern in self.racks)


def parse(tables: Any) -> tuple[FeedConfig, ...]:
    """Return the checked feeds.

    Raises:
        FeedError: One is wrong, or two supply the same hall.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FeedError("feeds: must be tables, as in [[feeds]]")
    found = tuple(_parsed(number, table) for number, table in enumerate(tables, 1))
    names = [feed.name for feed in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise FeedError(f"feeds: {twice[0]!r} is the name of two")
    owners: dict[str, str] = {}
    for feed in found:
        for part in (*feed.halls, *feed.racks):
            if part in owners:
                raise FeedError(
                    f"feeds: {part!r} is supplied by {owners[part]!r} and {feed.name!r}; name it "
                    "at one, and give the other a meter alone"
                )
            owners[part] = feed.name
    return found


def _parsed(number: int, table: dict[str, Any]) -> FeedConfig:
    where = f"feeds, the {number}."
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise FeedError(f"{where}: {unknown[0]!r} is no setting; known: {', '.join(SETTINGS)}")
    name, megawatts = table.get("name"), table.get("megawatts")
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
        raise FeedError(f"{where}: name must be text of at most {NAME_LENGTH} characters")
    where = f"{where} ({name})"
    if (
        isinstance(megawatts, bool)
        or not isinstance(megawatts, int | float)
        or not 0 < megawatts < math.inf
    ):
        raise FeedError(f"{where}: megawatts must be a positive number")
    halls = _names(where, "halls", table.get("halls", []), 'as in ["hall-A"]')
    racks = _names(where, "racks", table.get("racks", []), 'HALL/RACK, as in ["hall-A/A-r0*"]')
    if wrong := [rack for rack in racks if "/" not in rack]:
        raise FeedError(f"{where}: racks: {wrong[0]!r} names no hall; write HALL/RACK")
    return FeedConfig(name, float(megawatts) * 1e6, halls, racks)


def _names(where: str, setting: str, value: Any, example: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise FeedError(f"{where}: {setting} must be a list of names, {example}")
    return tuple(value)
