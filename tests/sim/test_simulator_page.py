"""docs/simulator.md says what the code takes, and the example is a scenario."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from colossus_tui.sim.arguments import add_arguments
from colossus_tui.sim.plan import plan_site
from colossus_tui.sim.scenario import _KEYS, _KINDS, _XID, _XID_LIMIT, FaultKind, parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulator.md").read_text()
EXAMPLES = sorted((ROOT / "examples" / "scenarios").glob("*.toml"))


def cells(first: str) -> list[str]:
    """Return the cells of the page's row that begins with this one."""
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| {first} |")]
    assert len(rows) == 1, first
    return [cell.strip() for cell in rows[0].strip("|").split("|")]


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_of_fault_is_told_with_its_targets_defaults_and_bounds(kind: FaultKind) -> None:
    rules = _KINDS[kind]
    duration = "-" if rules.duration_seconds is None else f"{rules.duration_seconds:g}"
    size = ["-", "-", "-"]
    if rules.size is not None:
        bounds = f"{rules.size.low:g} to {rules.size.high:.9g}"
        size = [rules.size.meaning, f"{rules.size.default:g}", bounds]

    assert cells(f"`{kind}`")[1:] == [", ".join(rules.targets), duration, *size]
    assert f"\n- `{kind}`: " in PAGE


def test_no_other_kind_is_told_and_every_key_is() -> None:
    table = PAGE.partition("| Kind | Targets |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(FaultKind)

    keys = PAGE.partition("| Key | ")[2].partition("\n\n")[0]
    names = [name for row in keys.splitlines() for name in re.findall(r"`(\w+)`", row[:64])]
    assert sorted(names) == sorted(_KEYS)
    assert cells("`xid`")[1] == f"code of a storm's events, 1 to {_XID_LIMIT}, by default {_XID}"


def test_every_option_is_told_with_its_default() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    for action in parser._actions:
        option = action.option_strings[0]
        first = f"`{option} {action.metavar}`" if action.metavar else f"`{option}`"
        default = {None: "none", False: "off"}.get(action.default) or f"{action.default:g}"
        assert cells(first)[1] == default


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("node_count", [1_000, 137_500])
def test_the_examples_fit_a_site_of_every_size(path: Path, node_count: int) -> None:
    scenario = parse(path, plan_site(node_count))

    assert scenario.name == path.stem.replace("-", " ")


def test_the_bad_night_has_every_kind_of_fault_in_order() -> None:
    scenario = parse(ROOT / "examples" / "scenarios" / "bad-night.toml", plan_site(1_000))
    times = [fault.at_seconds for fault in scenario.faults]

    assert {fault.kind for fault in scenario.faults} == set(FaultKind)
    assert times == sorted(times)
    assert (times[0], times[-1]) == (30, 1_260)


@pytest.mark.parametrize("seed", ["-1", "1.5", "x"])
def test_a_seed_is_a_whole_number(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="sim")
    add_arguments(parser)

    with pytest.raises(SystemExit):
        parser.parse_args([f"--seed={seed}"])

    assert "--seed" in capsys.readouterr().err
