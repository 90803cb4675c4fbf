"""The operators' service of a replay: the journal as it was; every action is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from colossus_protos.v1 import action_pb2, console_pb2
from colossus_tui.recording.questions import EVENTS, JOURNAL
from colossus_tui.replay.player import Player

_Context = grpc.aio.ServicerContext[Any, Any]
REFUSAL = "this is a replay: what it shows is over, and nothing can be done about it here"
_POLICY = action_pb2.REASON_CODE_POLICY


class Refusing:
    """Answers no call: what changes something has no place in a replay."""

    async def other(self, kind: type[Message], context: _Context) -> Message:
        """Refused, whatever it is."""
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, REFUSAL)
        raise AssertionError(kind)


class ReplayActions(Refusing):
    """Lists what was done and does nothing."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def _journal(self) -> list[action_pb2.Action]:
        """Return what is known of each action, newest first: in full, or newer and in brief."""
        listed = self._player.answer(JOURNAL, action_pb2.ListResponse)
        brief = self._player.answer(EVENTS, console_pb2.WatchViewResponse)
        known = {one.action_id: one for one in (listed.actions if listed is not None else ())}
        for one in brief.actions if brief is not None else ():
            full = known.get(one.action_id)
            if full is None or full.updated_time_unix_ns < one.updated_time_unix_ns:
                known[one.action_id] = one
        return sorted(known.values(), key=lambda one: -one.requested_time_unix_ns)

    async def Preview(
        self, request: action_pb2.PreviewRequest, context: _Context
    ) -> action_pb2.PreviewResponse:
        """Refused."""
        return action_pb2.PreviewResponse(
            preflight=action_pb2.Preflight(
                verb=request.verb,
                run_id=request.run_id,
                node_name=request.parameters.node_name,
                refusal=_POLICY,
                refusal_detail=REFUSAL,
                confirmation=action_pb2.CONFIRMATION_NONE,
                time_unix_ns=self._player.position,
            )
        )

    async def PreviewBulk(
        self, request: action_pb2.PreviewBulkRequest, context: _Context
    ) -> action_pb2.PreviewBulkResponse:
        """Refused, each of them."""
        each = [
            action_pb2.PreviewRequest(verb=request.verb, run_id=run_id)
            for run_id in request.run_ids
        ]
        preflights = [(await self.Preview(one, context)).preflight for one in each]
        return action_pb2.PreviewBulkResponse(
            preflight=action_pb2.BulkPreflight(
                verb=request.verb,
                preflights=preflights,
                confirmation=action_pb2.CONFIRMATION_NONE,
            )
        )

    async def Submit(
        self, request: action_pb2.SubmitRequest, context: _Context
    ) -> action_pb2.SubmitResponse:
        """Refused."""
        now = time.time_ns()
        return action_pb2.SubmitResponse(
            action=action_pb2.Action(
                action_id=request.action_id,
                verb=request.verb,
                run_id=request.run_id,
                parameters=request.parameters,
                operator=request.operator,
                reason=request.reason,
                state=action_pb2.ACTION_STATE_REFUSED,
                reason_code=_POLICY,
                detail=REFUSAL,
                requested_time_unix_ns=now,
                updated_time_unix_ns=now,
                agreed_step=-1,
            )
        )

    async def Cancel(
        self, request: action_pb2.CancelRequest, context: _Context
    ) -> action_pb2.CancelResponse:
        """Refused."""
        action = await self._one(request.action_id, context)
        return action_pb2.CancelResponse(action=action, refusal_detail=REFUSAL)

    async def Approve(
        self, request: action_pb2.ApproveRequest, context: _Context
    ) -> action_pb2.ApproveResponse:
        """Refused."""
        action = await self._one(request.action_id, context)
        return action_pb2.ApproveResponse(action=action, refusal_detail=REFUSAL)

    async def Watch(
        self, request: action_pb2.WatchRequest, context: _Context
    ) -> AsyncIterator[action_pb2.WatchResponse]:
        """The action as it was."""
        yield action_pb2.WatchResponse(action=await self._one(request.action_id, context))

    async def _one(self, action_id: str, context: _Context) -> action_pb2.Action:
        for action in self._journal():
            if action.action_id == action_id:
                return action
        await context.abort(grpc.StatusCode.NOT_FOUND, "action_id: no such action was recorded")
        raise AssertionError

    async def List(
        self, request: action_pb2.ListRequest, context: _Context
    ) -> action_pb2.ListResponse:
        """The journal as it was."""
        ended = action_pb2.ACTION_STATE_OBSERVED
        found = [
            action
            for action in self._journal()
            if request.run_id in ("", action.run_id)
            and request.parent_action_id in ("", action.parent_action_id)
            and action.action_id.startswith(request.action_id_prefix)
            and not (request.open_only and action.state >= ended)
        ]
        return action_pb2.ListResponse(actions=found[: request.limit or 100])
