"""A node of a real Slurm taken out of use: its runs go on elsewhere, and it is given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colossus_tui.client import Client, RefusedError
from colossus_tui.model import Action, ActionParameters, ActionState
from tests.slurm.site import SlurmSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def client(site: SlurmSite) -> Iterator[Client]:
    """A client of the site's hub; drained nodes are given back at the end."""
    with Client(site.address, operator="ada") as client:
        yield client
    for name in site.slurm.node_names:
        if "DRAIN" in site.slurm.node_field(name, "State"):
            site.slurm.check("scontrol", "update", f"NodeName={name}", "State=RESUME")


def node_of(site: SlurmSite, run_id: str) -> str:
    """Return the one node of a run."""
    (name,) = site.run_of(run_id)["node_names"]
    return str(name)


def standing(site: SlurmSite, name: str) -> dict[str, object]:
    """Return a node as the hub shows it."""
    (node,) = [node for node in site.json("nodes")["nodes"] if node["node_name"] == name]
    found: dict[str, object] = node
    return found


def cordoned(client: Client) -> bool:
    """Return whether an alert of the site tells of a drained node."""
    return any(alert.kind == "node.drained" for alert in client.site().alerts)


def children(client: Client, whole: Action) -> list[Action]:
    """Return the parts of an action, oldest first."""
    parts = [one for one in client.actions() if one.parent_action_id == whole.action_id]
    return parts[::-1]


def test_a_drained_nodes_run_saves_and_goes_on_elsewhere(site: SlurmSite, client: Client) -> None:
    run_id = site.train("mover", ranks=1)
    name = node_of(site, run_id)
    before = client.preview("drain", "", ActionParameters(node_name=name))
    assert before.allowed
    assert [(run.run_id, run.can_move) for run in before.runs] == [(run_id, True)]
    assert {figure.name for figure in before.figures} >= {"work_at_risk"}

    action = client.drain(name, reason="GPU 3 fell off the bus", wait=True, timeout=120)

    assert action.state is ActionState.OBSERVED, action
    assert "1/1 runs go on elsewhere" in action.detail
    assert node_of(site, run_id) != name
    assert site.run_of(run_id)["attempt"] == 2
    assert "DRAIN" in site.slurm.node_field(name, "State")
    parts = children(client, action)
    assert [part.verb for part in parts] == ["pause", "resume"]
    assert {part.operator for part in parts} == {"ada"}
    until(lambda: "DRAIN" in str(standing(site, name)["scheduler_state"]), 20, message="the word")
    assert "GPU 3 fell off the bus (by ada, colossus)" in str(
        standing(site, name)["scheduler_reason"]
    )
    assert client.preview("undrain", "", ActionParameters(node_name=name)).allowed
    until(lambda: cordoned(client), 20, message="the site's alert")

    back = client.undrain(name, wait=True, timeout=30)

    assert back.state is ActionState.OBSERVED, back
    assert "DRAIN" not in site.slurm.node_field(name, "State")
    until(lambda: not cordoned(client), 20, message="no alert any more")


def test_a_run_that_cannot_move_is_named_and_left_alone(site: SlurmSite, client: Client) -> None:
    job = site.slurm.submit("sleep 300", "--nodes=1")
    run_id = f"slurm-{job}"
    site.wait_state(run_id, "running", 40)
    name = node_of(site, run_id)

    action = client.drain(name, wait=True, timeout=60)

    assert action.state is ActionState.PARTIAL, action
    assert run_id in action.detail
    assert "needs the hook" in action.detail
    assert site.run_of(run_id)["state"] == "running"
    assert "DRAIN" in site.slurm.node_field(name, "State")


def test_a_run_without_a_free_node_is_saved_and_said_to_wait(
    site: SlurmSite, client: Client
) -> None:
    run_id = site.train("whole", "--exclusive", ranks=3)
    (name, *_) = site.slurm.node_names

    action = client.drain(name, wait=True, timeout=170)

    assert action.state is ActionState.PARTIAL, action
    assert f"{run_id}: saved; waits in its queue" in action.detail
    assert site.run_of(run_id)["state"] == "pending"
    client.undrain(name, wait=True, timeout=30)
    site.wait_state(run_id, "running", 60)


def test_a_hub_that_crashes_in_a_drain_finishes_it(site: SlurmSite, client: Client) -> None:
    run_id = site.train("crossing", ranks=1)
    name = node_of(site, run_id)
    action = client.drain(name)
    until(lambda: children(client, action), 20, message="the first part")
    site.kill("hub")
    site.start_hub("--config", str(site.settings))

    with Client(site.address) as again:
        end = again.wait(action.action_id, 120)
        parts = children(again, action)

    assert end.state is ActionState.OBSERVED, end
    assert [part.verb for part in parts] == ["pause", "resume"]
    assert site.run_of(run_id)["attempt"] == 2
    assert node_of(site, run_id) != name


def test_a_node_is_drained_once_at_a_time_and_only_by_its_owner(
    site: SlurmSite, client: Client
) -> None:
    with pytest.raises(RefusedError, match="no scheduler of this hub owns nowhere"):
        client.drain("nowhere")
    with pytest.raises(RefusedError, match="is not drained"):
        client.undrain(site.slurm.node_names[0])
    with pytest.raises(RefusedError, match="node_name"):
        client.drain("n1; reboot")
    run_id = site.train("held", ranks=1)
    name = node_of(site, run_id)
    action = client.drain(name)

    with pytest.raises(RefusedError, match="holds the node"):
        client.drain(name)
    assert client.wait(action.action_id, 120).state is ActionState.OBSERVED
