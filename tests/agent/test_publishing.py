"""What the agent tells of a sample, and when: the hub must end up with the newest."""

from __future__ import annotations

from pathlib import Path

from colossus_agent.app import PROCESS_REPORT_SECONDS, Agent
from colossus_agent.config import AgentConfig
from colossus_agent.link import Link
from colossus_agent.readings import ProcessSample, Sample
from colossus_agent.sampler import Sampler
from colossus_protos.v1 import agent_link_pb2

RANK = ProcessSample(1, 1, "python", "python train", "me", "r", "cgroup", 0, 1.0, 1, "R", (3,))


class KeepingLink(Link):
    """A link that keeps the processes that it is told of."""

    told: list[list[int]]

    def report(self, kind: str, message: agent_link_pb2.LinkRequest) -> None:
        """Keep it."""
        if kind == "processes":
            self.told.append([process.pid for process in message.process_report.processes])


def sample(*processes: ProcessSample) -> Sample:
    return Sample(0, b"", b"", (), (), processes, ())


def test_the_end_of_the_last_process_is_told_also_when_it_comes_too_soon(tmp_path: Path) -> None:
    agent = Agent(AgentConfig(("unix:/none",), "node-1", tmp_path), Sampler())
    agent._link = link = KeepingLink(["unix:/none"], agent._outbox, agent._hello, agent._reports)
    link.told = []

    agent._publish(sample(RANK))
    agent._publish(sample())  # a moment after the report before
    assert link.told == [[1]]
    agent._processes_sent -= PROCESS_REPORT_SECONDS
    agent._publish(sample())
    agent._processes_sent -= PROCESS_REPORT_SECONDS
    agent._publish(sample())

    assert link.told == [[1], []]
