"""What actions and backends need from the rest of the hub; the hub's own parts satisfy these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from colossus_protos.v1 import directive_pb2
from colossus_tui.model import (
    Event,
    PriorityClass,
    RankExit,
    ResumePoint,
    Run,
    RunSpec,
    RunState,
)


@dataclass(frozen=True, slots=True)
class ObservedRank:
    """One rank as its agent last reported it."""

    rank: int
    node_name: str
    alive: bool
    hooked: bool
    step: int | None  # last finished step of this attempt
    checkpoint_step: int | None  # last step whose part is safe and was found on disk
    checkpoint_path: str
    nice: int
    state: str  # kernel's letter
    exit: RankExit | None


@dataclass(frozen=True, slots=True)
class HeldGpu:
    """A GPU that a run holds, or was the last run to hold."""

    node_name: str
    gpu_index: int
    held_bytes: float | None  # the run's, or nobody's that can be seen; None: it does not say
    pids: tuple[int, ...]  # the run's processes on it


@dataclass(frozen=True, slots=True)
class PowerRange:
    """Between what power limits of all GPUs that a run holds can be set; 0 W is not known."""

    lowest_watts: float = 0.0
    highest_watts: float = 0.0
    detail: str = ""  # why some agents cannot set them; "" when all can


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """What the agents now say of one run: the ground on which an action is judged."""

    run_id: str
    attempt: int  # newest attempt that any node reports
    ranks: tuple[ObservedRank, ...]
    process_count: int  # over all nodes
    frozen_node_count: int
    fuse_deadline_unix_ns: int
    node_ages_seconds: Mapping[str, float]  # node -> age of its newest report
    linked_nodes: frozenset[str]
    durable_step: int | None
    durable_paths: tuple[ResumePoint, ...]
    newest_step: int | None  # largest step seen in `attempt`


class RunRegistry(Protocol):
    """The hub's runs, as the engine and the backends use them."""

    def get(self, run_id: str) -> Run | None:
        """Return the run as consoles see it, or None."""

    def observed(self, run_id: str) -> ObservedRun | None:
        """Return what agents report of the run now, or None when nothing was reported yet."""

    def held_gpus(self, run_id: str) -> tuple[HeldGpu, ...]:
        """Return every GPU that the run holds or was the last to hold, as the devices say now."""

    def release_refusal(self, node_name: str) -> str:
        """Return why a freeze cannot release GPU memory on a node; "" when it can."""

    def power_range(self, run_id: str) -> PowerRange:
        """Return between what the power limits of the run's GPUs can be set."""

    async def wait_change(self, run_id: str, timeout_seconds: float) -> None:
        """Return when something about the run changed, or after the timeout."""

    def register(self, spec: RunSpec, node_name: str) -> None:
        """Take up a run that is about to start for the first time."""

    def set_open_action(self, run_id: str, action_id: str) -> None:
        """Name the action that holds the run; "" when it is free again."""

    def set_state(self, run_id: str, state: RunState, why: str) -> None:
        """Record what an action is doing with the run or has made of it."""

    def settle(self, run_id: str, why: str) -> None:
        """Drop what a failed action intended: the state follows from the facts again."""

    async def keep(self, run_id: str) -> None:
        """Return once what is known of the run is on disk."""

    def set_priority_class(self, run_id: str, priority_class: PriorityClass) -> None:
        """Record the new class."""


class AgentLinks(Protocol):
    """The linked agents."""

    def linked(self, node_name: str) -> bool:
        """Return whether that node's agent is linked now."""

    def node_names(self) -> tuple[str, ...]:
        """Return the nodes whose agents are linked now."""

    async def ask(
        self, directives: Mapping[str, directive_pb2.Directive], timeout_seconds: float
    ) -> Mapping[str, directive_pb2.DirectiveResult]:
        """Send directives of one id to nodes; return by node what they answered in time.

        Each is sent again on a new link of a node that has not answered.
        """


class EventLog(Protocol):
    """Where events go."""

    def add(self, event: Event) -> None:
        """Keep the event and show it to consoles; the log numbers it."""
