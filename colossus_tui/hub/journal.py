"""The journal of actions: on disk before anything is done, and after every stage."""

from __future__ import annotations

from colossus_protos.v1 import action_pb2
from colossus_tui.hub.database import Database
from colossus_tui.model import Action
from colossus_tui.wire import from_proto, to_proto

KEPT_IN_MEMORY = 500


class Journal:
    """All actions, newest in memory, all on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.fetch_now(
            "select body from actions where ended = 0 or action_id in "
            "(select action_id from actions order by requested_ns desc limit ?) "
            "order by requested_ns",
            (KEPT_IN_MEMORY,),
        )
        actions = [_decode(body) for (body,) in rows]
        self._actions = {action.action_id: action for action in actions}

    async def write(self, action: Action) -> None:
        """Keep this state of an action; it is on disk when this returns."""
        self._actions.pop(action.action_id, None)
        self._actions[action.action_id] = action
        body = to_proto(action_pb2.Action, action).SerializeToString()
        row = (
            action.action_id,
            action.run_id,
            action.requested_time_unix_ns,
            int(action.state.is_end),
            body,
        )
        await self._database.write("insert or replace into actions values (?, ?, ?, ?, ?)", [row])
        while len(self._actions) > KEPT_IN_MEMORY:
            oldest = next(iter(self._actions.values()))
            if not oldest.state.is_end:
                break
            del self._actions[oldest.action_id]

    def get(self, action_id: str) -> Action | None:
        """Return an action, or None."""
        known = self._actions.get(action_id)
        if known is not None:
            return known
        rows = self._database.fetch_now(
            "select body from actions where action_id = ?", (action_id,)
        )
        return _decode(rows[0][0]) if rows else None

    def recent(
        self,
        limit: int,
        run_id: str = "",
        *,
        open_only: bool = False,
        prefix: str = "",
        parent_action_id: str = "",
    ) -> list[Action]:
        """Return the newest actions, newest first.

        Args:
            prefix: Of their identity; then also those that are on disk alone.
        """
        known = self._beginning(prefix) if prefix else list(self._actions.values())
        actions = sorted(known, key=lambda action: action.requested_time_unix_ns, reverse=True)
        return [
            action
            for action in actions
            if (not run_id or action.run_id == run_id)
            and not (open_only and action.state.is_end)
            and (not parent_action_id or action.parent_action_id == parent_action_id)
        ][:limit]

    def _beginning(self, prefix: str) -> list[Action]:
        rows = self._database.fetch_now(
            "select body from actions where action_id >= ? and action_id < ? limit ?",
            (prefix, prefix + "\x7f", KEPT_IN_MEMORY),  # identities are ASCII
        )
        found = {action.action_id: action for action in (_decode(body) for (body,) in rows)}
        return [self._actions.get(action_id, action) for action_id, action in found.items()]


def _decode(body: bytes) -> Action:
    return from_proto(Action, action_pb2.Action.FromString(body))
