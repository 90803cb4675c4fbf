"""What runs have cost: GPU-hours, energy and money, added up each second while GPUs are held."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.money.prices import Prices
from colossus_tui.model import Money, Run, RunState

if TYPE_CHECKING:
    from colossus_tui.hub.gpus import RunGpuFigures
    from colossus_tui.hub.runs.live import LiveRun
    from colossus_tui.hub.runs.summary import RunGpus
    from colossus_tui.hub.store import Store

HOUR_SECONDS = 3_600.0
# What a scheduler names as a run's GPUs is held in these states; what its processes hold always is.
ALLOCATED = frozenset(
    {
        RunState.STARTING,
        RunState.RUNNING,
        RunState.PAUSING,
        RunState.FROZEN,
        RunState.RESUMING,
        RunState.STOPPING,
    }
)


@dataclass(slots=True)
class Spent:
    """What one run has used up, over all attempts.

    Attributes:
        metered_gpu_hours: GPU-hours whose power was measured; energy_joules is theirs.
        covered_gpu_hours: GPU-hours whose whole cost is in `money`.
    """

    gpu_hours: float = 0.0
    energy_joules: float = 0.0
    metered_gpu_hours: float = 0.0
    money: float = 0.0
    covered_gpu_hours: float = 0.0

    def state(self) -> dict[str, float]:
        """Return what must survive the hub."""
        return asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Spent:
        """Return what `state` returned; what an older hub did not keep is 0."""
        return cls(**{one.name: float(state.get(one.name, 0.0)) for one in fields(cls)})


class Ledger:
    """Prices what runs hold, and adds it up.

    Args:
        prices: None where the settings have none: then time and energy alone are added up.
        clock: Unix seconds, by which the price of energy is chosen.
    """

    def __init__(
        self,
        prices: Prices | None,
        store: Store,
        gpus: RunGpuFigures,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.prices = prices
        self._store = store
        self._gpus = gpus
        self._clock = clock
        self._by_product: npt.NDArray[np.float64] = np.zeros(0)
        self._by_run: dict[str, float] = {}
        self._revision = -1

    # --- prices ----------------------------------------------------------------------------

    def product_prices(self) -> npt.NDArray[np.float64]:
        """Return the price of a GPU-hour by the store's code of the product; the last for -1."""
        names = self._store.products.names
        if self.prices is not None and len(names) + 1 != self._by_product.size:
            self._by_product = np.array([self.prices.gpu_hour(name) for name in (*names, "")])
        return self._by_product

    def megawatt_hour(self) -> float | None:
        """Return what a megawatt-hour costs now; None where energy is not priced."""
        return self.prices.megawatt_hour(self._clock()) if self.prices is not None else None

    def joule(self) -> float:
        """Return what a joule costs now; 0 where energy is not priced."""
        return self.prices.joule(self._clock()) if self.prices is not None else 0.0

    def _gpus_per_hour(self, run_id: str) -> float:
        """Return the price of an hour of the GPUs that the run holds."""
        if self._revision != self._store.revision:
            self._by_run, self._revision = {}, self._store.revision
        price = self._by_run.get(run_id)
        if price is None:
            products = self._store.product_of[self._gpus.rows(run_id)]
            price = self._by_run[run_id] = float(self.product_prices()[products].sum())
        return price

    def _per_hour(self, run_id: str, more: int, watts: float | None) -> float | None:
        """Return what the run costs an hour; None where nothing of it is priced or measured.

        Args:
            more: How many of its GPUs only its scheduler names; their product is not known.
        """
        if self.prices is None or (self.prices.gpu_hours is None and watts is None):
            return None
        gpus = self._gpus_per_hour(run_id) + more * self.prices.gpu_hour("")
        return gpus + (watts or 0.0) * HOUR_SECONDS * self.joule()

    # --- adding up -------------------------------------------------------------------------

    def add(self, run: LiveRun, gpus: RunGpus, seconds: float) -> None:
        """Count the seconds that just passed for what the run holds."""
        more = unseen(run, gpus.count)
        count = gpus.count + more
        if not count:
            return
        spent, hours = run.spent, seconds / HOUR_SECONDS
        spent.gpu_hours += count * hours
        spent.energy_joules += (gpus.power_watts or 0.0) * seconds
        spent.metered_gpu_hours += gpus.reporting_count * hours
        per_hour = self._per_hour(run.run_id, more, gpus.power_watts)
        if self.prices is None or per_hour is None:
            return
        spent.money += per_hour * hours
        covered = gpus.reporting_count if self.prices.megawatt_hours else count
        spent.covered_gpu_hours += covered * hours

    # --- what is asked ---------------------------------------------------------------------

    def priced(self, run: LiveRun, shown: Run) -> Run:
        """Return a run as it is shown, with what it has used up and what it costs."""
        spent = run.spent
        used = spent.gpu_hours or None
        money = self._money(run, shown)
        if used:
            money = replace(
                money,
                metered_ratio=spent.metered_gpu_hours / used,
                covered_ratio=spent.covered_gpu_hours / used if self.prices else None,
            )
        energy = spent.energy_joules if spent.metered_gpu_hours else None
        return replace(shown, money=money, energy_joules=energy, gpu_hours=used)

    def _money(self, run: LiveRun, shown: Run) -> Money:
        if self.prices is None:
            return Money()
        held = len(self._gpus.rows(run.run_id))
        more = unseen(run, held)
        count = held + more
        per_hour = self._per_hour(run.run_id, more, shown.power_watts) if count else 0.0
        tokens, left = shown.tokens_per_second, shown.eta_unix_ns
        at_risk = None
        if shown.work_at_risk_hours == 0:
            at_risk = 0.0
        elif shown.work_at_risk_hours is not None and per_hour and count:
            at_risk = shown.work_at_risk_hours * per_hour / count
        to_finish = None
        if left and per_hour:
            to_finish = per_hour * max(left - time.time_ns(), 0) / 1e9 / HOUR_SECONDS
        return Money(
            currency=self.prices.currency,
            per_hour=per_hour,
            so_far=run.spent.money if run.spent.covered_gpu_hours or run.spent.money else None,
            to_finish=to_finish,
            per_billion_tokens=per_hour / (tokens * HOUR_SECONDS) * 1e9
            if tokens and per_hour
            else None,
            at_risk=at_risk,
        )


def unseen(run: LiveRun, seen: int) -> int:
    """Return how many GPUs the run's scheduler has given it that no agent has shown."""
    if run.scheduled is None or run.state not in ALLOCATED:
        return 0
    return max(run.scheduled.sighting.job.gpu_count - seen, 0)
