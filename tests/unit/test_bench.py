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
