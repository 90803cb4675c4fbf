"""What the command's exit code says."""

from __future__ import annotations

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
  0 done and observed          4 refused by policy or state   7 some nodes failed
  1 anything else              5 not supported by the run
  2 wrong usage                6 the backend denied it
  3 accepted, not confirmed in time"""

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


def of_preflight(preflight: Preflight) -> int:
    """Return the exit code for a dry run."""
    if preflight.allowed:
        return OBSERVED
    return _REASONS.get(preflight.refusal, OTHER) if preflight.refusal else OTHER
