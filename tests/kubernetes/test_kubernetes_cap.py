"""A power limit on a Job of a recorded Kubernetes: by the agents of its pods' nodes alone."""

from __future__ import annotations

import json

import pytest

from tests.fakes.fake_nvml import FakeNvml
from tests.kubernetes.site import KubernetesSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_a_cap_is_read_back_on_the_gpus_of_every_pod_and_can_be_taken_off(
    site: KubernetesSite,
) -> None:
    driver = FakeNvml(site.folder, gpu_count=4)  # the nodes share the machine, and so its GPUs
    site.environment = {**driver.environment, **site.environment}
    for name in site.cluster.node_names:
        site.kill_agent_of(name)
        site.start_agent_of(name)
    run_id = site.submit("warm", gpus=1)
    site.wait_running(run_id)
    pids = [rank["pid"] for rank in site.ranks(run_id)]
    driver.have(*(f"{gpu} process {pid} 1000000000 compute" for gpu, pid in enumerate(pids)))
    # Those of the job's request count too: what is asked of the devices needs their processes.
    until(lambda: site.run_of(run_id).get("reporting_gpu_count") == 2, 30, message="GPUs held")

    for words, watts, detail in (
        (("--watts", "400"), 400, "2/2 GPUs read back 400 W"),
        (("--default",), 700, "2/2 GPUs read back the limit before it: 700 W"),
    ):
        result = site.cli("cap", run_id, *words, "--yes", "--json")

        assert result.returncode == 0, result.stdout + result.stderr
        assert json.loads(result.stdout)["action"]["detail"] == detail
        assert driver.limits_watts() == [watts, watts, 700, 700]
