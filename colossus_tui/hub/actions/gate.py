"""Before anything is done: may it be, can it be, and what would it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from colossus_tui.hub.actions import policy
from colossus_tui.hub.actions.ports import RunRegistry
from colossus_tui.hub.actions.preflight import preflight
from colossus_tui.hub.actions.rules import Rule, approvals_needed
from colossus_tui.hub.backends.base import Backend, RefusalError
from colossus_tui.hub.config import RunConfig
from colossus_tui.model import (
    ActionParameters,
    BulkPreflight,
    Confirmation,
    Figure,
    Preflight,
    ReasonCode,
    Run,
    RunState,
    Verb,
)

BULK_LIMIT = 1_000
_SUMMED = ("redo_steps", "work_at_risk", "power_change")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the role that the transport gives, and the name that is told."""

    role: str
    operator: str


class Gate:
    """Checks an action against rules, state and backend, and previews it."""

    def __init__(
        self,
        registry: RunRegistry,
        backends: Mapping[str, Backend],
        configured: Mapping[str, RunConfig],
        rules: Sequence[Rule],
        holding: Mapping[str, str],
    ) -> None:
        self._registry = registry
        self._backends = backends
        self._configured = configured
        self._rules = rules
        self._holding = holding

    def backend(self, run: Run | None) -> Backend:
        """Return the owner of the run's processes; a run that is to begin is the local one's.

        Raises:
            RefusalError: This hub does not have it.
        """
        name = run.backend if run is not None else "local"
        if name not in self._backends:
            raise RefusalError(
                ReasonCode.UNSUPPORTED,
                f"this hub has no {name} backend: add [{name}] to its settings",
            )
        return self._backends[name]

    def check(
        self,
        verb: Verb | None,
        run_id: str,
        parameters: ActionParameters,
        caller: Caller,
        action_id: str = "",
    ) -> Run | None:
        """Return the run when the action may and can be done now.

        Raises:
            RefusalError: It may or can not; why, and the remedy.
        """
        policy.check_request(verb, run_id, parameters)
        assert verb is not None
        policy.check_role(caller.role)
        run = self._registry.get(run_id)
        holder = self._holding.get(run_id)
        if holder and holder != action_id:
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"action {holder} holds the run; wait for its end, or cancel it",
            )
        if run is None and verb is not Verb.START:
            raise RefusalError(ReasonCode.NOT_FOUND, f"there is no run {run_id}")
        if run is not None:
            policy.check_run(verb, run, action_id, self._configured)
        policy.check_rules(self._rules, verb, run_id, run, caller.operator)
        self.backend(None if verb is Verb.START else run).check(verb, run, parameters)
        return run

    def approvals_needed(self, verb: Verb, run_id: str, run: Run | None) -> int:
        """Return how many operators must want it; 0 where no rule says."""
        return approvals_needed(self._rules, verb, run_id, run)

    def preview(
        self, verb: Verb | None, run_id: str, parameters: ActionParameters, caller: Caller
    ) -> Preflight:
        """Return what the action would cost, or why it would be refused. Changes nothing."""
        try:
            run = self.check(verb, run_id, parameters, caller)
        except RefusalError as error:
            known = self._registry.get(run_id)
            return Preflight(
                verb=verb or Verb.CHECKPOINT,
                run_id=run_id,
                generation=known.generation if known else 0,
                refusal=error.code,
                refusal_detail=str(error),
                time_unix_ns=time.time_ns(),
            )
        assert verb is not None
        needed = self.approvals_needed(verb, run_id, run)
        if run is None or verb is Verb.START:
            return Preflight(
                verb=verb,
                run_id=run_id,
                allowed=True,
                effect=self.backend(None).preview(verb, None, parameters).effect,
                confirmation=policy.confirmation(verb, None),
                time_unix_ns=time.time_ns(),
                approvals_needed=needed,
            )
        return preflight(self.backend(run), verb, run, parameters, needed)

    def preview_bulk(
        self,
        verb: Verb | None,
        run_ids: Sequence[str],
        parameters: ActionParameters,
        caller: Caller,
    ) -> BulkPreflight:
        """Return one preflight for several runs: each one's own, and sums over those that allow it.

        Raises:
            RefusalError: There is no run, one twice, or too many.
        """
        if not run_ids or len(run_ids) > BULK_LIMIT or len(set(run_ids)) < len(run_ids):
            raise RefusalError(
                ReasonCode.INVALID, f"run_ids: 1 to {BULK_LIMIT} different runs at once"
            )
        each = tuple(self.preview(verb, run_id, parameters, caller) for run_id in run_ids)
        allowed = [one for one in each if one.allowed]
        typed = any(one.confirmation is Confirmation.TYPE_NAME for one in allowed)
        return BulkPreflight(
            verb=verb or Verb.CHECKPOINT,
            preflights=each,
            figures=tuple(_sums(allowed)),
            allowed_count=len(allowed),
            confirmation=Confirmation.TYPE_NAME if typed else Confirmation.YES_NO,
        )


def _sums(allowed: Sequence[Preflight]) -> list[Figure]:
    """Return sums by figure and unit, each with how many of the runs it covers."""
    sums: dict[tuple[str, str], list[Figure]] = {}
    for one in allowed:
        for figure in one.figures:
            if figure.name in _SUMMED:
                sums.setdefault((figure.name, figure.unit), []).append(figure)
    found = []
    for (name, unit), figures in sums.items():
        known = [figure.value for figure in figures if figure.value is not None]
        basis = f"{len(known)}/{len(allowed)} runs known"
        found.append(Figure(name, figures[0].label, sum(known) if known else None, unit, basis))
    return found


def next_attempt(verb: Verb, run: Run | None) -> int:
    """Return which attempt the action would begin; 0 for none."""
    if verb is Verb.START:
        return 1
    if verb is not Verb.RESUME or run is None or run.state is RunState.FROZEN:
        return 0
    return 1 if run.state is RunState.PENDING else run.attempt + 1
