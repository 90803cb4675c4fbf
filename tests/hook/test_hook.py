"""The hook as a training loop uses it, and the page as an agent reads it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colossus_hook import Run, Verdict
from colossus_hook import page as layout
from colossus_hook.page import Order, PageError, RankPage

HOLD_NS = 5_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment that an agent gives rank 1 of 2."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLOSSUS_RUN", "10t")
    monkeypatch.setenv("COLOSSUS_ATTEMPT", "3")
    monkeypatch.setenv("COLOSSUS_RANK", "1")
    monkeypatch.setenv("COLOSSUS_LOCAL_RANK", "1")
    monkeypatch.setenv("COLOSSUS_WORLD_SIZE", "2")
    monkeypatch.setenv("COLOSSUS_PAGE_DIR", str(tmp_path))
    return tmp_path


def page_of(folder: Path, rank: int = 1) -> RankPage:
    return RankPage(str(folder / f"rank-{rank}.page"))


def order(step: int, phase: int, verb: int = layout.VERB_PAUSE, agreement: int = 9) -> Order:
    return Order(agreement, verb, phase, step, HOLD_NS)


def test_without_an_agent_every_call_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("COLOSSUS_"):
            monkeypatch.delenv(name)
    with Run.from_env(parameters=10) as run:
        assert not run.active
        assert run.step(1, loss=1.0, tokens=5) is Verdict.NONE
        run.checkpointed(1, "/nowhere")
        assert (run.durable_step, run.durable_path, run.world_size) == (0, None, 1)


def test_a_page_tells_who_wrote_it_and_what_each_step_was(folder: Path) -> None:
    with Run.from_env(parameters=7, watchdog_seconds=30.5) as run:
        assert run.active
        run.step(1, loss=2.5, tokens=64, grad_norm=0.5)
        run.step(2)
        page = page_of(folder)

        identity = page.identity()
        count, missed, steps = page.read_steps(0)

    assert (identity.pid, identity.rank, identity.world_size) == (os.getpid(), 1, 2)
    assert (identity.run_id, identity.attempt) == ("10t", 3)
    assert page.facts() == {"parameters_count": 7.0, "watchdog_seconds": 30.5}
    assert (count, missed, page.current_step()) == (2, 0, 2)
    assert (steps[0].step, steps[0].loss, steps[0].tokens, steps[0].grad_norm) == (1, 2.5, 64, 0.5)
    assert math.isnan(steps[1].loss)  # not given is not 0
    assert steps[1].tokens == -1
    assert 0 < steps[1].step_seconds < 5


def test_a_checkpoint_is_told_with_its_part(folder: Path) -> None:
    run = Run.from_env()
    run.checkpointed(40, "relative/part", 123)
    run.checkpointed(50, Path("/x") / ("y" * 3000))

    count, records = page_of(folder).read_checkpoints(0)

    assert count == 2
    assert (records[0].step, records[0].size_bytes) == (40, 123)
    assert records[0].path == os.path.abspath("relative/part")
    assert len(records[1].path) == 1022
    assert records[1].size_bytes == -1


def test_a_save_is_timed_and_counts_in_no_step(folder: Path) -> None:
    run = Run.from_env()
    run.step(1)
    time.sleep(0.2)
    run.checkpointed(1, "/part")
    run.step(2)
    run.checkpointed(1, "/late")  # an asynchronous save of an earlier step
    page = page_of(folder)

    _, (prompt, late) = page.read_checkpoints(0)
    _, _, steps = page.read_steps(0)

    assert 0.2 <= prompt.save_seconds < 2
    assert steps[1].step_seconds < 0.1
    assert math.isnan(late.save_seconds)


@settings(max_examples=30, deadline=None)
@given(bursts=st.lists(st.integers(0, 2 * layout.STEPS_CAPACITY + 5), max_size=6))
def test_no_step_is_lost_unnoticed(
    bursts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    identity = layout.Identity(1, 1, 0, 0, 1, 1, 0, "r")
    mapped = layout.create(str(folder / "rank-0.page"), identity, {})
    page, written, known = page_of(folder, 0), 0, 0
    for burst in bursts:
        for _ in range(burst):
            slot = layout.STEPS_OFFSET + written % layout.STEPS_CAPACITY * layout.STEP.size
            layout.STEP.pack_into(mapped, slot, written, 0, 1, 0.0, 0.0, 0.0)
            written += 1
            layout.COUNTER.pack_into(mapped, layout.STEP_COUNT_OFFSET, written)
        count, missed, steps = page.read_steps(known)
        assert count == written
        assert missed + len(steps) == written - known
        assert [step.step for step in steps] == list(range(written - len(steps), written))
        if burst < layout.STEPS_CAPACITY:
            assert missed == 0
        known = count
    page.close()


def test_an_order_is_obeyed_at_its_step_and_once(folder: Path) -> None:
    run = Run.from_env()
    run.step(1)
    page = page_of(folder)
    page.write_order(order(4, layout.PHASE_COMMITTED))

    verdicts = [run.step(step) for step in range(2, 8)]

    assert verdicts == [Verdict.NONE, Verdict.NONE, Verdict.PAUSE] + [Verdict.NONE] * 3
    acted = page.acted()
    assert (acted.agreement, acted.step, acted.state) == (9, 4, layout.ACTED_DONE)


def test_a_rank_at_the_agreed_step_waits_for_the_commit(folder: Path) -> None:
    run = Run.from_env()
    page = page_of(folder)
    page.write_order(order(1, layout.PHASE_PREPARED, layout.VERB_CHECKPOINT))
    commit = threading.Timer(
        0.2, lambda: page.write_order(order(1, layout.PHASE_COMMITTED, layout.VERB_CHECKPOINT))
    )
    began = time.monotonic()
    commit.start()

    verdict = run.step(1)

    commit.join()
    assert verdict is Verdict.CHECKPOINT
    assert time.monotonic() - began >= 0.2


def test_an_order_taken_back_lets_the_rank_go_on(folder: Path) -> None:
    run = Run.from_env()
    page = page_of(folder)
    page.write_order(order(1, layout.PHASE_ABORTED))

    assert run.step(1) is Verdict.NONE
    assert page.acted().state == layout.ACTED_ABORTED


def test_a_rank_gives_up_a_promise_nobody_commits_for_good(folder: Path) -> None:
    run = Run.from_env()
    page = page_of(folder)
    page.write_order(Order(5, layout.VERB_PAUSE, layout.PHASE_PREPARED, 1, 50_000_000))

    assert run.step(1) is Verdict.NONE
    assert page.acted().state == layout.ACTED_EXPIRED
    page.write_order(Order(5, layout.VERB_PAUSE, layout.PHASE_COMMITTED, 1, 50_000_000))
    assert run.step(2) is Verdict.NONE


@pytest.mark.parametrize(
    "arguments",
    [
        {"step": 1 << 70},
        {"step": 1, "tokens": 1 << 70},
        {"step": 1, "loss": "much"},
        {"step": "one"},
    ],
)
def test_a_number_that_does_not_fit_costs_no_training_run(
    folder: Path, arguments: dict[str, object]
) -> None:
    run = Run.from_env()

    assert run.step(**arguments) is Verdict.NONE  # type: ignore[arg-type]
    assert run.step(2) is Verdict.NONE
    assert page_of(folder).current_step() == 2


def test_a_folder_that_is_gone_costs_no_training_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOSSUS_PAGE_DIR", str(folder / "missing"))

    run = Run.from_env()

    assert not run.active
    assert run.step(1) is Verdict.NONE


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"\xff" * layout.SIZE, b"\0" * layout.SIZE], ids=len
)
def test_what_is_no_page_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rank-0.page").write_bytes(content)

    with pytest.raises(PageError):
        page_of(tmp_path, 0)


def test_links_and_pipes_are_no_pages(tmp_path: Path) -> None:
    identity = layout.Identity(1, 1, 0, 0, 1, 1, 0, "r")
    layout.create(str(tmp_path / "real"), identity, {})
    (tmp_path / "rank-0.page").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "rank-1.page")

    for rank in (0, 1):
        with pytest.raises(PageError):
            page_of(tmp_path, rank)


@settings(max_examples=30, deadline=None)
@given(noise=st.binary(min_size=1, max_size=2048), offset=st.integers(8, layout.SIZE - 2048))
def test_a_scribbled_page_is_read_without_a_crash(
    noise: bytes, offset: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    mapped = layout.create(
        str(folder / "rank-0.page"), layout.Identity(1, 1, 0, 0, 1, 1, 0, "r"), {"a": 1.0}
    )
    page = page_of(folder, 0)
    mapped[offset : offset + len(noise)] = noise

    _, missed, steps = page.read_steps(0)

    assert missed >= 0
    assert len(steps) <= layout.STEPS_CAPACITY
    page.read_checkpoints(0)
    page.identity()
    assert all(math.isfinite(value) for value in page.facts().values())
    page.close()


def test_a_forked_worker_does_not_speak_as_the_rank(folder: Path) -> None:
    code = """
import os
from colossus_hook import Run
run = Run.from_env()
run.step(1)
pid = os.fork()
if pid == 0:
    run.step(99)
    os._exit(int(run.active))
assert run.active
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

    assert page_of(folder).current_step() == 1


def test_the_hook_loads_little(folder: Path) -> None:
    code = "import sys, colossus_hook; print(*sorted(n for n in sys.modules if '.' not in n))"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {"grpc", "google", "numpy", "asyncio", "socket", "logging"} & set(loaded)
