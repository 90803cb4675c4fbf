"""What may befall a run that is frozen; on every backend nothing of it stays stopped."""

from __future__ import annotations

import os
import time

import pytest

from colossus_tui.model import ActionParameters, PriorityClass
from tests.actions.stand import FUSE_SECONDS, Stand, letter
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


@pytest.fixture(params=["local", "slurm"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Every backend that can freeze."""
    stand: Stand = request.getfixturevalue(request.param)
    return stand


def frozen(stand: Stand, fuse_seconds: float = FUSE_SECONDS) -> str:
    """Return a run that was frozen just now."""
    (cell,) = stand.prepare(["freeze"])
    stand.act("freeze", cell.run_id, ActionParameters(fuse_seconds=fuse_seconds))
    stand.wait_state(cell.run_id, "frozen")
    return cell.run_id


def goes_on(stand: Stand, run_id: str) -> bool:
    """Whether no process of the run is stopped and its group, if it has one, is not frozen."""
    stopped = [pid for pid in stand.processes(run_id) if letter(pid) in ("T", "t")]
    return not stopped and not [group for group in stand.frozen_groups() if run_id in group]


def test_a_frozen_run_thaws_at_its_fuse_when_hub_and_agents_are_dead(stand: Stand) -> None:
    run_id = frozen(stand, 6)
    pids = set(stand.processes(run_id))
    assert not goes_on(stand, run_id)
    for pid in stand.agents():
        os.kill(pid, 9)
    stand.product.kill("hub")

    until(lambda: goes_on(stand, run_id), 20, message="the fuse")

    assert set(stand.processes(run_id)) == pids
    stand.revive_hub()
    stand.restart_agents()
    stand.wait_state(run_id, "running")
    step = stand.run(run_id).step or 0
    until(lambda: (stand.run(run_id).step or 0) > step, 20, message="a step")
    until(lambda: stand.client.preview("checkpoint", run_id).allowed, 20, message="its agents")
    stand.act("checkpoint", run_id)


def test_a_second_freeze_is_refused_and_leaves_the_fuse_as_it_was(stand: Stand) -> None:
    run_id = frozen(stand)
    fuse = stand.run(run_id).fuse_deadline_unix_ns

    again = stand.client.submit("freeze", run_id, ActionParameters(fuse_seconds=3_600))

    assert (again.state, again.reason_code) == ("refused", "conflict")
    assert "frozen" in again.detail
    assert abs(stand.run(run_id).fuse_deadline_unix_ns - fuse) < 1e9
    stand.act("resume", run_id)
    until(lambda: goes_on(stand, run_id), message="the thaw")


@pytest.mark.parametrize("early", [0.1, 0.0])
def test_a_resume_in_the_moment_of_the_fuse_finds_a_run_that_goes_on(
    stand: Stand, early: float
) -> None:
    run_id = frozen(stand, 2)
    before = stand.run(run_id)
    until(lambda: time.time() > before.fuse_deadline_unix_ns / 1e9 - early, 10, message="the fuse")

    action = stand.client.submit("resume", run_id)

    if action.state != "refused":
        assert stand.client.wait(action.action_id, 30).state == "observed"
    else:  # it was seen to go on before
        assert "running" in action.detail
    until(lambda: goes_on(stand, run_id), message="the thaw")
    stand.wait_state(run_id, "running")
    assert stand.run(run_id).attempt == before.attempt
    step = stand.run(run_id).step or 0
    until(lambda: (stand.run(run_id).step or 0) > step, message="a step")
    assert not stand.run(run_id).open_action_id


def test_a_frozen_run_can_be_stopped(stand: Stand) -> None:
    run_id = frozen(stand)

    action = stand.act("stop", run_id)

    assert stand.state(run_id) == "stopped", action
    until(lambda: not stand.processes(run_id), message="its processes to be gone")
    assert not [group for group in stand.frozen_groups() if run_id in group]


def test_a_class_that_a_paused_run_got_is_its_next_attempts(local: Stand) -> None:
    (cell,) = local.prepare(["resume"])
    local.act("reprioritize", cell.run_id, ActionParameters(priority_class=PriorityClass.P3))

    local.act("resume", cell.run_id)

    nice = {os.getpriority(os.PRIO_PROCESS, pid) for pid in local.processes(cell.run_id)}
    assert nice == {10}
    assert local.run(cell.run_id).priority_class == "P3"
