"""A simulated site at a real hub is brought under a power, and let go again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from colossus_tui.client import Client, InvalidRequestError, RefusedError
from colossus_tui.model import Action, ActionParameters, Run, Shed, ShedPlan, Verb, sheds_in_force
from colossus_tui.sim.catalogue import MODELS
from tests.e2e.product import BIN
from tests.sim.live import LiveSite, live_site
from tests.support import until
from tests.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

END_SECONDS = 120.0
CUT = Shed(cut_ratio=0.2, within_seconds=180.0)


@pytest.fixture(scope="module")
def site() -> Iterator[LiveSite]:
    """A site whose runs all step; each test leaves them so."""
    with live_site() as live:
        live.start(settings='site_name = "north"\n')
        yield live


@pytest.fixture
def client(site: LiveSite) -> Iterator[Client]:
    until(lambda: is_as_ever(site), 90, message="all runs to step")
    with Client(site.product.address, operator="alice") as client:
        yield client
        for held in sheds_in_force(client.actions(limit=200)):
            if client.preview("restore", "", restoring(held)).allowed:
                client.restore(held.action_id, wait=True, timeout=END_SECONDS)


def runs(site: LiveSite) -> dict[str, Run]:
    """Return all runs by name."""
    return {run.run_id: run for run in site.product.ask(Client.runs)}


def is_as_ever(site: LiveSite) -> bool:
    """Return whether every run steps with all the power that its GPUs take."""
    found = runs(site).values()
    measured = site.product.ask(Client.site).power_watts is not None
    return (
        measured
        and len(found) == len(MODELS)
        and all(
            run.state == "running" and run.tokens_per_second and not run.power_cap_watts
            for run in found
        )
    )


def drawn(site: LiveSite) -> float:
    """Return what the site draws, as the mean of some seconds: a run that saves draws less."""
    found = []
    for _ in range(12):
        watts = site.product.ask(Client.site).power_watts
        assert watts is not None
        found.append(watts)
        time.sleep(1.0)  # a look is as far apart as the hub's ticks are
    return statistics.fmean(found)


def restoring(shed: Action) -> ActionParameters:
    return ActionParameters(shed=Shed(shed_action_id=shed.action_id))


def previewed(client: Client, shed: Shed = CUT) -> ShedPlan:
    """Return the plan that the hub makes."""
    preflight = client.preview("shed", "", ActionParameters(shed=shed))
    assert preflight.allowed, preflight.refusal_detail
    assert preflight.plan is not None
    assert preflight.subject == "north"
    return preflight.plan


def parts_of(client: Client, whole: Action) -> list[Action]:
    """Return what an action did to runs, in the order in which it was asked for."""
    return sorted(
        client.actions(parent_action_id=whole.action_id, limit=100),
        key=lambda part: part.requested_time_unix_ns,
    )


def test_the_site_falls_as_planned_and_comes_back_in_reverse_order(
    site: LiveSite, client: Client
) -> None:
    before = drawn(site)
    plan = previewed(client)

    shed = client.shed(CUT.approved(plan), reason="grid", wait=True, timeout=END_SECONDS)

    assert shed.state == "observed", shed.detail
    after = drawn(site)
    assert after == pytest.approx(plan.planned_watts, rel=0.05)
    assert after <= plan.target_watts
    done = parts_of(client, shed)
    keys = {(part.verb, part.run_id) for part in done}
    assert {(step.verb, step.run_id) for step in plan.planned} <= keys
    assert keys <= {(step.verb, step.run_id) for step in plan.steps}
    tiers = [runs(site)[part.run_id].flex_tier for part in done]
    assert tiers == sorted(tiers, reverse=True)
    for step in plan.planned:
        run = runs(site)[step.run_id]
        assert run.state == "paused" if step.verb is Verb.PAUSE else run.power_cap_watts
    assert runs(site)["10t"].state == "running"
    assert any("target" in stage.detail for stage in shed.stages)

    undone = client.restore(shed.action_id, wait=True, timeout=END_SECONDS)

    assert undone.state == "observed", undone.detail
    order = [part.run_id for part in parts_of(client, undone)]
    tiers = [runs(site)[run_id].flex_tier for run_id in order]
    assert tiers == sorted(tiers)
    assert set(order) == {part.run_id for part in done}
    until(lambda: is_as_ever(site), 60, message="all runs to step again")
    until(lambda: drawn(site) > 0.95 * before, 60, message="the power of before")


def test_a_hub_that_dies_in_the_middle_goes_on_and_keeps_the_time(
    site: LiveSite, client: Client
) -> None:
    asked = Shed(cut_ratio=0.2, within_seconds=180.0, duration_seconds=10.0, auto_restore=True)
    shed = client.shed(asked.approved(previewed(client, asked)))
    first = until(lambda: parts_of(client, shed)[1:], 20, message="the first step")[0]

    site.product.kill("hub")
    site.product.start_hub("--config", str(site.product.folder / "hub.toml"))

    ended = client.wait(shed.action_id, END_SECONDS)
    assert ended.state == "observed", ended.detail
    parts = parts_of(client, ended)
    assert len({part.action_id for part in parts}) == len(parts)
    assert parts[1].action_id == first.action_id
    (undone,) = [part for part in parts if part.verb is Verb.RESTORE]
    assert (undone.operator, undone.approvals) == ("hub", ("alice",))

    site.product.kill("hub")  # while it waits for its time
    site.product.start_hub("--config", str(site.product.folder / "hub.toml"))

    assert client.wait(undone.action_id, END_SECONDS).state == "observed"
    until(lambda: is_as_ever(site), 60, message="all runs to step again")


def test_an_undoing_before_its_time_takes_the_place_of_the_hubs_own(
    site: LiveSite, client: Client
) -> None:
    asked = Shed(cut_ratio=0.02, within_seconds=180.0, duration_seconds=3_600, auto_restore=True)
    shed = client.shed(asked, wait=True, timeout=END_SECONDS)
    assert shed.state == "observed", shed.detail
    (waiting,) = client.actions(open_only=True)
    assert waiting.verb is Verb.RESTORE
    assert waiting.can_cancel

    with Client(site.product.address, operator="bob") as bob:
        assert bob.restore(shed.action_id, wait=True, timeout=END_SECONDS).state == "observed"

    ended = client.wait(waiting.action_id, 20)
    assert (ended.state, ended.reason_code) == ("failed", "cancelled")
    assert "bob undid it before" in ended.detail
    with pytest.raises(RefusedError, match="nothing of that shed is left to undo"):
        client.restore(shed.action_id)


def test_what_somebody_changed_since_is_left_as_it_is(site: LiveSite, client: Client) -> None:
    shed = client.shed(CUT, wait=True, timeout=END_SECONDS)
    paused = [part.run_id for part in parts_of(client, shed) if part.verb is Verb.PAUSE]
    own, other = paused[:2]
    client.resume(own, wait=True, timeout=END_SECONDS)
    client.resume(other, wait=True, timeout=END_SECONDS)
    client.pause(other, wait=True, timeout=END_SECONDS)

    undone = client.restore(shed.action_id, wait=True, timeout=END_SECONDS)

    assert undone.state == "observed", undone.detail
    assert f"{own}: it is running, not paused" in undone.detail
    assert f"{other}: alice asked for a pause since" in undone.detail
    assert runs(site)[other].state == "paused"
    client.resume(other, wait=True, timeout=END_SECONDS)


def test_an_old_plan_is_refused_with_what_has_changed(site: LiveSite, client: Client) -> None:
    plan = previewed(client)
    gone = next(step.run_id for step in plan.planned if step.verb is Verb.PAUSE)
    client.pause(gone, wait=True, timeout=END_SECONDS)

    with pytest.raises(RefusedError, match="the site has changed since you looked") as refused:
        client.shed(CUT.approved(plan))

    assert f"pause {gone}: it does not go on any more" in str(refused.value)
    assert not client.actions(parent_action_id=refused.value.action.action_id)
    client.resume(gone, wait=True, timeout=END_SECONDS)


def test_only_the_hubs_own_steps_are_taken(client: Client) -> None:
    plan = previewed(client)
    first, *rest = plan.steps
    forged = replace(plan, steps=(replace(first, run_id="10t"), *rest))

    with pytest.raises(RefusedError, match="10t: flex tier 0 is never touched"):
        client.shed(CUT.approved(forged))
    with pytest.raises(RefusedError, match="preview the shed first"):
        client.act("shed", "", ActionParameters(shed=CUT))
    with pytest.raises(RefusedError, match=r"which is not above 1\.000 GW; nothing is to be shed"):
        client.shed(Shed(target_watts=1e9))
    with pytest.raises(RefusedError, match="there is no shed"):
        client.restore("12345678")
    with pytest.raises(InvalidRequestError, match="run_ids"):
        client.preview_bulk("shed", [])


def test_the_command_line_shows_the_plan_asks_and_follows(site: LiveSite, client: Client) -> None:
    del client
    cli = site.product.cli
    dry = cli("shed", "--by", "2%", "--for", "1h", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "LEFT AS IT IS" in dry.stdout
    assert "flex tier 0 is never touched" in dry.stdout
    assert cli("shed", "--by", "2%").returncode == 2  # nobody is there to type the site's name
    assert "give one as in 150MW" in cli("shed", "--to", "3").stderr
    assert cli("shed", "--to", "1GW", "--yes").returncode == 4

    done = cli("shed", "--by", "2%", "--within", "3m", "--yes", timeout=END_SECONDS)

    assert done.returncode == 0, done.stderr
    assert "shed the site: observed" in done.stdout
    assert "pause 1t-b" in done.stderr + done.stdout
    preview = cli("restore", "--dry-run")
    assert "goes on where it was saved" in preview.stdout + preview.stderr
    undone = cli("restore", "--yes", timeout=END_SECONDS)
    assert undone.returncode == 0, undone.stderr
    assert "1/1 steps undone" in undone.stdout
    none = cli("restore", "--yes")
    assert (none.returncode, "no shed holds now" in none.stderr) == (1, True)


def test_the_console_asks_shows_the_plan_and_follows_it_in_80_by_24(
    site: LiveSite, client: Client
) -> None:
    del client
    argv = [str(BIN / "colossus")]
    with Terminal(argv, site.product.environment | {"LOGNAME": "carol"}, 80, 24) as terminal:
        terminal.until("10t", "running")
        terminal.press("w")
        terminal.until("hall-A")
        terminal.press("s")
        terminal.until("come under, for, within: _", '"150 MW 3h 5min"')
        terminal.press("-2 % 3 weeks\r")
        terminal.until("is no time")
        terminal.press("\x7f" * 7 + "\r")  # "-2 %"
        terminal.until(
            "shed the site, north",
            "1 step",
            "1t-b",
            "SITE THEN",
            "type the site's name, then enter",
        )
        terminal.press("nowhere\r")
        terminal.until("that is not the site's name")
        terminal.press("north\r")
        terminal.until("shed the site  observed", "1/1 steps", seconds=END_SECONDS)
        terminal.press("\x1b")
        terminal.until_gone("shed the site  observed")
        terminal.press("R")
        terminal.until("restore the site", "1t-b", "y does it")
        terminal.press("y")
        terminal.until("restore the site  observed", "1/1 steps undone", seconds=END_SECONDS)
        terminal.press("\x1b")
        terminal.until_gone("restore the site  observed")
        terminal.press("R")
        terminal.until("no shed holds now", "nothing was done")
