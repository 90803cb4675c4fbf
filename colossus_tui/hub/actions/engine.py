"""The engine: one state machine for every verb, journaled before anything is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from colossus_tui.hub.actions import policy
from colossus_tui.hub.actions.ports import EventLog, RunRegistry
from colossus_tui.hub.actions.preflight import preflight
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    Backend,
    Order,
    RefusalError,
    Stage,
)
from colossus_tui.hub.config import RunConfig
from colossus_tui.hub.journal import Journal
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionStage,
    ActionState,
    Event,
    Preflight,
    ReasonCode,
    Run,
    RunState,
    Severity,
    Verb,
)
from colossus_tui.model.action import TRANSITIONS

LOG = logging.getLogger(__name__)
TEXT_LIMIT = 512


class Engine:
    """Takes actions and drives each one to what was observed."""

    def __init__(
        self,
        registry: RunRegistry,
        events: EventLog,
        journal: Journal,
        backend: Backend,
        configured: Mapping[str, RunConfig],
    ) -> None:
        self._registry = registry
        self._events = events
        self._journal = journal
        self._backend = backend
        self._configured = configured
        self._accepted: asyncio.Queue[Action] = asyncio.Queue()
        self._submitting: dict[str, asyncio.Future[Action]] = {}
        self._holding: dict[str, str] = {}  # run: action, from before its first await
        self._watchers: set[asyncio.Event] = set()
        self.revision = 1

    # --- asking ----------------------------------------------------------------------------

    def preview(
        self, verb: Verb | None, run_id: str, parameters: ActionParameters, role: str
    ) -> Preflight:
        """Return what the action would cost, or why it would be refused. Changes nothing."""
        try:
            run = self._check(verb, run_id, parameters, role, "")
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
        if run is None:
            return Preflight(
                verb=verb,
                run_id=run_id,
                allowed=True,
                effect=self._backend.effect(verb, None, parameters),
                confirmation=policy.confirmation(verb, None),
                time_unix_ns=time.time_ns(),
            )
        return preflight(self._backend, verb, run, parameters)

    def _check(
        self,
        verb: Verb | None,
        run_id: str,
        parameters: ActionParameters,
        role: str,
        action_id: str,
    ) -> Run | None:
        policy.check_request(verb, run_id, parameters)
        assert verb is not None
        policy.check_role(role)
        run = self._registry.get(run_id)
        holder = self._holding.get(run_id)
        if holder and holder != action_id:
            raise RefusalError(
                ReasonCode.CONFLICT, f"action {holder} holds the run; wait for its end"
            )
        if run is None and verb is not Verb.START:
            raise RefusalError(ReasonCode.NOT_FOUND, f"there is no run {run_id}")
        if run is not None:
            policy.check_run(verb, run, action_id, self._configured)
        self._backend.check(verb, run, parameters)
        return run

    # --- taking ----------------------------------------------------------------------------

    async def submit(self, action: Action, expected_generation: int, role: str) -> Action:
        """Take an action: accepted or refused. The same id returns the first answer."""
        known = self._journal.get(action.action_id)
        if known is not None:
            return known
        if (pending := self._submitting.get(action.action_id)) is not None:
            return await asyncio.shield(pending)
        future: asyncio.Future[Action] = asyncio.get_running_loop().create_future()
        self._submitting[action.action_id] = future
        try:
            answer = await self._take(action, expected_generation, role)
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # it is raised here already
            raise
        finally:
            del self._submitting[action.action_id]
        future.set_result(answer)
        return answer

    async def _take(self, action: Action, expected_generation: int, role: str) -> Action:
        now, operator = time.time_ns(), action.operator[:TEXT_LIMIT]
        action = replace(
            action,
            operator=operator,
            reason=action.reason[:TEXT_LIMIT],
            requested_time_unix_ns=now,
            updated_time_unix_ns=now,
            stages=(ActionStage(now, ActionState.REQUESTED, f"by {operator}"),),
        )
        if not policy.ACTION_ID.fullmatch(action.action_id):
            detail = "action_id: 8 to 64 letters, digits or '-'"
            return _entered(action, ActionState.REFUSED, detail, ReasonCode.INVALID)
        try:
            run = self._check(action.verb, action.run_id, action.parameters, role, action.action_id)
            if run is not None:
                policy.check_generation(run, expected_generation)
        except RefusalError as error:
            return await self._enter(action, ActionState.REFUSED, str(error), error.code)
        self._holding[action.run_id] = action.action_id
        try:
            if action.verb is Verb.START:
                action = replace(action, attempt=1)
            elif action.verb is Verb.RESUME and run and run.state is not RunState.FROZEN:
                action = replace(action, attempt=run.attempt + 1)
            action = await self._enter(action, ActionState.ACCEPTED, "journaled")
        except BaseException:
            del self._holding[action.run_id]
            raise
        self._registry.set_open_action(action.run_id, action.action_id)
        self._accepted.put_nowait(action)
        return action

    async def _enter(
        self,
        action: Action,
        state: ActionState,
        detail: str,
        code: ReasonCode | None = None,
        **changes: Any,
    ) -> Action:
        """Journal the action's next state, then tell who watches."""
        action = replace(_entered(action, state, detail, code), **changes)
        await self._journal.write(action)
        self.revision += 1
        for watcher in self._watchers:
            watcher.set()
        return action

    # --- doing -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Finish what an earlier hub began, then carry out what is accepted, for ever."""
        for action in self._journal.recent(10_000, open_only=True):
            if action.state is ActionState.REQUESTED:
                continue
            self._holding[action.run_id] = action.action_id
            self._registry.set_open_action(action.run_id, action.action_id)
            self._accepted.put_nowait(action)
        async with asyncio.TaskGroup() as tasks:
            while True:
                action = await self._accepted.get()
                tasks.create_task(self._drive(action), name=f"action {action.action_id}")

    async def _drive(self, action: Action) -> None:
        if action.state is ActionState.ACCEPTED:
            action = await self._enter(action, ActionState.DISPATCHED, "handed to the backend")
        current = action

        async def report(stage: Stage) -> None:
            nonlocal current
            changes = {
                name: value
                for name in ("agreed_step", "ranks", "node_count", "confirmed_node_count")
                if (value := getattr(stage, name)) is not None
            }
            current = await self._enter(current, ActionState.DISPATCHED, stage.detail, **changes)

        timeout = self._backend.timeout_seconds(action.verb, action.parameters)
        passed = (time.time_ns() - action.requested_time_unix_ns) / 1e9
        state, code = ActionState.OBSERVED, None
        try:
            async with asyncio.timeout(max(timeout - passed, 30.0 if passed > 5 else timeout)):
                await self._wait_linked(action)
                detail = await self._backend.carry_out(Order(action, report))
        except ActionFailedError as error:
            state, code, detail = error.state, error.code, str(error)
        except TimeoutError:
            never = action.verb is Verb.CHECKPOINT
            state = ActionState.FAILED if never else ActionState.UNCONFIRMED
            code, detail = ReasonCode.TIMEOUT, f"not observed within {timeout:g} s"
        except Exception as error:  # one action's surprise must not end the hub
            LOG.exception("action=%s failed", action.action_id)
            state, code, detail = ActionState.FAILED, ReasonCode.BACKEND_FAILED, repr(error)
        if state is not ActionState.OBSERVED:
            self._registry.settle(action.run_id, f"{action.verb} {state}")
        self._holding.pop(action.run_id, None)
        self._registry.set_open_action(action.run_id, "")
        await self._enter(current, state, detail, code)
        self._note(current, state, detail)

    async def _wait_linked(self, action: Action) -> None:
        """After a restart the agents must link and report before the world can be looked at."""
        if action.verb is Verb.START:
            return
        while True:
            seen = self._registry.observed(action.run_id)
            if seen is not None and seen.linked_nodes:
                return
            await self._registry.wait_change(action.run_id, 0.5)

    def _note(self, action: Action, state: ActionState, detail: str) -> None:
        self._events.add(
            Event(
                severity=Severity.INFO if state is ActionState.OBSERVED else Severity.WARNING,
                kind=f"action.{state}",
                message=f"{action.verb} {state}: {detail}",
                run_id=action.run_id,
                action_id=action.action_id,
            )
        )

    # --- following -------------------------------------------------------------------------

    async def watch(self, action_id: str) -> AsyncIterator[Action]:
        """Yield the action each time it changes, until it has ended; nothing for an unknown one."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        sent: Action | None = None
        try:
            while True:
                watcher.clear()
                action = self._journal.get(action_id)
                if action is None:
                    return
                if action != sent:
                    yield action
                    sent = action
                if action.state.is_end:
                    return
                await watcher.wait()
        finally:
            self._watchers.discard(watcher)


def _entered(
    action: Action, state: ActionState, detail: str, code: ReasonCode | None = None
) -> Action:
    """Return the action in its next state.

    Raises:
        ValueError: No action goes from here to there.
    """
    if state is not action.state and state not in TRANSITIONS.get(action.state, frozenset()):
        raise ValueError(f"an action cannot go from {action.state} to {state}")
    now = time.time_ns()
    return replace(
        action,
        state=state,
        reason_code=code,
        detail=detail,
        updated_time_unix_ns=now,
        stages=(*action.stages, ActionStage(now, state, detail)),
    )
