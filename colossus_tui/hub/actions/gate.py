"""Before anything is done: may it be, can it be, and what would it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from colossus_tui.hub.actions import policy
from colossus_tui.hub.actions.drain import Drain
from colossus_tui.hub.actions.ports import RunRegistry
from colossus_tui.hub.actions.preflight import preflight
from colossus_tui.hub.actions.rules import Rule, approvals_needed
from colossus_tui.hub.backends.base import Backend, Order, RefusalError
from colossus_tui.hub.config import RunConfig
from colossus_tui.hub.shed.verbs import SiteVerbs
from colossus_tui.hub.shed.verbs import preflight as site_preflight
from colossus_tui.model import (
    Action,
    ActionParameters,
    BulkPreflight,
    Confirmation,
    Figure,
    Preflight,
    ReasonCode,
    Run,
    RunOutlook,
    RunState,
    ShedPlan,
    Verb,
)

BULK_LIMIT = 1_000
_SUMMED = ("redo_steps", "work_at_risk", "interruption_cost", "power_change")


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
        drain: Drain,
        site: SiteVerbs,
    ) -> None:
        self._registry = registry
        self._backends = backends
        self._drain = drain
        self._site = site
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

    def timeout_seconds(self, action: Action) -> float:
        """Return how long the effect of an action may take to be observed.

        Raises:
            RefusalError: This hub does not have the run's backend.
        """
        if action.verb.is_on_node:
            return action.parameters.timeout_seconds or self._drain.timeout_seconds(action.verb)
        if action.verb.is_on_site:
            asked = action.parameters
            return asked.timeout_seconds or self._site.timeout_seconds(action.verb, asked)
        return self._owner(action).timeout_seconds(action.verb, action.parameters)

    async def execute(self, order: Order) -> str:
        """Have the owner of the run or node do it; return what was observed.

        Raises:
            RefusalError: This hub does not have the run's backend.
            ActionFailedError: It did not happen.
        """
        if order.action.verb.is_on_node:
            return await self._drain.execute(order)
        if order.action.verb.is_on_site:
            return await self._site.execute(order)
        return await self._owner(order.action).execute(order)

    def _owner(self, action: Action) -> Backend:
        run = None if action.verb is Verb.START else self._registry.get(action.run_id)
        return self.backend(run)

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
        self._check_free(hold_key(verb, run_id, parameters), action_id)
        if verb.is_on_node:
            name = parameters.node_name
            policy.check_rules(self._rules, verb, name, None, caller.operator)
            self._drain.check(verb, name)
            return None
        if verb.is_on_site:
            policy.check_rules(self._rules, verb, self._site.site_name, None, caller.operator)
            refusal = partial(self._refusal, caller)
            self._site.check(verb, parameters.shed, refusal, to_do=bool(action_id))
            return None
        run = self._registry.get(run_id)
        if run is None and verb is not Verb.START:
            raise RefusalError(ReasonCode.NOT_FOUND, f"there is no run {run_id}; see colossus runs")
        self._check_run(verb, run_id, run, parameters, caller, action_id)
        return run

    def _check_run(
        self,
        verb: Verb,
        run_id: str,
        run: Run | None,
        parameters: ActionParameters,
        caller: Caller,
        action_id: str,
    ) -> None:
        if run is not None:
            policy.check_run(verb, run, action_id, self._configured)
        policy.check_rules(self._rules, verb, run_id, run, caller.operator)
        self.backend(None if verb is Verb.START else run).check(verb, run, parameters)

    def _refusal(self, caller: Caller, verb: Verb, run: Run, parameters: ActionParameters) -> str:
        """Return why a verb cannot be done with a run now; "" when it can."""
        try:
            policy.check_request(verb, run.run_id, parameters)
            self._check_run(verb, run.run_id, run, parameters, caller, "")
        except RefusalError as error:
            return str(error)
        return self.backend(run).capabilities(run).get(verb, "")

    def _check_free(self, key: str, action_id: str) -> None:
        holder = self._holding.get(key)
        if holder and holder != action_id:
            what = "node" if key.startswith(NODE_KEY) else "site" if key == SITE_KEY else "run"
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"action {holder} holds the {what}; wait for its end, or cancel it",
            )

    def approvals_needed(
        self, verb: Verb, run_id: str, parameters: ActionParameters, run: Run | None
    ) -> int:
        """Return how many operators must want it; 0 where no rule says."""
        if verb.is_on_site:
            return self._site_approvals(verb, parameters.shed.plan if parameters.shed else None)
        return approvals_needed(self._rules, verb, run_id or parameters.node_name, run)

    def _site_approvals(self, verb: Verb, plan: ShedPlan | None) -> int:
        """Return what the verb itself needs, and no less than any of its steps."""
        if not self._rules:
            return 0  # a run of 30,000 nodes takes long to look up
        own = approvals_needed(self._rules, verb, self._site.site_name, None)
        each = (
            approvals_needed(self._rules, step.verb, step.run_id, self._registry.get(step.run_id))
            for step in (plan.steps if plan is not None else ())
        )
        return max([own, *each])

    def preview(
        self, verb: Verb | None, run_id: str, parameters: ActionParameters, caller: Caller
    ) -> Preflight:
        """Return what the action would cost, or why it would be refused. Changes nothing."""
        try:
            run = self.check(verb, run_id, parameters, caller)
        except RefusalError as error:
            known = self._registry.get(run_id)
            on_node = verb is not None and verb.is_on_node
            return Preflight(
                verb=verb or Verb.CHECKPOINT,
                run_id=run_id,
                node_name=parameters.node_name if on_node else "",
                generation=known.generation if known else 0,
                refusal=error.code,
                refusal_detail=str(error),
                time_unix_ns=time.time_ns(),
            )
        assert verb is not None
        if verb.is_on_site:
            return self._preview_site(verb, parameters, caller)
        needed = self.approvals_needed(verb, run_id, parameters, run)
        if verb.is_on_node:
            return self._preview_node(verb, parameters, caller, needed)
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

    def _preview_site(self, verb: Verb, parameters: ActionParameters, caller: Caller) -> Preflight:
        """Return the plan of a shed, or of its undoing."""
        assert parameters.shed is not None
        try:
            plan = self._site.plan(verb, parameters.shed, partial(self._refusal, caller))
        except RefusalError as error:
            return Preflight(
                verb=verb,
                run_id="",
                refusal=error.code,
                refusal_detail=str(error),
                time_unix_ns=time.time_ns(),
            )
        paused = {
            step.run_id
            for step in plan.steps
            if step.verb is Verb.PAUSE and len(self._backends) > 1  # else all are the local one's
        }
        runs = [run for run_id in paused if (run := self._registry.get(run_id)) is not None]
        needed = self._site_approvals(verb, plan)
        return site_preflight(verb, plan, needed, {run.backend for run in runs})

    def _preview_node(
        self, verb: Verb, parameters: ActionParameters, caller: Caller, needed: int
    ) -> Preflight:
        """Return what a node's drain would cost each run on it, or what giving it back means."""
        name = parameters.node_name
        runs = self._drain.runs_on(name) if verb is Verb.DRAIN else []
        each = [self.preview(Verb.PAUSE, run.run_id, ActionParameters(), caller) for run in runs]
        moving = [one for one in each if one.allowed]
        staying = len(each) - len(moving)
        effect = "its scheduler gives it new work again"
        if verb is Verb.DRAIN:
            effect = "its scheduler gives it no new work; its runs save and begin anew elsewhere"
        return Preflight(
            verb=verb,
            run_id="",
            node_name=name,
            allowed=True,
            effect=effect,
            figures=tuple(_sums(moving)),
            warnings=(f"{staying} runs stay on it until they end",) if staying else (),
            confirmation=max(
                (one.confirmation for one in moving),
                key=[Confirmation.YES_NO, Confirmation.TYPE_NAME].index,
                default=Confirmation.YES_NO,
            ),
            time_unix_ns=time.time_ns(),
            approvals_needed=needed,
            runs=tuple(
                RunOutlook(one.run_id, one.allowed, one.effect or one.refusal_detail)
                for one in each
            ),
        )

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


NODE_KEY = "node "  # no run's name has a space


SITE_KEY = "the site"


def hold_key(verb: Verb, run_id: str, parameters: ActionParameters) -> str:
    """Return what an action holds: one action at a time for each.

    An undoing that waits for its time holds nothing but its own turn.
    """
    if verb.is_on_site:
        shed = parameters.shed
        waits = verb is Verb.RESTORE and shed is not None and shed.duration_seconds
        return f"{SITE_KEY} after {shed.shed_action_id}" if waits and shed else SITE_KEY
    return f"{NODE_KEY}{parameters.node_name}" if verb.is_on_node else run_id


def next_attempt(verb: Verb, run: Run | None) -> int:
    """Return which attempt the action would begin; 0 for none."""
    if verb is Verb.START:
        return 1
    if verb is not Verb.RESUME or run is None or run.state is RunState.FROZEN:
        return 0
    return 1 if run.state is RunState.PENDING else run.attempt + 1
