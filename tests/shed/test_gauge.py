"""When a site counts as under its target: never by a sum that leaves out what the plan counted."""

from __future__ import annotations

import pytest

from colossus_tui.hub.shed.shedding import COVERED_RATIO, LOOKS, Gauge
from colossus_tui.model import PlaceKind, PowerPlace, ShedPlan

PLAN = ShedPlan(power_basis="GPUs", reporting_gpu_count=1_000)


class Site:
    """A site's power that a test sets."""

    def __init__(self) -> None:
        self.watts: float | None = 100.0
        self.basis = "GPUs"
        self.reporting = 1_000
        self.gauge = Gauge(self.now, PLAN)

    def now(self) -> PowerPlace:
        return PowerPlace(
            PlaceKind.SITE,
            "",
            drawn_watts=self.watts,
            basis=self.basis,
            reporting_gpu_count=self.reporting,
            gpu_count=1_000,
        )

    def look(self, times: int = 1) -> float | None:
        for _ in range(times):
            self.gauge.look()
        return self.gauge.watts


def test_it_is_the_mean_of_its_looks_and_sure_after_enough_of_them() -> None:
    site = Site()

    assert site.gauge.watts is None
    assert site.look(LOOKS - 1) == 100
    assert not site.gauge.is_sure
    site.watts = 200.0
    assert site.look() == pytest.approx(100 + 100 / LOOKS)
    assert site.gauge.is_sure
    assert site.look(LOOKS) == 200


def test_a_moment_in_which_a_run_saves_does_not_count_as_under() -> None:
    site = Site()
    site.look(LOOKS)
    site.watts = 50.0

    assert (site.look(3) or 0) > 80


@pytest.mark.parametrize(
    "change",
    [
        {"reporting": int(1_000 * COVERED_RATIO) - 1},  # a hub that starts hears few nodes first
        {"basis": "meter"},  # other things are in that sum
        {"watts": None},
    ],
)
def test_a_sum_of_something_else_says_nothing(change: dict[str, object]) -> None:
    site = Site()
    site.look(LOOKS)
    for name, value in change.items():
        setattr(site, name, value)

    assert site.look() is None
    assert not site.gauge.is_sure


def test_it_says_what_it_is_a_sum_of() -> None:
    site = Site()
    site.reporting = 990

    site.look()

    assert site.gauge.coverage == "GPUs, 990/1,000 GPUs reporting"
