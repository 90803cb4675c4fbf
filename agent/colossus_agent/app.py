"""The agent's composition: sensors, runs and link; a slow one of them never holds up another."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from colossus_agent import VERSION, notify, wire
from colossus_agent.config import AgentConfig
from colossus_agent.control.cap import Caps, may_limit
from colossus_agent.control.cuda import CudaCheckpoint
from colossus_agent.directives import Directives
from colossus_agent.link import Link
from colossus_agent.outbox import FRAME_SECONDS, Outbox
from colossus_agent.readings import GPU_COLUMNS, HOST_COLUMNS, ProcessSample, Sample
from colossus_agent.runs import foreign
from colossus_agent.runs.state import LocalRank, LocalRun, LocalRunState, Poll
from colossus_agent.runs.supervisor import Supervisor
from colossus_agent.sampler import Sampler
from colossus_protos.v1 import agent_link_pb2, directive_pb2, frame_pb2

LOG = logging.getLogger(__name__)
BUSY_SECONDS = 0.1  # between two looks at the runs while something is under way
BUSY_AFTER_DIRECTIVE_SECONDS = 30.0
PROCESS_REPORT_SECONDS = 2.0
PROCESS_FIGURES_SECONDS = 5.0  # when no process came, went or changed what it holds
STUCK_SECONDS = 10.0
JOBS_SECONDS = 5.0  # between two looks for jobs that a scheduler has started without a hook
RUNNABLE = frozenset("RSD")  # kernel's state letters that alternate while a rank works


class Agent:
    """One node's agent."""

    def __init__(self, config: AgentConfig, sampler: Sampler) -> None:
        self._config = config
        self._sampler = sampler
        self._cuda = CudaCheckpoint(
            config.cuda_checkpoint, lambda: self._sampler.host_inventory().driver_version
        )
        self._caps = Caps(config.state_dir / "power_limits.json", sampler)
        self._supervisor = Supervisor(config.state_dir, config.node_name, self._cuda, self._caps)
        self._directives = Directives(config.state_dir / "directives.jsonl", self._supervisor)
        self._hand = ThreadPoolExecutor(1, "runs")  # the one thread that touches the supervisor
        self._outbox = Outbox(frame_limit=max(1, round(FRAME_SECONDS / config.sample_seconds)))
        self._link = Link(config.hubs, self._outbox, self._hello, self._reports)
        self._look = asyncio.Event()
        self._instance_id = os.urandom(16).hex()
        self._sample: Sample | None = None
        self._runs: tuple[LocalRun, ...] = ()
        self._has_runs = True
        self._looked = 0.0
        self._busy_until = 0.0
        self._hand_busy_since: float | None = None
        self._processes_sent = 0.0
        self._processes_told: tuple[ProcessSample, ...] | None = None
        self._dropped_told = (0, 0)
        self._told_link = 0

    async def run(self) -> None:
        """Adopt, sample, link and obey until cancelled."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._hand, self._supervisor.adopt)
        for identity in self._directives.interrupted:
            text = f"directive {identity} was under way when the agent before this one ended"
            self._tell("warning", "directive.interrupted", text)
        await self._sampler.sample()  # so that the first Hello has the whole inventory
        await loop.run_in_executor(self._hand, self._cuda.refusal)  # probed before the first Hello
        notify.notify("READY=1")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._link.run())
                tasks.create_task(self._obey())
                tasks.create_task(self._watch_runs())
                tasks.create_task(self._tick())
        finally:
            notify.notify("STOPPING=1")
            self._hand.shutdown(wait=False, cancel_futures=True)

    async def _tick(self) -> None:
        period = self._config.sample_seconds
        watchdog = notify.watchdog_wanted()
        gpus = self._sampler.gpu_inventory()
        while True:
            sample = await self._sampler.sample()
            if gpus != self._sampler.gpu_inventory():
                gpus = self._sampler.gpu_inventory()
                self._link.renew()
            self._publish(sample)
            self._tell_drops()
            self._tell_stuck_hand()
            due = time.monotonic() - self._looked >= JOBS_SECONDS
            if self._has_runs or due or foreign.any_pages():
                self._looked = time.monotonic()
                self._look.set()
            if watchdog:
                notify.notify("WATCHDOG=1")
            await asyncio.sleep(seconds_to_tick(time.time(), period))

    def _publish(self, sample: Sample) -> None:
        before, self._sample = self._sample, sample
        self._link.send(wire.frame(sample))
        if before is None or _health(before) != _health(sample):
            self._link.report("sensors", _sensor_report(sample))
        now = time.monotonic()
        same = _held(sample.processes) == _held(self._processes_told or ())
        wait = PROCESS_FIGURES_SECONDS if same else PROCESS_REPORT_SECONDS
        due = now - self._processes_sent >= wait
        if due and sample.processes is not self._processes_told:  # that none is left comes once
            self._processes_sent, self._processes_told = now, sample.processes
            self._link.report("processes", _process_report(sample))
        for happening in sample.events:
            self._link.send(wire.event(happening))

    def _tell_drops(self) -> None:
        if not self._link.is_up:
            return
        dropped = (self._outbox.dropped_frames, self._outbox.dropped_others)
        frames, others = (now - told for now, told in zip(dropped, self._dropped_told, strict=True))
        if frames or others:
            self._dropped_told = dropped
            text = f"{frames} frames and {others} other messages outgrew the gap buffer"
            self._tell("warning", "agent.gap", text)

    def _tell_stuck_hand(self) -> None:
        since = self._hand_busy_since
        if since is not None and time.monotonic() - since > STUCK_SECONDS:
            self._hand_busy_since = None
            text = f"looking after runs has been held up for {STUCK_SECONDS:g} s; sensors go on"
            self._tell("warning", "agent.stuck", text)

    def _tell(self, severity: str, kind: str, text: str, run_id: str = "") -> None:
        self._link.send(wire.run_event(time.time_ns(), severity, kind, run_id, text))
        LOG.warning("event=%s run=%r detail=%r", kind, run_id, text)

    async def _watch_runs(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._look.clear()
            self._hand_busy_since = time.monotonic()
            # A hub keeps of a checkpoint what is whole: the next must hear of the parts again.
            is_told, self._told_link = self._told_link == self._link.count, self._link.count
            look = partial(self._supervisor.poll, tell_again=not is_told)
            poll = await loop.run_in_executor(self._hand, look)
            self._hand_busy_since = None
            self._publish_runs(poll)
            if loop.time() < self._busy_until:
                await asyncio.sleep(BUSY_SECONDS)
            else:
                await self._look.wait()

    def _publish_runs(self, poll: Poll) -> None:
        for run_id in poll.thawed_run_ids:
            left = poll.not_restored.get(run_id, "")
            text = f"thawed by its fuse; {left}" if left else "thawed by its fuse"
            self._tell("critical" if left else "warning", "run.thawed", text, run_id)
        for run_id, text in poll.uncapped.items():
            self._tell("info", "run.uncapped", text, run_id)
        changed = _settled(poll.runs) != _settled(self._runs)
        self._runs = poll.runs
        self._has_runs = bool(poll.runs)
        if changed:  # before its steps: it says how many ranks make a step whole
            self._link.report("runs", self._run_report())
        for run in poll.progress:
            for message in wire.progress(run):
                self._link.send(message)
        if any(run.state in (LocalRunState.STARTING, LocalRunState.FROZEN) for run in poll.runs):
            self._hurry(1.0)

    async def _obey(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            directive = await self._link.next_directive()
            answer = await loop.run_in_executor(self._hand, self._directives.execute, directive)
            self._link.send(agent_link_pb2.LinkRequest(directive_result=answer))
            if answer.outcome != directive_pb2.DIRECTIVE_OUTCOME_REFUSED:
                self._hurry(BUSY_AFTER_DIRECTIVE_SECONDS)

    def _hurry(self, seconds: float) -> None:
        """Look at the runs more often for a while: somebody waits for what an order does."""
        now = asyncio.get_running_loop().time()
        self._busy_until = max(self._busy_until, now + seconds)
        self._look.set()

    def _hello(self) -> agent_link_pb2.LinkRequest:
        sampler, config = self._sampler, self._config
        return agent_link_pb2.LinkRequest(
            hello=frame_pb2.Hello(
                node_name=config.node_name,
                agent_version=VERSION,
                instance_id=self._instance_id,
                rack=config.rack,
                hall=config.hall,
                gpu_columns=wire.columns(GPU_COLUMNS),
                host_columns=wire.columns(HOST_COLUMNS),
                host=wire.host(sampler.host_inventory()),
                gpus=[wire.gpu(self._caps.without(gpu)) for gpu in sampler.gpu_inventory()],
                sample_period_seconds=config.sample_seconds,
                sent_time_unix_ns=time.time_ns(),
                gpu_detail=wire.text(sampler.gpu_detail()),
                oldest_sequence=self._outbox.oldest_sequence,
                can_release_gpus=not self._cuda.refusal(),
                release_gpus_detail=wire.text(self._cuda.refusal()),
                power_cap_detail=may_limit() if sampler.gpu_inventory() else "",
            )
        )

    def _reports(self) -> dict[str, agent_link_pb2.LinkRequest]:
        """What a new link starts with: everything that each later report only replaces."""
        reports = {"runs": self._run_report()}
        if self._sample is not None:
            reports["sensors"] = _sensor_report(self._sample)
            reports["processes"] = _process_report(self._sample)
        return reports

    def _run_report(self) -> agent_link_pb2.LinkRequest:
        return agent_link_pb2.LinkRequest(run_report=wire.run_report(self._runs))


def seconds_to_tick(wall: float, period: float) -> float:
    """Return the time to the next multiple of `period` on the wall clock.

    At least half a period: a timer that fires a little early must not fire twice.
    """
    wait = period - wall % period
    return wait if wait >= period / 2 else wait + period


def _health(sample: Sample) -> tuple[object, ...]:
    return sample.sensors, [(status.name, status.success) for status in sample.collectors]


def _held(processes: tuple[ProcessSample, ...]) -> list[tuple[object, ...]]:
    """Return which processes there are and what they hold, without their figures."""
    return [(p.pid, p.start_time_ticks, p.run_id, p.rank, p.gpu_indices) for p in processes]


def _settled(runs: tuple[LocalRun, ...]) -> list[LocalRun]:
    """Return the runs without what changes all the time: steps have messages of their own."""
    return [
        replace(run, ranks=tuple(replace(rank, step=-1, state=_calm(rank)) for rank in run.ranks))
        for run in runs
    ]


def _calm(rank: LocalRank) -> str:
    return "S" if rank.state in RUNNABLE else rank.state


def _sensor_report(sample: Sample) -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest(sensor_report=wire.sensor_report(sample))


def _process_report(sample: Sample) -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest(process_report=wire.process_report(sample.processes))
