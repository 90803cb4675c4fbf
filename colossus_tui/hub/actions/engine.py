"""The engine: one state machine for every verb, journaled before anything is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

from colossus_tui.hub.actions import policy
from colossus_tui.hub.actions.gate import Caller, Gate, hold_key, next_attempt
from colossus_tui.hub.actions.ports import EventLog, RunRegistry
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    Order,
    RefusalError,
    Report,
    Stage,
    part_id,
)
from colossus_tui.hub.journal import Journal
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionStage,
    ActionState,
    Event,
    ReasonCode,
    Run,
    RunState,
    Severity,
    Verb,
)
from colossus_tui.model.action import TRANSITIONS

LOG = logging.getLogger(__name__)
TEXT_LIMIT = 512
STAGE_LIMIT = 200  # the first and the latest are kept
APPROVAL_SECONDS = 3_600.0
HUB = "hub"  # who asks for what the hub does by itself
_CHANGES = (
    "agreed_step",
    "ranks",
    "rank_count",
    "confirmed_rank_count",
    "node_count",
    "confirmed_node_count",
    "missing_nodes",
    "can_cancel",
)


class Engine:
    """Takes actions and drives each one to what was observed.

    Args:
        holding: Which action holds each run; the gate reads it.
    """

    def __init__(
        self,
        registry: RunRegistry,
        events: EventLog,
        journal: Journal,
        gate: Gate,
        holding: dict[str, str],
    ) -> None:
        self._registry = registry
        self._events = events
        self._journal = journal
        self._gate = gate
        self._holding = holding
        self._accepted: asyncio.Queue[Action] = asyncio.Queue()
        self._submitting: dict[str, asyncio.Future[Action]] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._cancelled: dict[str, str] = {}  # action: who took it back
        self._watchers: set[asyncio.Event] = set()
        self._approving = asyncio.Lock()
        self._leaving = asyncio.Event()
        self.revision = 1
        # Before anything new is asked for, so it finds its run held and nothing begins twice.
        for action in journal.recent(10_000, open_only=True):
            self._hold(action)
            if action.state is not ActionState.REQUESTED:
                self._accepted.put_nowait(action)

    # --- taking ----------------------------------------------------------------------------

    async def submit(self, action: Action, expected_generation: int, caller: Caller) -> Action:
        """Take an action: accepted or refused. The same id returns the first answer."""
        if (pending := self._submitting.get(action.action_id)) is not None:
            return await asyncio.shield(pending)  # the journal has it before the disk does
        known = self._journal.get(action.action_id)
        if known is not None:
            return known
        future: asyncio.Future[Action] = asyncio.get_running_loop().create_future()
        self._submitting[action.action_id] = future
        try:
            answer = await self._take(action, expected_generation, caller)
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # it is raised here already
            raise
        finally:
            del self._submitting[action.action_id]
        future.set_result(answer)
        return answer

    async def _take(self, action: Action, expected_generation: int, caller: Caller) -> Action:
        now, operator = time.time_ns(), (action.operator or caller.operator)[:TEXT_LIMIT]
        action = replace(
            action,
            operator=operator,
            approvals=action.approvals or (operator,),
            reason=action.reason[:TEXT_LIMIT],
            requested_time_unix_ns=now,
            updated_time_unix_ns=now,
            stages=(ActionStage(now, ActionState.REQUESTED, f"by {operator}"),),
        )
        if not policy.ACTION_ID.fullmatch(action.action_id):
            detail = "action_id: 8 to 64 letters, digits or '-'"
            return _entered(action, ActionState.REFUSED, detail, ReasonCode.INVALID)
        try:
            run = self._gate.check(
                action.verb, action.run_id, action.parameters, caller, action.action_id
            )
            if run is not None:
                policy.check_generation(run, expected_generation)
        except RefusalError as error:
            return await self._enter(action, ActionState.REFUSED, str(error), error.code)
        self._hold(action)
        needed = self._gate.approvals_needed(action.verb, action.run_id, action.parameters, run)
        action = replace(action, approvals_needed=needed, can_cancel=True)
        try:
            if needed > len(action.approvals):
                return await self._enter(action, ActionState.REQUESTED, _waits(action))
            return await self._accept(action, run)
        except BaseException:
            self._release(action)
            raise

    async def _accept(self, action: Action, run: Run | None) -> Action:
        action = replace(action, attempt=next_attempt(action.verb, run))
        action = await self._enter(action, ActionState.ACCEPTED, "journaled")
        self._accepted.put_nowait(action)
        return action

    def _hold(self, action: Action) -> None:
        self._holding[_key(action)] = action.action_id
        self._registry.set_open_action(action.run_id, action.action_id)

    def _release(self, action: Action) -> None:
        self._holding.pop(_key(action), None)
        self._registry.set_open_action(action.run_id, "")

    async def _enter(
        self,
        action: Action,
        state: ActionState,
        detail: str,
        code: ReasonCode | None = None,
        **changes: Any,
    ) -> Action:
        """Journal the action's next state, then tell who watches."""
        action = _entered(action, state, detail, code, **changes)
        await self._keep(action)
        return action

    async def _keep(self, action: Action) -> None:
        await self._journal.write(action)
        self.revision += 1
        for watcher in self._watchers:
            watcher.set()

    # --- a second thought, a second operator -----------------------------------------------

    async def approve(self, action_id: str, caller: Caller) -> tuple[Action, str]:
        """Count an operator's approval; return the action and why it was not counted, if so.

        Raises:
            KeyError: There is no such action.
        """
        async with self._approving:
            action = self._known(action_id)
            if action.state is not ActionState.REQUESTED:
                return action, f"the action is {action.state}; it waits for no approval"
            try:
                if caller.operator in action.approvals:
                    who = caller.operator
                    raise RefusalError(
                        ReasonCode.POLICY, f"{who} wants it already; another operator must approve"
                    )
                run = self._gate.check(
                    action.verb, action.run_id, action.parameters, caller, action_id
                )
            except RefusalError as error:
                return action, str(error)
            action = replace(action, approvals=(*action.approvals, caller.operator[:TEXT_LIMIT]))
            if len(action.approvals) < action.approvals_needed:
                return await self._enter(action, ActionState.REQUESTED, _waits(action)), ""
            return await self._accept(action, run), ""

    async def cancel(self, action_id: str, caller: Caller) -> tuple[Action, str]:
        """Take an action back while nothing of it is final; return it and why not, if not.

        Raises:
            KeyError: There is no such action.
        """
        action = self._known(action_id)
        try:
            policy.check_role(caller.role)
        except RefusalError as error:
            return action, str(error)
        if action.state.is_end:
            return action, f"the action is {action.state} already"
        if not action.can_cancel:
            return action, f"too late to take it back: {action.detail}"
        if action.state is ActionState.REQUESTED:
            detail = f"taken back by {caller.operator}; nothing was done"
            self._release(action)
            code = ReasonCode.CANCELLED
            return await self._enter(
                action, ActionState.REFUSED, detail, code, can_cancel=False
            ), ""
        task = self._driving.get(action_id)
        if task is None and action.state is ActionState.DISPATCHED:
            return action, "too late to take it back: it has ended just now"
        self._cancelled[action_id] = caller.operator[:TEXT_LIMIT]
        if task is not None:
            task.cancel()
        return action, ""

    def _known(self, action_id: str) -> Action:
        action = self._journal.get(action_id)
        if action is None:
            raise KeyError(action_id)
        return action

    # --- doing -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Finish what an earlier hub began, then carry out what is accepted, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._expire_requests())
            try:
                while True:
                    action = await self._accepted.get()
                    task = tasks.create_task(self._drive(action))
                    self._driving[action.action_id] = task
            finally:
                self._leaving.set()

    async def _expire_requests(self) -> None:
        """Give up on actions that nobody approves."""
        while True:
            limit = time.time_ns() - int(APPROVAL_SECONDS * 1e9)
            for action in self._journal.recent(10_000, open_only=True):
                waits = action.state is ActionState.REQUESTED and action.approvals_needed > 1
                if waits and action.requested_time_unix_ns < limit:
                    self._release(action)
                    detail = f"not approved within {APPROVAL_SECONDS / 60:g} minutes"
                    await self._enter(action, ActionState.REFUSED, detail, ReasonCode.TIMEOUT)
            await asyncio.sleep(10.0)

    async def _drive(self, action: Action) -> None:
        """Carry one action out and enter how it ended; a surprise must not end the hub."""
        current = action

        async def report(stage: Stage) -> None:
            nonlocal current
            changes = {
                name: value for name in _CHANGES if (value := getattr(stage, name)) is not None
            }
            if current.action_id in self._cancelled and changes.get("can_cancel") is False:
                raise asyncio.CancelledError  # taken back before the point of no return
            # Taken before it is on disk: a deadline or a cancel in between must lose no stage.
            current = _entered(current, ActionState.DISPATCHED, stage.detail, **changes)
            await self._keep(current)

        try:
            state, code, detail = await self._outcome(action, report)
        finally:
            self._driving.pop(action.action_id, None)
        operator = self._cancelled.pop(action.action_id, None)
        if state is not ActionState.OBSERVED:
            self._registry.settle(action.run_id, f"{action.verb} {state}")
        # On disk before the action's end is: nobody would set it right after a crash in between.
        await self._registry.keep(action.run_id)
        if operator is not None and code is ReasonCode.CANCELLED:
            detail = f"taken back by {operator}; nothing was done"
        self._release(action)
        await self._enter(current, state, detail, code, can_cancel=False)
        self._note(current, state, detail)

    async def _outcome(
        self, action: Action, report: Report
    ) -> tuple[ActionState, ReasonCode | None, str]:
        """Return how the action ended, why if not well, and what was seen."""
        timeout = 60.0
        try:
            timeout = self._gate.timeout_seconds(action)
            passed = (time.time_ns() - _begun(action)) / 1e9
            async with asyncio.timeout(max(timeout - passed, 30.0 if passed > 5 else timeout)):
                if action.action_id in self._cancelled:
                    raise asyncio.CancelledError
                if action.state is ActionState.ACCEPTED:
                    await report(Stage("handed to the backend"))
                await self._wait_visible(action)
                detail = await self._gate.execute(self._order(action, report))
        except ActionFailedError as error:
            return error.state, error.code, str(error)
        except RefusalError as error:
            return ActionState.FAILED, error.code, str(error)
        except TimeoutError:
            never = action.verb is Verb.CHECKPOINT
            state = ActionState.FAILED if never else ActionState.UNCONFIRMED
            detail = f"not observed within {timeout:g} s; see what the run does, then ask again"
            return state, ReasonCode.TIMEOUT, detail
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if action.action_id not in self._cancelled or task is None:
                raise
            task.uncancel()
            return ActionState.FAILED, ReasonCode.CANCELLED, "taken back; nothing was done"
        except Exception as error:  # one action's surprise must not end the hub
            LOG.exception("action=%s failed", action.action_id)
            return ActionState.FAILED, ReasonCode.BACKEND_FAILED, repr(error)
        return ActionState.OBSERVED, None, detail

    async def _wait_visible(self, action: Action) -> None:
        """After a restart agents must link, or the scheduler speak, before there is a world.

        Raises:
            ActionFailedError: The run was lost in the meantime.
        """
        if action.verb is Verb.START or not action.verb.is_on_run:
            return
        while True:
            seen, run = self._registry.observed(action.run_id), self._registry.get(action.run_id)
            if run is not None and run.job is not None:
                return
            if seen is not None and seen.linked_nodes:
                return
            if action.state is ActionState.ACCEPTED and _is_lost(run, action.verb):
                raise ActionFailedError(
                    ReasonCode.CONFLICT,
                    "the run is lost: no agent that is linked reports it; nothing was done",
                )
            await self._registry.wait_change(action.run_id, 0.5)

    def _order(self, action: Action, report: Report) -> Order:
        begun = {
            part.run_id
            for part in self._journal.recent(10_000)
            if part.parent_action_id == action.action_id
        }
        return Order(action, report, self._leaving, partial(self._part, action), tuple(begun))

    async def _part(
        self, whole: Action, verb: Verb, run_id: str, parameters: ActionParameters | None = None
    ) -> AsyncGenerator[Action, None]:
        """Carry out a part of an action as an action of its own, once also after a crash.

        Whoever approved the whole approved its parts. The undoing of a shed, which comes hours
        later, is the hub's own.
        """
        parameters = parameters or ActionParameters()
        part = Action(
            action_id=part_id(whole.action_id, verb, run_id, parameters),
            verb=verb,
            run_id=run_id,
            reason=whole.reason or f"{whole.verb} of {whole.subject}",
            operator=HUB if verb is Verb.RESTORE else "",
            agreed_step=-1,
            parameters=parameters,
            approvals=whole.approvals,
            parent_action_id=whole.action_id,
        )
        who = whole.approvals[0] if whole.approvals else whole.operator
        await self.submit(part, 0, Caller("operator", who))
        async for newer in self.watch(part.action_id):
            yield newer

    def _note(self, action: Action, state: ActionState, detail: str) -> None:
        self._events.add(
            Event(
                severity=Severity.INFO if state is ActionState.OBSERVED else Severity.WARNING,
                kind=f"action.{state}",
                message=f"{action.verb} {state}: {detail}",
                run_id=action.run_id,
                node_name=action.parameters.node_name if action.verb.is_on_node else "",
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


def _is_lost(run: Run | None, verb: Verb) -> bool:
    """Whether no agent can act on the run; a scheduler may know more, and a resume begins anew."""
    lost = run is not None and run.backend == "local" and run.state is RunState.LOST
    return lost and verb is not Verb.RESUME


def _waits(action: Action) -> str:
    missing = action.approvals_needed - len(action.approvals)
    more = "one more operator's approval" if missing == 1 else f"{missing} more approvals"
    return f"waits for {more}: colossus approve {action.action_id}"


def _begun(action: Action) -> int:
    """Return since when it may be done: what it waited for approvals does not count."""
    accepted = (s.time_unix_ns for s in action.stages if s.state is ActionState.ACCEPTED)
    return next(accepted, action.requested_time_unix_ns)


def _key(action: Action) -> str:
    return hold_key(action.verb, action.run_id, action.parameters)


def _entered(
    action: Action,
    state: ActionState,
    detail: str,
    code: ReasonCode | None = None,
    **changes: Any,
) -> Action:
    """Return the action in its next state.

    Raises:
        ValueError: No action goes from here to there.
    """
    if state is not action.state and state not in TRANSITIONS.get(action.state, frozenset()):
        raise ValueError(f"an action cannot go from {action.state} to {state}")
    now = time.time_ns()
    stages = (*action.stages, ActionStage(now, state, detail))
    if len(stages) > STAGE_LIMIT:
        stages = (*stages[:10], *stages[11:])
    return replace(
        action,
        state=state,
        reason_code=code,
        detail=detail,
        updated_time_unix_ns=now,
        stages=stages,
        **changes,
    )
