"""The console behind a modem, and before a terminal that takes nothing; real pseudo-terminals."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.answering import Answering
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until
from tests.terminal import SlowTerminal

RUNS = ("10t", "1t", "6t")
RATE = 960.0  # 9,600 bit/s
SLACK = 3  # this machine is noisy; what it measures is in bench/console_slow.py


class Training:
    """A node whose three runs go on by ten steps a second, until told otherwise."""

    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        step = 0
        while not self._stop.wait(0.5):
            for name in RUNS:
                self._agent.steps(name, range(step * 5 + 1, step * 5 + 6))
            self._agent.send(frame=frame([(50, 650)] * 2, (1, 2)))
            step += 1

    def stop(self) -> None:
        """Let them stand still."""
        self._stop.set()
        self._thread.join()


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet(hello())
        agent.report(*(local_run(name) for name in RUNS))
        training = Training(agent)
        until(lambda: all((hub.run_of(name).get("step") or 0) > 5 for name in RUNS))
        yield agent
        training.stop()


def console(hub: Product, *arguments: str, delay: float = 0.15, **more: float) -> SlowTerminal:
    argv = [str(BIN / "colossus"), *arguments]
    return SlowTerminal(argv, hub.environment, delay_seconds=delay, **more)  # type: ignore[arg-type]


def cursor(terminal: SlowTerminal) -> list[int]:
    """Return the rows under the cursor; two while it moves."""
    return [y for y, line in enumerate(terminal.screen.display) if line.startswith(">")]


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def settle(terminal: SlowTerminal) -> None:
    """Wait until the console has found out what its link is."""
    terminal.until(*RUNS, "slow link: every", "q quit", seconds=40)
    terminal.until_that(lambda: terminal.backlog < RATE, 20)


def test_behind_a_modem_keys_are_answered_and_nothing_queues(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub) as terminal:
        settle(terminal)
        terminal.most_backlog = 0
        waits = []
        for key in "jjkkjk":
            terminal.read(1.0)
            before = cursor(terminal)
            began = time.monotonic()
            terminal.press(key)
            terminal.until_that(lambda was=before: cursor(terminal) not in (was, []), 20)  # type: ignore[misc]
            waits.append(time.monotonic() - began)
        assert sorted(waits)[len(waits) // 2] < 1.5 * SLACK, waits
        assert terminal.most_backlog < RATE * SLACK
        row = next(line for line in terminal.screen.display if "P2  10t" in line)
        terminal.until_that(lambda: row not in terminal.screen.display, 20)  # it goes on


def test_a_screen_a_card_and_back_leave_no_trace_of_one_another(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub) as terminal:
        settle(terminal)
        terminal.press("\r")
        terminal.until("run 10t", "durable step", seconds=30)
        terminal.press("f")
        terminal.until("freeze 10t", "does it", seconds=30)
        terminal.press("\x1b")
        terminal.until_gone("freeze 10t", 30)
        terminal.until("durable step", seconds=30)
        terminal.press("\x1b")
        terminal.until("STEP TIME", *RUNS, seconds=30)
        terminal.until_that(lambda: "durable step" not in terminal.text, 30)
        terminal.resize(100, 30)
        os.kill(terminal.pid, 28)  # SIGWINCH
        terminal.until("CKPT AGE", *RUNS, seconds=40)
        terminal.press("q")
        assert terminal.wait(20) == 0


@pytest.mark.parametrize("rate", [2e4, 1e6])
def test_a_link_that_is_fast_enough_is_not_called_slow(
    hub: Product, agent: FakeAgent, rate: float
) -> None:
    with console(hub, delay=0.02, rate=rate) as terminal:
        terminal.until(*RUNS, "q quit", seconds=30)
        terminal.read(6)
        assert "slow link" not in terminal.text
        assert terminal.backlog < RATE * SLACK


def test_low_is_slow_from_the_beginning_also_without_an_answer(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub, "--bandwidth", "low", answers=False) as terminal:
        terminal.until(*RUNS, "slow link: every", "q quit", seconds=40)
        terminal.read(5)
        assert terminal.most_backlog < RATE * SLACK
        before = cursor(terminal)
        terminal.press("j")
        terminal.until_that(lambda: cursor(terminal) not in (before, []), 20)


def test_full_neither_asks_nor_waits(hub: Product, agent: FakeAgent) -> None:
    with console(hub, "--bandwidth", "full", rate=1e6) as terminal:
        terminal.until(*RUNS, "q quit", seconds=30)
        terminal.read(2)
        assert b"\x1b[6n" not in terminal.output


@pytest.mark.waits
@pytest.mark.timeout(120)
@pytest.mark.parametrize("answers", [True, False])
def test_a_terminal_that_takes_nothing_for_a_while_blocks_nothing(
    hub: Product, agent: FakeAgent, answers: bool
) -> None:
    orders = Answering(agent, runs=[local_run(name) for name in RUNS]).orders
    with console(hub, delay=0.01, rate=1e6, answers=answers) as terminal:
        terminal.until(*RUNS, "q quit", seconds=30)
        terminal.read(3)
        before = resident_kib(terminal.pid)

        terminal.is_stalled = True
        os.write(terminal.master, b"f")
        terminal.read(15)
        os.write(terminal.master, b"y")
        until(lambda: "freeze" in orders, 15, message="what was pressed unseen to be done")
        terminal.read(10)
        assert resident_kib(terminal.pid) - before < 3_000

        terminal.is_stalled = False
        terminal.until("freeze 10t", seconds=30)
        terminal.press("\x1b")
        terminal.until(*RUNS, "q quit", seconds=30)
        terminal.until_that(lambda: "freeze 10t" not in terminal.text, 30)
        terminal.press("q")
        assert terminal.wait(20) == 0
