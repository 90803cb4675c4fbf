"""What is kept up to date report by report is what a count of everything would give."""

from __future__ import annotations

import json
import math
import statistics
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_protos.v1 import directive_pb2, frame_pb2, run_pb2
from colossus_tui.client import Client
from colossus_tui.hub.runs.checkpoints import CheckpointRows, SavedPaths
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.progress import Progress
from colossus_tui.hub.runs.ranks import WINDOW, RankTable, path_of, pattern_of
from colossus_tui.hub.runs.reports import Reports
from colossus_tui.hub.runs.steps import RANK_LIMIT, TOKEN_LIMIT, StepRows
from colossus_tui.hub.store import FrameError
from colossus_tui.model import ActionState, ResumePoint
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.support import until

RANKS = st.builds(
    run_pb2.LocalRank,
    rank=st.integers(0, 9),
    alive=st.booleans(),
    hooked=st.booleans(),
    exit=st.none()
    | st.builds(
        run_pb2.RankExit,
        known=st.booleans(),
        exit_code=st.sampled_from([0, 1]),
        detail=st.sampled_from(["", "no such file"]),
    ),
)
RUNS = st.builds(
    run_pb2.LocalRun,
    state=st.sampled_from(
        [run_pb2.LOCAL_RUN_STATE_RUNNING, run_pb2.LOCAL_RUN_STATE_FROZEN],
    ),
    ranks=st.lists(RANKS, max_size=4),
    fuse_deadline_unix_ns=st.integers(0, 3),
    process_count=st.integers(0, 5),
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | RUNS), max_size=30))
def test_sums_over_nodes_are_those_of_their_last_reports(
    moves: list[tuple[str, run_pb2.LocalRun | None]],
) -> None:
    reports, last = Reports(), dict[str, run_pb2.LocalRun]()
    for name, run in moves:
        if run is not None:
            reports.put(name, run, 0.0)
            last[name] = run
        elif name in last:
            reports.drop(name)
            del last[name]
        ranks = [rank for one in last.values() for rank in one.ranks]
        ended = [rank for rank in ranks if rank.HasField("exit")]
        sums = reports.sums
        assert sums.ranks == len(ranks)
        assert sums.alive == sum(rank.alive for rank in ranks)
        assert sums.hooked == sum(rank.alive and rank.hooked for rank in ranks)
        assert sums.ended == len(ended)
        assert sums.unseen_ends == sum(not rank.exit.known for rank in ended)
        assert sums.bad_ends == sum(bool(rank.exit.exit_code or rank.exit.detail) for rank in ended)
        assert sums.processes == sum(one.process_count for one in last.values())
        assert sums.frozen_nodes == sum(
            one.state == run_pb2.LOCAL_RUN_STATE_FROZEN for one in last.values()
        )
        fuses = [one.fuse_deadline_unix_ns for one in last.values() if one.fuse_deadline_unix_ns]
        assert reports.fuse_deadline_unix_ns == min(fuses, default=0)
        assert [rank.rank for _, rank in reports.ranks()] == sorted(rank.rank for rank in ranks)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0, 7.0])),
        max_size=60,
    )
)
def test_the_pace_of_all_ranks_is_that_of_each_ones_last_steps(
    batches: list[tuple[int, int, float]],
) -> None:
    progress = Progress()
    steps, times = dict[int, int](), defaultdict[int, deque[float]](lambda: deque(maxlen=WINDOW))
    for rank, step, seconds in batches:
        batch = run_pb2.StepBatch(
            rank=rank,
            steps=[step],
            times_unix_ns=[0],
            losses=[1.0],
            grad_norms=[1.0],
            tokens=[1],
            step_seconds=[seconds],
        )
        progress.add_steps(StepRows.of_batch(batch), 5)
        if step > steps.get(rank, -1):
            steps[rank] = step
            times[rank].append(seconds)
        paces = [pace for one in times.values() if (pace := statistics.median(one))]
        assert progress.median_step_seconds() == (statistics.median(paces) if paces else None)
        assert progress.newest_step == max(steps.values(), default=None)
        known = {rank: one.step for rank in range(5) if (one := progress.ranks.get(rank))}
        assert known == steps


def step(rank: int = 0, step: int = 1, **changes: Sequence[float]) -> run_pb2.StepBatch:
    columns = {
        "times_unix_ns": [0],
        "losses": [1.0],
        "grad_norms": [1.0],
        "tokens": [1],
        "step_seconds": [1.0],
    }
    return run_pb2.StepBatch(rank=rank, steps=[step], **(columns | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        (step(rank=-3), "rank -3"),
        (step(rank=2**31 - 2), "rank 2147483646"),
        (step(step=-1), "steps"),
        (step(step=2**60), "steps"),
        (step(losses=[]), "losses: 0 values, but 1 steps"),
        (step(tokens=[1, 2]), "tokens: 2 values, but 1 steps"),
    ],
)
def test_steps_that_cannot_be_are_refused_by_the_fields_name(
    batch: run_pb2.StepBatch, field: str
) -> None:
    with pytest.raises(FrameError, match=field):
        StepRows.of_batch(batch)


@pytest.mark.parametrize("changes", [{"rank": -1}, {"rank": 2**30}, {"step": -1}, {"step": 2**60}])
def test_a_checkpoint_that_cannot_be_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(FrameError, match=next(iter(changes))):
        CheckpointRows.of_report(run_pb2.CheckpointReport(**changes))  # type: ignore[arg-type]


def test_sums_of_the_wildest_tokens_fit_a_message() -> None:
    progress = Progress()
    whole = [
        point
        for rank in range(4)
        for point in progress.add_steps(StepRows.of_batch(step(rank, tokens=[2**63 - 1])), 4)
    ]

    assert [point.tokens for point in whole] == [4 * TOKEN_LIMIT]
    assert TOKEN_LIMIT * RANK_LIMIT < 2**63


@pytest.mark.parametrize("number", ["1e300", "1" + "0" * 400, "NaN", "-1", "true", '"x"'])
def test_facts_that_no_number_can_hold_are_left_out(number: str) -> None:
    run = LiveRun("r")

    run.merge_facts('{"target_steps": %s, "target_tokens": 5}' % number, {})  # noqa: UP031

    assert run.facts["target_tokens"] == 5.0
    assert run.facts.get("target_steps", 1.0) == 1.0


def test_a_straggler_is_one_however_long_it_is_slow() -> None:
    table = RankTable()
    ranks = np.arange(4, dtype=np.int32)
    table.meet(ranks)
    table.finish(ranks, 1, np.ones(4), np.array([1.0, 1.0, 1.0, 9.0]))
    for _ in range(40_000):
        table.mark_stragglers(ranks)

    assert table.stragglers() == [3]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), max_size=60),
    st.lists(st.integers(1, 20), max_size=20),
)
def test_a_table_of_many_ranks_says_what_their_batches_say(
    rows: list[tuple[int, int]], sizes: list[int]
) -> None:
    def taken(parts: list[list[tuple[int, int]]]) -> tuple[list[StepPoint], list[object]]:
        progress, whole = Progress(), list[StepPoint]()
        for part in parts:
            ordered = sorted(part, key=lambda row: row[1])
            whole += progress.add_steps(step_rows(ordered), 3)
        return whole, [progress.ranks.get(rank) for rank in range(7)]

    newest, kept = dict[int, int](), list[tuple[int, int]]()
    for rank, step in rows:  # a rank's steps come in order
        if step > newest.get(rank, 0):
            newest[rank] = step
            kept.append((rank, step))
    parts: list[list[tuple[int, int]]] = []
    rest = kept
    for size in sizes:
        parts, rest = [*parts, rest[:size]], rest[size:]
    parts = [part for part in [*parts, rest] if part]

    assert taken([[row] for row in kept])[1] == taken(parts)[1]


def step_rows(rows: list[tuple[int, int]]) -> StepRows:
    ranks, steps = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(ranks.size)
    return StepRows("r", 1, ranks.astype(np.int32), steps, steps, ones, ones, steps, ones * 2.0)


def test_a_part_that_many_ranks_call_safe_keeps_each_ones_path() -> None:
    ranks = np.arange(1_000, dtype=np.int32)
    progress = Progress()
    rows = CheckpointRows(
        "r",
        1,
        ranks,
        np.full(1_000, 70),
        np.full(1_000, 5),
        np.full(1_000, 10),
        np.full(1_000, True),
        np.full(1_000, 2.5),
        "/c/step-70/rank-{rank}",
    )

    progress.checkpoints.add(rows)
    paths = SavedPaths(70, tuple(progress.ranks.paths()))

    assert progress.checkpoints.common_step(1_000) == 70
    assert progress.checkpoints.get(70, 1_000).size_bytes == 10_000
    assert paths.points()[70] == ResumePoint(70, 70, "/c/step-70/rank-70")
    again = SavedPaths.restore(json.loads(json.dumps(paths.state())), ())
    assert again.points() == paths.points()
    assert len(json.dumps(paths.state())) < 100


@given(st.text("/rank-0123", max_size=12), st.integers(0, 130))
def test_a_pattern_gives_the_path_back(path: str, rank: int) -> None:
    assert path_of(pattern_of(path, rank), rank) == path


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans()), max_size=30))
def test_a_checkpoint_is_common_when_it_is_every_ranks_last(
    reports: list[tuple[int, int, bool]],
) -> None:
    progress = Progress()
    for rank, step, on_disk in reports:
        report = run_pb2.CheckpointReport(rank=rank, step=step, on_disk=on_disk, size_bytes=1)
        progress.checkpoints.add(CheckpointRows.of_report(report))
        each = [one for rank in range(3) if (one := progress.ranks.get(rank))]
        known = [one.checkpoint_step for one in each if one.checkpoint_step is not None]
        common = known[0] if len(known) == 3 and len(set(known)) == 1 else None
        assert progress.checkpoints.common_step(3) == common


def test_processes_of_two_nodes_with_one_pid_are_not_taken_for_each_other(hub: Product) -> None:
    with FakeAgent(hub.address) as a, FakeAgent(hub.address) as b, Client(hub.address) as client:
        for rank, (agent, ratio) in enumerate(((a, 1.0), (b, 3.0))):
            agent.greet(hello(f"node-{rank}"))
            process = frame_pb2.ProcessSample(pid=7, run_id="r", rank=rank, cpu_ratio=ratio)
            agent.send(sequence=0, process_report=frame_pb2.ProcessReport(processes=[process]))
            run = local_run(rank_count=2)
            run.ranks[0].rank, run.ranks[0].pid = rank, 7
            agent.report(run)

        until(lambda: client.runs() and len(client.run("r").ranks) == 2)
        ranks = client.run("r").ranks

    assert [rank.cpu_ratio for rank in ranks] == [1.0, 3.0]


def test_a_node_cannot_answer_for_another(hub: Product) -> None:
    identity = str(uuid.uuid4())
    with FakeAgent(hub.address) as a, FakeAgent(hub.address) as b, Client(hub.address) as client:
        for rank, agent in enumerate((a, b)):
            agent.greet(hello(f"node-{rank}"))
            run = local_run(rank_count=2)
            run.ranks[0].rank = rank
            agent.report(run)
            agent.steps("r", [1, 2], rank=rank)
        until(lambda: hub.run_of("r").get("alive_rank_count") == 2)
        until(lambda: hub.run_of("r").get("state") == "running")
        client.submit("stop", "r", action_id=identity)
        question = a.directive()
        a.answer(question)
        a.answer(question)  # twice is still one node's

        other = b.directive()
        assert other.directive_id == question.directive_id
        begun = time.monotonic()
        b.answer(
            other, outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED, detail="the agent of b says no"
        )
        end = client.wait(identity, 20)

    assert time.monotonic() - begun < 4  # heard, and not given up on
    assert (end.state, end.missing_nodes) == (ActionState.PARTIAL, ("node-1",))


def test_a_resume_gives_each_node_the_points_of_its_own_ranks(hub: Product) -> None:
    with FakeAgent(hub.address) as a, FakeAgent(hub.address) as b, Client(hub.address) as client:
        for rank, agent in enumerate((a, b)):
            agent.greet(hello(f"node-{rank}"))
            run = local_run(rank_count=2)
            run.ranks[0].rank = rank
            agent.report(run)
            agent.steps("r", [1, 2], rank=rank)
        until(lambda: hub.run_of("r").get("state") == "running")
        for rank, agent in enumerate((a, b)):
            saved = run_pb2.CheckpointReport(
                run_id="r", attempt=1, rank=rank, step=2, path=f"/{rank}", on_disk=True
            )
            agent.send(checkpoint_report=saved)
            run = local_run(rank_count=2, state=run_pb2.LOCAL_RUN_STATE_ENDED)
            run.ranks[0].rank, run.ranks[0].alive = rank, False
            run.ranks[0].exit.known, run.ranks[0].exit.exit_code = True, 1
            agent.report(run)
        until(lambda: hub.run_of("r").get("state") == "failed")
        client.submit("resume", "r")

        starts = [agent.directive().start_run for agent in (a, b)]

    assert [[(p.rank, p.step, p.path) for p in start.resume_points] for start in starts] == [
        [(0, 2, "/0")],
        [(1, 2, "/1")],
    ]
    assert all(start.recorded and start.attempt == 2 for start in starts)


class Frames:
    """Stands for the nodes that are known: each node's row is its letter's, its frames' age too."""

    def __init__(self) -> None:
        self.known = ""

    def rows_of(self, node_names: Sequence[str]) -> npt.NDArray[np.intp]:
        return np.array(
            [ord(name) if name in self.known else -1 for name in node_names], dtype=np.intp
        )

    def ages_of(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        return np.where(rows < 0, np.inf, rows.astype(np.float64))


NODES = [chr(code) for code in range(ord("a"), ord("a") + 20)]


@given(st.lists(st.tuples(st.sampled_from(NODES), st.none() | st.integers(0, 150)), max_size=60))
def test_each_node_has_its_own_age_whoever_came_and_went(
    moves: list[tuple[str, int | None]],
) -> None:
    reports, frames, last = Reports(), Frames(), dict[str, int]()
    for name, received in moves:
        if received is not None:
            reports.put(name, run_pb2.LocalRun(), received)
            last[name] = received
        elif name in last:
            reports.drop(name)
            del last[name]
        frames.known += name if received != 0 else ""  # a node may be known later, or never
        ages = reports.ages(frames, 150.0)
        assert dict(ages) == {
            name: min(150.0 - at, ord(name) if name in frames.known else math.inf)
            for name, at in last.items()
        }
        assert reports.names() == tuple(sorted(last))
