"""The preflight: what an action would cost, each figure with where it comes from."""

from __future__ import annotations

import time

from colossus_tui.hub.actions import policy
from colossus_tui.hub.backends.agreement import landing_step
from colossus_tui.hub.backends.base import Backend
from colossus_tui.hub.backends.gang import fuse_of
from colossus_tui.hub.money.interruption import interruption
from colossus_tui.model import ActionParameters, Figure, Preflight, Run, RunState, Verb
from colossus_tui.text import bytes_

BYTES_PER_PARAMETER = 14  # bf16 weights, fp32 master copy and two fp32 Adam moments
_SAVES = frozenset({Verb.CHECKPOINT, Verb.PAUSE})
_STOPS = frozenset({Verb.PAUSE, Verb.FREEZE, Verb.STOP})


def preflight(
    backend: Backend, verb: Verb, run: Run, parameters: ActionParameters, approvals_needed: int
) -> Preflight:
    """Return what the action would cost a run that allows it."""
    outlook = backend.preview(verb, run, parameters)
    own = {figure.name for figure in outlook.figures}
    figures = [
        *(figure for figure in _landing(verb, run) if figure.name not in own),
        _work_at_risk(run),
        *interruption(verb, run, fuse_of(parameters)),
        *([_save_time(run)] if verb in _SAVES else []),
        *([_power(run)] if verb in _STOPS or verb is Verb.RESUME else []),
        *([_watchdog(run)] if verb is Verb.FREEZE else []),
        *outlook.figures,
    ]
    return Preflight(
        verb=verb,
        run_id=run.run_id,
        generation=run.generation,
        allowed=True,
        effect=outlook.effect,
        figures=tuple(figures),
        warnings=(
            *_warnings(verb, run, backend.timeout_seconds(verb, parameters)),
            *outlook.warnings,
        ),
        confirmation=policy.confirmation(verb, run),
        time_unix_ns=time.time_ns(),
        approvals_needed=approvals_needed,
    )


def _landing(verb: Verb, run: Run) -> list[Figure]:
    if verb in _SAVES:
        step = None if run.step is None else landing_step(run.step, run.step_seconds_p50)
        return [
            Figure("landing_step", "lands on step", step, "step", "at the earliest; ranks agree"),
            Figure("redo_steps", "steps to redo", 0.0, "steps", "it saves first"),
        ]
    if verb is Verb.STOP or (verb is Verb.RESUME and run.state is not RunState.FROZEN):
        redo = None if run.step is None else float(run.step - (run.durable_step or 0))
        basis = f"step {run.step} less durable step {run.durable_step or 'none'}"
        return [Figure("redo_steps", "steps to redo", redo, "steps", basis)]
    return []


def _work_at_risk(run: Run) -> Figure:
    since = f"since step {run.durable_step}" if run.durable_step is not None else "since the start"
    if run.work_at_risk_hours is None:
        since = "no step was seen yet"
    return Figure("work_at_risk", "work at risk", run.work_at_risk_hours, run.work_unit, since)


def _save_time(run: Run) -> Figure:
    label, unit = "time to save", "s"
    if run.checkpoint_seconds is not None:
        basis = f"measured at step {run.durable_step}"
        return Figure("save_seconds", label, run.checkpoint_seconds, unit, basis)
    return Figure("save_seconds", label, None, unit, "no checkpoint of this run was timed yet")


def _power(run: Run) -> Figure:
    if run.state is RunState.PAUSED:
        return Figure("power_change", "power", None, "W", "not known before it runs")
    if run.power_watts is None:
        return Figure("power_change", "power", None, "W", "no power sensor on its devices")
    basis = f"its {run.reporting_gpu_count}/{run.gpu_count} GPUs now, before idle draw"
    return Figure("power_change", "power", -run.power_watts, "W", basis)


def _watchdog(run: Run) -> Figure:
    basis = "smallest that the run states" if run.watchdog_seconds else "the run states none"
    return Figure("watchdog_seconds", "watchdog", run.watchdog_seconds, "s", basis)


def _warnings(verb: Verb, run: Run, limit_seconds: float) -> list[str]:
    found = []
    if verb in _SAVES and (run.checkpoint_seconds or 0.0) > limit_seconds:
        found.append(
            f"its last save took {run.checkpoint_seconds:.0f} s, and this one may take "
            f"{limit_seconds:.0f} s: give it more with --timeout"
        )
    if run.reporting_node_count < len(run.node_names):
        found.append(f"{run.reporting_node_count}/{len(run.node_names)} nodes reporting")
    if verb is Verb.RESUME and run.state is not RunState.FROZEN and run.durable_step is None:
        found.append("there is no durable step: it starts from the beginning")
    if verb is Verb.STOP and run.durable_step is None:
        found.append("there is no checkpoint: all its work is lost")
    if verb is Verb.FREEZE and not run.watchdog_seconds:
        found.append("no watchdog is known: one that fires sooner than the fuse ends the run")
    if verb in _SAVES and run.parameters_count and run.checkpoint_bytes is None:
        size = bytes_(run.parameters_count * BYTES_PER_PARAMETER)
        found.append(
            f"about {size} to save ({BYTES_PER_PARAMETER} bytes a parameter, not measured)"
        )
    return found
