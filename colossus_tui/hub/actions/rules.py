"""The site's rules: who may do what to which run, when, and with how many approvals.

Every rule that matches an action must hold. A rule matches by run, class, verb and size; it then
asks for an operator of its list, for a time within its window, or for approvals.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colossus_tui.model import PriorityClass, Run, Verb

_LARGEST = 10**12  # GPUs or MW
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
NAMES = (
    "runs",
    "classes",
    "verbs",
    "above_gpus",
    "above_megawatts",
    "operators",
    "window",
    "days",
    "timezone",
    "approvals",
    "why",
)


class RuleError(ValueError):
    """A rule is wrong; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day on some days; one that ends before it begins goes over midnight."""

    start: dt.time
    end: dt.time
    days: frozenset[int]  # 0 is Monday; the day on which it begins
    zone: zoneinfo.ZoneInfo

    def holds(self, now: dt.datetime) -> bool:
        """Return whether `now` lies within."""
        local = now.astimezone(self.zone)
        time, day = local.time(), local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= time < self.end
        if time >= self.start:
            return day in self.days
        return (day - 1) % 7 in self.days and time < self.end

    def __str__(self) -> str:
        days = (
            "" if len(self.days) == 7 else " " + ", ".join(DAYS[day] for day in sorted(self.days))
        )
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone.key}{days}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an empty condition matches everything, an empty demand asks for nothing."""

    runs: tuple[str, ...] = ("*",)
    classes: frozenset[PriorityClass] = frozenset()
    verbs: frozenset[Verb] = frozenset()
    above_gpus: int = 0
    above_megawatts: float = 0.0
    operators: tuple[str, ...] = ()
    window: Window | None = None
    approvals: int = 0
    why: str = ""

    def matches(self, verb: Verb, run_id: str, run: Run | None) -> bool:
        """Return whether it speaks of this action."""
        if not any(fnmatch.fnmatchcase(run_id, pattern) for pattern in self.runs):
            return False
        if self.verbs and verb not in self.verbs:
            return False
        if self.classes and (run is None or run.priority_class not in self.classes):
            return False
        if not self.above_gpus and not self.above_megawatts:
            return True
        gpus, watts = (run.gpu_count, run.power_watts or 0.0) if run else (0, 0.0)
        by_gpus = bool(self.above_gpus) and gpus > self.above_gpus
        return by_gpus or bool(self.above_megawatts and watts > self.above_megawatts * 1e6)

    def forbids(self, operator: str, now: dt.datetime) -> str:
        """Return why this operator may not do it now; "" when he may."""
        because = f" ({self.why})" if self.why else ""
        if self.operators and operator not in self.operators:
            return f"only {', '.join(self.operators)} may do this{because}"
        if self.window is not None and not self.window.holds(now):
            return f"it is allowed {self.window} only{because}"
        return ""


def forbids(
    rules: Sequence[Rule], verb: Verb, run_id: str, run: Run | None, operator: str, now: dt.datetime
) -> str:
    """Return why the rules do not let this be done; "" when they do."""
    for rule in rules:
        if rule.matches(verb, run_id, run) and (why := rule.forbids(operator, now)):
            return why
    return ""


def approvals_needed(rules: Sequence[Rule], verb: Verb, run_id: str, run: Run | None) -> int:
    """Return how many operators must want it, the one who asks included; 0 where no rule says."""
    return max((r.approvals for r in rules if r.matches(verb, run_id, run)), default=0)


def parse(tables: Any) -> tuple[Rule, ...]:
    """Return the rules of a list of [[rules]] tables.

    Raises:
        RuleError: A field of one of them is wrong.
    """
    if not isinstance(tables, list):
        raise RuleError("rules must be a list of tables, as in [[rules]]")
    return tuple(_rule(f"rules[{index}]", table) for index, table in enumerate(tables))


def _rule(where: str, table: Any) -> Rule:
    if not isinstance(table, dict):
        raise RuleError(f"{where} must be a table, as in [[rules]]")
    if unknown := sorted(set(table) - set(NAMES)):
        raise RuleError(f"{where}.{unknown[0]} is no setting; known: {', '.join(NAMES)}")
    if not {"operators", "window", "approvals"} & set(table):
        raise RuleError(f"{where} asks for nothing: give operators, window or approvals")
    return Rule(
        runs=tuple(_texts(where, table, "runs")) or ("*",),
        classes=frozenset(_members(where, table, "classes", PriorityClass)),
        verbs=frozenset(_members(where, table, "verbs", Verb)),
        above_gpus=int(_number(where, table, "above_gpus")),
        above_megawatts=_number(where, table, "above_megawatts"),
        operators=tuple(_texts(where, table, "operators")),
        window=_window(where, table),
        approvals=_approvals(where, table),
        why=_why(where, table),
    )


def _texts(where: str, table: dict[str, Any], name: str) -> list[str]:
    value = table.get(name, [])
    good = isinstance(value, list) and all(isinstance(text, str) and text for text in value)
    if not good or (name in table and not value):
        raise RuleError(f'{where}.{name} must be a list of texts, as in ["10t"]')
    return list(value)


def _members(where: str, table: dict[str, Any], name: str, kind: Any) -> list[Any]:
    known = [member.value for member in kind]
    for text in _texts(where, table, name):
        if text not in known:
            raise RuleError(f"{where}.{name}: {text!r} is none of {', '.join(known)}")
    return [kind(text) for text in table.get(name, [])]


def _number(where: str, table: dict[str, Any], name: str) -> float:
    value = table.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
        raise RuleError(f"{where}.{name} must be a number, 0 or more")
    return float(value)


def _why(where: str, table: dict[str, Any]) -> str:
    value = table.get("why", "")
    if not isinstance(value, str):
        raise RuleError(f"{where}.why must be a text")
    return value[:200]


def _approvals(where: str, table: dict[str, Any]) -> int:
    value = table.get("approvals", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10:
        raise RuleError(f"{where}.approvals must be 0 to 10, the operator who asks included")
    return value


def _window(where: str, table: dict[str, Any]) -> Window | None:
    if "window" not in table:
        if "days" in table or "timezone" in table:
            raise RuleError(f'{where}.window is missing: give one beside days, as in "02:00-04:00"')
        return None
    match = _CLOCK.fullmatch(table["window"]) if isinstance(table["window"], str) else None
    if match is None or match[1] + match[2] == match[3] + match[4]:
        raise RuleError(f'{where}.window must be two times of day, as in "22:00-04:00"')
    names = _texts(where, table, "days") or list(DAYS)
    if wrong := [name for name in names if name not in DAYS]:
        raise RuleError(f"{where}.days: {wrong[0]!r} is none of {', '.join(DAYS)}")
    zone = table.get("timezone", "UTC")
    try:
        info = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise RuleError(f"{where}.timezone {zone!r} is not known; try UTC") from None
    return Window(
        dt.time(int(match[1]), int(match[2])),
        dt.time(int(match[3]), int(match[4])),
        frozenset(DAYS.index(name) for name in names),
        info,
    )
