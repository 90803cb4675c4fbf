"""The site's incidents: looks once a tick, keeps them on disk, answers what is asked of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from colossus_protos.v1 import incident_pb2
from colossus_tui.hub.database import Database
from colossus_tui.hub.incidents.book import Book
from colossus_tui.hub.incidents.conditions import RunConditions, SiteConditions
from colossus_tui.hub.incidents.findings import Finding, Key
from colossus_tui.hub.incidents.places import Places
from colossus_tui.hub.incidents.rules import AlertsConfig
from colossus_tui.hub.incidents.sources import NodeSources
from colossus_tui.model import Event, Incident, IncidentScope
from colossus_tui.wire import from_proto, to_proto

KEPT_DAYS = 14
READ_LIMIT = 500  # closed ones
WRITTEN_SECONDS = 30.0  # how old on disk may be when it was last so
UNHEARD_SECONDS = 86_400.0  # a node that has not come back in a day was taken away
SHOWN_CLOSED_SECONDS = 3_600.0
UPSERT = (
    "insert into incidents (incident_id, hub, closed_ns, body) values (?, ?, ?, ?) "
    "on conflict (incident_id, hub) do update set "
    "closed_ns = excluded.closed_ns, body = excluded.body"
)
_NODE_SCOPES = frozenset(
    {IncidentScope.SITE, IncidentScope.HALL, IncidentScope.RACK, IncidentScope.NODE}
)


@dataclass(frozen=True, slots=True)
class _Written:
    """One incident as it is on disk, without what changes all the time; and when it was written."""

    core: Incident
    time: float


class Incidents:
    """All incidents of this hub.

    Args:
        began: Unix seconds when the hub began.
    """

    def __init__(
        self,
        config: AlertsConfig,
        database: Database,
        tell: Callable[[Event], None],
        places: Places,
        nodes: NodeSources,
        runs: RunConditions,
        site: SiteConditions,
        began: float,
    ) -> None:
        self._config = config
        self._database = database
        self._places = places
        self._nodes = nodes
        self._runs = runs
        self._site = site
        self._began = began
        self._since: dict[Key, float] = {}
        read = _read(database)
        self.book = Book(config, read, tell, began)
        self._from_disk = {one.incident_id for one in read if not one.is_closed}
        self._written = {one.incident_id: _Written(_core(one), began) for one in read}

    def tick(self, now: float, monotonic: float) -> None:
        """Look at everything once; a hub that has just begun only listens.

        Args:
            now: Unix seconds.
            monotonic: The store's clock.
        """
        failing = self._nodes.look(now, monotonic)
        if now - self._began < self._config.grace_seconds:
            return
        found: list[Finding] = []
        for one in failing:
            if self._config.rule(one.kind) is not None:
                found += self._places.find(one, self.book.standing(one.kind), now)
        conditions = [*self._runs.look(now, self._nodes.storms()), *self._site.look(now)]
        self.book.tick(now, [*found, *self._dated(conditions)], self._unheard(now))

    def _dated(self, conditions: Iterable[Finding]) -> list[Finding]:
        """Return conditions with the time since when they have been so without a break."""
        found, since = [], {}
        for one in conditions:
            first = since[one.key] = min(self._since.get(one.key, one.since), one.since)
            found.append(replace(one, since=first, first=first))
        self._since = since
        return found

    def _unheard(self, now: float) -> set[Key]:
        """Return incidents from before this hub's start with nodes that have not linked since."""
        if not self._from_disk or now - self._began > UNHEARD_SECONDS:
            return set()
        found, waiting = set(), set()
        for incident in self.book.live():
            if incident.incident_id not in self._from_disk or incident.scope not in _NODE_SCOPES:
                continue
            key = self.book.key(incident.incident_id)
            if incident.node_count and self._places.size(key[1]) < incident.node_count:
                found.add(key)
                waiting.add(incident.incident_id)
        self._from_disk = waiting
        return found

    # --- the disk ----------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what has changed."""
        now, rows = time.time(), []
        for incident in self.book.all():
            before = self._written.get(incident.incident_id)
            if before is not None and incident.is_closed and before.core.is_closed:
                continue  # what is over does not change
            core = _core(incident)
            is_old = not incident.is_closed and before and now - before.time >= WRITTEN_SECONDS
            if before is None or before.core != core or is_old:
                self._written[incident.incident_id] = _Written(core, now)
                rows.append(self._row(incident))
        if rows:
            await self._database.keep(UPSERT, rows)

    @property
    def away(self) -> str:
        """Why nothing can be written now; "" while it can."""
        return self._database.away

    async def write(self, incident: Incident) -> None:
        """Write one incident; it is on disk when this returns.

        Raises:
            DatabaseAwayError: It is not.
        """
        await self._database.write(UPSERT, [self._row(incident)])

    async def expire(self) -> None:
        """Forget what closed more than KEPT_DAYS ago."""
        limit = time.time_ns() - KEPT_DAYS * 86_400 * 10**9
        self._written = {
            one.incident_id: self._written[one.incident_id]
            for one in self.book.all()
            if one.incident_id in self._written
        }
        await self._database.keep(
            "delete from incidents where closed_ns > 0 and closed_ns < ?", [(limit,)]
        )

    def _row(self, incident: Incident) -> tuple[int, str, int, bytes]:
        body = to_proto(incident_pb2.Incident, incident).SerializeToString()
        return incident.incident_id, self._database.hub, incident.closed_time_unix_ns, body

    # --- what is asked -----------------------------------------------------------------------

    def listed(self, *, closed: bool = False, limit: int = 0) -> list[Incident]:
        """Return incidents in brief, those that count the most first.

        Args:
            closed: Also all closed ones that are kept; else those of the last hour alone.
        """
        now = time.time()
        found = self.book.listed(now, 0.0 if closed else now - SHOWN_CLOSED_SECONDS)
        return [brief(one) for one in found[: limit or len(found)]]

    def counts(self) -> tuple[int, int]:
        """Return how many wait for somebody, and how many of them are critical."""
        return self.book.counts(time.time())


def brief(incident: Incident) -> Incident:
    """Return an incident as lists carry it."""
    return replace(incident, members=(), notes=())


def _core(incident: Incident) -> Incident:
    return replace(incident, last_seen_unix_ns=0, reason="", effects=())


def _read(database: Database) -> list[Incident]:
    rows = database.fetch_now(
        "select body from incidents where hub = ? and (closed_ns = 0 or incident_id in "
        "(select incident_id from incidents where hub = ? and closed_ns > 0 "
        "order by closed_ns desc limit ?))",
        (database.hub, database.hub, READ_LIMIT),
    )
    return [from_proto(Incident, incident_pb2.Incident.FromString(body)) for (body,) in rows]
