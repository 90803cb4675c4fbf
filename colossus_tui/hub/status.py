"""How the hub itself fares: its load, its lag, and who is linked."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

from colossus_tui import __version__
from colossus_tui.hub.links import Links
from colossus_tui.hub.relay import Relay
from colossus_tui.hub.relay_service import RelayService
from colossus_tui.hub.store import Store
from colossus_tui.model import Hub

KEPT_TICKS = 60
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Status:
    """Counts for the hub's own account.

    Attributes:
        watchers: Consoles that watch a view.
    """

    def __init__(
        self, store: Store, links: Links, relays: RelayService, relay: Relay | None
    ) -> None:
        self._store = store
        self._links = links
        self._relays = relays
        self._relay = relay
        self._started_unix_ns = time.time_ns()
        self._ticks: deque[tuple[float, float]] = deque(maxlen=KEPT_TICKS)  # lag, roll-up; seconds
        self.watchers = 0

    def tick(self, lag_seconds: float, roll_up_seconds: float) -> None:
        """Note a tick: how late it came, and how long the site took to roll up."""
        self._ticks.append((lag_seconds, roll_up_seconds))

    def now(self) -> Hub:
        """Return the account."""
        lags, roll_ups = zip(*self._ticks, strict=True) if self._ticks else ((0.0,), (0.0,))
        upstream = self._relay.upstream if self._relay is not None else None
        return Hub(
            hub_version=__version__,
            started_time_unix_ns=self._started_unix_ns,
            frame_count=self._store.frame_count,
            direct_link_count=len(self._links.direct_names()),
            relays=self._relays.linked(),
            parent=upstream.address if upstream is not None and upstream.is_up else "",
            dropped_batch_count=upstream.batches.dropped_batches if upstream is not None else 0,
            roll_up_seconds=roll_ups[-1],
            roll_up_seconds_max=max(roll_ups),
            tick_lag_seconds_max=max(lags),
            resident_bytes=_resident_bytes(),
            cpu_seconds=time.process_time(),
            watcher_count=self.watchers,
        )


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
