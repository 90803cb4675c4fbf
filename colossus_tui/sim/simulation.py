"""The whole of a simulated site, tick by tick; whoever drives it carries it over the links."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import agent_link_pb2, common_pb2, directive_pb2, frame_pb2
from colossus_tui.sim import orders, wire
from colossus_tui.sim.faults import Faults
from colossus_tui.sim.noise import Noise
from colossus_tui.sim.orders import Outcome
from colossus_tui.sim.outages import Outages
from colossus_tui.sim.physics import Mode, Physics
from colossus_tui.sim.plan import SitePlan
from colossus_tui.sim.reports import Checkpoints, Progress, Steps
from colossus_tui.sim.scenario import Scenario
from colossus_tui.sim.training import Gang

DEFAULT_START_UNIX_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC
_REPORTED = (
    "start_run",
    "terminate",
    "freeze",
    "thaw",
    "set_priority",
    "set_power_limit",
    "forget_run",
)


@dataclass(slots=True, eq=False)
class Tick:
    """What all agents of the site have to say; an agent that is down says nothing.

    Steps go out before checkpoints, and both before the reports of changed nodes.

    Attributes:
        values: float32 [GPU, column of GPU_COLUMNS]; good until the next tick.
        host_values: float32 [node, column of HOST_COLUMNS]; good until the next tick.
        down: bool [node]; good until the next tick.
        hall_watts: float64 [hall]: the draw of its GPUs.
        steps: One a finished step of a run.
        returned: Nodes that are back: each is a new agent, to be greeted anew.
        changed: Nodes whose run and processes must be reported again; those that are down left out.
        events: By node.
    """

    now_unix_ns: int
    values: npt.NDArray[np.float32]
    host_values: npt.NDArray[np.float32]
    down: npt.NDArray[np.bool_]
    hall_watts: npt.NDArray[np.float64]
    steps: list[Steps] = field(default_factory=list)
    checkpoints: list[Checkpoints] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    changed: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    events: list[tuple[int, common_pb2.Event]] = field(default_factory=list)


class Simulation:
    """A site that trains, fails and obeys.

    Args:
        scenario: What goes wrong, beside what fails by chance.
        seed: The same seed and times of ticks give the same site.
        start_unix_ns: When it begins; the scenario's times count from here.
        failures: Whether nodes fail by chance.
    """

    def __init__(
        self,
        plan: SitePlan,
        scenario: Scenario | None = None,
        seed: int = 7,
        start_unix_ns: int = DEFAULT_START_UNIX_NS,
        failures: bool = True,
    ) -> None:
        self.plan = plan
        self.physics = Physics(plan, seed)
        noise = Noise(seed + 1)
        self.gangs = [Gang(run, index, noise, start_unix_ns) for index, run in enumerate(plan.runs)]
        self._outages = Outages(plan, seed, by_chance=failures)
        self._faults = Faults(scenario or Scenario(), self.physics, self.gangs, self._outages)
        self._facts = [wire.facts_json(run, start_unix_ns) for run in plan.runs]
        self._memory = orders.Memory()
        self._boot_counts = np.ones(plan.node_count, np.int32)
        self._modes = np.zeros(plan.node_count, np.uint8)
        self._start_ns = self._now_ns = start_unix_ns

    # --- time ------------------------------------------------------------------------------

    def tick(self, now_unix_ns: int) -> Tick:
        """Go on until now, which is not before the last time; about once a second."""
        self._now_ns = now_unix_ns
        seconds = (now_unix_ns - self._start_ns) / 1e9
        tick = Tick(
            now_unix_ns,
            self.physics.values,
            self.physics.host_values,
            self._outages.down,
            np.empty(0),
        )
        changed = np.zeros(self.plan.node_count, np.bool_)
        self._fail(seconds, tick, changed)
        paces = np.ones(len(self.gangs), np.float32)
        for index, gang in enumerate(self.gangs):
            paces[index] = self._train(index, gang, tick, changed)
        for nodes in self._faults.idle_nodes():
            modes = self._modes[nodes.start : nodes.stop]
            modes[modes != Mode.IDLE] = Mode.FROZEN  # memory held, no work
        self.physics.advance(seconds, self._modes, paces, self._outages.down)
        tick.hall_watts = self.physics.hall_watts()
        tick.changed = np.flatnonzero(changed & ~self._outages.down)
        return tick

    def _fail(self, seconds: float, tick: Tick, changed: npt.NDArray[np.bool_]) -> None:
        """Let faults and chance do what is due."""
        xids, crashed = self._faults.advance(seconds, tick.now_unix_ns)
        lost, tick.returned = self._outages.advance(seconds)
        for gang in crashed:
            changed[self._nodes(gang)] = True
        for node in lost:
            if (gang_of := self._gang(node)) is not None:
                gang_of.lose(node - gang_of.run.first_node)
        for node in tick.returned:
            self._come_back(node)
            changed[node] = True
        each = self.plan.gpus_per_node
        for gpu, code in xids:
            if not self._outages.down[gpu // each]:
                event = wire.xid_event(tick.now_unix_ns, gpu % each, code)
                tick.events.append((gpu // each, event))

    def _come_back(self, node: int) -> None:
        self._boot_counts[node] += 1
        each = self.plan.gpus_per_node
        for gpu in range(node * each, (node + 1) * each):
            self.physics.set_xid(gpu, 0)
        if (gang := self._gang(node)) is not None:
            gang.regain(node - gang.run.first_node)

    def _train(self, index: int, gang: Gang, tick: Tick, changed: npt.NDArray[np.bool_]) -> float:
        """Let a run go on; return at what share of full speed it computes now."""
        nodes = self._nodes(gang)
        places = range(nodes.start, nodes.stop)
        rows = self.physics.rows(places)
        if gang.caps_changed:
            self.physics.set_limits(places, gang.cap_watts)
            gang.caps_changed = False
        slowest = self.physics.slowest(index)
        progress: Progress = gang.advance(tick.now_unix_ns, slowest, self.physics.pace[rows])
        tick.steps += progress.steps
        tick.checkpoints += progress.checkpoints
        for local in progress.changed:
            changed[local + nodes.start] = True
        for node in progress.thawed:
            event = wire.thawed_event(tick.now_unix_ns, gang.run.run_id)
            tick.events.append((nodes.start + node, event))
        gang.modes(self._modes[nodes])
        return gang.pace(slowest)

    # --- what agents say -------------------------------------------------------------------

    def hello(self, node_index: int, instance_id: str) -> frame_pb2.Hello:
        """Return what a node's agent says first on a link."""
        boots = int(self._boot_counts[node_index])
        return wire.hello(self.plan, node_index, instance_id, boots, self._now_ns)

    def run_report(self, node_index: int) -> agent_link_pb2.LinkRequest:
        """Return the runs of a node as they are now; without a sequence."""
        gang = self._gang(node_index)
        if gang is None:
            return wire.no_runs()
        facts = self._facts[self.plan.run_index(node_index)]
        return wire.run_report(gang, node_index - gang.run.first_node, facts)

    def process_report(self, node_index: int) -> agent_link_pb2.LinkRequest:
        """Return the processes of a node as they are now; without a sequence."""
        gang = self._gang(node_index)
        return wire.process_report(gang, node_index - gang.run.first_node if gang else 0)

    def sensor_report(self, node_index: int) -> agent_link_pb2.LinkRequest:
        """Return the sensors of a node; without a sequence."""
        return wire.sensor_report(self._now_ns)

    def checkpoint_reports(self, node_index: int) -> list[agent_link_pb2.LinkRequest]:
        """Return the newest checkpoint of each rank of a node: a new link hears them again."""
        gang = self._gang(node_index)
        return wire.checkpoint_reports(gang, node_index - gang.run.first_node) if gang else []

    def obey(
        self, node_index: int, directive: directive_pb2.Directive, now_unix_ns: int
    ) -> list[agent_link_pb2.LinkRequest]:
        """Carry a directive out; return its result and what follows at once, without sequences.

        What takes time comes out of later ticks. A node that is down answers nothing.
        """
        if self._outages.down[node_index]:
            return []
        gang = self._gang(node_index)
        local = node_index - gang.run.first_node if gang is not None else 0
        each = self.plan.gpus_per_node
        first_rank = local * each
        known = self._memory.get(directive.directive_id, node_index)
        if known is not None:
            return [wire.result(directive, known, first_rank, each, is_repeated=True)]
        answer = orders.refuse(directive, gang)
        if answer is None and gang is not None:
            answer = orders.carry_out(directive, gang, local, now_unix_ns)
            self._memory.keep(directive.directive_id, node_index, answer)
        assert answer is not None
        messages = [wire.result(directive, answer, first_rank, each, is_repeated=False)]
        if answer.outcome is Outcome.DONE and directive.WhichOneof("order") in _REPORTED:
            messages += [self.process_report(node_index), self.run_report(node_index)]
        return messages

    # --- places ----------------------------------------------------------------------------

    def mode(self, node_index: int) -> Mode:
        """Return what the ranks of a node did at the last tick."""
        return Mode(int(self._modes[node_index]))

    def _gang(self, node_index: int) -> Gang | None:
        index = self.plan.run_index(node_index)
        return self.gangs[index] if index >= 0 else None

    def _nodes(self, gang: Gang) -> slice:
        return slice(gang.run.first_node, gang.run.first_node + gang.run.node_count)
