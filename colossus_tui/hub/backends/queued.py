"""What holds for every run that a scheduler keeps in its queue."""

from __future__ import annotations

from collections.abc import Collection

from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.model import ReasonCode, Run, RunState, Verb


def check_queued(
    scheduler: str, verb: Verb, run: Run, allowed: Collection[RunState], why_away: str
) -> None:
    """Return when the run's state, in its queue or out of it, lets this be done now.

    Args:
        scheduler: As an operator calls it.
        allowed: States that the verb needs.
        why_away: Why the scheduler does not answer; "" while it does.

    Raises:
        RefusalError: It does not; why.
    """
    if run.state not in allowed:
        words = " or ".join(allowed)
        raise RefusalError(ReasonCode.CONFLICT, f"the run is {run.state}; {verb} needs it {words}")
    if why_away:
        raise RefusalError(ReasonCode.UNREACHABLE, f"{scheduler} does not answer: {why_away}")
    if run.job is None or run.state is not RunState.PENDING:
        return
    if verb is Verb.RESUME and not run.job.held:
        raise RefusalError(ReasonCode.CONFLICT, f"nothing holds it; it waits: {run.job.reason}")
    if verb is Verb.PAUSE and run.job.held:
        raise RefusalError(ReasonCode.CONFLICT, "it is held already")
