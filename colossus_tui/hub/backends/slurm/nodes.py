"""Slurm's nodes: how it holds them, and keeping new work from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from colossus_tui.hub.backends.base import ActionFailedError, Standing
from colossus_tui.hub.backends.slurm.command import SlurmCommands, SlurmError, failed
from colossus_tui.hub.backends.slurm.shapes import SlurmNode
from colossus_tui.model import ReasonCode

REASON_LIMIT = 200
_CORDONED = frozenset({"DRAIN", "DRAINED", "DRAINING"})
_BUSY = frozenset({"ALLOCATED", "MIXED", "COMPLETING", "DRAINING"})


class SlurmNodes:
    """Nodes of one Slurm.

    Args:
        seen: Returns them as the poller last saw them, by name.
        held: Returns those of them that get no new work.
    """

    def __init__(
        self,
        commands: SlurmCommands,
        seen: Callable[[], Mapping[str, SlurmNode]],
        held: Callable[[], Mapping[str, Standing]],
    ) -> None:
        self._commands = commands
        self._seen = seen
        self._held = held

    def standing(self, node_name: str) -> Standing | None:
        """Return how Slurm last held the node; None for one that is not its own."""
        node = self._seen().get(node_name)
        return None if node is None else _standing(node.states, node.reason)

    def cordoned(self) -> Mapping[str, Standing]:
        """Return by name the nodes to which Slurm last gave no new work."""
        return self._held()

    async def read(self, node_name: str) -> Standing:
        """Return how Slurm holds the node now.

        Raises:
            ActionFailedError: It does not say.
        """
        try:
            fields = await self._commands.show_node(node_name)
        except SlurmError as error:
            raise failed(error) from None
        states = fields["State"].replace("*", "").upper().split("+")
        return _standing([state for state in states if state], fields["Reason"])

    async def cordon(self, node_name: str, reason: str) -> None:
        """Drain the node: what runs there goes on, nothing new begins.

        Raises:
            ActionFailedError: Slurm denied it, or reads back something else.
        """
        words = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
        await self._update(node_name, "State=DRAIN", f"Reason={words[:REASON_LIMIT]}")
        await self._read_back(node_name, is_cordoned=True)

    async def uncordon(self, node_name: str) -> None:
        """Let new work begin on the node.

        Raises:
            ActionFailedError: Slurm denied it, or reads back something else.
        """
        if (await self.read(node_name)).is_cordoned:
            await self._update(node_name, "State=RESUME")
        await self._read_back(node_name, is_cordoned=False)

    async def _update(self, node_name: str, *changes: str) -> None:
        try:
            await self._commands.scontrol("update", f"NodeName={node_name}", *changes)
        except SlurmError as error:
            raise failed(error) from None

    async def _read_back(self, node_name: str, *, is_cordoned: bool) -> None:
        now = await self.read(node_name)
        if now.is_cordoned is not is_cordoned:
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED,
                f"Slurm took it, but {node_name} reads back {now.state}",
            )


def cordoned(nodes: Iterable[SlurmNode]) -> dict[str, Standing]:
    """Return by name how Slurm holds those of the nodes that it gives no new work."""
    return {
        node.name: _standing(node.states, node.reason)
        for node in nodes
        if not _CORDONED.isdisjoint(node.states)
    }


def _standing(states: Iterable[str], reason: str) -> Standing:
    found = frozenset(states)
    return Standing(
        state="+".join(sorted(found)),
        reason=reason,
        is_cordoned=bool(found & _CORDONED),
        is_busy=bool(found & _BUSY),
    )
