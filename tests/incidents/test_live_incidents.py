"""Incidents of a simulated site at a real hub: one of each cause, kept over a restart."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_tui.model import IncidentState, Severity, Verb
from tests.incidents.live import PLAN, Site
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
RACK = "A-r012"
NODES = PLAN.nodes_of_rack(PLAN.rack_names.index(RACK))
RUN = next(
    run
    for run in PLAN.runs
    if run.first_node <= NODES.start and NODES.stop <= run.first_node + run.node_count
)


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:  # short: it holds a socket
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.close()


def loss(at: int, duration: int, where: str) -> str:
    """Return a fault: these nodes fall silent."""
    return f'[[fault]]\nkind = "node_loss"\nat = {at}\nduration = {duration}\n{where}\n'


@pytest.mark.waits
def test_a_racks_outage_is_one_incident_that_outlives_the_hub(site: Site) -> None:
    site.start(loss(8, 75, f'rack = "{RACK}"'))
    (one,) = until(site.incidents, 40, message="the incident")

    assert one.title == f"rack hall-A/{RACK}: {len(NODES)} nodes lost ({len(NODES) * 4} GPUs)"
    assert (one.hall, one.rack, one.kind) == ("hall-A", RACK, "node.lost")
    assert (one.severity, one.state) == (Severity.CRITICAL, IncidentState.OPEN)
    assert [run.run_id for run in one.runs] == [RUN.run_id]
    first = (NODES.start - RUN.first_node) * 4
    assert one.runs[0].ranks == f"{first}-{first + len(NODES) * 4 - 1}"
    whole = site.product.ask(lambda client: client.incident(one.incident_id))
    assert list(whole.members) == [PLAN.node_names[node] for node in NODES]

    number = str(one.incident_id)
    assert site.product.cli("ack", number).returncode == 0
    assert site.product.json("silence", number, "--for", "30m")["incident"]["silenced_by"]
    site.product.kill("hub")
    site.product.hang_up()
    site.start_hub()
    (again,) = site.incidents()
    assert again.incident_id == one.incident_id
    assert again.acknowledged_by == again.silenced_by != ""
    assert not again.counts(time.time_ns())

    until(lambda: not site.incidents(), 90, message="the end of it")
    (closed,) = site.incidents(closed=True)
    assert (closed.incident_id, closed.state) == (one.incident_id, IncidentState.CLOSED)
    notes = site.product.ask(lambda client: client.incident(one.incident_id)).notes
    texts = [note.text for note in notes]
    assert texts[:3] == ["opened", "acknowledged", "silenced for 30m00s"]
    assert texts[-1] == "over"


@pytest.mark.waits
def test_a_node_that_flaps_is_one_incident_with_a_count(site: Site) -> None:
    name = PLAN.node_names[NODES.start]
    site.start("".join(loss(at, 20, f'node = "{name}"') for at in (8, 40, 72)))
    until(lambda: any(o.flap_count >= 2 for o in site.incidents()), 120, message="the third time")

    (one,) = site.incidents(closed=True)
    assert (one.node_name, one.title) == (name, f"node {name}: lost (4 GPUs)")


@pytest.mark.waits
def test_a_straggler_is_told_by_its_rank_and_a_quiet_site_of_nothing(site: Site) -> None:
    fault = '[[fault]]\nkind = "straggler"\nat = 25\nduration = 300\nrun = "6t"\nrank = 37\n'
    site.start(fault)
    began = time.monotonic()
    while not site.incidents(closed=True) and time.monotonic() - began < 60:
        time.sleep(0.5)
    (one,) = site.incidents(closed=True)  # and in the time before it none

    assert one.title == "run 6t: waits for rank 37"
    assert [(run.run_id, run.ranks) for run in one.runs] == [("6t", "37")]
    run = next(run for run in PLAN.runs if run.run_id == "6t")
    node = PLAN.node_names[run.first_node + 37 // 4]
    whole = site.product.ask(lambda client: client.incident(one.incident_id))
    assert whole.members == (f"{node} GPU 1",)
    assert whole.reason.startswith(f"{node} GPU 1 (rank 37) at ")
    counts = site.product.json("status")["site"]
    assert (counts["open_incident_count"], counts["critical_incident_count"]) == (1, 0)

    timeline = site.product.ask(lambda client: client.timeline("6t"))
    assert [incident.incident_id for incident in timeline.incidents] == [one.incident_id]
    assert timeline.series is not None
    assert timeline.series.name == "step_seconds"
    assert len(timeline.series.values) > 1
    assert all(event.run_id in ("", "6t") for event in timeline.events)


@pytest.mark.waits
def test_a_run_that_died_is_over_as_an_incident_once_somebody_knows(site: Site) -> None:
    site.start('[[fault]]\nkind = "crash"\nat = 8\nrun = "1t-a"\n')
    (one,) = until(site.incidents, 40, message="the incident")

    assert (one.kind, one.title) == ("run.failed", "run 1t-a: failed")
    assert one.next_step is not None
    assert (one.next_step.verb, one.next_step.subject) == (Verb.RESUME, "1t-a")
    assert site.product.cli("ack", str(one.incident_id)).returncode == 0
    assert site.incidents() == ()
    assert site.product.cli("ack", str(one.incident_id)).returncode == 1
    assert "over" in site.product.cli("ack", str(one.incident_id)).stderr
