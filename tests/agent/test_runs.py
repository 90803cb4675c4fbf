"""The agent's hand on real runs: start, adopt, agree, freeze, end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from colossus_agent.control import cgroup
from colossus_agent.runs.record import RunSpec, RunSpecError, write_json
from colossus_agent.runs.state import LocalRun
from colossus_agent.runs.supervisor import Supervisor
from tests.agent.freezing import groups
from tests.support import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["cgroup v2", "cgroup v1", "stop signals"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Supervisor]:
    """A supervisor in each way of holding a run's processes; all runs are ended after it."""
    base = groups(request.param)
    monkeypatch.setattr(cgroup, "base", lambda: base)
    supervisor = Supervisor(tmp_path / "agent")
    yield supervisor
    for run in supervisor.poll().runs:
        supervisor.terminate(run.run_id, 0, True)
        until(lambda: supervisor.poll().runs and not alive(supervisor), 10)


def alive(supervisor: Supervisor) -> int:
    return sum(run.process_count for run in supervisor.poll().runs)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def spec(name: str = "r", loop: str = "steps", ranks: int = 1, *more: str) -> RunSpec:
    return RunSpec(
        name,
        (sys.executable, "-m", "tests.agent.loops", loop, *more),
        working_directory=str(ROOT),
        environment=dict(os.environ),
        rank_count=ranks,
    )


def only(supervisor: Supervisor) -> LocalRun:
    (run,) = supervisor.poll().runs
    return run


def hooked(supervisor: Supervisor, step: int = 3) -> Callable[[], bool]:
    return lambda: all(rank.hooked and rank.step >= step for rank in only(supervisor).ranks)


def test_ranks_run_detached_with_their_output_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    outcome = supervisor.start(spec(ranks=2), 1)

    assert outcome.kind == "done"
    until(hooked(supervisor))
    run = only(supervisor)
    assert run.state == "running"
    assert [rank.alive for rank in run.ranks] == [True, True]
    assert os.getsid(run.ranks[0].pid) == run.ranks[0].pid
    assert (tmp_path / "agent/runs/r/attempt-1/rank-1.log").exists()
    assert (tmp_path / "agent/runs/r/run.json").stat().st_mode & 0o77 == 0


def test_an_end_is_told_with_code_or_signal(supervisor: Supervisor) -> None:
    supervisor.start(RunSpec("code", (sys.executable, "-c", "import sys; sys.exit(3)")), 1)
    supervisor.start(spec("signal"), 1)
    supervisor.start(RunSpec("missing", ("/no/such/program",)), 1)
    runs = {run.run_id: run for run in supervisor.poll().runs}
    os.kill(runs["signal"].ranks[0].pid, signal.SIGKILL)

    def ended() -> dict[str, LocalRun]:
        found = {run.run_id: run for run in supervisor.poll().runs if run.state == "ended"}
        return found if len(found) == 3 else {}

    ends = {name: run.ranks[0].exit for name, run in until(ended).items()}
    assert ends["code"] is not None
    assert ends["code"].exit_code == 3
    assert ends["signal"] is not None
    assert ends["signal"].exit_signal == signal.SIGKILL
    assert ends["missing"] is not None
    assert "No such file" in ends["missing"].detail


@pytest.mark.parametrize("code", [0, 3])
def test_ranks_of_a_launcher_end_as_it_does(supervisor: Supervisor, code: int) -> None:
    supervisor.start(spec("r", "launcher", 1, str(code)), 1)
    until(lambda: len(only(supervisor).ranks) == 2 and hooked(supervisor)())
    worker = only(supervisor).ranks[1]
    assert worker.pid != only(supervisor).ranks[0].pid
    os.kill(worker.pid, signal.SIGTERM)
    until(lambda: not only(supervisor).ranks[1].alive)

    assert only(supervisor).ranks[1].exit is None  # it may be started again
    assert only(supervisor).state == "running"

    for child in children(only(supervisor).ranks[0].pid):
        with suppress(ProcessLookupError):  # the launcher has reaped it by now
            os.kill(child, signal.SIGTERM)
    until(lambda: only(supervisor).state == "ended")
    ends = [rank.exit for rank in only(supervisor).ranks]
    assert [end and (end.known, end.exit_code) for end in ends] == [(True, code)] * 2


def test_ranks_meet_at_a_port_of_their_own_unless_told_where(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    script = "import os; print(os.environ['MASTER_ADDR'], os.environ['MASTER_PORT'])"
    own = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}
    argv = (sys.executable, "-c", script)
    supervisor.start(RunSpec("free", argv, environment=dict(os.environ), rank_count=2), 1)
    supervisor.start(RunSpec("told", argv, environment=dict(os.environ) | own), 1)
    until(lambda: all(run.state == "ended" for run in supervisor.poll().runs))

    folder = tmp_path / "agent" / "runs"
    first, second = ((folder / f"free/attempt-1/rank-{rank}.log").read_text() for rank in (0, 1))
    assert first == second
    assert re.fullmatch(r"127\.0\.0\.1 [1-9]\d{3,4}\n", first)
    assert (folder / "told/attempt-1/rank-0.log").read_text() == "10.0.0.1 5\n"


def test_the_next_agent_takes_the_run_up_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(spec(ranks=2), 1)
    until(hooked(supervisor))
    pids = [rank.pid for rank in only(supervisor).ranks]

    second = Supervisor(tmp_path / "agent")
    second.adopt()

    run = only(second)
    assert [rank.pid for rank in run.ranks] == pids
    assert run.state == "running"
    assert second.prepare("r", 1, "checkpoint", run.ranks[0].step + 30, 10**10).kind == "done"


def test_ranks_survive_the_death_of_the_agent_that_started_them(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from colossus_agent.runs.supervisor import Supervisor\n"
        "from tests.agent.test_runs import spec\n"
        f"s = Supervisor(Path({str(tmp_path / 'agent')!r}))\n"
        "s.start(spec(), 1); os.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=30, check=False)
    assert result.returncode == -9

    supervisor.adopt()

    until(hooked(supervisor, 20))


def test_a_recycled_pid_is_never_taken_for_a_rank(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(spec(), 1)
    until(hooked(supervisor))
    rank = only(supervisor).ranks[0]
    record = tmp_path / "agent/runs/r/attempt-1/rank-0.json"
    original = record.read_text()
    write_json(record, {"pid": rank.pid, "start_time_ticks": rank.start_time_ticks - 1})
    (record.parent / "keeper.json").unlink()  # whose living children are the run's, whatever else
    second = Supervisor(tmp_path / "agent")
    second.adopt()

    second.terminate("r", 0, False)

    assert not only(second).ranks[0].alive
    time.sleep(0.1)
    assert only(supervisor).ranks[0].alive
    record.write_text(original)


def test_a_run_whose_keeper_died_goes_on_and_its_end_is_not_guessed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(spec(), 1)
    until(hooked(supervisor))
    keeper = (tmp_path / "agent/runs/r/attempt-1/keeper.json").read_text()
    os.kill(int(keeper.split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    step = only(supervisor).ranks[0].step
    until(hooked(supervisor, step + 10))

    os.kill(only(supervisor).ranks[0].pid, signal.SIGKILL)

    run = until(lambda: (run := only(supervisor)).state == "lost" and run)
    assert isinstance(run, LocalRun)
    assert run.ranks[0].exit is not None
    assert not run.ranks[0].exit.known


def test_every_rank_acts_at_the_agreed_step(supervisor: Supervisor) -> None:
    supervisor.start(spec(ranks=2), 1)
    until(hooked(supervisor))
    step = max(rank.step for rank in only(supervisor).ranks) + 40

    assert supervisor.prepare("r", 1, "pause", step, 10**10).kind == "done"
    assert supervisor.commit("r", 1).kind == "done"

    saved: list[tuple[int, int, bool]] = []

    def both() -> bool:
        for progress in supervisor.poll().progress:
            for rank in progress.ranks:
                saved.extend((rank.rank, record.step, found) for record, found in rank.checkpoints)
        return len(saved) == 2

    until(both)
    assert sorted(saved) == [(0, step, True), (1, step, True)]
    until(lambda: only(supervisor).state == "ended")


def test_a_step_already_passed_is_refused_and_nobody_acts(supervisor: Supervisor) -> None:
    supervisor.start(spec(), 1)
    until(hooked(supervisor, 10))

    outcome = supervisor.prepare("r", 1, "pause", 5, 10**10)

    assert outcome.kind == "refused"
    assert "already finished step" in outcome.detail
    until(hooked(supervisor, only(supervisor).ranks[0].step + 10))


def test_a_promise_taken_back_is_not_kept(supervisor: Supervisor) -> None:
    supervisor.start(spec(), 1)
    until(hooked(supervisor))
    step = only(supervisor).ranks[0].step + 30
    supervisor.prepare("r", 1, "pause", step, 10**10)

    assert supervisor.abort("r", 1).kind == "done"

    until(hooked(supervisor, step + 10))


def test_a_rank_waits_for_the_commit_and_gives_up_at_the_end_of_the_hold(
    supervisor: Supervisor,
) -> None:
    supervisor.start(spec(), 1)
    until(hooked(supervisor))
    step = only(supervisor).ranks[0].step + 10
    supervisor.prepare("r", 1, "pause", step, 300_000_000)

    until(hooked(supervisor, step + 10))

    outcome = supervisor.commit("r", 1)
    assert outcome.kind == "failed"
    assert "waited too long" in outcome.detail
    until(hooked(supervisor, step + 30))


def test_a_freeze_stops_the_whole_tree_and_a_thaw_continues_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    growing = tmp_path / "growing"
    supervisor.start(spec("r", "tree", 1, str(growing)), 1)
    until(growing.exists)

    assert supervisor.freeze("r", 60).kind == "done"

    run = only(supervisor)
    assert run.state == "frozen"
    assert 50 < (run.fuse_deadline_unix_ns - time.time_ns()) / 1e9 <= 60
    size = growing.stat().st_size
    time.sleep(0.2)
    assert growing.stat().st_size == size
    supervisor.thaw("r")
    until(lambda: growing.stat().st_size > size)
    assert only(supervisor).state == "running"


def test_the_fuse_thaws_by_itself(supervisor: Supervisor, tmp_path: Path) -> None:
    growing = tmp_path / "growing"
    supervisor.start(spec("r", "tree", 1, str(growing)), 1)
    until(growing.exists)
    supervisor.freeze("r", 1.5)
    size = growing.stat().st_size

    until(lambda: growing.stat().st_size > size)

    until(lambda: supervisor.poll().thawed_run_ids == ("r",))
    assert only(supervisor).state == "running"


def test_a_freeze_longer_than_the_watchdog_allows_is_refused(supervisor: Supervisor) -> None:
    watched = spec()
    supervisor.start(
        RunSpec(watched.run_id, watched.argv, str(ROOT), watched.environment, watchdog_seconds=20),
        1,
    )

    outcome = supervisor.freeze("r", 17)

    assert outcome.kind == "refused"
    assert "at most 16 s" in outcome.detail


def test_priority_is_read_back_from_the_system(supervisor: Supervisor) -> None:
    supervisor.start(spec(), 1)
    pid = only(supervisor).ranks[0].pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5

    outcome = supervisor.set_priority("r", "P4")

    assert [rank.nice for rank in outcome.ranks] == [19]
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert only(supervisor).priority_class == "P4"


def test_sigkill_comes_only_with_force(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(spec("r", "stubborn"), 1)
    log = tmp_path / "agent/runs/r/attempt-1/rank-0.log"
    until(lambda: "ready" in log.read_text())
    supervisor.terminate("r", 0.2, False)
    time.sleep(0.4)
    assert only(supervisor).ranks[0].alive

    supervisor.terminate("r", 0.2, True)

    until(lambda: only(supervisor).state == "ended")
    assert only(supervisor).process_count == 0


def test_a_damaged_record_is_shown_and_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    folder = tmp_path / "agent/runs/broken"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"spec": ')

    supervisor.adopt()

    run = only(supervisor)
    assert (run.run_id, run.state) == ("broken", "lost")
    assert "run.json" in run.output_tail
    assert (folder / "run.json").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 64, "-a", "a b", "\x1b[31m", "ä"])
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(RunSpecError, match="run_id"):
        RunSpec(name, ("true",))
