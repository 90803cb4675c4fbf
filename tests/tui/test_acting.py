"""Marks, cards of many runs, the journal of actions: in a real terminal over a real hub."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import common_pb2, directive_pb2, run_pb2
from colossus_tui.client import Client
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.terminal import Terminal

P0, P2 = common_pb2.PRIORITY_CLASS_P0, common_pb2.PRIORITY_CLASS_P2
RUNS = ("10t", "1t", "6t", "guarded")
SETTINGS = """
[runs.guarded]
protected = true

[[rules]]
runs = ["1t"]
verbs = ["stop"]
approvals = 2
"""


@pytest.fixture
def hub() -> Iterator[Product]:
    """A hub with a protected run, and one whose stop needs two operators."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(SETTINGS)
        try:
            product.start_hub("--config", f"{folder}/hub.toml")
            yield product
        finally:
            product.close()


def runs(*frozen: str) -> list[run_pb2.LocalRun]:
    return [
        local_run(
            name,
            priority_class=P0 if name == "10t" else P2,
            state=run_pb2.LOCAL_RUN_STATE_FROZEN
            if name in frozen
            else run_pb2.LOCAL_RUN_STATE_RUNNING,
            fuse_deadline_unix_ns=1 << 62 if name in frozen else 0,
        )
        for name in RUNS
    ]


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with four runs: one P0, one protected."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(*runs())
        for name in RUNS:
            agent.steps(name, [1, 2, 3])
        until(lambda: hub.run_of(RUNS[-1]).get("step") == 3)
        yield agent


@pytest.fixture
def client(hub: Product) -> Iterator[Client]:
    with Client(hub.address, operator="alice") as client:
        yield client


class Freezing:
    """Carries out what it is told in the background, once `go` is set."""

    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent
        self.go = threading.Event()
        self.asked: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                directive = self._agent.directive()
            except Exception:  # noqa: BLE001  # the test has ended, and the link with it
                return
            self.go.wait(20)
            self.asked.append(directive.run_id)
            self._agent.answer(directive)
            self._agent.report(*runs(*self.asked))


def console(
    hub: Product, columns: int = 80, rows: int = 24, operator: str = "bob", *arguments: str
) -> Terminal:
    environment = hub.environment | {"LOGNAME": operator}
    terminal = Terminal([str(BIN / "colossus"), *arguments], environment, columns, rows)
    terminal.until(*RUNS, "running")
    return terminal


def marked(terminal: Terminal) -> list[str]:
    """Return the runs whose rows are marked, in the screen's order."""
    rows = [line for line in terminal.screen.display if line[1:2] == "*"]
    return [name for line in rows for name in RUNS if f" {name} " in line]


def test_marks_follow_their_runs_through_order_filter_and_updates(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub) as terminal:
        terminal.press("j ")
        terminal.until("1 marked")
        terminal.press(" ")
        terminal.until("2 marked")
        assert marked(terminal) == ["1t", "6t"]
        terminal.press("O")
        terminal.until_that(lambda: marked(terminal) == ["6t", "1t"])
        agent.steps("6t", [4, 5])
        until(lambda: hub.run_of("6t").get("step") == 5)
        terminal.press("/6t\r")
        terminal.until("2 marked, 1 hidden")
        terminal.until_that(lambda: marked(terminal) == ["6t"])
        terminal.press("\x1b")
        terminal.until_that(lambda: marked(terminal) == ["6t", "1t"])
        terminal.press("\x1b")
        terminal.until_gone("marked")
        assert marked(terminal) == []


def test_all_that_is_shown_is_marked_and_unmarked_by_one_key(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub, 80, 24, "bob", "--ascii") as terminal:
        terminal.press("*")
        terminal.until("4 marked")
        assert marked(terminal) == list(RUNS)
        terminal.press("/class>=P2\r")
        terminal.until("4 marked, 1 hidden")
        terminal.press("*")
        terminal.until("1 marked, 1 hidden")


def test_a_letter_that_is_typed_is_no_command(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.press("/q")
        terminal.until("filter: q_", "no run matches 'q'")
        terminal.press("\x1b")
        terminal.until(*RUNS)
        terminal.press("S")
        terminal.until("type the run's name")
        terminal.press("qpa? x")
        terminal.until("then enter: qpa? x")
        terminal.press("\x1b")
        terminal.until_gone("type the run's name")
        terminal.press("q")
        assert terminal.wait() == 0
    assert hub.json("actions")["actions"] == []


def test_a_filter_that_is_half_typed_keeps_the_rows_and_says_what_is_missing(
    hub: Product, agent: FakeAgent
) -> None:
    with console(hub) as terminal:
        terminal.press("/t step>")
        terminal.until("not right yet", "'step>': a value must follow >", "10t", "6t")
        terminal.press("\r")  # not taken
        terminal.press("9\r")
        terminal.until("no run matches 't step>9'")
        terminal.press("/\x7f1\x7f0\r")
        terminal.until("runs matching 't step>0'", "10t", "6t")


def test_one_verb_acts_on_all_marked_with_one_preflight_and_one_confirmation(
    hub: Product, agent: FakeAgent
) -> None:
    freezing = Freezing(agent)
    with console(hub) as terminal:
        terminal.press("*")
        terminal.until("4 marked")
        terminal.press("/6t\r")
        terminal.until("4 marked, 3 hidden")
        terminal.press("f")
        terminal.until("freeze 4 runs   3 can, 1 refused", "3 of them hidden by the filter: 10t")
        terminal.until("guarded is protected", "TOGETHER", "3/3 runs known")
        terminal.until("type the number of runs it acts on (3)")  # 10t is P0
        terminal.press("4\r")
        terminal.until("that is not the number")
        terminal.press("3\r")
        terminal.until("3 dispatched", "the actions go on", "x takes all back")
        freezing.go.set()
        terminal.until("3 observed", "frozen on 1 of 1 nodes", "esc closes")
        assert sorted(freezing.asked) == ["10t", "1t", "6t"]
        terminal.press("\r")
        terminal.until("WHAT IT SAYS", "observed")
        terminal.press("\x1b")
        terminal.until("4 marked")
    actions = hub.json("actions")["actions"]
    assert sorted(action["run_id"] for action in actions) == ["10t", "1t", "6t"]


def test_a_card_of_many_that_is_closed_tells_the_end_of_all(hub: Product, agent: FakeAgent) -> None:
    freezing = Freezing(agent)
    with console(hub) as terminal:
        terminal.press("j  f")
        terminal.until("freeze 2 runs   2 can", "y does it")
        terminal.press("x\r")  # no answer
        terminal.press("y")
        terminal.until("2 dispatched")
        terminal.press("\x1b")
        terminal.until_gone("dispatched, ")
        freezing.go.set()
        terminal.until("freeze 2 runs: 2 observed")


def test_nothing_is_sent_when_the_card_of_many_is_left(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.press("*")
        terminal.until("4 marked")
        terminal.press("e")
        terminal.until("reprioritize 4 runs", "press 0 to 4")
        terminal.press("3")
        terminal.until("reprioritize 4 runs   4 can", "type the number of runs")
        terminal.press("4\x1b")
        terminal.until_gone("type the number")
    assert hub.json("actions")["actions"] == []


def test_a_long_card_of_many_scrolls_under_its_question(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 60, 14) as terminal:
        terminal.press("*S")
        terminal.until("stop 4 runs", "type the number")
        terminal.press("\x1b[F")
        terminal.until("runs known", "type the number")
        terminal.until_gone("stop 4 runs")
        terminal.press("\x1b[H")
        terminal.until("stop 4 runs", "type the number")


def test_an_action_is_taken_back_from_its_card(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    Freezing(agent)
    with console(hub) as terminal:
        terminal.press("jS")
        terminal.until("another operator must approve it", "y does it")
        terminal.press("y")
        terminal.until("waits for approval 1/2 (so far bob)", "x takes it back")
        terminal.press("x")
        terminal.until("taken back by bob; nothing was done", "esc closes")
        terminal.press("x")
        terminal.until("cancel: the action is refused already")
    (action,) = client.actions()
    assert (action.state, action.reason_code) == ("refused", "cancelled")


def test_another_operator_finds_and_approves_what_waits(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    action = client.submit("stop", "1t", reason="out of money")
    with console(hub) as terminal:
        terminal.press("a")
        terminal.until("WHAT IT SAYS", "requested", "stop", "1t")
        terminal.press("A")
        terminal.until("approve stop 1t", "wanted by alice (out of money)", "y does it")
        terminal.press("n")
        terminal.until_gone("y does it")
        terminal.press("\r")
        terminal.until("waits for approval 1/2", "STAGES", "out of money", action.action_id)
        terminal.press("A")
        terminal.until("y does it")
        terminal.press("y")
        directive = agent.directive()
        assert directive.WhichOneof("order") == "terminate"
        terminal.until("dispatched", "approvals 2/2: alice, bob")
    (after,) = client.actions()
    assert after.approvals == ("alice", "bob")


def test_who_asked_may_not_approve_and_is_told_so_in_the_hubs_words(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    client.submit("stop", "1t")
    with console(hub, 80, 24, "alice") as terminal:
        terminal.press("a")
        terminal.until("WHAT IT SAYS", "requested")
        terminal.press("A")
        terminal.until("y does it")
        terminal.press("y")
        terminal.until("approve: alice wants it already; another operator must approve")
        terminal.press("x")
        terminal.until("taken back by alice")


def test_the_journal_shows_open_ones_first_and_a_run_only_its_own(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    client.submit("stop", "1t")  # waits
    client.submit("resume", "6t")  # refused at once
    with console(hub, 120, 45) as terminal:
        terminal.press("a")
        terminal.until("WHAT IT SAYS", "requested", "refused", "the run is running", "approval 1/2")
        rows = [line.split()[:2] for line in terminal.screen.display[3:5]]
        assert rows == [[">", "requested"], ["refused", "resume"]]
        terminal.press("\x1b")
        terminal.until_gone("WHAT IT SAYS")
        terminal.press("/6t\r\r")
        terminal.until("run 6t", "RANKS")
        terminal.press("a")
        terminal.until("actions of 6t", "resume")
        assert not [line for line in terminal.screen.display[2:5] if " 1t " in line]
        terminal.press("\r")
        terminal.until("action: resume 6t", "STAGES", "conflict")
        terminal.press("\x1b\x1b")
        terminal.until("RANKS")


def test_ranks_and_nodes_that_did_not_confirm_are_named_in_full(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    with console(hub) as terminal:
        terminal.press("jjf")
        terminal.until("freeze 6t", "y does it")
        terminal.press("y")
        directive = agent.directive()
        wrong = [directive_pb2.RankResult(rank=r, detail=f"hook {r} is silent") for r in range(40)]
        agent.answer(
            directive,
            "40 of its ranks go on",
            outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
            ranks=[*wrong, directive_pb2.RankResult(rank=40, ok=True)],
        )
        agent.answer(agent.directive())  # the thaw that follows
        terminal.until("1/41 ranks confirmed", "missing: rank 0-39", "missing: node-1")
        terminal.until("enter all of it")
        terminal.press("\r")
        terminal.until("action: freeze 6t", "freeze 6t  failed", "40 of its ranks go on")
        terminal.press("\x1b[F")
        terminal.until("hook 39 is silent", "rank 40")


def test_a_node_is_asked_to_drain_by_its_own_key(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.press("n")
        terminal.until("node-1", "D drain", "U undrain")
        terminal.press("D")
        terminal.until("drain node-1")
        terminal.until_gone("asking the hub")
        terminal.press("\x1b")
        terminal.until_gone("drain node-1")
        terminal.press("\r")
        terminal.until("GPU 0 IN FULL")
        terminal.press("U")
        terminal.until("undrain node-1")
