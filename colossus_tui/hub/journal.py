"""The journal of actions: on disk before anything is done, and after every stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace

from colossus_protos.v1 import action_pb2, common_pb2
from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.hub.database import Database, DatabaseAwayError
from colossus_tui.model import Action, ActionStage, ActionState, ReasonCode
from colossus_tui.wire import from_proto, to_proto

KEPT_IN_MEMORY = 500  # of those that have ended
READ_OF_SITE = 10_000  # actions on the site and on nodes, newest first
RETRY_SECONDS = 0.2
UPSERT = (
    "insert into actions (action_id, run_id, requested_ns, ended, body, hub, written_ns) "
    "values (?, ?, ?, ?, ?, ?, ?) on conflict (action_id, hub) do update set "
    "ended = excluded.ended, body = excluded.body, written_ns = excluded.written_ns"
)
_ON_SITE = (common_pb2.VERB_SHED, common_pb2.VERB_RESTORE)


class UnjournaledError(RefusalError):
    """The database is away: what is not journaled is not done, and what is old cannot be read."""

    def __init__(self, away: str) -> None:
        super().__init__(
            ReasonCode.UNREACHABLE,
            f"nothing is done that is not journaled, and {away}; try again when it is back",
        )


class Journal:
    """All of this hub's actions, newest in memory, all on disk.

    While the database is away, nothing begins: an action that was accepted waits, and so does one
    before the point from which it cannot be taken back. What is past it goes on; what becomes of
    it is on disk once the database is back, and until then an earlier stage of it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.fetch_now(
            "select body from actions where hub = ? and (ended = 0 or action_id in "
            "(select action_id from actions where hub = ? order by requested_ns desc limit ?)) "
            "order by requested_ns",
            (database.hub, database.hub, KEPT_IN_MEMORY),
        )
        actions = [decode(body) for (body,) in rows]
        self._actions = {action.action_id: action for action in actions}
        self._unwritten: dict[str, Action] = {}

    async def write(self, action: Action) -> None:
        """Keep this state of an action; it is on disk when this returns, or see the class.

        Raises:
            UnjournaledError: The database is away; the action is as it was, a new one refused.
        """
        before = self._actions.pop(action.action_id, None)
        self._actions[action.action_id] = action
        self._unwritten.pop(action.action_id, None)
        try:
            await self._write(action, patient=before is not None and _begins(before, action))
        except DatabaseAwayError as error:
            if _may_wait(before, action):
                self._wait(action)
                return
            refusal = UnjournaledError(str(error))
            # Written later: what was sent before the connection broke may have been taken.
            self._wait(before or _refused(action, str(refusal)))
            raise refusal from None
        self._evict()

    def _evict(self) -> None:
        """Forget the oldest that have ended; what goes on stays, however long it does."""
        if len(self._actions) > KEPT_IN_MEMORY:
            ended = [one.action_id for one in self._actions.values() if one.state.is_end]
            for action_id in ended[:-KEPT_IN_MEMORY]:
                del self._actions[action_id]

    async def _write(self, action: Action, *, patient: bool) -> None:
        while True:
            try:
                await self._database.write(UPSERT, [self._row(action)])
            except DatabaseAwayError:
                if not patient:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _wait(self, action: Action) -> None:
        self._actions[action.action_id] = self._unwritten[action.action_id] = action
        if len(self._unwritten) > KEPT_IN_MEMORY:  # many tries to act: what did nothing is told of
            refused = (one for one in self._unwritten.values() if one.state is ActionState.REFUSED)
            if (oldest := next(refused, None)) is not None:
                del self._unwritten[oldest.action_id]

    async def flush(self) -> None:
        """Write what the database was away for."""
        waiting = dict(self._unwritten)
        if not waiting or self._database.away:
            return
        try:
            await self._database.write(UPSERT, [self._row(action) for action in waiting.values()])
        except DatabaseAwayError:
            return
        for action_id, action in waiting.items():
            if self._unwritten.get(action_id) is action:
                del self._unwritten[action_id]

    def _row(self, action: Action) -> tuple[str, str, int, int, bytes, str, int]:
        return (
            action.action_id,
            action.run_id,
            action.requested_time_unix_ns,
            int(action.state.is_end),
            to_proto(action_pb2.Action, action).SerializeToString(),
            self._database.hub,
            time.time_ns(),  # when it is written, not when it happened: others read what is new
        )

    def get(self, action_id: str) -> Action | None:
        """Return an action of this hub, or None.

        Raises:
            UnjournaledError: It is not in memory, and the database is away.
        """
        known = self.in_memory(action_id)
        if known is not None:
            return known
        bodies = self._bodies("action_id = ?", action_id)
        return decode(bodies[0]) if bodies else None

    def in_memory(self, action_id: str) -> Action | None:
        """Return an action of this hub when it is one of the newest, or None."""
        return self._actions.get(action_id) or self._unwritten.get(action_id)

    def recent(
        self,
        limit: int,
        run_id: str = "",
        *,
        open_only: bool = False,
        prefix: str = "",
        parent_action_id: str = "",
    ) -> list[Action]:
        """Return the newest actions of this hub, newest first.

        Args:
            prefix: Of their identity; then also those that are on disk alone.

        Raises:
            UnjournaledError: A prefix is given, and the database is away.
        """
        known = self._beginning(prefix) if prefix else self._actions.values()
        return newest(known, limit, run_id, open_only=open_only, parent_action_id=parent_action_id)

    def since(self, action: Action) -> list[Action]:
        """Return what else was asked for on an action's run since, newest first.

        Raises:
            UnjournaledError: The action is not in memory, and the database is away.
        """
        known = self._known()
        if action.action_id not in known:  # else what came later is in memory too
            condition = "run_id = ? and requested_ns >= ? order by requested_ns"
            for body in self._bodies(condition, action.run_id, action.requested_time_unix_ns):
                one = decode(body)
                known.setdefault(one.action_id, one)
        return [
            one
            for one in newest(known.values(), len(known), action.run_id)
            if one.requested_time_unix_ns >= action.requested_time_unix_ns
            and one.action_id != action.action_id
        ]

    def on_site(self) -> list[Action]:
        """Return what was asked for on the site, newest first, also what is on disk alone.

        Raises:
            UnjournaledError: The database is away.
        """
        known = {key: one for key, one in self._known().items() if one.verb.is_on_site}
        # What is done to a node has no run either, and there is far more of it.
        condition = "run_id = '' order by requested_ns desc limit ?"
        for body in self._bodies(condition, READ_OF_SITE):
            found = action_pb2.Action.FromString(body)
            if found.verb in _ON_SITE:
                known.setdefault(found.action_id, from_proto(Action, found))
        return newest(known.values(), len(known))

    def _known(self) -> dict[str, Action]:
        return {**self._unwritten, **self._actions}

    def _beginning(self, prefix: str) -> list[Action]:
        condition = "action_id >= ? and action_id < ? limit ?"
        bodies = self._bodies(condition, prefix, prefix + "\x7f", KEPT_IN_MEMORY)  # they are ASCII
        found = {action.action_id: action for action in map(decode, bodies)}
        return [self._actions.get(action_id, action) for action_id, action in found.items()]

    def _bodies(self, condition: str, *parameters: str | int) -> list[bytes]:
        statement = f"select body from actions where hub = ? and {condition}"
        try:
            rows = self._database.fetch_now(statement, (self._database.hub, *parameters))
        except DatabaseAwayError as error:
            raise UnjournaledError(str(error)) from None
        return [body for (body,) in rows]


def newest(
    actions: Iterable[Action],
    limit: int,
    run_id: str = "",
    *,
    open_only: bool = False,
    parent_action_id: str = "",
) -> list[Action]:
    """Return the newest of these actions that fit, newest first."""
    ordered = sorted(actions, key=lambda action: action.requested_time_unix_ns, reverse=True)
    return [
        action
        for action in ordered
        if (not run_id or action.run_id == run_id)
        and not (open_only and action.state.is_end)
        and (not parent_action_id or action.parent_action_id == parent_action_id)
    ][:limit]


def decode(body: bytes) -> Action:
    """Return an action as its row has it."""
    return from_proto(Action, action_pb2.Action.FromString(body))


def _may_wait(before: Action | None, after: Action) -> bool:
    """Whether nothing is begun by this state that is not on disk."""
    if before is None:
        return after.state is ActionState.REFUSED
    return before.state is not ActionState.REQUESTED or after.state.is_end


def _begins(before: Action, after: Action) -> bool:
    """Whether more is done after this state than before; then the disk is waited for."""
    if after.state.is_end or before.state is ActionState.REQUESTED:
        return False
    committed = before.can_cancel and not after.can_cancel
    return committed or before.state is ActionState.ACCEPTED


def _refused(action: Action, why: str) -> Action:
    now = time.time_ns()
    stages = tuple(one for one in action.stages if one.state is ActionState.REQUESTED)
    return replace(
        action,
        state=ActionState.REFUSED,
        reason_code=ReasonCode.UNREACHABLE,
        detail=why,
        can_cancel=False,
        updated_time_unix_ns=now,
        stages=(*stages, ActionStage(now, ActionState.REFUSED, why)),
    )
