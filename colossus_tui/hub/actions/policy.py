"""Who may do what, and what an operator must do to mean it."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence

from colossus_tui.hub.actions.rules import Rule, forbids
from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.hub.config import RunConfig
from colossus_tui.model import (
    RUN_ID,
    ActionParameters,
    Confirmation,
    PriorityClass,
    ReasonCode,
    Run,
    Verb,
)

ACTION_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
LARGE_GPU_COUNT = 10_000
LARGE_WATTS = 5e6
FUSE_LIMIT_SECONDS = 86_400.0
CAP_LIMIT_WATTS = 100_000.0  # of one GPU
_PROTECTED = frozenset({Verb.PAUSE, Verb.FREEZE, Verb.STOP})


def check_request(verb: Verb | None, run_id: str, parameters: ActionParameters) -> None:
    """Return when the request itself is sound.

    Raises:
        RefusalError: A field is wrong; the message names it.
    """
    if verb is None:
        raise RefusalError(ReasonCode.INVALID, "verb: not given, or not known to this hub")
    if verb.is_on_node:
        if run_id or not NODE_NAME.fullmatch(parameters.node_name):
            raise RefusalError(
                ReasonCode.INVALID, f"node_name: {verb} needs a node's name, and no run_id"
            )
    elif verb.is_on_site:
        if run_id or parameters.node_name:
            raise RefusalError(
                ReasonCode.INVALID, f"run_id, node_name: {verb} is about the site, and takes none"
            )
    elif not RUN_ID.fullmatch(run_id):
        raise RefusalError(
            ReasonCode.INVALID,
            "run_id, the run's name: 1 to 63 letters, digits, '.', '_' or '-', the first no sign",
        )
    if verb is Verb.REPRIORITIZE and parameters.priority_class is None:
        raise RefusalError(ReasonCode.INVALID, "priority_class: give one of P0 to P4")
    if parameters.release_gpus and verb is not Verb.FREEZE:
        raise RefusalError(ReasonCode.INVALID, "release_gpus: only freeze has it")
    if parameters.cap_watts and verb is not Verb.CAP:
        raise RefusalError(ReasonCode.INVALID, "cap_watts: only cap has it")
    limits = (
        ("fuse_seconds", FUSE_LIMIT_SECONDS, 1.0),
        ("timeout_seconds", 7 * 86_400.0, 0.0),
        ("grace_seconds", 86_400.0, 0.0),
        ("cap_watts", CAP_LIMIT_WATTS, 1.0),
    )
    for name, highest, lowest in limits:
        value = getattr(parameters, name)
        if not math.isfinite(value) or value < 0 or value > highest or 0 < value < lowest:
            raise RefusalError(
                ReasonCode.INVALID, f"{name}: {value:g} is not from {lowest:g} to {highest:g}"
            )


def check_role(role: str) -> None:
    """Return when the caller may act.

    Raises:
        RefusalError: He may only look.
    """
    if role != "operator":
        raise RefusalError(
            ReasonCode.POLICY,
            "you are a viewer here: act over the hub's Unix socket, or start the hub with "
            "--tcp-role operator",
        )


def check_rules(
    rules: Sequence[Rule], verb: Verb, run_id: str, run: Run | None, operator: str
) -> None:
    """Return when the site's rules let this operator do this now.

    Raises:
        RefusalError: They do not.
    """
    now = dt.datetime.now(dt.UTC)
    if why := forbids(rules, verb, run_id, run, operator, now):
        raise RefusalError(ReasonCode.POLICY, f"the site's rules: {why}")


def check_run(verb: Verb, run: Run, action_id: str, configured: Mapping[str, RunConfig]) -> None:
    """Return when the run is free and not protected.

    Raises:
        RefusalError: It is not.
    """
    if run.run_id in configured and configured[run.run_id].protected and verb in _PROTECTED:
        raise RefusalError(
            ReasonCode.POLICY,
            f"{run.run_id} is protected in the hub's settings; take `protected` from "
            f"[runs.{run.run_id}] there if it should end",
        )
    if run.open_action_id and run.open_action_id != action_id:
        raise RefusalError(
            ReasonCode.CONFLICT, f"action {run.open_action_id} holds the run; wait for its end"
        )


def check_generation(run: Run, expected: int) -> None:
    """Return when the caller has seen the run as it is.

    Raises:
        RefusalError: It has changed since; how.
    """
    if expected and expected != run.generation:
        raise RefusalError(
            ReasonCode.CONFLICT,
            f"the run has changed since you looked: it is {run.state}, class "
            f"{run.priority_class}, attempt {run.attempt} (generation {run.generation}, "
            f"not {expected}); look at it again, then ask again",
        )


def confirmation(verb: Verb, run: Run | None) -> Confirmation:
    """Return what the operator must do to mean it."""
    if verb is Verb.START or run is None:
        return Confirmation.NONE
    large = run.gpu_count > LARGE_GPU_COUNT or (run.power_watts or 0.0) > LARGE_WATTS
    if run.priority_class is PriorityClass.P0 or large:
        return Confirmation.TYPE_NAME
    return Confirmation.YES_NO
