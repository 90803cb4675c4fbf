"""Rules, approvals and cancelling through a real hub, against an agent that answers on demand."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from colossus_tui.client import Client, RefusedError
from colossus_tui.model import ActionParameters
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent
from tests.hub.test_engine import linked
from tests.support import until

FREEZE = ActionParameters(fuse_seconds=60)
TWO_APPROVALS = '[[rules]]\napprovals = 2\nverbs = ["freeze"]\nwhy = "it is large"\n'


class Site:
    """A hub with rules, an agent that reports one run, and operators."""

    def __init__(self, hub: Product, agent: FakeAgent, stack: ExitStack) -> None:
        self.hub = hub
        self.agent = agent
        self._stack = stack

    def operator(self, name: str) -> Client:
        """Return this operator's client."""
        return self._stack.enter_context(Client(self.hub.address, operator=name))


@pytest.fixture
def ruled() -> Iterator[Callable[[str], Site]]:
    """Makes a site with the rules of a text."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colossus-")))

        def make(rules: str) -> Site:
            settings = folder / "hub.toml"
            settings.write_text(rules)
            hub = Product(folder)
            stack.callback(hub.close)
            hub.start_hub("--config", str(settings))
            return Site(hub, stack.enter_context(linked(hub)), stack)

        yield make


def test_an_operator_whom_a_rule_does_not_name_is_told_who_may(
    ruled: Callable[[str], Site],
) -> None:
    site = ruled('[[rules]]\noperators = ["alice"]\nruns = ["r*"]\nwhy = "ask her"\n')

    preview = site.operator("bob").preview("freeze", "r", FREEZE)

    assert (preview.allowed, preview.refusal) == (False, "policy")
    assert preview.refusal_detail == "the site's rules: only alice may do this (ask her)"
    action = site.operator("bob").submit("freeze", "r", FREEZE)
    assert (action.state, action.reason_code) == ("refused", "policy")
    assert site.hub.cli("freeze", "r", "--fuse", "60", "--yes").returncode == 4
    assert site.operator("alice").preview("freeze", "r", FREEZE).allowed


def test_outside_its_window_an_action_is_refused_with_the_window(
    ruled: Callable[[str], Site],
) -> None:
    hour = (dt.datetime.now(dt.UTC).hour + 12) % 24
    window = f"{hour:02}:00-{(hour + 1) % 24:02}:00"
    site = ruled(f'[[rules]]\nwindow = "{window}"\nverbs = ["freeze"]\n')
    alice = site.operator("alice")

    action = alice.submit("freeze", "r", FREEZE)

    assert (action.state, action.reason_code) == ("refused", "policy")
    assert action.detail == f"the site's rules: it is allowed {window} UTC only"
    assert alice.preview("checkpoint", "r").allowed


def test_a_second_operator_lets_an_action_begin_and_the_first_cannot(
    ruled: Callable[[str], Site],
) -> None:
    site = ruled(TWO_APPROVALS)
    alice, bob = site.operator("alice"), site.operator("bob")
    assert alice.preview("freeze", "r", FREEZE).approvals_needed == 2
    action = alice.submit("freeze", "r", FREEZE)
    assert action.state == "requested"
    assert f"colossus approve {action.action_id}" in action.detail
    with pytest.raises(RefusedError, match="another operator must approve"):
        alice.approve(action.action_id)
    with pytest.raises(RefusedError, match=action.action_id):
        bob.pause("r")  # it holds the run while it waits

    approved = bob.approve(action.action_id)

    assert approved.state in ("accepted", "dispatched")
    assert approved.approvals == ("alice", "bob")
    assert site.agent.directive().HasField("freeze")
    with pytest.raises(RefusedError, match="waits for no approval"):
        site.operator("carol").approve(action.action_id)


def test_an_action_that_waits_for_approval_can_be_taken_back_and_frees_the_run(
    ruled: Callable[[str], Site],
) -> None:
    site = ruled(TWO_APPROVALS)
    alice, bob = site.operator("alice"), site.operator("bob")
    action = alice.submit("freeze", "r", FREEZE)

    cancelled = alice.cancel(action.action_id)

    assert (cancelled.state, cancelled.reason_code) == ("refused", "cancelled")
    assert cancelled.detail == "taken back by alice; nothing was done"
    with pytest.raises(RefusedError):
        bob.approve(action.action_id)
    until(lambda: bob.preview("checkpoint", "r").allowed, 5, message="the run to be free")


def test_a_waiting_approval_outlives_the_hub(ruled: Callable[[str], Site]) -> None:
    site = ruled(TWO_APPROVALS)
    action = site.operator("alice").submit("freeze", "r", FREEZE)
    site.hub.kill("hub")
    site.hub.start_hub("--config", str(site.hub.folder / "hub.toml"))
    with linked(site.hub) as agent:
        bob = site.operator("bob")

        approved = bob.approve(action.action_id)

        assert approved.approvals == ("alice", "bob")
        assert agent.directive().HasField("freeze")


def test_an_accepted_action_can_be_taken_back_until_the_ranks_are_bound(
    ruled: Callable[[str], Site],
) -> None:
    site = ruled("")
    alice, bob = site.operator("alice"), site.operator("bob")
    first = alice.submit("checkpoint", "r")
    assert site.agent.directive().HasField("prepare_step")

    bob.cancel(first.action_id)

    abort = site.agent.directive()
    assert abort.HasField("abort_step")  # no rank is left with half a promise
    site.agent.answer(abort)
    end = alice.wait(first.action_id, 20)
    assert end.reason_code == "cancelled"
    assert "bob" in end.detail

    second = alice.submit("checkpoint", "r")
    site.agent.answer(site.agent.directive())
    assert site.agent.directive().HasField("commit_step")

    with pytest.raises(RefusedError, match="too late to take it back"):
        alice.cancel(second.action_id)
    with pytest.raises(RefusedError, match="already"):
        alice.cancel(first.action_id)
