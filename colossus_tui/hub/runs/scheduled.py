"""Runs that a scheduler owns: the state that follows from its word and from what agents see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from colossus_tui.model import Job, RunState

if TYPE_CHECKING:
    from colossus_tui.hub.backends.base import Sighting
    from colossus_tui.hub.runs.live import LiveRun

HOOK_SECONDS = 15.0  # how long a job that runs may take to load its libraries and show a hook


@dataclass(slots=True)
class Scheduled:
    """What the scheduler last said of one run, and when."""

    sighting: Sighting
    seen: float  # hub's monotonic clock
    running_since: float = 0.0  # hub's monotonic clock: first word that this attempt runs

    def job(self, now: float) -> Job:
        """Return it as consoles see it."""
        return replace(self.sighting.job, age_seconds=max(now - self.seen, 0.0))


def derive(run: LiveRun, scheduled: Scheduled, now: float) -> tuple[RunState, str]:
    """Return the state that the scheduler's word, the agents' and the intention give, and why."""
    said, why = scheduled.sighting.state, scheduled.sighting.why
    if said.is_over:
        return said, why
    match said:
        case RunState.PENDING if scheduled.sighting.job.held:
            begun = run.attempt > 1 or run.step is not None
            intended = run.state in (RunState.PAUSING, RunState.PAUSED)
            return (RunState.PAUSED if begun or intended else RunState.PENDING), why
        case RunState.RUNNING:
            return _running(run, scheduled, now)
        case RunState.PENDING | RunState.STARTING if run.alive_count and not _leaving(run):
            return _running(run, scheduled, now)  # its agents see it before the next poll does
        case RunState.STOPPING if _leaving(run):
            return run.state, ""
        case RunState.PENDING if run.state is RunState.PAUSING:
            return run.state, ""  # between its requeue and its hold
    return said, why


def _leaving(run: LiveRun) -> bool:
    return run.state in (RunState.PAUSING, RunState.STOPPING)


def _running(run: LiveRun, scheduled: Scheduled, now: float) -> tuple[RunState, str]:
    if run.frozen_node_count:
        return RunState.FROZEN, "stopped in place"
    if _leaving(run):
        return run.state, ""
    if run.state is RunState.RUNNING or run.progress.last is not None:
        return RunState.RUNNING, "its scheduler runs it"
    hooked = any(rank.hooked for _, rank in run.ranks())
    if not hooked and now - scheduled.running_since > HOOK_SECONDS:
        return RunState.RUNNING, "its scheduler runs it; it has no hook"
    first = run.attempt == 1 and run.state is not RunState.RESUMING
    return (RunState.STARTING if first else RunState.RESUMING), "its scheduler has started it"
