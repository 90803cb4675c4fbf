"""`colossus` with nothing configured: its own hub and agent, real runs, and kill -9 of each."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.product import BIN, Product, process_state
from tests.support import until
from tests.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


@pytest.fixture
def machine() -> Iterator[Product]:
    """A machine of which nobody has started anything."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        del product.environment["COLOSSUS_HUB"]
        try:
            yield product
        finally:
            product.close()


def console(machine: Product) -> Terminal:
    return Terminal([str(BIN / "colossus")], machine.environment, 100, 30)


def children(terminal: Terminal) -> dict[str, psutil.Process]:
    """Return the console's hub and agent by name."""
    found = {}
    for child in psutil.Process(terminal.pid).children():
        try:
            command = child.cmdline()
        except psutil.Error:  # it has just ended
            continue
        for name, module in (("hub", "colossus_tui.hub"), ("agent", "colossus_agent")):
            if module in command:
                found[name] = child
    return found


def test_a_run_is_paused_and_resumed_from_the_console(machine: Product) -> None:
    with console(machine) as terminal:
        terminal.until("no runs yet")
        machine.train("10t")
        terminal.until("10t", "running")
        pid = machine.ranks("10t")[0]["pid"]

        terminal.press("p")
        terminal.until("pause 10t", "y does it")
        terminal.press("y")
        terminal.until("observed", "paused at step", "no process left")

        run = machine.run_of("10t")
        assert run["state"] == "paused"
        assert process_state(pid) == ""
        assert any((machine.folder / "checkpoints" / "10t").rglob(f"*{run['durable_step']}*"))
        terminal.press("\x1b")
        terminal.until_gone("esc closes")

        terminal.press("r")
        terminal.until("resume 10t", "y does it")
        terminal.press("y")
        terminal.until("observed", "attempt 2 runs: step")

        machine.wait_step("10t", run["durable_step"] + 1)
        assert machine.run_of("10t")["attempt"] == 2
        terminal.press("\x1b")
        terminal.until_gone("esc closes")
        terminal.press("q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("name", ["hub", "agent"])
def test_a_killed_child_is_started_again_and_training_goes_on(machine: Product, name: str) -> None:
    with console(machine) as terminal:
        terminal.until("no runs yet")
        machine.train("t")
        pid = machine.ranks("t")[0]["pid"]
        before = children(terminal)
        assert before.keys() == {"hub", "agent"}

        before[name].kill()

        until(lambda: children(terminal).get(name, before[name]).pid != before[name].pid, 20)
        other = ({"hub", "agent"} - {name}).pop()
        assert children(terminal)[other].pid == before[other].pid
        until(machine.answers, message="the hub")
        step: int = until(lambda: machine.run_of("t").get("step") or 0, 20)
        machine.wait_step("t", step + 20)
        terminal.until("running")
        assert machine.ranks("t")[0]["pid"] == pid
        terminal.press("q")
        assert terminal.wait() == 0


def test_a_killed_console_leaves_no_child_and_all_training(machine: Product) -> None:
    with console(machine) as terminal:
        terminal.until("no runs yet")
        machine.train("t")
        (rank,) = machine.ranks("t")
        family = children(terminal)

        os.kill(terminal.pid, signal.SIGKILL)

        gone, alive = psutil.wait_procs(list(family.values()), timeout=10)
        assert len(gone) == 2
        assert not alive
        assert process_state(rank["pid"])

    with console(machine) as terminal:  # finds the run again, further than it was
        terminal.until("t", "running")
        machine.wait_step("t", rank["step"] + 20)
        assert machine.ranks("t")[0]["pid"] == rank["pid"]
        terminal.press("q")
        assert terminal.wait() == 0
    assert process_state(rank["pid"])
