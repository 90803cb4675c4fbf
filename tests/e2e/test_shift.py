"""A whole shift in tmux, on a simulated site: what is slow, why, saved, shed, undone, replayed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_tui.client import Client
from tests.e2e.product import BIN
from tests.sim.live import LiveSite, live_site
from tests.support import until
from tests.tmux import Tmux

pytestmark = [pytest.mark.e2e, pytest.mark.waits, pytest.mark.timeout(300)]

STRAGGLER = '[[fault]]\nkind = "straggler"\nrun = "6t"\nrank = 17\nat = 1\nduration = 3600\n'
SETTINGS = 'site_name = "north"\n[alerts]\ngrace = 3\n'
COLUMNS, ROWS = 160, 50


@pytest.fixture
def site() -> Iterator[LiveSite]:
    """A site on which one GPU is slow."""
    with live_site() as live:
        live.start(STRAGGLER, run_id="6t", settings=SETTINGS)
        yield live


def drawn(site: LiveSite) -> float:
    """Return what the site draws, watts."""
    watts = site.product.ask(Client.site).power_watts
    assert watts is not None
    return watts


def test_a_shift(site: LiveSite, tmp_path: Path) -> None:
    console = [str(BIN / "colossus")]
    record = tmp_path / "night.colossus"
    environment = site.product.environment
    with Tmux(tmp_path / "tmux", console, environment, COLUMNS, ROWS) as tmux:
        find_the_straggler(tmux)
        save_its_run(tmux)
        shed_and_undo(tmux, site)
        tmux.press("q")
        tmux.until_ended()
    subprocess.run(
        [*console, "record", "--last", "15m", "-o", str(record)],
        env=environment,
        check=True,
        capture_output=True,
    )
    site.close()  # a replay needs nobody
    with Tmux(
        tmp_path / "tmux", [*console, "replay", str(record)], environment, COLUMNS, ROWS
    ) as tmux:
        replay(tmux)


def close(tmux: Tmux, shown: str) -> None:
    """Leave a card or a screen; a key that follows at once would be taken for one with alt."""
    tmux.press("Escape")
    tmux.until_gone(shown)


def find_the_straggler(tmux: Tmux) -> None:
    """The header tells of it, the incident says which GPU and why."""
    tmux.until("7 running", "1 incident", seconds=60)
    tmux.write("i")
    tmux.until("1 to look at", "> ▲ warning   run 6t: waits for rank 17")
    tmux.press("Enter")
    tmux.until("(rank 17)", "slower than 0.7 of the run's median clock", "RUNS AFFECTED")
    tmux.write("A")
    tmux.until("acknowledged by")


def save_its_run(tmux: Tmux) -> None:
    """A checkpoint from the incident's own screen."""
    tmux.write("c")
    tmux.until("checkpoint 6t", "lands on step", "y does it")
    tmux.write("y")
    tmux.until("checkpoint 6t", "observed", seconds=60)
    close(tmux, "esc closes")
    close(tmux, "RUNS AFFECTED")
    close(tmux, "1 looked after")


def shed_and_undo(tmux: Tmux, site: LiveSite) -> None:
    """20 % of the site's power for an hour: planned, confirmed, observed, and taken back."""
    before = drawn(site)
    tmux.write("w")
    tmux.until("HEADROOM", "hall-A")
    tmux.write("s")
    tmux.until("shed power", "such as")
    tmux.write("-20% 1h 3min")
    tmux.press("Enter")
    tmux.until("SAVES", "10t", "flex tier 0")
    tmux.write("north")
    tmux.press("Enter")
    tmux.until("shed the site  observed", seconds=120)
    until(lambda: drawn(site) < 0.82 * before, 20, message="less power")
    close(tmux, "esc closes")
    tmux.write("R")
    tmux.until("restore the site", "y does it")
    tmux.write("y")
    tmux.until("restore the site  observed", seconds=120)
    until(lambda: drawn(site) > 0.95 * before, 60, message="the power that was shed")
    close(tmux, "esc closes")


def replay(tmux: Tmux) -> None:
    """The same night again: the alert, the shed, and no key that would change anything."""
    tmux.until("REPLAY", "north", seconds=30)
    tmux.write("))i")
    tmux.until("> ▲ warning   run 6t: waits for rank 17", seconds=40)
    tmux.write("P")
    tmux.until("paused")
    close(tmux, "NEXT")
    tmux.write("p")
    tmux.until("this is a replay")
