"""Bets and moves through a real hub: what it keeps, tells and survives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.client import Client, NotFoundError
from docs.generate import PARTS
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, local_run
from tests.support import until

FACTS = '{"parameters_count": 1000, "target_steps": 100, "target_tokens": 1000}'
SETTINGS = "[runs.r]\nplanned_end = 2027-03-01\nearlier_tokens = 90\n"


def seen(hub: Product, agent: FakeAgent, steps: list[int], attempt: int = 1) -> None:
    agent.steps("r", steps, attempt=attempt)
    until(lambda: hub.run_of("r").get("step") == steps[-1], message=f"step {steps[-1]}")


@pytest.fixture
def fed(hub: Product, tmp_path: Path) -> Iterator[tuple[Product, FakeAgent]]:
    """A hub with a run on one node of two, and its settings."""
    settings = tmp_path / "hub.toml"
    settings.write_text(SETTINGS)
    hub.kill("hub")
    hub.hang_up()
    hub.start_hub("--config", str(settings))
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        agent.report(local_run(facts_json=FACTS), local_run("s"))
        seen(hub, agent, [1, 2, 3])
        yield hub, agent


def curve_of(hub: Product) -> Any:
    return hub.json("bets")["curves"][0]


def test_bets_have_the_documented_parts_and_figures(fed: tuple[Product, FakeAgent]) -> None:
    hub, _ = fed
    answer = hub.json("bets")
    bet, curve = answer["bets"][0], answer["curves"][0]

    assert set(answer) == {"schema_version", *(part[0] for part in PARTS["bets"])}
    assert (bet["run_id"], bet["tokens"], bet["loss"]) == ("r", 120, 2.0)
    assert bet["training_flop"] == 6 * 1_000 * 120
    assert bet["progress_ratio"] == 0.03
    assert bet["planned_end_unix_ns"] == 1_803_945_600 * 10**9
    assert bet["late_seconds"] == pytest.approx(
        (bet["eta_unix_ns"] - bet["planned_end_unix_ns"]) / 1e9
    )
    assert bet["tokens_per_money"] is None
    assert curve["run_id"] == "r"
    assert (curve["tokens"], curve["steps"]) == ([100, 110, 120], [1, 2, 3])
    shown = hub.cli("bets").stdout
    assert "TOKENS/MWH" in shown
    assert "early by" in shown
    assert "n/a" in shown


def test_a_curve_survives_its_hub_and_steps_are_redone(
    fed: tuple[Product, FakeAgent], tmp_path: Path
) -> None:
    hub, agent = fed
    agent.close()
    assert hub.hub is not None
    hub.hub.terminate()
    hub.hub.wait()
    hub.hang_up()
    hub.start_hub("--config", str(tmp_path / "hub.toml"))

    assert curve_of(hub)["tokens"] == [100, 110, 120]
    with FakeAgent(hub.address) as again:
        again.greet()
        again.report(local_run(facts_json=FACTS, attempt=2))
        seen(hub, again, [3, 4], attempt=2)
        redone = curve_of(hub)
    assert (redone["tokens"], redone["steps"]) == ([100, 110, 120, 130], [1, 2, 3, 4])


def test_a_watch_brings_curves_that_changed_and_the_client_keeps_the_rest(
    fed: tuple[Product, FakeAgent],
) -> None:
    hub, agent = fed
    with Client(hub.address) as client:
        for number, view in enumerate(islice(client.watch(curves=True, period=0.1), 3)):
            by_run = {curve.run_id: curve for curve in view.curves}
            assert by_run["r"].tokens[:3] == (100, 110, 120), number
            if not number:
                agent.steps("r", [4])
        assert client.curves(["r"])[0].run_id == "r"
        with pytest.raises(NotFoundError, match="no run x"):
            client.curves(["r", "x"])


def test_a_move_is_told_run_by_run(fed: tuple[Product, FakeAgent]) -> None:
    hub, _ = fed
    answer = hub.json("whatif", "--from", "r", "--to", "s", "--nodes", "1")
    found = answer["what_if"]

    assert set(answer) == {"schema_version", *(part[0] for part in PARTS["whatif"])}
    assert found["modelled"] is True
    assert {s["run_id"]: s["after"]["node_count"] for s in found["shifts"]} == {"r": 0, "s": 2}
    text = hub.cli("whatif", "--from", "r", "--to", "s").stdout
    assert "modelled, nothing is done" in text
    assert "colossus pause r s" in text
    assert hub.run_of("r")["state"] == "running"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--from", "r"], "--to"),
        (["--from", "r", "--to", "r"], "name another run"),
        (["--from", "r", "--to", "x"], "no run and no class 'x'"),
        (["--from", "r", "--to", "s", "--nodes", "7"], "not within 0 and the 1"),
        (["--from", "r", "--to", "s", "--nodes", "0"], "no number of nodes"),
        (["--from", "r", "--to", "s", "--nodes", "many"], "no number of nodes"),
        (["--from", "r", "--to", "s", "--efficiency", "2"], "not within 0.5 and 1"),
        (["--from", "P4", "--to", "s"], "no run of class P4"),
    ],
)
def test_a_move_that_cannot_be_is_wrong_usage(
    fed: tuple[Product, FakeAgent], arguments: list[str], named: str
) -> None:
    hub, _ = fed
    result = hub.cli("whatif", *arguments)

    assert result.returncode == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_runs_past_reaches_back_as_far_as_it_is_asked_to(
    fed: tuple[Product, FakeAgent],
) -> None:
    hub, _ = fed
    names = ("loss", "step_seconds", "tokens_per_second", "power_watts")
    with Client(hub.address) as client:
        for span in (0.0, 900.0, 86_400.0, 1e12, -5.0):
            asked = client.watch(run_id="r", series=names, max_points=50, span=span, period=0.1)
            by_name = {one.name: one for one in next(iter(asked)).series}
            assert set(by_name) == set(names)
            assert by_name["loss"].values == (2.0,) * 3
        assert client.history("r", names, since_unix_ns=1)[2].unit == "tokens/s"
        assert client.history("r", ["loss"], since_unix_ns=2**62)[0].values == ()
