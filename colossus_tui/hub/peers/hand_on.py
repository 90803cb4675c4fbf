"""The operators' service where hubs share a database: what is about another's run goes to it.

A caller's role is never raised: what changes something is handed on for operators only, and in
this hub's own name; no credential of a caller is forwarded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from colossus_protos.v1 import action_pb2, common_pb2
from colossus_tui.hub import caller
from colossus_tui.hub.actions import policy
from colossus_tui.hub.actions.service import ActionsService, list_limit, refused
from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.hub.database import DatabaseAwayError
from colossus_tui.hub.journal import UnjournaledError, newest
from colossus_tui.hub.peers.live import HANDED_ON, Peer, Peers
from colossus_tui.hub.peers.merged import is_handed_on
from colossus_tui.model import Action, ActionParameters, Preflight, ReasonCode, Verb
from colossus_tui.wire import from_proto, to_proto

_Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
ANSWER_SECONDS = 4.0  # less than a client's own deadline
RETRY_SECONDS = 0.5
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_VERBS = {common_pb2.Verb.Value(f"VERB_{verb.name}"): verb for verb in Verb}


class SharedActions(ActionsService):
    """Takes actions on runs of all hubs.

    Args:
        parts: What ActionsService takes.
    """

    def __init__(self, peers: Peers, *parts: Any) -> None:
        super().__init__(*parts)
        self._peers = peers

    def _resolve(self, run_id: str, context: _Context) -> tuple[Peer | None, str]:
        return (None, run_id) if is_handed_on(context) else self._peers.resolve(run_id)

    def _check(self, peer: Peer, context: _Context, verb: Verb | None = None) -> None:
        """Return when something may be asked of another hub in a caller's name.

        Raises:
            RefusalError: It may not, or that hub is away.
        """
        policy.check_role(caller.role(context, self._tcp_role))
        if verb is Verb.START:
            raise RefusalError(
                ReasonCode.CONFLICT, f"hub {peer.hub} has a run of this name; choose another name"
            )
        if peer.away:
            raise RefusalError(ReasonCode.UNREACHABLE, f"{peer.away}; nothing was done")

    async def _ask(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        metadata = ((HANDED_ON, self._peers.shared.hub),)
        return await method(request, metadata=metadata, timeout=ANSWER_SECONDS)

    # --- before ----------------------------------------------------------------------------

    async def Preview(
        self, request: action_pb2.PreviewRequest, context: _Context
    ) -> action_pb2.PreviewResponse:
        """What an action would cost."""
        shown = request.run_id
        peer, request.run_id = self._resolve(shown, context)
        if peer is None:
            return await super().Preview(request, context)
        verb = _VERBS.get(request.verb)
        try:
            self._check(peer, context, verb)
            answer = await self._ask(peer.actions.Preview, request)
        except RefusalError as error:
            code, detail = error.code, str(error)
        except grpc.aio.AioRpcError as error:
            code, detail = ReasonCode.UNREACHABLE, f"hub {peer.hub}: {error.details()}"
        else:
            answer.preflight.run_id = shown
            return answer
        return action_pb2.PreviewResponse(preflight=_refused(verb, shown, code, detail))

    async def PreviewBulk(
        self, request: action_pb2.PreviewBulkRequest, context: _Context
    ) -> action_pb2.PreviewBulkResponse:
        """What one verb on several runs would cost, each run asked of its own hub."""
        whose: dict[Peer, dict[str, str]] = {}  # hub: its name of a run, and the one given here
        for run_id in request.run_ids:
            peer, name = self._resolve(run_id, context)
            if peer is not None:
                whose.setdefault(peer, {})[name] = run_id
        if not whose:
            return await super().PreviewBulk(request, context)
        others = {run_id for names in whose.values() for run_id in names.values()}
        own = [run_id for run_id in request.run_ids if run_id not in others]
        parts = [await self._bulk(peer, names, request, context) for peer, names in whose.items()]
        if own:
            answer = await super().PreviewBulk(_of_runs(request, own), context)
            parts.insert(0, answer.preflight)
        found = {one.run_id: one for part in parts for one in part.preflights}
        whole = action_pb2.BulkPreflight(
            verb=parts[0].verb,
            preflights=[found[run_id] for run_id in request.run_ids if run_id in found],
            figures=_sums(parts),
            allowed_count=sum(part.allowed_count for part in parts),
            confirmation=max(part.confirmation for part in parts),
        )
        return action_pb2.PreviewBulkResponse(preflight=whole)

    async def _bulk(
        self,
        peer: Peer,
        names: Mapping[str, str],
        request: action_pb2.PreviewBulkRequest,
        context: _Context,
    ) -> action_pb2.BulkPreflight:
        """Return what another hub says of its runs, under the names that they have here."""
        verb = _VERBS.get(request.verb)
        try:
            self._check(peer, context, verb)
            answer = await self._ask(peer.actions.PreviewBulk, _of_runs(request, names))
        except RefusalError as error:
            code, detail = error.code, str(error)
        except grpc.aio.AioRpcError as error:
            code, detail = ReasonCode.UNREACHABLE, f"hub {peer.hub}: {error.details()}"
        else:
            for one in answer.preflight.preflights:
                one.run_id = names[one.run_id]
            return answer.preflight
        each = [_refused(verb, run_id, code, detail) for run_id in names.values()]
        return action_pb2.BulkPreflight(
            verb=each[0].verb, preflights=each, confirmation=action_pb2.CONFIRMATION_YES_NO
        )

    # --- acting ----------------------------------------------------------------------------

    async def Submit(
        self, request: action_pb2.SubmitRequest, context: _Context
    ) -> action_pb2.SubmitResponse:
        """Take an action, or hand it to the hub whose run it is about."""
        peer, request.run_id = self._resolve(request.run_id, context)
        verb = _VERBS.get(request.verb)
        known = await self._of_other(request.action_id, context)
        if known is not None:  # the same id returns the first answer, whoever gave it
            return action_pb2.SubmitResponse(action=self._shown(*known))
        if peer is None or verb is None:
            return await super().Submit(request, context)
        action = Action(
            action_id=request.action_id,
            verb=verb,
            run_id=request.run_id,
            reason=request.reason,
            agreed_step=-1,
            parameters=from_proto(ActionParameters, request.parameters),
        )
        try:
            self._check(peer, context, verb)
            answer = (await self._ask(peer.actions.Submit, request)).action
            if answer.requested_time_unix_ns:
                self._peers.take_action(peer.hub, from_proto(Action, answer))
        except RefusalError as error:
            answer = to_proto(action_pb2.Action, refused(action, request.operator, error))
        except grpc.aio.AioRpcError as error:
            answer = await self._after_loss(peer, action, request.operator, error, context)
        answer.run_id = self._peers.shown_name(peer.hub, answer.run_id)
        return action_pb2.SubmitResponse(action=answer)

    async def _after_loss(
        self,
        peer: Peer,
        action: Action,
        operator: str,
        error: grpc.aio.AioRpcError,
        context: _Context,
    ) -> action_pb2.Action:
        """Return what became of an action whose answer was lost: the journal knows."""
        known = await self._of_other(action.action_id, context)
        if known is not None:
            return to_proto(action_pb2.Action, known[1])
        detail = f"hub {peer.hub}: {error.details()}"
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, detail)
        refusal = RefusalError(ReasonCode.UNREACHABLE, f"{detail}; it has not journaled it")
        return to_proto(action_pb2.Action, refused(action, operator, refusal))

    async def Cancel(
        self, request: action_pb2.CancelRequest, context: _Context
    ) -> action_pb2.CancelResponse:
        """Take an action back."""
        known = await self._of_other(request.action_id, context)
        if known is None:
            return await super().Cancel(request, context)
        try:
            peer = self._owner(known[0], context)
            answer = await self._ask(peer.actions.Cancel, request)
        except (RefusalError, grpc.aio.AioRpcError) as error:
            return action_pb2.CancelResponse(
                action=self._shown(*known), refusal_detail=_words(known[0], error)
            )
        answer.action.run_id = self._peers.shown_name(known[0], answer.action.run_id)
        return answer

    async def Approve(
        self, request: action_pb2.ApproveRequest, context: _Context
    ) -> action_pb2.ApproveResponse:
        """Approve an action."""
        known = await self._of_other(request.action_id, context)
        if known is None:
            return await super().Approve(request, context)
        try:
            peer = self._owner(known[0], context)
            answer = await self._ask(peer.actions.Approve, request)
        except (RefusalError, grpc.aio.AioRpcError) as error:
            return action_pb2.ApproveResponse(
                action=self._shown(*known), refusal_detail=_words(known[0], error)
            )
        answer.action.run_id = self._peers.shown_name(known[0], answer.action.run_id)
        return answer

    def _owner(self, hub: str, context: _Context) -> Peer:
        peer = self._peers.get(hub)
        if peer is None:
            raise RefusalError(ReasonCode.UNREACHABLE, f"hub {hub} was not seen for days")
        self._check(peer, context)
        return peer

    async def _of_other(self, action_id: str, context: _Context) -> tuple[str, Action] | None:
        """Return another hub's action and that hub; None for this hub's, and nobody's.

        This waits for a database that hangs; whoever asks it afterwards knows, and does not.
        """
        if self._journal.in_memory(action_id) is not None:
            return None
        known: tuple[str, Action] | None = None
        with suppress(DatabaseAwayError):  # then nothing new is taken, here or there
            known = await self._peers.action(action_id)
        return None if is_handed_on(context) else known

    def _shown(self, hub: str, action: Action) -> action_pb2.Action:
        return to_proto(action_pb2.Action, self._peers.shown_action(hub, action))

    # --- following -------------------------------------------------------------------------

    async def Watch(
        self, request: action_pb2.WatchRequest, context: _Context
    ) -> AsyncIterator[action_pb2.WatchResponse]:
        """Follow one action to its end, through its hub's own end too."""
        known = await self._of_other(request.action_id, context)
        if known is None:
            async for answer in super().Watch(request, context):
                yield answer
            return
        hub, action = known
        sent: action_pb2.Action | None = None
        while True:
            shown = self._shown(hub, action)
            if shown != sent:
                yield action_pb2.WatchResponse(action=shown)
                sent = shown
            if action.state.is_end:
                return
            with suppress(grpc.aio.AioRpcError):
                async for answer in self._stream(hub, request):
                    self._peers.take_action(hub, from_proto(Action, answer.action))
                    answer.action.run_id = self._peers.shown_name(hub, answer.action.run_id)
                    if answer.action != sent:
                        yield answer
                        sent = answer.action
                if sent is not None and from_proto(Action, sent).state.is_end:
                    return
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(DatabaseAwayError):
                hub, action = await self._peers.shared.action(request.action_id) or (hub, action)

    async def _stream(
        self, hub: str, request: action_pb2.WatchRequest
    ) -> AsyncIterator[action_pb2.WatchResponse]:
        peer = self._peers.get(hub)
        if peer is None or peer.failure:
            return
        metadata = ((HANDED_ON, self._peers.shared.hub),)
        try:
            async for answer in peer.actions.Watch(request, metadata=metadata):
                yield answer
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not peer.is_closed or task is None or task.cancelling():
                raise  # else the hub has moved, and this stream with it

    async def List(
        self, request: action_pb2.ListRequest, context: _Context
    ) -> action_pb2.ListResponse:
        """All hubs' journal, newest first."""
        try:  # first: this waits for a database that hangs, the hub's own list would not
            others = (
                await self._peers.actions_beginning(request.action_id_prefix)
                if request.action_id_prefix
                else self._peers.recent_actions()
            )
        except DatabaseAwayError as error:
            away = UnjournaledError(str(error))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(away))
        answer = await super().List(request, context)
        if is_handed_on(context):
            return answer
        limit = list_limit(request)
        fitting = newest(
            others,
            limit,
            request.run_id,
            open_only=request.open_only,
            parent_action_id=request.parent_action_id,
        )
        actions = [*answer.actions, *(to_proto(action_pb2.Action, one) for one in fitting)]
        actions.sort(key=lambda action: action.requested_time_unix_ns, reverse=True)
        return action_pb2.ListResponse(actions=actions[:limit])


def _words(hub: str, error: RefusalError | grpc.aio.AioRpcError) -> str:
    if isinstance(error, RefusalError):
        return str(error)
    return f"hub {hub}: {error.details()}"


def _refused(verb: Verb | None, run_id: str, code: ReasonCode, detail: str) -> action_pb2.Preflight:
    preflight = Preflight(
        verb=verb or Verb.CHECKPOINT,
        run_id=run_id,
        refusal=code,
        refusal_detail=detail,
        time_unix_ns=time.time_ns(),
    )
    return to_proto(action_pb2.Preflight, preflight)


def _of_runs(
    request: action_pb2.PreviewBulkRequest, run_ids: Iterable[str]
) -> action_pb2.PreviewBulkRequest:
    return action_pb2.PreviewBulkRequest(
        verb=request.verb,
        run_ids=run_ids,
        parameters=request.parameters,
        operator=request.operator,
    )


def _sums(parts: Sequence[action_pb2.BulkPreflight]) -> list[action_pb2.Figure]:
    """Return the hubs' sums added up; each says what it covers."""
    sums: dict[tuple[str, str], action_pb2.Figure] = {}
    for figure in (figure for part in parts for figure in part.figures):
        whole = sums.setdefault((figure.name, figure.unit), action_pb2.Figure(name=figure.name))
        whole.label, whole.unit = figure.label, figure.unit
        if figure.HasField("value"):
            whole.value += figure.value
        whole.basis = " + ".join(filter(None, (whole.basis, figure.basis)))[:512]
    return list(sums.values())
