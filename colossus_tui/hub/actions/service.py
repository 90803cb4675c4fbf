"""The operators' service: preview, submit, approve, cancel, watch and list actions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import action_pb2, action_pb2_grpc, common_pb2
from colossus_tui.hub import caller
from colossus_tui.hub.actions.engine import Engine
from colossus_tui.hub.actions.gate import Caller, Gate
from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.hub.journal import Journal, UnjournaledError
from colossus_tui.model import Action, ActionParameters, ActionStage, ActionState, Verb
from colossus_tui.wire import from_proto, to_proto

_UNKNOWN = "action_id: no such action"
_Context = grpc.aio.ServicerContext[Any, Any]
_VERBS = {common_pb2.Verb.Value(f"VERB_{verb.name}"): verb for verb in Verb}


class ActionsService(action_pb2_grpc.ActionsServicer):
    """Serves the engine."""

    def __init__(self, engine: Engine, gate: Gate, journal: Journal, tcp_role: str) -> None:
        self._engine = engine
        self._gate = gate
        self._journal = journal
        self._tcp_role = tcp_role

    async def Preview(
        self, request: action_pb2.PreviewRequest, context: _Context
    ) -> action_pb2.PreviewResponse:
        """What an action would cost."""
        preflight = self._gate.preview(
            _VERBS.get(request.verb),
            request.run_id,
            from_proto(ActionParameters, request.parameters),
            self._caller(context, request.operator),
        )
        return action_pb2.PreviewResponse(preflight=to_proto(action_pb2.Preflight, preflight))

    async def PreviewBulk(
        self, request: action_pb2.PreviewBulkRequest, context: _Context
    ) -> action_pb2.PreviewBulkResponse:
        """What one verb on several runs would cost."""
        try:
            preflight = self._gate.preview_bulk(
                _VERBS.get(request.verb),
                list(request.run_ids),
                from_proto(ActionParameters, request.parameters),
                self._caller(context, request.operator),
            )
        except RefusalError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return action_pb2.PreviewBulkResponse(
            preflight=to_proto(action_pb2.BulkPreflight, preflight)
        )

    def _caller(self, context: _Context, operator: str) -> Caller:
        return Caller(caller.role(context, self._tcp_role), operator or "unknown")

    async def Submit(
        self, request: action_pb2.SubmitRequest, context: _Context
    ) -> action_pb2.SubmitResponse:
        """Take an action; a refusal is an answer, not an error."""
        verb = _VERBS.get(request.verb)
        if verb is None:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "verb: not given, or not known to this hub"
            )
        assert verb is not None
        action = Action(
            action_id=request.action_id,
            verb=verb,
            run_id=request.run_id,
            reason=request.reason,
            agreed_step=-1,
            parameters=from_proto(ActionParameters, request.parameters),
        )
        who = self._caller(context, request.operator)
        try:
            answer = await self._engine.submit(action, request.expected_generation, who)
        except UnjournaledError as error:
            answer = refused(action, who.operator, error)
        return action_pb2.SubmitResponse(action=to_proto(action_pb2.Action, answer))

    async def Cancel(
        self, request: action_pb2.CancelRequest, context: _Context
    ) -> action_pb2.CancelResponse:
        """Take an action back."""
        who = self._caller(context, request.operator)
        try:
            action, why = await self._engine.cancel(request.action_id, who)
        except KeyError:
            await context.abort(grpc.StatusCode.NOT_FOUND, _UNKNOWN)
        except UnjournaledError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return action_pb2.CancelResponse(
            action=to_proto(action_pb2.Action, action), refusal_detail=why
        )

    async def Approve(
        self, request: action_pb2.ApproveRequest, context: _Context
    ) -> action_pb2.ApproveResponse:
        """Approve an action."""
        who = self._caller(context, request.operator)
        try:
            action, why = await self._engine.approve(request.action_id, who)
        except KeyError:
            await context.abort(grpc.StatusCode.NOT_FOUND, _UNKNOWN)
        except UnjournaledError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return action_pb2.ApproveResponse(
            action=to_proto(action_pb2.Action, action), refusal_detail=why
        )

    async def Watch(
        self, request: action_pb2.WatchRequest, context: _Context
    ) -> AsyncIterator[action_pb2.WatchResponse]:
        """Follow one action to its end."""
        found = False
        try:
            async for action in self._engine.watch(request.action_id):
                found = True
                yield action_pb2.WatchResponse(action=to_proto(action_pb2.Action, action))
        except UnjournaledError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        if not found:
            await context.abort(grpc.StatusCode.NOT_FOUND, _UNKNOWN)

    async def List(
        self, request: action_pb2.ListRequest, context: _Context
    ) -> action_pb2.ListResponse:
        """The journal, newest first."""
        try:
            actions = self._journal.recent(
                list_limit(request),
                request.run_id,
                open_only=request.open_only,
                prefix=request.action_id_prefix,
                parent_action_id=request.parent_action_id,
            )
        except UnjournaledError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return action_pb2.ListResponse(
            actions=[to_proto(action_pb2.Action, action) for action in actions]
        )


def list_limit(request: action_pb2.ListRequest) -> int:
    """Return how many actions are asked for."""
    return min(request.limit, 500) if request.limit > 0 else 100


def refused(action: Action, operator: str, error: RefusalError) -> Action:
    """Return the answer to an action that no journal knows: nothing of it was tried."""
    now, detail = time.time_ns(), str(error)
    return replace(
        action,
        operator=operator,
        state=ActionState.REFUSED,
        reason_code=error.code,
        detail=detail,
        requested_time_unix_ns=now,
        updated_time_unix_ns=now,
        stages=(ActionStage(now, ActionState.REFUSED, detail),),
    )
