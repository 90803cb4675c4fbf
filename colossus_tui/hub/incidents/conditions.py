"""What is wrong with runs, limits, the building, schedulers and the database, as findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from colossus_tui.hub.database import Database
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.facility.trouble import Trouble
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.incidents.findings import Finding, Spot, worst
from colossus_tui.hub.incidents.rules import LASTING, RULES
from colossus_tui.hub.incidents.sources import Storm
from colossus_tui.hub.incidents.words import building_title, run_title
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.runs.summary import run_alerts
from colossus_tui.hub.site.limits import Limits
from colossus_tui.hub.site.troubles import Troubles
from colossus_tui.hub.store import Store
from colossus_tui.model import (
    AffectedRun,
    Alert,
    IncidentScope,
    NextStep,
    PriorityClass,
    RunState,
    Severity,
    Verb,
)
from colossus_tui.model.incident import MEMBERS_KEPT, RUNS_KEPT
from colossus_tui.text import counted, named, ranges

RUNS_AT_ONCE = 256  # looked at in a tick; more take turns
SETTLE_SECONDS = 60.0  # after an action, what a run does is its effect
# A run that failed longer ago is history; of a low class it is its owner's affair alone.
LASTED_SECONDS = {PriorityClass.P0: 86_400.0, PriorityClass.P1: 86_400.0, PriorityClass.P2: 3_600.0}
GRAVE = (PriorityClass.P0, PriorityClass.P1)
NAMED = 4
# What an action brings about while it goes on, and is no incident then.
_ACTED = frozenset(
    {
        "run.rank_ended",
        "run.collective_hang",
        "run.hang",
        "run.straggler",
        "run.slower",
        "run.unwatched",
    }
)
_VERBS = {
    "run.failed": Verb.RESUME,
    "run.lost": Verb.RESUME,
    "run.rank_ended": Verb.STOP,
    "run.collective_hang": Verb.STOP,
    "run.hang": Verb.STOP,
    "run.checkpoint_age": Verb.CHECKPOINT,
    "run.work_at_risk": Verb.CHECKPOINT,
}


class RunConditions:
    """Looks at all runs that are not over for good.

    Args:
        can_drain: Whether a scheduler of this hub owns nodes.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        registry: Registry,
        gpus: RunGpuFigures,
        troubles: Troubles,
        *,
        can_drain: bool,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._registry = registry
        self._gpus = gpus
        self._troubles = troubles
        self._can_drain = can_drain
        self._alerts: dict[str, tuple[Alert, ...]] = {}  # by run, as last looked at
        self._acted: dict[str, float] = {}  # when an action last held a run
        self._next = 0

    def look(self, now: float, storms: Iterable[Storm]) -> list[Finding]:
        """Return what is wrong now; `since` is now where nothing says since when."""
        self._refresh(now)
        found: list[Finding] = []
        silent: dict[str, list[Alert]] = {}
        for run_id, alerts in self._alerts.items():
            run = self._registry.runs[run_id]
            for alert in alerts:
                if alert.kind == "run.scheduler_silent":
                    silent.setdefault(run.backend, []).append(alert)
                elif alert.kind in RULES and not self._is_expected(run, alert.kind):
                    found.append(self._finding(run, alert, now))
        found += [_scheduler(backend, alerts, now) for backend, alerts in silent.items()]
        return found + [self._storm(storm) for storm in storms]

    def _refresh(self, now: float) -> None:
        runs = self._registry.runs
        watched = [run.run_id for run in runs.values() if _is_watched(run, now)]
        if len(watched) > RUNS_AT_ONCE:
            first = self._next % len(watched)
            turn = (watched + watched)[first : first + RUNS_AT_ONCE]
            self._next = first + RUNS_AT_ONCE
        else:
            turn = watched
        self._alerts = {name: self._alerts.get(name, ()) for name in watched}
        for name in turn:
            run, ages = runs[name], self._registry.node_ages(runs[name])
            self._alerts[name] = run_alerts(run, self._gpus.of(name), ages, time.monotonic())
        for name in watched:
            if runs[name].open_action_id:
                self._acted[name] = now
        self._acted = {
            name: when for name, when in self._acted.items() if now - when < SETTLE_SECONDS
        }

    def _is_expected(self, run: LiveRun, kind: str) -> bool:
        """Return whether an action has brought it about, or a power cap that is in force."""
        if kind == "run.slower" and run.nodes.sums.caps:
            return True
        return kind in _ACTED and run.run_id in self._acted

    def _finding(self, run: LiveRun, alert: Alert, now: float) -> Finding:
        spot = Spot(IncidentScope.RUN, run_id=run.run_id)
        affected = AffectedRun(run.run_id, run.rank_count)
        members: tuple[str, ...] = ()
        if alert.kind == "run.straggler":
            affected, members, step = self._stragglers(run)
        elif (verb := _VERBS.get(alert.kind)) is not None:
            step = NextStep(verb, subject=run.run_id)
        else:
            step = NextStep(screen="timeline", subject=run.run_id)
        since, severity = now, alert.severity
        if alert.kind in LASTING:
            since = run.state_since_unix_ns / 1e9
            severity = severity if run.priority_class in GRAVE else Severity.WARNING
        return Finding(
            alert.kind,
            spot,
            severity,
            since,
            since,
            run_title(alert.kind, spot, affected),
            alert.message,
            max(len(members), 1),
            members=members,
            runs=(affected,),
            run_ids=frozenset({run.run_id}),
            next_step=step,
        )

    def _stragglers(self, run: LiveRun) -> tuple[AffectedRun, tuple[str, ...], NextStep]:
        """Return which ranks of a run are slow, where they are, and what to do about the first."""
        store = self._store
        rows = list(self._troubles.slow_rows(run.run_id))
        slow = run.progress.ranks.stragglers()
        if slow and (code := store.runs.known(run.run_id)) >= 0:
            count = store.gpus.row_count
            mine = store.run_of[:count] == code
            rows += np.flatnonzero(mine & np.isin(store.rank_of[:count], slow[:64])).tolist()
        rows = [row for row in dict.fromkeys(rows) if store.node_of[row] >= 0]
        ranks = sorted({*slow, *(int(store.rank_of[row]) for row in rows)} - {-1})
        nodes = [self._nodes.by_row[store.node_of[row]].node_name for row in rows]
        members = tuple(
            f"{name} GPU {row - int(store.first_of[store.node_of[row]])}"
            for name, row in zip(nodes, rows, strict=True)
        )
        affected = AffectedRun(run.run_id, len(ranks), ranges(ranks))
        if nodes and self._can_drain:
            return affected, members, NextStep(Verb.DRAIN, subject=nodes[0])
        return affected, members, NextStep(screen="timeline", subject=run.run_id)

    def _storm(self, storm: Storm) -> Finding:
        spot = Spot(IncidentScope.RUN, run_id=storm.run_id)
        codes = sorted({xid[3] for xid in storm.xids})
        gpus = dict.fromkeys(xid[1:3] for xid in storm.xids)
        nodes = len({name for name, _ in gpus})
        reason = (
            f"XID {', '.join(map(str, codes[:NAMED]))}, {len(storm.xids)} times in 10 min on "
            f"{counted(len(gpus), 'GPU')} of {counted(nodes, 'node')}: the run's own"
        )
        return Finding(
            "run.xid",
            spot,
            Severity.WARNING,
            storm.xids[0][0],
            storm.xids[0][0],
            f"{run_title('run.xid', spot)} on {counted(len(gpus), 'GPU')}",
            reason,
            len(gpus),
            gpu_count=len(gpus),
            members=tuple(f"{name} GPU {gpu}" for name, gpu in gpus)[:MEMBERS_KEPT],
            runs=(AffectedRun(storm.run_id, len(gpus)),),
            run_ids=frozenset({storm.run_id}),
            next_step=NextStep(screen="timeline", subject=storm.run_id),
        )


def _is_watched(run: LiveRun, now: float) -> bool:
    if run.state in (RunState.FAILED, RunState.LOST):
        lasts = LASTED_SECONDS.get(run.priority_class, 0.0)
        return now - run.state_since_unix_ns / 1e9 < lasts
    return not run.state.is_over


def _scheduler(backend: str, alerts: Sequence[Alert], now: float) -> Finding:
    """Return that a scheduler is silent: one thing, however many runs it has."""
    spot = Spot(IncidentScope.SITE, subject=backend)
    reason = f"{alerts[0].message}; what is shown of {counted(len(alerts), 'run')} is old"
    severity = worst(*(alert.severity for alert in alerts))
    title = f"scheduler {backend}: silent"
    return Finding("scheduler.silent", spot, severity, now, now, title, reason, len(alerts))


class SiteConditions:
    """Looks at what the site has once."""

    def __init__(
        self,
        limits: Limits,
        database: Database,
        runs_in: Callable[[str], Iterable[str]],
        facility: Facility,
    ) -> None:
        self._limits = limits
        self._database = database
        self._runs_in = runs_in
        self._facility = facility

    def look(self, now: float) -> list[Finding]:
        """Return what is wrong now."""
        found = []
        known = {limit.name: limit for limit in self._limits.now()}
        for name, alert in self._limits.reached():
            limit = known.get(name)
            hall = limit.hall if limit is not None else ""
            spot = Spot(IncidentScope.SITE, hall, subject=name)
            runs = sorted(self._runs_in(hall)) if hall else []
            found.append(
                Finding(
                    "power.limit",
                    spot,
                    alert.severity,
                    now,
                    now,
                    f"limit {name}: nearly reached or passed",
                    f"{alert.message}; runs there: {named(runs)}" if runs else alert.message,
                    runs=tuple(AffectedRun(run_id) for run_id in runs[:RUNS_KEPT]),
                    run_ids=frozenset(runs),
                    next_step=NextStep(screen="power", subject=hall),
                )
            )
        found += [self._trouble(trouble, now) for trouble in self._facility.troubles]
        if self._database.away:
            spot = Spot(IncidentScope.SITE, subject="database")
            title, reason = "database: away", f"{self._database.away}; actions are refused"
            found.append(Finding("database.away", spot, Severity.CRITICAL, now, now, title, reason))
        return found

    def _trouble(self, trouble: Trouble, now: float) -> Finding:
        """Return what is wrong with the building: the runs of a hall that a loop cools are told."""
        alert, halls = trouble.alert, trouble.halls
        runs = sorted({run_id for hall in halls for run_id in self._runs_in(hall)})
        since = alert.since_unix_ns / 1e9 if alert.since_unix_ns else now
        return Finding(
            alert.kind,
            Spot(IncidentScope.SITE, halls[0] if len(halls) == 1 else "", subject=trouble.subject),
            alert.severity,
            since,
            since,
            building_title(alert.kind, trouble.subject),
            f"{alert.message}; runs there: {named(runs)}" if runs else alert.message,
            runs=tuple(AffectedRun(run_id) for run_id in runs[:RUNS_KEPT]),
            run_ids=frozenset(runs),
            next_step=NextStep(screen="power", subject=halls[0] if halls else ""),
        )
