"""The asyncio client: one channel, typed results, a deadline on every call."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import grpc
import grpc.aio

from colossus_protos.v1 import action_pb2, common_pb2
from colossus_tui.client._incidents import IncidentCalls
from colossus_tui.client._recordings import RecordingCalls
from colossus_tui.client.errors import DeadlineError, HubUnreachableError, RefusedError, from_rpc
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    BulkPreflight,
    Preflight,
    PriorityClass,
    RunSpec,
    Shed,
    Verb,
)
from colossus_tui.wire import from_proto, to_proto

RESTART_SECONDS = 20.0  # how long a hub may be away while an action is followed
RETRY_SECONDS = 0.25


class AsyncClient(IncidentCalls, RecordingCalls):
    """Talks to one hub: looks, acts and records.

    Args:
        address: unix:/path or HOST:PORT; default COLOSSUS_HUB, else this user's own hub.
        timeout: Deadline of every call, seconds.
        operator: Who is named in the journal; default the user's name.
        looks_only: Whether the hub must refuse whatever would change something.
    """

    async def actions(
        self,
        *,
        run_id: str = "",
        limit: int = 0,
        open_only: bool = False,
        action_id_prefix: str = "",
        parent_action_id: str = "",
    ) -> tuple[Action, ...]:
        """Return actions, newest first.

        Args:
            parent_action_id: Only the parts of this action, such as a node's drain.
        """
        request = action_pb2.ListRequest(
            run_id=run_id,
            limit=limit,
            open_only=open_only,
            action_id_prefix=action_id_prefix,
            parent_action_id=parent_action_id,
        )
        answer = await self._call(self._actions.List, request)
        return tuple(from_proto(Action, action) for action in answer.actions)

    async def preview(
        self, verb: Verb | str, run_id: str, parameters: ActionParameters | None = None
    ) -> Preflight:
        """Return what an action would cost; changes nothing."""
        request = action_pb2.PreviewRequest(
            verb=_verb(verb),
            run_id=run_id,
            parameters=to_proto(action_pb2.ActionParameters, parameters or ActionParameters()),
            operator=self.operator,
        )
        answer = await self._call(self._actions.Preview, request)
        return from_proto(Preflight, answer.preflight)

    async def preview_bulk(
        self,
        verb: Verb | str,
        run_ids: Sequence[str],
        parameters: ActionParameters | None = None,
    ) -> BulkPreflight:
        """Return what one verb on several runs would cost; changes nothing.

        Raises:
            InvalidRequestError: No run, one twice, or more than 1,000.
        """
        request = action_pb2.PreviewBulkRequest(
            verb=_verb(verb),
            run_ids=run_ids,
            parameters=to_proto(action_pb2.ActionParameters, parameters or ActionParameters()),
            operator=self.operator,
        )
        answer = await self._call(self._actions.PreviewBulk, request)
        return from_proto(BulkPreflight, answer.preflight)

    async def submit(
        self,
        verb: Verb | str,
        run_id: str,
        parameters: ActionParameters | None = None,
        *,
        reason: str = "",
        expected_generation: int = 0,
        action_id: str | None = None,
    ) -> Action:
        """Ask for an action and return it as the hub took it: accepted or refused.

        Args:
            action_id: The same id is carried out once; default a new one.
        """
        request = action_pb2.SubmitRequest(
            action_id=action_id or str(uuid.uuid4()),
            verb=_verb(verb),
            run_id=run_id,
            parameters=to_proto(action_pb2.ActionParameters, parameters or ActionParameters()),
            expected_generation=expected_generation,
            operator=self.operator,
            reason=reason,
        )
        answer = await self._call(self._actions.Submit, request)
        return from_proto(Action, answer.action)

    async def cancel(self, action_id: str) -> Action:
        """Take an action back while nothing of it is final; `wait` tells how it then ended.

        Raises:
            NotFoundError: There is no such action.
            RefusedError: It has ended, or it is too late.
        """
        request = action_pb2.CancelRequest(action_id=action_id, operator=self.operator)
        answer = await self._call(self._actions.Cancel, request)
        action = from_proto(Action, answer.action)
        if answer.refusal_detail:
            raise RefusedError(action, answer.refusal_detail)
        return action

    async def approve(self, action_id: str) -> Action:
        """Approve an action that needs more than one operator.

        Raises:
            NotFoundError: There is no such action.
            RefusedError: It waits for no approval, or not for this operator's.
        """
        request = action_pb2.ApproveRequest(action_id=action_id, operator=self.operator)
        answer = await self._call(self._actions.Approve, request)
        action = from_proto(Action, answer.action)
        if answer.refusal_detail:
            raise RefusedError(action, answer.refusal_detail)
        return action

    async def follow(self, action_id: str) -> AsyncIterator[Action]:
        """Yield an action each time it changes, until it has ended; also when the hub restarts.

        Raises:
            NotFoundError: There is no such action.
            HubUnreachableError: The hub was away for RESTART_SECONDS.
        """
        loop = asyncio.get_running_loop()
        request = action_pb2.WatchRequest(action_id=action_id)
        seen = loop.time()
        while True:
            try:
                async for answer in self._actions.Watch(request):
                    seen = loop.time()
                    yield from_proto(Action, answer.action)
                return
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error, self.address, self.timeout)
                away = isinstance(failure, HubUnreachableError)
                if not away or loop.time() - seen > RESTART_SECONDS:
                    raise failure from None
            await asyncio.sleep(RETRY_SECONDS)

    async def follow_all(
        self, action_ids: Sequence[str], *, approval_timeout: float | None = None
    ) -> AsyncIterator[Action]:
        """Yield any of these actions each time it changes, until all have ended.

        Args:
            approval_timeout: How long to wait for other operators; an action that waits for them
                longer is followed no more and goes on all the same.

        Raises:
            NotFoundError: There is no such action.
            HubUnreachableError: The hub was away for RESTART_SECONDS.
        """
        loop = asyncio.get_running_loop()
        changes: asyncio.Queue[Action | None] = asyncio.Queue()

        async def one(action_id: str) -> None:
            try:
                async with asyncio.timeout(None) as limit:
                    async for action in self.follow(action_id):
                        if action.state is not ActionState.REQUESTED:
                            limit.reschedule(None)
                        elif approval_timeout is not None and limit.when() is None:
                            limit.reschedule(loop.time() + approval_timeout)
                        changes.put_nowait(action)
            except TimeoutError:
                return
            finally:
                changes.put_nowait(None)

        tasks = [asyncio.create_task(one(action_id)) for action_id in action_ids]
        try:
            left = len(tasks)
            while left:
                if (action := await changes.get()) is None:
                    left -= 1
                else:
                    yield action
            await asyncio.gather(*tasks)  # raises what went wrong
        finally:
            for task in tasks:  # not awaited: whoever closes this early may be interrupted
                task.cancel()

    async def wait(self, action_id: str, timeout: float | None = None) -> Action:
        """Return the action once it has ended.

        Raises:
            DeadlineError: It had not ended within `timeout` seconds; it goes on all the same.
        """
        try:
            async with asyncio.timeout(timeout):
                last: Action | None = None
                async for action in self.follow(action_id):
                    last = action
        except TimeoutError:
            raise DeadlineError(f"action {action_id} had not ended within {timeout:g} s") from None
        assert last is not None
        return last

    async def act(
        self,
        verb: Verb | str,
        run_id: str,
        parameters: ActionParameters | None = None,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Ask for an action; with `wait`, return it once it has ended.

        Raises:
            RefusedError: The hub refused it.
            DeadlineError: It had not ended within `timeout` seconds.
        """
        action = await self.submit(verb, run_id, parameters, reason=reason)
        if action.state is ActionState.REFUSED:
            raise RefusedError(action)
        return await self.wait(action.action_id, timeout) if wait else action

    async def checkpoint(
        self, run_id: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Save now, keep running."""
        return await self.act(Verb.CHECKPOINT, run_id, reason=reason, wait=wait, timeout=timeout)

    async def pause(
        self,
        run_id: str,
        *,
        force: bool = False,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Save at a step, exit, release the GPUs."""
        parameters = ActionParameters(force=force)
        return await self.act(
            Verb.PAUSE, run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def freeze(
        self,
        run_id: str,
        *,
        fuse_seconds: float = 0.0,
        release_gpus: bool = False,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Stop in place until a resume or the fuse."""
        parameters = ActionParameters(fuse_seconds=fuse_seconds, release_gpus=release_gpus)
        return await self.act(
            Verb.FREEZE, run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def resume(
        self, run_id: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Undo a pause or a freeze."""
        return await self.act(Verb.RESUME, run_id, reason=reason, wait=wait, timeout=timeout)

    async def reprioritize(
        self,
        run_id: str,
        priority_class: PriorityClass | str,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Change the class."""
        parameters = ActionParameters(priority_class=PriorityClass(priority_class))
        return await self.act(
            Verb.REPRIORITIZE, run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def stop(
        self,
        run_id: str,
        *,
        force: bool = False,
        grace_seconds: float = 0.0,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """End the run."""
        parameters = ActionParameters(force=force, grace_seconds=grace_seconds)
        return await self.act(
            Verb.STOP, run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def cap(
        self,
        run_id: str,
        watts: float,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Limit the power of each of its GPUs to so many watts; 0 takes the cap off."""
        parameters = ActionParameters(cap_watts=watts)
        return await self.act(
            Verb.CAP, run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def drain(
        self, node_name: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Take a node out of use; its runs save and go on elsewhere."""
        parameters = ActionParameters(node_name=node_name)
        return await self.act(Verb.DRAIN, "", parameters, reason=reason, wait=wait, timeout=timeout)

    async def undrain(
        self, node_name: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Give a drained node back to its scheduler."""
        parameters = ActionParameters(node_name=node_name)
        return await self.act(
            Verb.UNDRAIN, "", parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def shed(
        self,
        shed: Shed,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Bring the site under a power, by the plan that a preview gave or by the hub's plan now.

        Raises:
            RefusedError: The hub refused it, or the site has changed since the preview.
        """
        if shed.plan is None:
            preflight = await self.preview(Verb.SHED, "", ActionParameters(shed=shed))
            if preflight.plan is None:
                raise RefusedError(_refused(preflight))
            shed = shed.approved(preflight.plan)
        return await self.act(
            Verb.SHED, "", ActionParameters(shed=shed), reason=reason, wait=wait, timeout=timeout
        )

    async def restore(
        self,
        shed_action_id: str,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Undo a shed in reverse order, as far as it is still as the shed left it."""
        parameters = ActionParameters(shed=Shed(shed_action_id=shed_action_id))
        return await self.act(
            Verb.RESTORE, "", parameters, reason=reason, wait=wait, timeout=timeout
        )

    async def start(
        self,
        spec: RunSpec,
        *,
        node_name: str = "",
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Start a run on the local backend."""
        parameters = ActionParameters(spec=spec, node_name=node_name)
        return await self.act(
            Verb.START, spec.run_id, parameters, reason=reason, wait=wait, timeout=timeout
        )


def _refused(preflight: Preflight) -> Action:
    """Return an action that was refused before it was asked for."""
    return Action(
        "",
        preflight.verb,
        "",
        ActionState.REFUSED,
        preflight.refusal,
        preflight.refusal_detail,
    )


def _verb(verb: Verb | str) -> common_pb2.Verb.ValueType:
    return common_pb2.Verb.Value(f"VERB_{Verb(verb).name}")
