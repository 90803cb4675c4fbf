"""One sentence for one refusal or failure: console, command line and client say the same words."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from colossus_protos.v1 import directive_pb2, run_pb2
from colossus_tui.client import Client, RefusedError
from colossus_tui.model import ActionParameters, PriorityClass
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.support import until
from tests.terminal import Terminal

SETTINGS = """
[runs.shielded]
protected = true

[[rules]]
runs = ["ruled"]
operators = ["alice"]
why = "its study ends on Friday; ask her first"
"""
KEYS = {"pause": "p", "resume": "r", "checkpoint": "c", "freeze": "f"}
HOLDER = "00000000-1111-2222-3333-444444444444"
RUNS = ("free", "shielded", "ruled", "busy", "bare", "second", "third")


@dataclass(frozen=True, slots=True)
class Case:
    """A refusal and how it is brought about."""

    verb: str
    run_id: str
    code: str
    sentence: str
    as_viewer: bool = False


CASES = (
    Case(
        "pause",
        "free",
        "policy",
        "you are a viewer here: act over the hub's Unix socket, or start the hub with "
        "--tcp-role operator",
        as_viewer=True,
    ),
    Case(
        "pause",
        "shielded",
        "policy",
        "shielded is protected in the hub's settings; take `protected` from [runs.shielded] there "
        "if it should end",
    ),
    Case(
        "freeze",
        "ruled",
        "policy",
        "the site's rules: only alice may do this (its study ends on Friday; ask her first)",
    ),
    Case(
        "pause",
        "busy",
        "conflict",
        f"action {HOLDER} holds the run; wait for its end, or cancel it",
    ),
    Case(
        "resume",
        "free",
        "conflict",
        "the run is running; resume needs it paused or frozen or failed or lost or stopped",
    ),
    Case(
        "checkpoint",
        "bare",
        "unsupported",
        "not supported by this run: checkpoint needs the hook (colossus_hook) in its loop",
    ),
    Case(
        "freeze",
        "away",
        "unreachable",
        "1/1 of its nodes are not linked: node-2; start colossus-agent there",
    ),
)


@pytest.fixture
def hub() -> Iterator[Product]:
    """A hub with a protected run and a rule."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(SETTINGS)
        try:
            start(product)
            yield product
        finally:
            product.close()


def start(hub: Product) -> None:
    hub.start_hub(
        *("--config", f"{hub.folder}/hub.toml"),
        *("--listen", "127.0.0.1:0", "--port-file", f"{hub.folder}/port"),
    )


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with every run of the cases; the run "away" is on a node that has gone."""
    with FakeAgent(hub.address) as gone:
        gone.greet(hello("node-2"))
        gone.report(local_run("away"))
        gone.steps("away", [1, 2])
        until(lambda: hub.run_of("away").get("state") == "running")
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(*(with_hook(name) for name in RUNS))
        for name in RUNS:
            agent.steps(name, [1, 2])
        until(lambda: hub.run_of(RUNS[-1]).get("state") == "running")
        yield agent


def with_hook(name: str) -> run_pb2.LocalRun:
    run = local_run(name)
    run.ranks[0].hooked = name != "bare"
    return run


@pytest.fixture
def client(hub: Product) -> Iterator[Client]:
    with Client(hub.address, operator="bob") as client:
        yield client


def bare(text: str) -> str:
    """Return a text without what wrapping changes."""
    return "".join(text.split())


def console(hub: Product, address: str, run_id: str) -> Terminal:
    """Open a console with the cursor on a run."""
    command = [str(BIN / "colossus"), "--hub", address]
    terminal = Terminal(command, hub.environment, 80, 30)
    terminal.until("RUN", run_id)
    terminal.press(f"/run={run_id}\r")
    terminal.until(f"runs matching 'run={run_id}'")
    return terminal


def choose_class(terminal: Terminal) -> None:
    """Ask for class P1 of the run under the cursor, up to the question."""
    terminal.press("e")
    terminal.until("press 0 to 4")
    terminal.press("1")
    terminal.until("y does it")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.run_id}")
def test_a_refusal_has_one_sentence_everywhere(
    hub: Product, agent: FakeAgent, client: Client, case: Case, tcp: str
) -> None:
    if case.run_id == "busy":
        client.submit("freeze", "busy", action_id=HOLDER)
    address = tcp if case.as_viewer else hub.address
    command = (case.verb, case.run_id, "--yes", "--hub", address)

    with Client(address, operator="bob") as asking:
        preflight = asking.preview(case.verb, case.run_id)
        with pytest.raises(RefusedError) as caught:
            asking.act(case.verb, case.run_id)
    answer = json.loads(hub.cli(*command, "--json").stdout)["preflight"]
    with console(hub, address, case.run_id) as terminal:
        terminal.press(KEYS[case.verb])
        terminal.until(f"refused: {case.code}", "nothing was done")

        assert bare(case.sentence) in bare(terminal.text)
    assert (preflight.refusal, preflight.refusal_detail) == (case.code, case.sentence)
    assert (answer["refusal"], answer["refusal_detail"]) == (case.code, case.sentence)
    assert str(caught.value) == caught.value.action.detail == case.sentence
    assert case.sentence in hub.cli(*command).stderr


def test_a_run_that_is_not_there_has_one_sentence_everywhere(
    hub: Product, agent: FakeAgent
) -> None:
    sentence = "there is no run free; see colossus runs"
    with console(hub, hub.address, "free") as terminal:
        terminal.press("\r")
        terminal.until("run free", "durable step")
        hub.kill("hub")
        shutil.rmtree(hub.folder / "state" / "hub")
        start(hub)
        terminal.until("there is no such run any more")
        terminal.press("p")
        terminal.until("refused: not_found")

        assert bare(sentence) in bare(terminal.text)
    with Client(hub.address) as client, pytest.raises(RefusedError) as caught:
        client.pause("free")
    answer = json.loads(hub.cli("pause", "free", "--yes", "--json").stdout)["preflight"]
    assert str(caught.value) == answer["refusal_detail"] == sentence
    assert sentence in hub.cli("pause", "free", "--yes").stderr


def test_a_run_that_has_changed_since_has_one_sentence_everywhere(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    def change(attempt: int) -> str:
        agent.report(*(with_hook(name) for name in RUNS[1:]), local_run("free", attempt=attempt))
        until(lambda: hub.run_of("free").get("attempt") == attempt)
        return f"attempt {attempt} (generation "

    with console(hub, hub.address, "free") as terminal:
        terminal.press("f")
        terminal.until("y does it")
        changed = change(2)
        terminal.press("y")
        terminal.until("refused", "closes")
        (refused,) = client.actions()

        assert refused.detail.startswith("the run has changed since you looked: it is running")
        assert changed in refused.detail
        assert refused.detail.endswith("look at it again, then ask again")
        assert bare(refused.detail) in bare(terminal.text)
    for arguments in ([], ["--json"]):
        command = [str(BIN / "colossus"), "freeze", "free", *arguments]
        with Terminal(command, hub.environment, 300, 30) as terminal:
            terminal.until("[y/N]")
            change(hub.run_of("free")["attempt"] + 1)
            terminal.press("y\r")
            assert terminal.wait() == 4

            assert bare(client.actions()[0].detail) in bare(terminal.text)
    seen = client.preview("freeze", "free").generation
    change(hub.run_of("free")["attempt"] + 1)
    action = client.submit("freeze", "free", expected_generation=seen)
    assert action.detail == client.actions()[0].detail
    assert action.detail.startswith("the run has changed since you looked")


def answer_all(agent: FakeAgent, detail: str) -> None:
    """Let the agent say in the background that each directive failed."""

    def answer() -> None:
        while True:
            try:
                directive = agent.directive()
            except Exception:  # noqa: BLE001  # the test has ended, and the link with it
                return
            agent.answer(directive, detail, outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED)

    threading.Thread(target=answer, daemon=True).start()


def test_what_an_agent_is_denied_has_one_sentence_everywhere(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    answer_all(agent, "the system denied it: nice -5 of pid 1: Operation not permitted")
    sentence = (
        "node-1: the system denied it: nice -5 of pid 1: Operation not permitted; the agent there "
        "needs the right to do it"
    )
    with console(hub, hub.address, "free") as terminal:
        choose_class(terminal)
        terminal.press("y")
        terminal.until("failed", "esc closes")

        assert bare(sentence) in bare(terminal.text)
    action = client.reprioritize("free", "P1", wait=True, timeout=20)
    command = ("reprioritize", "free", "P1", "--yes")
    answer = json.loads(hub.cli(*command, "--json").stdout)["action"]
    assert action.detail == answer["detail"] == sentence
    assert sentence in hub.cli(*command).stdout


def test_what_nobody_confirms_has_one_sentence_everywhere(
    hub: Product, agent: FakeAgent, client: Client
) -> None:
    with console(hub, hub.address, "free") as terminal:
        choose_class(terminal)
        terminal.press("y")
        other = client.submit(
            "reprioritize", "second", ActionParameters(priority_class=PriorityClass.P1)
        )
        answer = json.loads(hub.cli("reprioritize", "third", "P1", "--yes", "--json").stdout)
        terminal.until("unconfirmed", "esc closes", seconds=40)

        end = client.wait(other.action_id, 40)
        assert end.detail == answer["action"]["detail"]
        terminal.until_that(lambda: bare(end.detail) in bare(terminal.text))
        assert end.detail.endswith("s; look at colossus-agent there")
