"""What the whole site costs now."""

from __future__ import annotations

import numpy as np

from colossus_tui.hub.money.idle import Idle
from colossus_tui.hub.money.ledger import HOUR_SECONDS, Ledger
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import IdleKind, PlaceKind, SiteMoney


class SiteCosts:
    """Prices all of the site's GPUs, whoever holds them."""

    def __init__(self, store: Store, roll_ups: RollUps, ledger: Ledger, idle: Idle) -> None:
        self._store = store
        self._roll_ups = roll_ups
        self._ledger = ledger
        self.idle = idle
        self._revision = -1
        self._gpus_per_hour, self._count = 0.0, 0

    def now(self) -> SiteMoney:
        """Return what the site costs; nothing without prices."""
        prices = self._ledger.prices
        if prices is None:
            return SiteMoney()
        self._count_gpus()
        watts, _, metered = self._roll_ups.power(PlaceKind.SITE, "")
        joule, per_megawatt_hour = self._ledger.joule(), self._ledger.megawatt_hour()
        known = watts is not None and per_megawatt_hour is not None
        energy = (watts or 0.0) * HOUR_SECONDS * joule if known else None
        gpus = None if prices.gpu_hours is None else self._gpus_per_hour
        parts = [part for part in (gpus, energy) if part is not None]
        return SiteMoney(
            currency=prices.currency,
            per_hour=sum(parts) if parts else None,
            gpus_per_hour=gpus,
            energy_per_hour=energy,
            metered_gpu_count=metered,
            gpu_count=self._count,
            per_megawatt_hour=per_megawatt_hour,
            overhead_ratio=None if per_megawatt_hour is None else prices.overhead,
            held_idle_per_hour=self.idle.per_hour(IdleKind.HELD),
            free_per_hour=self.idle.per_hour(IdleKind.FREE),
            source=prices.source,
        )

    def _count_gpus(self) -> None:
        """Price the GPUs themselves anew when some have come or gone."""
        store = self._store
        if self._revision == store.revision:
            return
        self._revision = store.revision
        rows = np.flatnonzero(store.node_of[: store.gpus.row_count] >= 0)
        prices = self._ledger.product_prices()
        self._gpus_per_hour = float(prices[store.product_of[rows]].sum())
        self._count = rows.size
