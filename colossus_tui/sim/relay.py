"""A simulated relay: carries some nodes of the site up to a hub, on the stream that relays use."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import agent_link_pb2, frame_pb2, relay_link_pb2
from colossus_tui.hub.batches import FRAMES, checkpoint_table, step_table
from colossus_tui.hub.runs.checkpoints import CheckpointRows
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.upstream import Upstream
from colossus_tui.sim.reports import Checkpoints, Steps
from colossus_tui.sim.simulation import Simulation, Tick

REPORTED_A_TICK = 1_024  # nodes of the site that tell everything again; all at once are a storm


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Nodes whose frames go together."""

    first: int
    end: int
    numbers: npt.NDArray[np.intp]


class SimulatedRelay:
    """Speaks for the nodes [first, end) of the site; their numbers count from `first`.

    Attributes:
        sent_frames: Frames handed to the stream so far.
    """

    def __init__(
        self, simulation: Simulation, nodes: range, addresses: tuple[str, ...], name: str
    ) -> None:
        self._simulation = simulation
        self._nodes = nodes
        self._now_unix_ns: Callable[[], int] = lambda: 0
        self._instances = [uuid.uuid4().hex] * len(nodes)
        self._sequences = np.zeros(len(nodes), dtype=np.int64)
        self._to_tell: deque[int] = deque()
        self._groups = [
            _Group(first, min(first + FRAMES, len(nodes)), np.arange(first, first + FRAMES))
            for first in range(0, len(nodes), FRAMES)
        ]
        share = len(nodes) / simulation.plan.node_count
        self._told_a_tick = max(int(REPORTED_A_TICK * share), 1)
        self.sent_frames = 0
        self.upstream = Upstream(
            addresses, name, self._hellos, self._respond, self._greet_again, lambda _: None
        )

    def _hellos(self) -> Iterator[tuple[int, frame_pb2.Hello, bool]]:
        for number, node in enumerate(self._nodes):
            yield number, self._simulation.hello(node, self._instances[number]), True

    def _greet_again(self) -> None:
        self._to_tell = deque(range(len(self._nodes)))

    def _respond(self, number: int, response: agent_link_pb2.LinkResponse) -> None:
        body = response.WhichOneof("body")
        if body == "directive":
            now = self._now_unix_ns()
            for message in self._simulation.obey(self._nodes[number], response.directive, now):
                self._say(number, message)
        elif body == "welcome":
            self._to_tell.append(number)

    def _say(self, number: int, message: agent_link_pb2.LinkRequest) -> None:
        """Hand on a message, numbered unless it is a report."""
        if message.WhichOneof("body") not in ("run_report", "process_report", "sensor_report"):
            self._sequences[number] += 1
            message.sequence = int(self._sequences[number])
        self.upstream.message(number, 0, message)

    def _tell(self, number: int) -> None:
        """Say what an agent says first on a link."""
        node = self._nodes[number]
        simulation = self._simulation
        self._say(number, simulation.run_report(node))
        self._say(number, simulation.process_report(node))
        self._say(number, simulation.sensor_report(node))
        for message in simulation.checkpoint_reports(node):
            self._say(number, message)

    def tick(self, tick: Tick, now_unix_ns: Callable[[], int]) -> None:
        """Say what the nodes have to say of this tick."""
        self._now_unix_ns = now_unix_ns
        for node in tick.returned:
            if node in self._nodes:
                self._return(node - self._nodes.start)
        if not self.upstream.is_up:
            return
        for steps in tick.steps:
            self._steps(steps)
        for saved in tick.checkpoints:
            self._checkpoints(saved)
        self._report(tick)
        for node, event in tick.events:
            if node in self._nodes:
                message = agent_link_pb2.LinkRequest(event=event)
                self._say(node - self._nodes.start, message)
        for group in self._groups:
            self._frames(group, tick)

    def _return(self, number: int) -> None:
        """Link a node that was down anew: its agent is another one."""
        self._instances[number] = uuid.uuid4().hex
        self._sequences[number] = 0
        hello = self._simulation.hello(self._nodes[number], self._instances[number])
        self.upstream.unlink(number)
        self.upstream.link(number, hello)
        self._to_tell.append(number)

    def _report(self, tick: Tick) -> None:
        first, end = np.searchsorted(tick.changed, (self._nodes.start, self._nodes.stop))
        waiting = set(self._to_tell)
        changed = (tick.changed[first:end] - self._nodes.start).tolist()
        self._to_tell.extend(number for number in changed if number not in waiting)
        for _ in range(min(self._told_a_tick, len(self._to_tell))):
            number = self._to_tell.popleft()
            if not tick.down[self._nodes[number]]:
                self._tell(number)

    def _ranks(self, run_id: str) -> slice | None:
        """Return which ranks of a run are on this relay's nodes."""
        plan = self._simulation.plan
        run = next(run for run in plan.runs if run.run_id == run_id)
        first = max(self._nodes.start - run.first_node, 0)
        end = min(self._nodes.stop - run.first_node, run.node_count)
        if first >= end:
            return None
        return slice(first * plan.gpus_per_node, end * plan.gpus_per_node)

    def _own(self, run_id: str, ranks: npt.NDArray[np.int32]) -> slice | None:
        wanted = self._ranks(run_id)
        if wanted is None:
            return None
        first, end = np.searchsorted(ranks, (wanted.start, wanted.stop))
        return slice(int(first), int(end)) if first < end else None

    def _steps(self, steps: Steps) -> None:
        own = self._own(steps.run_id, steps.ranks)
        if own is None:
            return
        rows = StepRows(
            steps.run_id,
            steps.attempt,
            steps.ranks[own],
            steps.steps[own],
            steps.times_unix_ns[own],
            steps.losses[own],
            steps.grad_norms[own],
            steps.tokens[own],
            steps.step_seconds[own],
        )
        self.upstream.steps(step_table(rows))

    def _checkpoints(self, saved: Checkpoints) -> None:
        own = self._own(saved.run_id, saved.ranks)
        if own is None:
            return
        ranks = saved.ranks[own]
        rows = CheckpointRows(
            saved.run_id,
            saved.attempt,
            ranks,
            np.full(ranks.size, saved.step),
            saved.times_unix_ns[own],
            np.full(ranks.size, saved.size_bytes),
            np.full(ranks.size, True),
            saved.save_seconds[own],
            saved.path_template,
        )
        self.upstream.checkpoints(checkpoint_table(rows))

    def _frames(self, group: _Group, tick: Tick) -> None:
        first, end = group.first + self._nodes.start, group.end + self._nodes.start
        each = self._simulation.plan.gpus_per_node
        values, host = tick.values[first * each : end * each], tick.host_values[first:end]
        numbers = group.numbers[: group.end - group.first]
        down = tick.down[first:end]
        if down.any():
            numbers, host = numbers[~down], host[~down]
            values = values.reshape(end - first, each, -1)[~down]
        if not numbers.size:
            return
        batch = relay_link_pb2.FrameBatch(
            sample_times_unix_ns=np.full(numbers.size, tick.now_unix_ns, dtype="<i8").tobytes(),
            gpu_values=values.tobytes(),
            host_values=host.tobytes(),
        )
        self.sent_frames += numbers.size
        self.upstream.frames(numbers, batch)
