"""Every verb on Jobs and JobSets of a recorded Kubernetes, and what the hub says of each."""

from __future__ import annotations

import json

import pytest

from colossus_tui.client import Client
from colossus_tui.hub.backends.kubernetes import shapes
from tests.e2e.product import process_state
from tests.kubernetes import manifests
from tests.kubernetes.site import QUEUE, KubernetesSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_a_paused_job_has_no_pod_and_learns_on_from_its_checkpoint(site: KubernetesSite) -> None:
    steady = site.submit("steady", steps=150, gpus=0, labels={shapes.RUN_LABEL: ""})
    run_id = site.submit("paused", steps=150)
    site.wait_running(run_id)
    run = site.run_of(run_id)
    assert (run["backend"], run["label"], run["hooked"]) == ("kubernetes", "paused", True)
    assert run["node_names"] == site.cluster.node_names[:2]
    assert run["job"]["gpu_count"] == 8

    paused = site.cli("pause", run_id, "--yes", "--json")

    assert paused.returncode == 0, paused.stdout + paused.stderr
    action = json.loads(paused.stdout)["action"]
    assert site.cluster.get("jobs", "paused")["spec"]["suspend"] is True
    assert site.cluster.pods("paused") == []
    run = site.run_of(run_id)
    assert run["state"] == "paused"
    assert run["durable_step"] == action["agreed_step"]
    assert run["job"]["held"]

    resumed = site.cli("resume", run_id, "--yes", "--json")

    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "attempt 2 runs: step" in json.loads(resumed.stdout)["action"]["detail"]
    site.wait_state(run_id, "completed", 60)
    site.wait_state(steady, "completed", 60)
    assert site.run_of(run_id)["attempt"] == 2
    # The scheduler's word that it is over may come before the agents' last steps.
    until(lambda: len(losses(site, run_id)) == len(losses(site, steady)) == 150, message="steps")
    assert losses(site, run_id) == losses(site, steady)


def losses(site: KubernetesSite, run_id: str) -> dict[int, float]:
    """Return the loss of every step of a run."""
    with Client(site.address) as client:
        (series,) = client.history(run_id, ["loss"])
    return dict(zip(series.steps, series.values, strict=True))


def test_a_checkpoint_keeps_the_pods_and_what_kubernetes_cannot_do_is_refused(
    site: KubernetesSite,
) -> None:
    run_id = site.submit("kept", pods=1)
    site.wait_running(run_id)
    pods = [pod["metadata"]["name"] for pod in site.cluster.pods("kept")]

    saved = site.cli("checkpoint", run_id, "--yes", "--json")
    frozen = site.cli("freeze", run_id, "--yes")
    lowered = site.cli("reprioritize", run_id, "P4", "--yes")

    assert saved.returncode == 0, saved.stdout + saved.stderr
    assert site.run_of(run_id)["durable_step"] >= json.loads(saved.stdout)["action"]["agreed_step"]
    assert [pod["metadata"]["name"] for pod in site.cluster.pods("kept")] == pods
    assert frozen.returncode == lowered.returncode == 5
    assert "pause it instead" in frozen.stdout + frozen.stderr
    assert "submit it through Kueue" in lowered.stdout + lowered.stderr


def test_stop_deletes_the_job_and_says_so_before(site: KubernetesSite) -> None:
    run_id = site.submit("over", pods=1)
    site.wait_running(run_id)
    pids = [rank["pid"] for rank in site.ranks(run_id)]
    assert [process_state(pid) != "" for pid in pids] == [True]

    before = site.cli("stop", run_id, "--dry-run")
    stopped = site.cli("stop", run_id, "--yes")

    assert "the Job over itself is deleted with its pods" in before.stdout
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert site.cluster.get("jobs", "over") == {}
    assert [process_state(pid) for pid in pids] == [""]
    assert site.run_of(run_id)["state"] == "stopped"


def test_a_waiting_job_says_why_in_kubernetes_words(site: KubernetesSite) -> None:
    big = site.submit_sleep("big", gpus=16)
    bad = site.submit_sleep("bad", image="missing/image")
    small = site.submit_sleep("small", gpus=0)
    site.wait_state(big, "pending")
    site.wait_state(bad, "pending")

    site.wait_reason(big, "Unschedulable: 0/3 nodes are available")
    site.wait_reason(bad, 'ImagePullBackOff: Back-off pulling image "missing/image"')
    assert site.run_of(small) == {}  # it asks for no GPU

    held = site.cli("pause", big, "--yes")

    assert held.returncode == 0, held.stdout + held.stderr
    assert site.run_of(big)["state"] == "paused"
    assert site.cluster.get("jobs", "big")["spec"]["suspend"] is True

    late = site.cli("resume", big, "--yes", "--timeout", "3")

    assert late.returncode == 3, late.stdout + late.stderr
    assert site.cluster.get("jobs", "big")["spec"]["suspend"] is False


def test_a_jobset_is_one_run_with_all_its_jobs(site: KubernetesSite) -> None:
    argv = manifests.training("both", site.folder / "checkpoints" / "both", 1_000_000)
    env = [
        *manifests.variables(2, "jobset.sigs.k8s.io/jobset-name"),
        manifests.field("COLOSSUS_RANK", "metadata.labels['jobset.sigs.k8s.io/job-index']"),
    ]
    site.cluster.create("jobsets", manifests.jobset("both", manifests.template(argv, env), 2))
    run_id = site.run_id("both")
    site.wait_running(run_id)
    assert site.job_of(run_id)["part_of"] == "JobSet of 2 Jobs"
    assert site.run_of(site.run_id("both-worker-0")) == {}

    paused = site.cli("pause", run_id, "--yes")

    assert paused.returncode == 0, paused.stdout + paused.stderr
    assert site.cluster.get("jobsets", "both")["spec"]["suspend"] is True
    assert site.cluster.pods("both") == []

    resumed = site.cli("resume", run_id, "--yes")

    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert site.run_of(run_id)["attempt"] == 2


def test_kueue_holds_lets_go_and_takes_another_class(site: KubernetesSite) -> None:
    first = site.submit("queued", labels=QUEUE)
    site.wait_running(first)
    second = site.submit_sleep("behind", labels=QUEUE)
    site.wait_state(second, "pending")
    site.wait_reason(second, "insufficient unused quota for nvidia.com/gpu")
    run = site.run_of(first)
    assert (run["priority_class"], run["job"]["quality"], run["job"]["queue"]) == (
        "P4",
        "low",
        "main",
    )

    raised = site.cli("reprioritize", first, "P1", "--yes")
    paused = site.cli("pause", first, "--yes")

    assert raised.returncode == 0, raised.stdout + raised.stderr
    assert "Kueue reads back high, priority 1000" in raised.stdout
    assert site.run_of(first)["priority_class"] == "P1"
    assert paused.returncode == 0, paused.stdout + paused.stderr
    assert site.run_of(first)["state"] == "paused"
    until(lambda: site.job_of(second)["state"] == "Running", 20, message="the freed quota")

    late = site.cli("resume", first, "--yes", "--timeout", "3")
    site.cli("stop", second, "--yes")

    assert late.returncode == 3, late.stdout + late.stderr
    until(lambda: site.run_of(first).get("attempt") == 2, 20, message="the next attempt")
    site.wait_running(first)


def test_the_api_server_away_for_a_while_is_told_and_survived(site: KubernetesSite) -> None:
    run_id = site.submit("lasting", pods=1)
    site.wait_running(run_id)
    told, returned = count(site, "kubernetes.away"), count(site, "kubernetes.back")
    site.cluster.server.stop()
    try:
        until(lambda: count(site, "kubernetes.away") > told, 30, message="the news")
        refused = site.cli("stop", run_id, "--yes")
        assert refused.returncode == 1
        assert "Kubernetes does not answer" in refused.stdout + refused.stderr
        site.wait_step(run_id, site.run_of(run_id)["step"] + 20)  # the agent sees it all the same
        assert site.run_of(run_id)["state"] == "running"
    finally:
        site.cluster.server.start()
    until(lambda: count(site, "kubernetes.back") > returned, 40, message="the return")
    assert site.cli("checkpoint", run_id, "--yes").returncode == 0


def count(site: KubernetesSite, kind: str) -> int:
    """Return how many events of a kind the hub has."""
    return [event["kind"] for event in site.json("events")["events"]].count(kind)


def test_kubernetes_says_no_in_its_own_words_and_a_conflict_is_retried(
    site: KubernetesSite,
) -> None:
    run_id = site.submit("mine", pods=1)
    site.wait_running(run_id)
    site.cluster.server.forbidden |= {("patch", "jobs"), ("delete", "jobs")}

    denied = site.cli("pause", run_id, "--yes")
    kept = site.cli("stop", run_id, "--yes")

    assert denied.returncode == kept.returncode == 6
    assert 'jobs.batch "mine" is forbidden: User "system:serviceaccount:colossus:hub"' in (
        denied.stdout + denied.stderr
    )
    site.wait_state(run_id, "running")

    site.cluster.server.forbidden.clear()
    site.cluster.server.conflicts = 3
    paused = site.cli("pause", run_id, "--yes")

    assert paused.returncode == 0, paused.stdout + paused.stderr
    assert site.cluster.server.conflicts == 0


def test_a_job_whose_pods_do_not_learn_their_attempt_refuses_a_pause(
    site: KubernetesSite,
) -> None:
    argv = manifests.training("blind", site.folder / "checkpoints" / "blind", 1_000_000)
    env = manifests.variables(1, "job-name")[:-2]
    site.cluster.create("jobs", manifests.job("blind", manifests.template(argv, env)))
    run_id = site.run_id("blind")
    site.wait_running(run_id)

    refused = site.cli("pause", run_id, "--yes")

    assert refused.returncode == 5
    assert "COLOSSUS_ATTEMPT" in refused.stdout + refused.stderr


def test_a_hub_that_crashes_in_a_pause_finishes_it(site: KubernetesSite) -> None:
    run_id = site.submit("crashed")
    site.wait_running(run_id)
    started = site.cli("pause", run_id, "--yes", "--no-wait", "--json")
    action_id = json.loads(started.stdout)["action"]["action_id"]
    site.kill("hub")
    site.start_hub("--config", str(site.settings))

    with Client(site.address) as client:
        action = client.wait(action_id, 60)

    assert action.state == "observed", action
    assert site.run_of(run_id)["state"] == "paused"
    assert site.cluster.get("jobs", "crashed")["spec"]["suspend"] is True


def test_a_job_that_completes_before_it_is_suspended_is_not_called_paused(
    site: KubernetesSite,
) -> None:
    run_id = site.submit("brief", steps=90)
    site.wait_running(run_id)
    with Client(site.address) as client:
        action_id = client.submit("pause", run_id).action_id
        until(lambda: client.actions(run_id=run_id)[0].agreed_step >= 0, 20, message="agreement")
        site.cluster.server.stall()  # ranks save and go on; the hub waits for an answer
        try:
            until(lambda: is_complete(site, "brief"), 20, message="the Job's end")
        finally:
            site.cluster.server.go_on()

        action = client.wait(action_id, 30)

    assert (action.state, "it is completed" in action.detail) == ("failed", True), action
    site.wait_state(run_id, "completed")


def is_complete(site: KubernetesSite, name: str) -> bool:
    """Whether the Job itself says so."""
    found = shapes.conditions(site.cluster.get("jobs", name))
    return "Complete" in found and found["Complete"].holds


def test_a_hub_that_crashes_in_a_stop_finds_the_job_deleted(site: KubernetesSite) -> None:
    run_id = site.submit("ended", pods=1)
    site.wait_running(run_id)
    started = site.cli("stop", run_id, "--yes", "--no-wait", "--json")
    action_id = json.loads(started.stdout)["action"]["action_id"]
    site.kill("hub")
    site.cluster.delete("jobs", "ended")
    until(lambda: not site.cluster.get("jobs", "ended"), message="the Job to be gone")
    site.start_hub("--config", str(site.settings))

    with Client(site.address) as client:
        action = client.wait(action_id, 60)

    assert action.state == "observed", action
    assert site.run_of(run_id)["state"] == "stopped"
