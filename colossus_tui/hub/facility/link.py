"""How the hub stands with one source of facility values; each change is logged once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from colossus_tui.hub.facility.trouble import Trouble
from colossus_tui.model import Alert, FacilityLink, Severity
from colossus_tui.text import safe

LOG = logging.getLogger(__name__)
AWAY_SECONDS = 10.0  # a source that is back sooner is not worth an alert


class Link:
    """The state of one source.

    Args:
        kind: "mqtt" or "redfish".
        clock: Unix seconds.
    """

    def __init__(self, kind: str, address: str, clock: Callable[[], float] = time.time) -> None:
        self._kind, self._address, self._clock = kind, address, clock
        self._state, self._detail = "connecting", ""
        self._since = clock()
        self._count = 0

    def up(self) -> None:
        """Note that it answers."""
        self._turn("up", "")

    def away(self, detail: str) -> None:
        """Note that it does not answer, and why."""
        self._turn("away", safe(detail, 200))

    def took(self) -> None:
        """Count a value."""
        self._count += 1

    def _turn(self, state: str, detail: str) -> None:
        self._detail = detail
        if state == self._state:
            return
        self._state, self._since = state, self._clock()
        level = logging.INFO if state == "up" else logging.WARNING
        LOG.log(level, "facility=%s source=%s detail=%r", state, self._address, detail)

    def now(self) -> FacilityLink:
        """Return how it is."""
        return FacilityLink(
            self._kind,
            self._address,
            self._state,
            self._detail,
            int(self._since * 1e9),
            self._count,
        )

    def trouble(self) -> Trouble | None:
        """Return that it is away, once that has lasted; None else."""
        if self._state == "up" or self._clock() - self._since < AWAY_SECONDS:
            return None
        why = f": {self._detail}" if self._detail else ""
        text = f"{self._address} does not answer{why}"
        alert = Alert(Severity.WARNING, "facility.away", text, int(self._since * 1e9))
        return Trouble(self._address, alert)
