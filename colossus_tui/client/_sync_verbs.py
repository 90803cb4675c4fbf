"""The blocking client's verbs: what is done to runs, nodes and the site."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from colossus_tui.client._async import AsyncClient
from colossus_tui.model import Action, ActionParameters, PriorityClass, RunSpec, Shed, Verb

T = TypeVar("T")


class SyncVerbs:
    """Asks for actions, one method a verb."""

    _client: AsyncClient

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def act(
        self,
        verb: Verb | str,
        run_id: str,
        parameters: ActionParameters | None = None,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Ask for an action; with `wait`, return it once it has ended."""
        return self._run(
            self._client.act(verb, run_id, parameters, reason=reason, wait=wait, timeout=timeout)
        )

    def checkpoint(
        self, run_id: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Save now, keep running."""
        return self._run(self._client.checkpoint(run_id, reason=reason, wait=wait, timeout=timeout))

    def pause(
        self,
        run_id: str,
        *,
        force: bool = False,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Save at a step, exit, release the GPUs."""
        return self._run(
            self._client.pause(run_id, force=force, reason=reason, wait=wait, timeout=timeout)
        )

    def freeze(
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
        return self._run(
            self._client.freeze(
                run_id,
                fuse_seconds=fuse_seconds,
                release_gpus=release_gpus,
                reason=reason,
                wait=wait,
                timeout=timeout,
            )
        )

    def resume(
        self, run_id: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Undo a pause or a freeze."""
        return self._run(self._client.resume(run_id, reason=reason, wait=wait, timeout=timeout))

    def reprioritize(
        self,
        run_id: str,
        priority_class: PriorityClass | str,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Change the class."""
        return self._run(
            self._client.reprioritize(
                run_id, priority_class, reason=reason, wait=wait, timeout=timeout
            )
        )

    def stop(
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
        return self._run(
            self._client.stop(
                run_id,
                force=force,
                grace_seconds=grace_seconds,
                reason=reason,
                wait=wait,
                timeout=timeout,
            )
        )

    def cap(
        self,
        run_id: str,
        watts: float,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Limit the power of each of its GPUs to so many watts; 0 takes the cap off."""
        return self._run(self._client.cap(run_id, watts, reason=reason, wait=wait, timeout=timeout))

    def drain(
        self, node_name: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Take a node out of use; its runs save and go on elsewhere."""
        return self._run(self._client.drain(node_name, reason=reason, wait=wait, timeout=timeout))

    def undrain(
        self, node_name: str, *, reason: str = "", wait: bool = False, timeout: float | None = None
    ) -> Action:
        """Give a drained node back to its scheduler."""
        return self._run(self._client.undrain(node_name, reason=reason, wait=wait, timeout=timeout))

    def shed(
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
        return self._run(self._client.shed(shed, reason=reason, wait=wait, timeout=timeout))

    def restore(
        self,
        shed_action_id: str,
        *,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Undo a shed in reverse order, as far as it is still as the shed left it."""
        return self._run(
            self._client.restore(shed_action_id, reason=reason, wait=wait, timeout=timeout)
        )

    def start(
        self,
        spec: RunSpec,
        *,
        node_name: str = "",
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Action:
        """Start a run on the local backend."""
        return self._run(
            self._client.start(spec, node_name=node_name, reason=reason, wait=wait, timeout=timeout)
        )
