"""The blocking client's questions about incidents."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from colossus_tui.client._async import AsyncClient
from colossus_tui.model import Incident, Timeline

T = TypeVar("T")


class SyncIncidentCalls:
    """Asks about incidents; acknowledges and silences them."""

    _client: AsyncClient

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def incidents(self, *, closed: bool = False, limit: int = 0) -> tuple[Incident, ...]:
        """Return incidents without members and notes, those that count the most first."""
        return self._run(self._client.incidents(closed=closed, limit=limit))

    def incident(self, incident_id: int) -> Incident:
        """Return one incident in full."""
        return self._run(self._client.incident(incident_id))

    def timeline(
        self,
        run_id: str = "",
        *,
        since_unix_ns: int = 0,
        until_unix_ns: int = 0,
        max_points: int = 0,
    ) -> Timeline:
        """Return what happened in a span of time, by default in the last 15 minutes."""
        return self._run(
            self._client.timeline(
                run_id,
                since_unix_ns=since_unix_ns,
                until_unix_ns=until_unix_ns,
                max_points=max_points,
            )
        )

    def acknowledge(self, incident_id: int) -> Incident:
        """Say that this operator looks after an incident; return it as it is now."""
        return self._run(self._client.acknowledge(incident_id))

    def silence(self, incident_id: int, seconds: float) -> Incident:
        """Let an incident not count for so long, also when it comes back; 0 ends a silence."""
        return self._run(self._client.silence(incident_id, seconds))
