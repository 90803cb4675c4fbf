"""When a condition becomes an incident and when it ends: by kind, with the site's own settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from colossus_tui.model import Severity

LEAST_SILENCE_SECONDS = 15.0  # a younger silence is no condition: nodes.STALE_SECONDS
SECONDS_LIMIT = 86_400.0
GRACE_SECONDS = 60.0  # nodes link again within half of it: full-jitter backoff of 1 to 30 s


class AlertsError(ValueError):
    """A setting of alerts is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a kind of incident begins and ends.

    Attributes:
        after_seconds: How long it must be so before it is told of.
        clear_seconds: How long it must not be so before it is over.
        severity: Instead of what its source says; None leaves that.
    """

    after_seconds: float
    clear_seconds: float
    severity: Severity | None = None
    enabled: bool = True


# Durations follow the thresholds of the sources: a hang is one after 120 s already, a node is lost
# after 60 s. What is only slow, full or warm may wait longer, so that a passing peak pages nobody.
RULES: Mapping[str, Rule] = {
    "node.lost": Rule(60, 120),
    "gpu.fault": Rule(5, 300),
    "node.hot": Rule(60, 180),
    "node.power_brake": Rule(10, 120),
    "node.sensor_stuck": Rule(300, 300),
    "node.drained": Rule(60, 60),
    "run.failed": Rule(5, 30),
    "run.lost": Rule(30, 30),
    "run.rank_ended": Rule(30, 60),
    "run.collective_hang": Rule(5, 60),
    "run.hang": Rule(5, 60),
    "run.node_lost": Rule(30, 60),
    "run.xid": Rule(10, 300),
    "run.straggler": Rule(30, 120),
    "run.slower": Rule(60, 300),
    "run.unwatched": Rule(300, 120),
    "run.checkpoint_age": Rule(60, 60),
    "run.work_at_risk": Rule(60, 60),
    # It says what was, for as long as the run goes on; nothing that is done now mends it.
    "run.ettr": Rule(600, 600, enabled=False),
    "scheduler.silent": Rule(60, 60),
    "power.limit": Rule(30, 120),
    "cooling.leak": Rule(5, 300),
    "cooling.supply": Rule(60, 300),
    "facility.stale": Rule(60, 120),
    "facility.quality": Rule(120, 300),
    "facility.away": Rule(60, 60),
    "database.away": Rule(10, 30),
}

# What may explain a condition of a run, so that it is no incident of its own.
BROKEN = ("node.lost", "gpu.fault")
SLOWED = ("node.hot", "node.power_brake", "run.straggler")
STOPPED = ("run.failed", "run.lost", "run.rank_ended", "run.collective_hang", "run.hang")
EXPLAINED_BY: Mapping[str, tuple[str, ...]] = {
    "run.failed": BROKEN,
    "run.lost": BROKEN,
    "run.rank_ended": BROKEN,
    "run.node_lost": ("node.lost",),
    "run.collective_hang": BROKEN,
    "run.hang": (*BROKEN, "run.collective_hang"),
    "run.straggler": ("gpu.fault", "node.hot", "node.power_brake"),
    "run.slower": (*BROKEN, *SLOWED),
    "run.checkpoint_age": (*BROKEN, *STOPPED),
    "run.work_at_risk": (*BROKEN, *STOPPED, "run.checkpoint_age"),
}
# States that last until somebody acts: acknowledged, they are over as incidents.
LASTING = frozenset({"run.failed", "run.lost"})


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """Checked settings of alerts.

    Attributes:
        grace_seconds: How long a hub that has just begun tells of nothing.
    """

    grace_seconds: float = GRACE_SECONDS
    rules: Mapping[str, Rule] = field(default_factory=lambda: RULES)

    def rule(self, kind: str) -> Rule | None:
        """Return the rule of a kind; None where it makes no incident."""
        rule = self.rules.get(kind)
        return rule if rule is not None and rule.enabled else None


def parse(table: Any) -> AlertsConfig:
    """Return the checked settings of the `[alerts]` section.

    Raises:
        AlertsError: One is wrong.
    """
    if not isinstance(table, dict):
        raise AlertsError('alerts: must be a table, as in [alerts] or [alerts."node.lost"]')
    rules = dict(RULES)
    for name, value in table.items():
        if name == "grace":
            continue
        if name not in RULES:
            raise AlertsError(f"alerts.{name!r}: no such kind; known: grace, {', '.join(RULES)}")
        if not isinstance(value, dict):
            raise AlertsError(f'alerts.{name!r}: must be a table, as in [alerts."{name}"]')
        rules[name] = _rule(name, RULES[name], value)
    grace = _seconds("grace", table.get("grace", GRACE_SECONDS))
    return AlertsConfig(grace, rules)


def _rule(kind: str, rule: Rule, table: dict[str, Any]) -> Rule:
    known = ("after", "clear", "severity", "enabled")
    if unknown := sorted(set(table) - set(known)):
        raise AlertsError(
            f"alerts.{kind!r}: {unknown[0]!r} is no setting; known: {', '.join(known)}"
        )
    if "after" in table:
        rule = replace(rule, after_seconds=_seconds(f"{kind!r}.after", table["after"]))
    if "clear" in table:
        rule = replace(rule, clear_seconds=_seconds(f"{kind!r}.clear", table["clear"]))
    if "severity" in table:
        severities = (Severity.WARNING, Severity.CRITICAL)
        if table["severity"] not in [one.value for one in severities]:
            raise AlertsError(f"alerts.{kind!r}.severity: one of {', '.join(severities)}")
        rule = replace(rule, severity=Severity(table["severity"]))
    if "enabled" in table:
        if not isinstance(table["enabled"], bool):
            raise AlertsError(f"alerts.{kind!r}.enabled: must be true or false")
        rule = replace(rule, enabled=table["enabled"])
    return rule


def _seconds(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= SECONDS_LIMIT:
        raise AlertsError(f"alerts.{name}: must be seconds, 0 to {SECONDS_LIMIT:,.0f}")
    return float(value)
