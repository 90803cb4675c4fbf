"""Incidents in a real terminal over a real hub: seen, opened, acknowledged, silenced, acted on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import common_pb2
from colossus_tui.client import Client, NotPermittedError
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, frame, local_run
from tests.support import until
from tests.terminal import Terminal

HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/] \u202e" + "A" * 500
SETTINGS = """
[alerts]
grace = 0

[alerts."gpu.fault"]
after = 0
clear = 600

[alerts."run.rank_ended"]
after = 0
"""


@pytest.fixture
def hub() -> Iterator[Product]:
    """A hub that tells of a GPU's fault at once."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(SETTINGS)
        try:
            product.start_hub(
                *("--config", f"{folder}/hub.toml"),
                *("--listen", "127.0.0.1:0", "--port-file", f"{folder}/port"),
            )
            yield product
        finally:
            product.close()


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with two GPUs and a run; one GPU has fallen off the bus."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run("10t"))
        agent.steps("10t", [1, 2, 3])
        agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        xid(agent, 1, "XID 79: GPU has fallen off the bus")
        until(lambda: hub.ask(Client.incidents), message="the incident")
        yield agent


def xid(agent: FakeAgent, gpu: int, message: str, kind: str = "gpu.xid") -> None:
    event = common_pb2.Event(
        time_unix_ns=time.time_ns(),
        severity=common_pb2.SEVERITY_CRITICAL,
        kind=kind,
        message=message,
        gpu_index=gpu,
        rank=-1,
    )
    agent.send(event=event)


def console(hub: Product, columns: int = 80, rows: int = 24, *arguments: str) -> Terminal:
    return Terminal([str(BIN / "colossus"), *arguments], hub.environment, columns, rows)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 30), (200, 50)])
def test_an_incident_is_seen_opened_and_acted_on(
    hub: Product, agent: FakeAgent, columns: int, rows: int
) -> None:
    with console(hub, columns, rows) as terminal:
        terminal.until("1 incident, 1 critical", "10t")
        terminal.press("i")
        terminal.until("incidents   1 to look at", "✗ critical", "node node-1: has failed GPUs")
        terminal.until("XID 79 on GPU 1", "next: m map")
        terminal.press("\r")
        terminal.until("incident 1", "MEMBERS" if rows >= 50 else "next step", "gpu.fault")
        terminal.press("m")
        terminal.until("map: ")
        terminal.press("\x1b")
        terminal.until("next step")
        terminal.press("c")  # the usual card, on the run that suffers
        terminal.until("checkpoint 10t")
        terminal.press("\x1b")
        terminal.until_gone("checkpoint 10t")
        terminal.press("q")
        assert terminal.wait() == 0
    assert hub.json("actions")["actions"] == []


def test_acknowledged_it_counts_no_more_and_says_by_whom(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("1 incident, 1 critical")
        terminal.press("i")
        terminal.until("✗ critical")
        terminal.press("A")
        terminal.until("acknowledge: the hub has written it down", "ack by", "1 looked after")
        terminal.until_gone("1 incident, 1 critical")
        terminal.press("zZ!")  # keys that mean nothing here
        terminal.press("U")  # nothing is drained
        terminal.until("undrain node-1", "no scheduler of this hub owns node-1")
        terminal.press("\x1b")
        terminal.until("ack by")
    (incident,) = hub.ask(Client.incidents)
    assert incident.acknowledged_by
    kinds = [event.kind for event in hub.ask(Client.events)]
    assert kinds.count("incident.acknowledged") == 1


def test_a_silence_is_typed_and_wrong_ones_are_told(hub: Product, agent: FakeAgent) -> None:
    with console(hub) as terminal:
        terminal.until("1 incident")
        terminal.press("i")
        terminal.until("✗ critical")
        terminal.press("u")
        terminal.until("silence incident 1", "for: 1h_")
        terminal.press("soon\r")
        terminal.until("'soon' is no time; give one as in 3h, 5min")
        terminal.press("\x15" + "45d\r")
        terminal.until("must be 0 to 2592000, which is 30 days")
        terminal.press("u")
        terminal.until("for: 1h_")
        terminal.press("\x1b")
        terminal.until_gone("0 ends a silence")
        terminal.press("u")
        terminal.until("for: 1h_")
        terminal.press("\r")
        terminal.until("silenced 1h", "silence: the hub has written it down")
        terminal.until_gone("1 incident, 1 critical")
        terminal.press("u")
        terminal.until("for: 1h_")
        terminal.press("0\r")
        terminal.until("1 incident, 1 critical")


def test_the_timeline_is_looked_through_with_its_keys(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 120, 40) as terminal:
        terminal.until("10t")
        terminal.press("t")
        terminal.until("timeline   15m00s to now", "XID 79: GPU has fallen off the bus", "xids")
        terminal.until("no. 1", "incident", "clock", "POWER")
        terminal.press("+")
        terminal.until("timeline   7m30s")
        terminal.press("--")
        terminal.until("timeline   30m00s")
        terminal.press("<")
        terminal.until_gone("to now")
        terminal.press(">>>>0")
        terminal.until("timeline   15m00s to now")
        terminal.press("0xk9")  # it is whole already; the others mean nothing here
        terminal.press("\x1b")
        terminal.until("STATE")
        terminal.press("\r")
        terminal.until("run 10t", "RANKS")
        terminal.press("t")
        terminal.until("timeline of 10t", "STEP TIME, s", "starting to running")


def test_an_entry_of_the_timeline_opens(hub: Product, agent: FakeAgent) -> None:
    with console(hub, 120, 40) as terminal:
        terminal.until("10t")
        terminal.press("t")
        terminal.until("timeline   15m00s", "clock", "> ")
        terminal.press("\x1b[F")  # the oldest is an event, which is whole already
        terminal.until_that(lambda: "event" in _row(terminal))
        terminal.press("\r")
        terminal.press("\x1b[H")
        terminal.until_that(lambda: "incident 1" in _row(terminal))
        terminal.press("\r")
        terminal.until("next step")


def _row(terminal: Terminal) -> str:
    """Return the row under the cursor."""
    return next((line for line in terminal.text.splitlines() if line.startswith(">")), "")


def test_hostile_words_reach_neither_screen_nor_command_line(
    hub: Product, agent: FakeAgent
) -> None:
    xid(agent, 0, f"XID 48: {HOSTILE}")
    xid(agent, 0, HOSTILE, "x.y")
    with console(hub, 120, 40, "--ascii") as terminal:
        terminal.until("1 incident")
        terminal.press("t")
        terminal.until("timeline   15m00s", "clock", "XID 48: ", "[bold red]boo[/]")
        assert "owned" not in terminal.screen.title
        terminal.press("\x1b")
        terminal.until("AT RISK", "STATE")
        terminal.press("i")
        terminal.until("x critical", "2 GPUs")
        assert b"\x1b]0;owned" not in terminal.output
    for words in (("timeline",), ("incidents",), ("incidents", "1"), ("timeline", "--run", "10t")):
        said = hub.cli(*words)
        assert said.returncode == 0
        assert "\x1b" not in said.stdout
        assert "\u202e" not in said.stdout


def test_a_viewer_looks_and_says_nothing(hub: Product, agent: FakeAgent) -> None:
    address = f"127.0.0.1:{(hub.folder / 'port').read_text().strip()}"
    with Client(address) as client:
        (incident,) = client.incidents()
        assert client.incident(incident.incident_id).notes
        assert client.timeline().incidents
        with pytest.raises(NotPermittedError, match="a viewer may look"):
            client.acknowledge(incident.incident_id)
        with pytest.raises(NotPermittedError, match="a viewer may look"):
            client.silence(incident.incident_id, 60)
    with console(hub, 80, 24, "--hub", address) as terminal:
        terminal.until("viewer: read-only", "1 incident")
        terminal.press("i")
        terminal.until("✗ critical")
        terminal.press("A")
        terminal.until("acknowledge: a viewer may look")
    assert hub.cli("--hub", address, "ack", "1").returncode == 4
    assert not hub.ask(Client.incidents)[0].acknowledged_by


def test_the_command_line_acknowledges_silences_and_refuses_what_is_wrong(
    hub: Product, agent: FakeAgent
) -> None:
    shown = hub.cli("incidents")
    assert "critical" in shown.stdout
    assert "node node-1: has failed GPUs (1 GPU)" in shown.stdout
    assert "acknowledged by" in hub.cli("ack", "1").stdout
    assert "silenced by" in hub.cli("silence", "1", "--for", "30m").stdout
    assert hub.json("silence", "1", "--for", "0")["incident"]["silenced_until_unix_ns"] == 0
    whole = hub.cli("incidents", "1").stdout
    assert "acknowledged" in whole
    assert "node-1" in whole
    timeline = hub.json("timeline", "--last", "5m")["timeline"]
    assert [event["kind"] for event in timeline["events"]].count("gpu.xid") == 1
    assert timeline["incidents"][0]["title"] == "node node-1: has failed GPUs (1 GPU)"
    for words, code, said in (
        (("ack", "99"), 1, "no incident 99"),
        (("ack", "x"), 2, "'x' is no number"),
        (("silence", "1", "--for", "soon"), 2, "'soon' is no time"),
        (("silence", "1", "--for", "31d"), 2, "30 days"),
        (("timeline", "--last", "15d"), 2, "14 days"),
        (("timeline", "--run", "nobody"), 1, "no run nobody"),
    ):
        result = hub.cli(*words)
        assert (result.returncode, said in result.stderr) == (code, True), result.stderr
