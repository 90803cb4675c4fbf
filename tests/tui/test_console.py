"""The console in a real pseudo-terminal, its screen read by a terminal emulator."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import common_pb2, directive_pb2, frame_pb2, run_pb2
from tests.e2e.product import BIN, Product, process_state
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until
from tests.terminal import Terminal

HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/] \r\n\u202e\u200b" + "A" * 10_000
P0 = common_pb2.PRIORITY_CLASS_P0


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with two GPUs and the runs "10t" (P0) and "6t" (P2)."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        report(agent)
        for run_id in ("10t", "6t"):
            agent.steps(run_id, [1, 2, 3])
        agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        until(lambda: hub.run_of("6t").get("step") == 3)
        yield agent


def report(agent: FakeAgent, *more: run_pb2.LocalRun) -> None:
    agent.report(local_run("10t", priority_class=P0), local_run("6t"), *more)


def console(hub: Product, columns: int = 80, rows: int = 24, *arguments: str) -> Terminal:
    return Terminal([str(BIN / "colossus"), *arguments], hub.environment, columns, rows)


def row_of(terminal: Terminal, text: str) -> int:
    """Return the screen's row, from 1, that shows a text."""
    return next(
        index for index, line in enumerate(terminal.screen.display, start=1) if text in line
    )


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (120, 30), (40, 10)])
def test_the_first_screen_shows_all_runs_at_any_size(
    hub: Product, agent: FakeAgent, columns: int, rows: int
) -> None:
    with console(hub, columns, rows) as terminal:
        terminal.until("10t", "6t", "running", "STATE", "? help")
        if columns >= 80:
            terminal.until("nodes 1/1", "GPUs 2/2", "power 610 W", "500 ms", "2.000")
        terminal.press("q")
        assert terminal.wait() == 0
    assert b"\x1b[?1049l" in terminal.output  # the screen before comes back


def test_a_terminal_that_grows_and_shrinks_is_filled_again(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("6t")
        assert "TOK/S" not in terminal.text
        terminal.resize(200, 50)
        terminal.until("TOK/S", "AT RISK", "n nodes")
        terminal.resize(60, 12)
        terminal.until("6t", "? help")
        terminal.until_gone("TOK/S")


def test_a_run_opens_down_to_its_ranks_and_back(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 200, 50) as terminal:
        terminal.until("10t", "6t")
        terminal.press("j\r")
        terminal.until("run 6t", "RANKS", "THE LAST 15 MINUTES", "EVENTS", "MIN / MEDIAN")
        terminal.press("\x1b")
        terminal.until("STATE")
        terminal.until_gone("RANKS")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 12), (200, 50)])
def test_bets_compare_runs_and_try_a_move(
    hub: Product, agent: FakeAgent, columns: int, rows: int
) -> None:
    with console(hub, columns, rows) as terminal:
        terminal.until("10t", "6t")
        terminal.press("b")
        terminal.until("bets", "a  10t", "b  6t")
        if rows > 12:
            terminal.until("LOSS AGAINST TOKENS", "tok")  # no run states its parameters
            terminal.press("x+<?")
            terminal.until("KEYS", "axis")
            terminal.press("\x1b")
            terminal.until("LOSS AGAINST WALL TIME")
        agent.steps("10t", list(range(4, 40)))
        terminal.press("MZ\x1b[5~")
        terminal.until("what if nodes moved", "modelled: nothing is done", "1>0")
        terminal.press("\x1b")
        terminal.until_gone("what if nodes moved")
        terminal.press("\x1b")
        terminal.until_gone("M what if")
        terminal.press("q")
        assert terminal.wait() == 0


def test_nodes_open_down_to_a_gpu(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 200, 50) as terminal:
        terminal.until("10t")
        terminal.press("n")
        terminal.until("node-1", "610 W", "41 °C")
        terminal.press("\r")
        terminal.until("GPU 0 IN FULL", "GPU-0")
        terminal.press("g")
        terminal.until("GPU 1 IN FULL", "GPU-1")
        terminal.press("\x1b")
        terminal.until("node-1")
        terminal.press("\x1b")
        terminal.until("STATE", "10t")


def test_freezing_goes_from_card_to_observed(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t", "6t")
        terminal.press("jf")
        terminal.until("freeze 6t", "stops in place", "y does it")
        terminal.press("x")  # no answer
        terminal.press("y")
        directive = agent.directive()
        terminal.until("dispatched", "esc closes this; the action goes on")
        agent.answer(directive)
        report(agent)
        agent.report(
            local_run("10t", priority_class=P0),
            local_run(
                "6t",
                state=run_pb2.LOCAL_RUN_STATE_FROZEN,
                fuse_deadline_unix_ns=2_000_000_000 * 10**9,
            ),
        )
        terminal.until("observed", "on 1 of 1 nodes")
        terminal.press("\x1b")
        terminal.until("frozen")
    (action,) = hub.json("actions")["actions"]
    assert (action["verb"], action["state"]) == ("freeze", "observed")


def test_a_run_of_the_highest_class_needs_its_name(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t")
        terminal.press("S")
        terminal.until("stop 10t", "type the run's name")
        terminal.press("y\r")
        terminal.until("that is not the run's name")
        terminal.press("10x\x7ft\r")
        directive = agent.directive()
        assert directive.WhichOneof("order") == "terminate"
        agent.answer(
            directive,
            "the system denied it: pid 1: Operation not permitted",
            outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
        )
        terminal.until("failed", "Operation not permitted")


def test_a_refusal_says_why_and_does_nothing(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t")
        terminal.press("r")
        terminal.until("refused: conflict", "running", "nothing was done")
        terminal.press("y\r")
        terminal.press("\x1b")
        terminal.until_gone("refused")
    assert hub.json("actions")["actions"] == []


def test_a_class_is_chosen_by_its_number(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t", "6t")
        terminal.press("je")
        terminal.until("reprioritize 6t", "P2", "now", "press 0 to 4")
        terminal.press("97")  # no class
        terminal.press("1")
        terminal.until("y does it")
        terminal.press("n")
        terminal.until_gone("y does it")
    assert hub.json("actions")["actions"] == []


def test_a_filter_finds_runs_and_escape_drops_it(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t", "6t")
        terminal.press("/class=P0\r")
        terminal.until("runs matching")
        terminal.until_gone("P2  6t")
        terminal.press("/")
        terminal.press("\x1b")
        terminal.until("P2  6t", "P0  10t")
        terminal.press("/zzz\r")
        terminal.until("no run matches 'zzz'")
        terminal.press("p")  # nothing to pause
        terminal.press("\r")
        terminal.until("no run matches")


def test_order_follows_keys_and_clicks(hub: Product, agent: FakeAgent) -> None:
    agent.steps("6t", [4, 5])
    until(lambda: hub.run_of("6t").get("step") == 5)
    with console(hub, 200, 50) as terminal:
        terminal.until("10t", "6t")
        head = terminal.screen.display[2]
        column = head.index(" STEP ") + 3
        terminal.click(column, 3)
        terminal.until_that(lambda: row_of(terminal, " 6t ") < row_of(terminal, "10t"))
        terminal.press("O")
        terminal.until_that(lambda: row_of(terminal, "10t") < row_of(terminal, " 6t "))
        terminal.click(column, 3)
        terminal.until_that(lambda: row_of(terminal, " 6t ") < row_of(terminal, "10t"))


def test_a_double_click_opens_a_run(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 200, 50) as terminal:
        terminal.until("10t", "6t")
        row = row_of(terminal, " 6t ")
        terminal.click(20, row)
        terminal.until(f">{terminal.screen.display[row - 1][1:12]}".rstrip())
        terminal.click(20, row)
        terminal.click(20, row)
        terminal.until("run 6t")


def test_help_and_palette_name_every_key(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 100, 50) as terminal:
        terminal.until("10t")
        terminal.press("?")
        terminal.until("KEYS", "Save at a step", "Approve an action")
        terminal.press("\x1b[F")
        terminal.until("FILTER", "gpus, nodes", "STATES OF A RUN", "WORDS")
        terminal.press("\x1b")
        terminal.until_gone("WORDS")
        terminal.press("\x10")
        terminal.until("Search for commands")
        terminal.press("nodes")
        terminal.until_gone("All keys")
        terminal.until("All nodes")
        terminal.read(0.3)
        terminal.press("\r")
        terminal.until("node-1")


def test_keys_that_mean_nothing_do_nothing(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t", "6t")
        terminal.press("xXzZ9!\t\x1b[Z\x1b[5~\x1b[6~\x1bOP\x01\x02\x1b")
        terminal.read(1.0)
        terminal.until("10t", "6t", "STATE")
    assert hub.json("actions")["actions"] == []


def test_a_hub_that_goes_away_is_said_and_comes_back(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t", "6t")
        hub.kill("hub")
        terminal.until("hub lost", "figures are old")
        assert "10t" in terminal.text  # the last figures stay, marked as old
        terminal.press("jc")
        terminal.until("checkpoint 6t", "nothing was done")
        terminal.press("\x1b")
        hub.start_hub()
        with FakeAgent(hub.address) as again:
            again.greet()
            report(again)
            terminal.until_gone("hub lost")


def test_killing_the_console_harms_nothing_else(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("10t")
        os.kill(terminal.pid, signal.SIGKILL)
        assert terminal.wait() == -signal.SIGKILL
    with console(hub) as terminal:
        terminal.until("10t", "running")
    assert hub.hub is not None
    assert hub.hub.poll() is None


def test_a_viewer_sees_all_and_is_told_why_he_may_not_act(
    hub: Product, agent: FakeAgent, tcp: str
) -> None:
    with console(hub, 80, 24, "--hub", tcp) as terminal:
        terminal.until("10t", "6t", "viewer")
        terminal.press("p")
        terminal.until("refused: policy", "you are a viewer here")


def test_without_line_drawing_glyphs_everything_is_ascii(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 200, 50, "--ascii") as terminal:
        terminal.until("10t", "6t", "running")
        terminal.press("\r")
        terminal.until("THE LAST 15 MINUTES")
        assert terminal.output.isascii(), terminal.text


def test_hostile_text_draws_nothing_of_its_own(hub: Product, agent: FakeAgent) -> None:
    message = hello(agent_version=HOSTILE[:100], instance_id="two")
    message.host.cpu_model = message.gpus[0].product_name = HOSTILE
    evil = local_run("evil", command=HOSTILE, label=HOSTILE, output_tail=HOSTILE)
    evil.ranks[0].state = "\x1b"
    with FakeAgent(hub.address) as hostile, console(hub, 200, 50) as terminal:
        hostile.greet(message)
        hostile.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        report(hostile, evil)
        hostile.send(
            event=common_pb2.Event(kind="x", message=HOSTILE, severity=common_pb2.SEVERITY_CRITICAL)
        )
        hostile.send(
            sequence=0,
            process_report=frame_pb2.ProcessReport(
                processes=[
                    frame_pb2.ProcessSample(pid=1, name=HOSTILE, command=HOSTILE, user=HOSTILE)
                ]
            ),
        )
        terminal.until("evil", "[bold red]boo")
        terminal.press("/evil\r\r")
        terminal.until("run evil", "RANKS")
        terminal.press("n")
        terminal.until("FAILING")
        terminal.press("\r")
        terminal.until("PROCESSES", "[bold red]boo")
        terminal.read(1.0)
        assert b"owned\x07" not in terminal.output
        assert b"\x1b]0;" not in terminal.output
        assert "\u202e".encode() not in terminal.output
        assert "\u200b".encode() not in terminal.output
        assert "A" * 300 not in terminal.text


def test_an_idle_console_writes_little(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 200, 50) as terminal:
        terminal.until("10t", "6t")
        terminal.read(2.0)
        before = len(terminal.output)
        end = time.monotonic() + 4.0
        while time.monotonic() < end:
            terminal.read(0.2)
        assert len(terminal.output) - before < 4 * 3_000


@pytest.mark.waits
@pytest.mark.timeout(120)
def test_a_terminal_that_takes_nothing_any_more_holds_no_console(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub, 200, 50) as terminal:
        terminal.until("10t", "6t")
        terminal.press("?\x1b" * 400)  # more than the terminal holds, and nobody reads it
        seen: list[float] = [0, time.monotonic()]

        def is_stuck() -> bool:
            ticks = sum(map(int, Path(f"/proc/{terminal.pid}/stat").read_text().split()[13:15]))
            if ticks != seen[0]:
                seen[:] = [ticks, time.monotonic()]
            return time.monotonic() - seen[1] > 1.5

        until(is_stuck, 60, message="a full terminal")

        os.kill(terminal.pid, signal.SIGHUP)

        until(lambda: process_state(terminal.pid) in ("", "Z"), 20, message="the console's end")
