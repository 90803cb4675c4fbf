"""The benchmarks keep what scripts rely on: one JSON object, and an exit code for the budget."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from bench.measure import report


@dataclass(frozen=True)
class Figures:
    name: str
    cost: float | None
    is_ours: bool = True


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ([Figures("a", 1.0)], 0),
        ([Figures("a", 2.0), Figures("peer", 9.0, is_ours=False)], 0),
        ([Figures("a", 2.1)], 1),
        ([Figures("a", None)], 1),
    ],
)
def test_over_its_budget_or_not_measured_is_a_failure(
    figures: list[Figures], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("x", figures, {"cost": 2.0}, "a table", as_json=False) == code
    assert ("OVER BUDGET: a: cost" in capsys.readouterr().out) == bool(code)


def test_the_hook_is_measured_in_the_same_run_as_its_peers() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench.hook", "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    found = json.loads(result.stdout)
    names = [one["name"] for one in found["figures"]]
    assert found["benchmark"] == "hook"
    assert {"hook", "hook, no agent", "datagram to a process"} <= set(names)
    assert result.returncode == (1 if found["over_budget"] else 0)


@pytest.mark.waits
@pytest.mark.timeout(180)
def test_a_pause_of_many_nodes_is_measured_beside_a_bare_server_and_lost_nodes_are_named() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench.actions", "--quick", "--few", "--json"],
        capture_output=True,
        text=True,
        timeout=170,
    )

    assert not result.stderr
    found = json.loads(result.stdout)
    figures = {one["name"]: one for one in found["figures"]}
    assert {"idle", "pause", "checkpoint", "freeze", "reprioritize"} <= set(figures)
    assert figures["grpc.aio, no logic"]["acknowledged_p50_ms"] > 0
    assert figures["pause"]["acknowledged_p50_ms"] < figures["pause"]["observed_p50_ms"]
    for case in ("3 nodes dead", "3 links closed under way"):
        assert "the others let go, none acted" in figures[case]["note"]
    assert result.returncode == (1 if found["over_budget"] else 0)
