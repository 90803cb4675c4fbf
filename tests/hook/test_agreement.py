"""Ranks on several nodes agree on a step, whatever befalls one of them: all act at it, or none.

The hub's side of the agreement and the agents' hands on the pages are the product's own, and the
ranks are processes with the hook. The links between are the test's, which breaks them.

There is one exception, and it is asserted here as such: a link that breaks after a node has heard
of the second phase and before its answer is out, and does not come back. The action names the node.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colossus_agent.runs.pages import AttemptPages, RankAnswer
from colossus_protos.v1 import common_pb2, directive_pb2
from colossus_tui.hub.backends import agreement
from colossus_tui.hub.backends.base import ActionFailedError, Order, Stage
from colossus_tui.model import Action, Verb
from tests.hook.ranks import RankProcess, Trouble
from tests.support import until

HOLD = 0.6
BEYOND = 180  # more than any step that is ever proposed lies ahead
ORDERS = ("prepare_step", "ready_step", "commit_step")


@dataclass(frozen=True)
class Break:
    """When the link of a node breaks: at which order, heard or not, and whether for good."""

    node: str
    at: str
    heard: bool
    for_good: bool


class Site:
    """Two nodes with ranks; what the hub's agreement needs of links and registry."""

    def __init__(self, folder: Path, troubles: list[Trouble], broken: Break | None) -> None:
        self.broken = broken
        self.is_lost = False
        self.pages: dict[str, AttemptPages] = {}
        self.ranks: list[RankProcess] = []
        self.nodes: dict[str, list[RankProcess]] = {"n1": [], "n2": []}
        for rank, trouble in enumerate(troubles):
            node = f"n{rank % 2 + 1}"
            (folder / node).mkdir(exist_ok=True)
            process = RankProcess(folder / node, rank, len(troubles), trouble)
            self.ranks.append(process)
            self.nodes[node].append(process)
        for node in self.nodes:
            self.pages[node] = AttemptPages(folder / node)

    def steps(self) -> dict[int, int]:
        """Return the newest step of each rank that has a page."""
        found: dict[int, int] = {}
        for pages in self.pages.values():
            pages.refresh()
            found |= {rank: pages.step(rank) for rank in pages.ranks}
        return found

    # --- as the hub's registry and links ---------------------------------------------------

    def observed(self, run_id: str) -> Any:
        steps = self.steps()
        ranks = [mock.Mock(rank=rank) for rank in steps]
        return mock.Mock(
            newest_step=max(steps.values(), default=None),
            ranks=ranks,
            node_ages_seconds={"n1": 0.0, "n2": 0.0},
        )

    def get(self, run_id: str) -> Any:
        return mock.Mock(rank_count=len(self.ranks), step_seconds_p50=0.005)

    def linked(self, node_name: str) -> bool:
        return not (self.is_lost and self.broken and self.broken.node == node_name)

    async def ask(
        self, directives: Mapping[str, directive_pb2.Directive], timeout_seconds: float
    ) -> dict[str, directive_pb2.DirectiveResult]:
        await asyncio.sleep(0.002)
        given = ((name, self._answer(name, order)) for name, order in directives.items())
        return {name: answer for name, answer in given if answer is not None}

    def _answer(
        self, node_name: str, directive: directive_pb2.Directive
    ) -> directive_pb2.DirectiveResult | None:
        """Return what a node answers; None when its link is broken."""
        broken = self.broken
        if broken and broken.node == node_name:
            if directive.WhichOneof("order") == broken.at and not self.is_lost:
                self.is_lost = True
                if broken.heard:
                    self._hear(node_name, directive)
                return None
            if self.is_lost and broken.for_good:
                return None
        answers = self._hear(node_name, directive)
        done = all(answer.ok for answer in answers)
        wrong = next((answer.detail for answer in answers if not answer.ok), "")
        return directive_pb2.DirectiveResult(
            directive_id=directive.directive_id,
            outcome=directive_pb2.DIRECTIVE_OUTCOME_DONE
            if done
            else directive_pb2.DIRECTIVE_OUTCOME_REFUSED,
            detail=wrong,
        )

    def _hear(self, node_name: str, directive: directive_pb2.Directive) -> list[RankAnswer]:
        pages = self.pages[node_name]
        match directive.WhichOneof("order"):
            case "prepare_step":
                order = directive.prepare_step
                assert order.verb == common_pb2.VERB_CHECKPOINT
                hold_ns = int(order.hold_seconds * 1e9)
                return pages.prepare(order.agreement, "checkpoint", order.step, hold_ns)
            case "ready_step":
                return pages.ready(directive.ready_step.agreement)
            case "commit_step":
                return pages.commit(directive.commit_step.agreement)
            case _:
                return pages.abort(directive.abort_step.agreement)


@contextmanager
def site(troubles: list[Trouble], broken: Break | None) -> Iterator[Site]:
    """Ranks that step, and are ended with all that they wrote."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = Site(Path(folder), troubles, broken)
        try:
            yield site
        finally:
            for rank in site.ranks:
                rank.end()


async def agree(site: Site) -> tuple[int, str]:
    """Let the hub have its agreement; return the step, or -1 and why not."""
    proposed = []

    async def report(stage: Stage) -> None:
        proposed.append(stage.agreed_step)

    action = Action(
        "action-1",
        Verb.CHECKPOINT,
        "r",
        agreed_step=-1,
        requested_time_unix_ns=time.time_ns(),
    )
    registry: Any = site
    try:
        step = await agreement.agree(Order(action, report), registry, registry, Verb.CHECKPOINT)
    except ActionFailedError as error:
        return -1, str(error)
    return step, ""


def settled(site: Site, living: list[RankProcess], past: int) -> bool:
    """Whether every living rank has left every step that was ever proposed behind."""
    steps = site.steps()
    return all(steps.get(rank.rank, -1) > past for rank in living)


TROUBLES = st.one_of(
    st.builds(Trouble, joins_after=st.floats(0, 0.3)),
    st.builds(Trouble, stalls_at=st.integers(5, 60), stalls_for=st.floats(0, 0.5)),
    st.builds(Trouble, dies_at=st.integers(5, 60)),
)
BREAKS = st.builds(
    Break,
    node=st.sampled_from(["n1", "n2"]),
    at=st.sampled_from(ORDERS),
    heard=st.booleans(),
    for_good=st.booleans(),
)


@pytest.mark.timeout(150)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@given(
    ranks=st.integers(2, 4),
    befalls=st.one_of(st.none(), TROUBLES, BREAKS),
    wait_for_all=st.booleans(),
)
def test_every_rank_acts_at_the_step_or_none_does(
    ranks: int, befalls: Trouble | Break | None, wait_for_all: bool
) -> None:
    trouble = befalls if isinstance(befalls, Trouble) else Trouble()
    broken = befalls if isinstance(befalls, Break) else None
    troubles = [trouble] + [Trouble()] * (ranks - 1)
    with (
        mock.patch.object(agreement, "HOLD_SECONDS", HOLD),
        mock.patch.object(agreement, "LEAD_SECONDS", 0.1),
        site(troubles, broken) as here,
    ):
        here.ranks[0].acts.touch()
        joined = range(0 if wait_for_all else bool(trouble.joins_after), ranks)
        until(lambda: all(here.steps().get(rank, -1) >= 3 for rank in joined), message="ranks")

        step, why = asyncio.run(agree(here))

        living = here.ranks[bool(trouble.dies_at) :]
        newest = max(here.steps().values()) if step < 0 else step
        until(lambda: settled(here, living, newest + BEYOND), 20, message="ranks to go on")
        acted = {rank.rank: rank.acted for rank in living}
        alone = broken is not None and "alone" in why
        if step >= 0:
            assert acted == {rank.rank: [step] for rank in living}
        elif not alone:
            assert acted == {rank.rank: [] for rank in living}, why
        if alone:
            assert broken is not None
            assert (broken.at, broken.for_good) == ("ready_step", True)
            others = [r for name, all_ in here.nodes.items() if name != broken.node for r in all_]
            assert broken.node in why
            assert all(not rank.acted for rank in others)


def test_only_a_node_that_is_lost_between_hearing_and_answering_can_act_alone() -> None:
    with (
        mock.patch.object(agreement, "HOLD_SECONDS", HOLD),
        mock.patch.object(agreement, "LEAD_SECONDS", 0.1),
        site([Trouble()] * 2, Break("n2", "ready_step", heard=True, for_good=True)) as here,
    ):
        until(lambda: len([s for s in here.steps().values() if s >= 3]) == 2, message="ranks")

        step, why = asyncio.run(agree(here))

        assert step == -1
        assert "no rank acts but maybe those on n2 alone" in why
        until(lambda: here.nodes["n2"][0].acted, message="the lost node's rank to act")
        assert here.nodes["n1"][0].acted == []


@pytest.mark.parametrize(
    ("nodes", "seconds"), [(1, agreement.HOLD_SECONDS), (2, agreement.ANSWER_SECONDS)]
)
async def test_a_node_alone_is_asked_for_its_commit_until_its_ranks_wait_no_more(
    nodes: int, seconds: float
) -> None:
    asked: dict[str, float] = {}

    async def ask(
        directives: Mapping[str, directive_pb2.Directive], timeout_seconds: float
    ) -> dict[str, directive_pb2.DirectiveResult]:
        order = next(iter(directives.values())).WhichOneof("order")
        asked[str(order)] = timeout_seconds
        done = directive_pb2.DIRECTIVE_OUTCOME_DONE
        return {
            name: directive_pb2.DirectiveResult(
                outcome=done, ranks=[directive_pb2.RankResult(rank=0, ok=True)]
            )
            for name in directives
        }

    site: Any = mock.Mock(ask=ask)
    site.observed.return_value = mock.Mock(
        newest_step=5,
        ranks=[mock.Mock(rank=0)],
        node_ages_seconds={f"n{number}": 0.0 for number in range(nodes)},
    )
    site.get.return_value = mock.Mock(rank_count=1, step_seconds_p50=0.005)

    await agree(site)

    assert asked["commit_step"] == seconds
