"""The agent's composition: sensors, runs and link, joined by one tick."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from colossus_agent import notify, wire
from colossus_agent.config import AgentConfig
from colossus_agent.directives import Directives
from colossus_agent.link import Link
from colossus_agent.outbox import Outbox
from colossus_agent.readings import GPU_COLUMNS, HOST_COLUMNS, Sample
from colossus_agent.runs.state import LocalRun, LocalRunState, Poll
from colossus_agent.runs.supervisor import Supervisor
from colossus_agent.sampler import Sampler
from colossus_protos.v1 import agent_link_pb2, directive_pb2, frame_pb2

LOG = logging.getLogger(__name__)
BUSY_SECONDS = 0.1  # between two looks at the runs while something is under way
BUSY_AFTER_DIRECTIVE_SECONDS = 30.0
PROCESS_REPORT_SECONDS = 2.0


class Agent:
    """One node's agent."""

    def __init__(self, config: AgentConfig, sampler: Sampler) -> None:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config = config
        self._sampler = sampler
        self._supervisor = Supervisor(config.state_dir)
        self._directives = Directives(config.state_dir / "directives.jsonl", self._supervisor)
        self._hand = ThreadPoolExecutor(1, "runs")  # the one thread that touches the supervisor
        self._outbox = Outbox()
        self._link = Link(config.hub, self._outbox, self._hello, self._reports, self._take)
        self._waiting: asyncio.Queue[directive_pb2.Directive] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._instance_id = uuid.uuid4().hex
        self._version = version("colossus-agent")
        self._sample: Sample | None = None
        self._runs: tuple[LocalRun, ...] = ()
        self._busy_until = 0.0
        self._processes_sent = 0.0
        self._dropped = 0

    async def run(self) -> None:
        """Adopt, sample, link and obey until cancelled."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._hand, self._supervisor.adopt)
        notify.notify("READY=1")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._link.run())
                tasks.create_task(self._obey())
                tasks.create_task(self._tick())
        finally:
            notify.notify("STOPPING=1")
            self._hand.shutdown(wait=False, cancel_futures=True)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        period = self._config.sample_seconds
        due = loop.time()
        beat = notify.watchdog_wanted()
        while True:
            if loop.time() >= due:
                self._publish_sample(await self._sampler.sample())
                due = max(due + period, loop.time())
                if beat:
                    notify.notify("WATCHDOG=1")
            self._publish_runs(await loop.run_in_executor(self._hand, self._supervisor.poll))
            now = loop.time()
            wait = due - now if now > self._busy_until else min(BUSY_SECONDS, due - now)
            self._wake.clear()
            try:
                async with asyncio.timeout(max(wait, 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _publish_sample(self, sample: Sample) -> None:
        before, self._sample = self._sample, sample
        self._send_numbered(wire.frame(sample))
        if before is None or before.sensors != sample.sensors:
            self._link.send(agent_link_pb2.LinkRequest(sensor_report=wire.sensor_report(sample)))
        now = time.monotonic()
        if sample.processes and now - self._processes_sent >= PROCESS_REPORT_SECONDS:
            self._processes_sent = now
            self._link.send(self._process_report())
        elif before is not None and before.processes and not sample.processes:
            self._link.send(self._process_report())
        for happening in sample.events:
            self._send_numbered(wire.event(happening))
        if self._outbox.dropped_count > self._dropped and self._link.linked:
            lost = self._outbox.dropped_count - self._dropped
            self._dropped += lost
            self._send_numbered(
                wire.run_event(
                    time.time_ns(),
                    "warning",
                    "agent.gap",
                    "",
                    f"{lost} messages were dropped while the hub could not be reached",
                )
            )

    def _publish_runs(self, poll: Poll) -> None:
        for run_id in poll.thawed_run_ids:
            self._send_numbered(
                wire.run_event(
                    time.time_ns(), "warning", "run.thawed", run_id, "thawed by its fuse"
                )
            )
        for run in poll.progress:
            for message in wire.progress(run):
                self._send_numbered(message)
        if poll.runs != self._runs:
            self._runs = poll.runs
            self._link.send(self._run_report())
        if any(run.state is LocalRunState.STARTING for run in poll.runs):
            self._hurry(1.0)

    def _send_numbered(self, message: agent_link_pb2.LinkRequest) -> None:
        self._outbox.add(message)
        self._link.send(message)

    def _take(self, directive: directive_pb2.Directive) -> None:
        self._waiting.put_nowait(directive)

    async def _obey(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            directive = await self._waiting.get()
            LOG.info(
                "directive=%r run=%r order=%s",
                directive.directive_id,
                directive.run_id,
                directive.WhichOneof("order"),
            )
            answer = await loop.run_in_executor(self._hand, self._directives.execute, directive)
            self._send_numbered(agent_link_pb2.LinkRequest(directive_result=answer))
            self._hurry(BUSY_AFTER_DIRECTIVE_SECONDS)

    def _hurry(self, seconds: float) -> None:
        """Look at the runs more often for a while: somebody waits for what an order does."""
        now = asyncio.get_running_loop().time()
        self._busy_until = max(self._busy_until, now + seconds)
        self._wake.set()

    def _hello(self) -> agent_link_pb2.LinkRequest:
        sampler, config = self._sampler, self._config
        return agent_link_pb2.LinkRequest(
            hello=frame_pb2.Hello(
                node_name=config.node_name,
                agent_version=self._version,
                instance_id=self._instance_id,
                rack=config.rack,
                hall=config.hall,
                gpu_columns=wire.columns(GPU_COLUMNS),
                host_columns=wire.columns(HOST_COLUMNS),
                host=wire.host(sampler.host_inventory()),
                gpus=[wire.gpu(gpu) for gpu in sampler.gpu_inventory()],
                sample_period_seconds=config.sample_seconds,
                sent_time_unix_ns=time.time_ns(),
                gpu_detail=wire.text(sampler.gpu_detail()),
                oldest_sequence=self._outbox.oldest_sequence,
            )
        )

    def _reports(self) -> list[agent_link_pb2.LinkRequest]:
        """What a new link starts with: everything that each later report only replaces."""
        reports = [self._run_report()]
        if self._sample is not None:
            reports.append(
                agent_link_pb2.LinkRequest(sensor_report=wire.sensor_report(self._sample))
            )
            reports.append(self._process_report())
        return reports

    def _run_report(self) -> agent_link_pb2.LinkRequest:
        return agent_link_pb2.LinkRequest(run_report=wire.run_report(self._runs))

    def _process_report(self) -> agent_link_pb2.LinkRequest:
        processes = self._sample.processes if self._sample else ()
        return agent_link_pb2.LinkRequest(process_report=wire.process_report(processes))
