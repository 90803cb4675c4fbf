"""A power limit on a job of a real Slurm: its own GPUs on each of its nodes, until it has ended."""

from __future__ import annotations

import json

import pytest

from tests.fakes.fake_nvml import FakeNvml
from tests.slurm.site import SlurmSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_a_cap_goes_to_every_node_of_the_job_and_ends_with_it(site: SlurmSite) -> None:
    driver = FakeNvml(site.folder, gpu_count=4)  # the nodes share the machine, and so its GPUs
    site.environment = {**driver.environment, **site.environment}
    for name in site.slurm.node_names:
        site.kill_agent_of(name)
        site.start_agent_of(name)
    run_id = site.train("warm")
    pids = [rank["pid"] for rank in site.ranks(run_id)]
    assert len(pids) == 2
    held = [f"{gpu} process {pid} 1000000000 compute" for gpu, pid in enumerate(pids)]
    driver.have(*held, "* set memory_used 0")
    until(lambda: site.run_of(run_id).get("gpu_count") == 2, 30, message="two GPUs held")

    result = site.cli("cap", run_id, "--watts", "400", "--yes", "--json")

    assert result.returncode == 0, result.stdout + result.stderr
    action = json.loads(result.stdout)["action"]
    assert (action["detail"], action["confirmed_node_count"]) == ("2/2 GPUs read back 400 W", 2)
    assert driver.limits_watts() == [400, 400, 700, 700]
    until(lambda: site.run_of(run_id)["power_cap_watts"] == 400, message="the cap on the run")
    assert site.slurm.field(run_id.removeprefix("slurm-"), "JobState") == "RUNNING"

    stopped = site.cli("stop", run_id, "--yes")

    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    until(lambda: driver.limits_watts() == [700] * 4, 40, message="the limits that were before")
