"""What hubs tell each other through the database: where they are, and what they journal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from colossus_tui import __version__
from colossus_tui.hub.database import Database
from colossus_tui.hub.journal import KEPT_IN_MEMORY, decode
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.model import Action, Run

FORGOTTEN_DAYS = 14
OVERLAP_NS = 5 * 10**9  # a hub's clock may be set back by so much
BEAT = (
    "insert into hubs (hub, address, version, started_ns, heartbeat) values (?, ?, ?, ?, now()) "
    "on conflict (hub) do update set address = excluded.address, version = excluded.version, "
    "started_ns = excluded.started_ns, heartbeat = excluded.heartbeat"
)
OTHERS = (
    "select hub, address, extract(epoch from now() - heartbeat)::float8 from hubs "
    f"where hub <> ? and heartbeat > now() - interval '{FORGOTTEN_DAYS} days' order by hub"
)


@dataclass(frozen=True, slots=True)
class HubRow:
    """Another hub's row.

    Attributes:
        beat_seen: This hub's monotonic clock at the other's last heartbeat.
    """

    hub: str
    address: str
    beat_seen: float


class HubRegistry:
    """Reads and writes the part of the database that hubs share; raises DatabaseAwayError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._started_ns = time.time_ns()
        self._actions_read: dict[str, int] = {}  # by hub, when the newest was written
        self.hub = database.hub

    async def beat(self, address: str) -> None:
        """Say that this hub lives, and where."""
        row = (self.hub, address, __version__, self._started_ns)
        await self._database.write(BEAT, [row])

    async def others(self) -> list[HubRow]:
        """Return the other hubs; one that was not seen for FORGOTTEN_DAYS is left out."""
        rows = await self._database.fetch(OTHERS, (self.hub,))
        now = time.monotonic()
        return [HubRow(hub, address, now - max(age, 0.0)) for hub, address, age in rows]

    async def runs(self, hub: str) -> list[Run]:
        """Return another hub's runs as it last wrote them, with what of them outlasts a hub."""
        rows = await self._database.fetch("select run_id, body from runs where hub = ?", (hub,))
        runs = []
        for run_id, body in rows:
            try:
                runs.append(_summary(LiveRun.from_json(run_id, body)))
            except (ValueError, KeyError, TypeError):
                continue  # its own hub tells of it
        return runs

    async def new_actions(self, hub: str) -> list[Action]:
        """Return what another hub has journaled since the last call."""
        since = self._actions_read.get(hub, 0)
        rows = await self._database.fetch(
            "select written_ns, body from actions where hub = ? and written_ns > ? "
            "order by written_ns desc limit ?",
            (hub, since - OVERLAP_NS, KEPT_IN_MEMORY),
        )
        self._actions_read[hub] = rows[0][0] if rows else since
        return [decode(body) for _, body in rows]

    async def new_events(self, hub: str, after: int) -> list[tuple[int, bytes]]:
        """Return another hub's events after a number of its own, oldest first."""
        rows = await self._database.fetch(
            "select event_id, body from events where hub = ? and event_id > ? "
            "order by event_id limit ?",
            (hub, after, KEPT_IN_MEMORY),
        )
        return [(number, body) for number, body in rows]

    async def action(self, action_id: str) -> tuple[str, Action] | None:
        """Return an action and the hub that has it; None when nobody has."""
        rows = await self._database.fetch(
            "select hub, body from actions where action_id = ? order by requested_ns limit 1",
            (action_id,),
        )
        return (rows[0][0], decode(rows[0][1])) if rows else None

    async def beginning(self, prefix: str) -> list[tuple[str, Action]]:
        """Return the other hubs' actions whose identity begins so."""
        rows = await self._database.fetch(
            "select hub, body from actions where hub <> ? and action_id >= ? and action_id < ? "
            "limit ?",
            (self.hub, prefix, prefix + "\x7f", KEPT_IN_MEMORY),
        )
        return [(hub, decode(body)) for hub, body in rows]


def _summary(run: LiveRun) -> Run:
    durable = run.durable
    return Run(
        run_id=run.run_id,
        label=run.label,
        backend=run.backend,
        state=run.state,
        state_since_unix_ns=run.state_since_unix_ns,
        priority_class=run.priority_class,
        generation=run.generation,
        rank_count=run.rank_count,
        attempt=run.attempt,
        step=run.step,
        tokens=run.total_tokens or None,
        durable_step=durable.step if durable else None,
        durable_time_unix_ns=durable.time_unix_ns if durable else 0,
        started_time_unix_ns=run.started_unix_ns,
        command=run.command,
    )
