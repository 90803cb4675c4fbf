"""Scenario files: what is read, and that each mistake names its field and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from colossus_tui.sim.plan import plan_site
from colossus_tui.sim.scenario import FaultKind, Scenario, ScenarioError, parse

PLAN = plan_site(40)


def test_faults_come_in_the_order_of_their_times() -> None:
    scenario = parse(
        """
        name = "two"
        [[fault]]
        kind = "hang"
        at = 60
        run = "6t"
        [[fault]]
        kind = "straggler"
        at = 5.5
        node = "a-r002-n03"
        gpu = 2
        """,
        PLAN,
    )

    assert [fault.kind for fault in scenario.faults] == [FaultKind.STRAGGLER, FaultKind.HANG]
    assert range(82, 83) == scenario.faults[0].gpus
    assert range(20, 21) == scenario.faults[0].nodes
    assert scenario.faults[1].end_seconds == 360
    assert scenario.faults[:1] == scenario.due(0, 5.5)
    assert scenario.due(5.5, 59) == ()
    assert scenario.faults[1:] == scenario.due(59, 60)


@pytest.mark.parametrize(
    ("target", "gpus"),
    [
        ("gpu = 7", range(7, 8)),
        ('rack = "A-r002"', range(72, 144)),
        ('node = "a-r001-n02"', range(4, 8)),
        ('hall = "hall-A"', range(160)),
    ],
)
def test_targets_are_rows_of_gpus(target: str, gpus: range) -> None:
    scenario = parse(f'[[fault]]\nkind = "xid_storm"\nat = 0\n{target}', PLAN)

    assert gpus == scenario.faults[0].gpus


def test_a_rank_is_a_gpu_of_its_run() -> None:
    run = PLAN.runs[-1]
    scenario = parse('[[fault]]\nkind = "straggler"\nat = 0\nrun = "10t"\nrank = 6', PLAN)

    assert run.first_node * 4 + 6 == scenario.faults[0].gpus.start


@pytest.mark.parametrize(
    ("fault", "field", "remedy"),
    [
        ("at = 1", "kind", "use one of straggler"),
        ('kind = "flood"\nat = 1', "kind", "use one of straggler"),
        ('kind = "hang"\nrun = "6t"', "at", "missing"),
        ('kind = "hang"\nat = -1\nrun = "6t"', "at", "0 or more"),
        ('kind = "hang"\nat = nan\nrun = "6t"', "at", "0 or more"),
        ('kind = "hang"\nat = "soon"\nrun = "6t"', "at", "no number"),
        ('kind = "hang"\nat = true\nrun = "6t"', "at", "no number"),
        ('kind = "hang"\nat = 1\nduration = 0\nrun = "6t"', "duration", "1 or more"),
        ('kind = "hang"\nat = 1\nsize = 2\nrun = "6t"', "size", "leave it out"),
        ('kind = "hang"\nat = 1\nwhere = "6t"', "where", "use kind, at"),
        ('kind = "hang"\nat = 1', "run", "a target is missing"),
        ('kind = "hang"\nat = 1\nrun = "60t"', "run", "imagine-v2"),
        ('kind = "hang"\nat = 1\nrun = 3', "run", "imagine-v2"),
        ('kind = "hang"\nat = 1\nrack = "A-r001"', "rack", "it wants run"),
        ('kind = "cooling"\nat = 1\nrack = "Z-r001"', "rack", "A-r001"),
        ('kind = "cooling"\nat = 1\nrack = "A-r001"\nhall = "hall-A"', "hall", "one target"),
        ('kind = "cooling"\nat = 1\nsize = 90\nrack = "A-r001"', "size", "1 to 60"),
        ('kind = "straggler"\nat = 1\nrank = 3', "rank", "add run"),
        ('kind = "straggler"\nat = 1\nrun = "6t"\nrank = 4000', "rank", "0 to"),
        ('kind = "straggler"\nat = 1\ngpu = 1.5', "gpu", "whole number"),
        ('kind = "straggler"\nat = 1\ngpu = 160', "gpu", "0 to 159"),
        ('kind = "straggler"\nat = 1\nnode = "a-r001-n01"\ngpu = 4', "gpu", "0 to 3"),
        ('kind = "hang"\nat = 1\nxid = 79\nrun = "6t"', "xid", "leave it out"),
        ('kind = "xid_storm"\nat = 1\nxid = 0\nrun = "6t"', "xid", "1 to 255"),
        ('kind = "checkpoint"\nat = 1\nduration = 5\nrun = "6t"', "duration", "leave it out"),
    ],
)
def test_a_mistake_names_its_field_and_the_remedy(fault: str, field: str, remedy: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(f"[[fault]]\n{fault}", PLAN)

    assert str(caught.value).startswith(f"fault 1: {field}: ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fault = [", "not TOML"),
        ("faults = []", "faults: not known"),
        ("fault = 3", "[[fault]]"),
        ("fault = [3]", "[[fault]]"),
        ("name = 3", "name: write a text"),
    ],
)
def test_a_mistake_around_the_faults_is_named(text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, PLAN)

    assert words in str(caught.value)


def test_a_file_is_read_and_a_missing_one_named(tmp_path: Path) -> None:
    path = tmp_path / "hot.toml"
    path.write_text('name = "hot"')

    assert Scenario(name="hot") == parse(path, PLAN) == parse(str(path), PLAN)
    with pytest.raises(ScenarioError, match="cannot be read"):
        parse(tmp_path / "cold.toml", PLAN)
