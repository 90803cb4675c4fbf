"""What the command's exit code says."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import Action, ActionState, Preflight, ReasonCode

OBSERVED = 0
OTHER = 1
USAGE = 2
NOT_CONFIRMED = 3
POLICY = 4
UNSUPPORTED = 5
DENIED = 6
PARTIAL = 7
INTERRUPTED = 130

EXPLAINED = """exit codes:
  0 done and observed          4 refused by policy or state   7 some nodes or runs failed
  1 anything else              5 not supported by the run
  2 wrong usage                6 the backend denied it
  3 accepted, not confirmed in time, or waits for another operator's approval
several runs end with the code that all of them have; else 7 when some went well and others
did not, 3 when some were not confirmed and none failed, 1 when all failed differently"""

_REASONS = {
    ReasonCode.POLICY: POLICY,
    ReasonCode.CONFLICT: POLICY,
    ReasonCode.UNSUPPORTED: UNSUPPORTED,
    ReasonCode.BACKEND_DENIED: DENIED,
    ReasonCode.INVALID: USAGE,
    ReasonCode.NOT_FOUND: OTHER,
}


def of_action(action: Action) -> int:
    """Return the exit code for an action."""
    match action.state:
        case ActionState.OBSERVED:
            return OBSERVED
        case ActionState.PARTIAL:
            return PARTIAL
        case ActionState.REFUSED | ActionState.FAILED:
            return _REASONS.get(action.reason_code, OTHER) if action.reason_code else OTHER
        case _:
            return NOT_CONFIRMED


def of_all(codes: Sequence[int]) -> int:
    """Return the exit code for several runs: theirs where they agree, else the gravest mixture.

    Where some are well or on their way and others failed it is 7, as for one run's nodes; where
    none failed and some were not confirmed it is 3; where all failed differently it is 1.
    """
    if len(set(codes)) == 1:
        return codes[0]
    failed = [code for code in codes if code not in (OBSERVED, NOT_CONFIRMED)]
    if not failed:
        return NOT_CONFIRMED
    return OTHER if len(failed) == len(codes) and PARTIAL not in failed else PARTIAL


def of_preflight(preflight: Preflight) -> int:
    """Return the exit code for a dry run."""
    if preflight.allowed:
        return OBSERVED
    return _REASONS.get(preflight.refusal, OTHER) if preflight.refusal else OTHER
