"""Every verb on Jobs and JobSets of a recorded Kubernetes, and what the hub says of each."""

from __future__ import annotations

import json

import pytest

from tests.kubernetes.site import KubernetesSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_a_paused_job_has_no_pod_and_learns_on_from_its_checkpoint(site: KubernetesSite) -> None:
    run_id = site.submit("paused", steps=160)
    site.wait_running(run_id, 20)
    run = site.run_of(run_id)
    assert (run["backend"], run["label"], run["hooked"]) == ("kubernetes", "paused", True)
    assert run["node_names"] == ["k1", "k2"]
    assert run["job"]["gpu_count"] == 8

    paused = site.cli("pause", run_id, "--yes", "--json")

    assert paused.returncode == 0, paused.stdout + paused.stderr
    action = json.loads(paused.stdout)["action"]
    assert site.cluster.get("jobs", "paused")["spec"]["suspend"] is True
    assert site.cluster.pods("paused") == []
    run = site.run_of(run_id)
    assert run["state"] == "paused"
    assert run["durable_step"] == action["agreed_step"] >= 20
    assert run["job"]["held"]

    resumed = site.cli("resume", run_id, "--yes", "--json")

    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "attempt 2 runs: step" in json.loads(resumed.stdout)["action"]["detail"]
    site.wait_state(run_id, "completed", 60)
    assert site.run_of(run_id)["attempt"] == 2
