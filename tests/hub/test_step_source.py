"""Runs whose steps come from a framework's log: how they count and when they hang."""

from __future__ import annotations

import math

import pytest

from colossus_protos.v1 import run_pb2
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.model import RunState


def batch(*steps: int, seconds: float = 30.0) -> run_pb2.StepBatch:
    """Return steps as a log tells of them, every so many."""
    message = run_pb2.StepBatch(run_id="r", attempt=1, whole_run=True)
    for step in steps:
        message.steps.append(step)
        message.times_unix_ns.append(int(step * seconds * 1e9) + 1)
        message.losses.append(2.0)
        message.grad_norms.append(math.nan)
        message.tokens.append(1000)
        message.step_seconds.append(seconds)
    return message


def live(*sources: str) -> LiveRun:
    """Return a running run of so many nodes."""
    run = LiveRun("r", state=RunState.RUNNING, rank_count=8, step_seen=100.0)
    for index, source in enumerate(sources):
        local = run_pb2.LocalRun(run_id="r", attempt=1, step_source=source)
        run.nodes.put(f"n{index}", local, 100.0)
    return run


def test_one_line_of_a_log_makes_a_step_whole_for_all_ranks() -> None:
    run = live("log (torchtitan)")

    assert [
        point.step for point in run.progress.add_steps(StepRows.of_batch(batch(10, 20)), 8)
    ] == [10, 20]


def test_a_run_that_logs_now_and_then_hangs_only_after_several_missing_lines() -> None:
    run = live("log (Megatron-LM)")
    run.progress.add_steps(StepRows.of_batch(batch(100)), 8)
    assert not run.is_hanging(100.0 + 86_400)  # how often it logs is not known yet
    run.progress.add_steps(StepRows.of_batch(batch(200, 300)), 8)

    assert run.progress.report_seconds() == pytest.approx(3_000)
    assert not run.is_hanging(100.0 + 14_900)
    assert run.is_hanging(100.0 + 15_100)


def test_a_hook_is_named_before_any_log() -> None:
    assert live("log (torchtitan)", "hook", "").step_source == "hook"
    assert live("", "log (torchtitan)").step_source == "log (torchtitan)"
    assert live("", "").step_source == live().step_source == ""
