"""Asks for everything that consoles can be shown, as often as it is worth, and writes it down.

The hub asks itself, a console asks its hub: both record the same, by the same questions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from colossus_protos.v1 import console_pb2, site_pb2
from colossus_tui.model.site import MAP_METRICS
from colossus_tui.recording import questions
from colossus_tui.recording.questions import (
    FEW_METRICS,
    HALL_LIMIT,
    INCIDENT_LIMIT,
    INCIDENTS,
    LIST_LIMIT,
    MAP,
    NODE_LIMIT,
    NODES,
    RACK_LIMIT,
    RUNS,
    SITE_MAP,
    Question,
    Source,
    map_scope,
)
from colossus_tui.recording.writer import Writer

# Shares of one processor that questions of a kind may take; what costs more is asked less often.
SHARES = {RUNS: 0.010, "run": 0.005, SITE_MAP: 0.020, MAP: 0.010}
OTHER_SHARE = 0.003
PAUSE_SECONDS = 0.25


class InThread(Protocol):
    """Runs what takes a while off the loop."""

    def __call__(self, work: Callable[[], None], /) -> Awaitable[None]:
        """Do the work."""


@dataclass(slots=True)
class Lane:
    """Questions that share a part of a processor; none is asked while it is used up."""

    share: float
    questions: dict[str, Question] = field(default_factory=dict)
    free_at: float = float("-inf")

    def next(self, now: float) -> Question | None:
        """Return the question that is due the longest; None while there is none."""
        if now < self.free_at or not self.questions:
            return None
        question = max(self.questions.values(), key=lambda one: one.overdue(now))
        return question if question.overdue(now) >= 1 else None

    def note(self, question: Question, now: float, cost: float) -> None:
        """Take note of what a question cost, seconds of a processor."""
        question.asked = now
        self.free_at = now + cost / self.share


class Recorder:
    """Records until cancelled; does not close the writer.

    Args:
        source: Who is asked; what it raises ends the recording.
        writer: Takes the answers.
        in_thread: Where answers are taken apart and written; one at a time.
        cost_clock: What a question costs is measured by it.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer,
        in_thread: InThread = asyncio.to_thread,
        cost_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._source = source
        self._writer = writer
        self._in_thread = in_thread
        self._cost_clock = cost_clock
        self._nodes = questions.by_flag(NODES)
        self._lanes: dict[str, Lane] = {}  # by the kind of their questions
        self._of: dict[str, dict[str, Question]] = {}  # questions about what comes and goes
        views = [questions.by_flag(name) for name in questions.flags() if name != NODES]
        for question in (*views, questions.journal(), *questions.of_site()):
            self._lane(question.kind).questions[question.scope] = question

    def _lane(self, kind: str) -> Lane:
        """Return the lane of a kind: what costs much holds up its own kind only."""
        return self._lanes.setdefault(kind, Lane(SHARES.get(kind, OTHER_SHARE)))

    async def run(self) -> None:
        """Ask, write, and ask again what is due."""
        await self._round()
        await self._in_thread(self._writer.flush)  # the first keyframe
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._round()

    async def _round(self) -> None:
        """Ask each question that is due, then write all answers at once: a thread costs, too."""
        answers: list[tuple[Lane, Question, Message | None]] = []
        for lane in list(self._lanes.values()):
            while (question := lane.next(time.monotonic())) is not None:
                begun = self._cost_clock()
                answers.append((lane, question, await question.ask(self._source)))
                lane.note(question, time.monotonic(), self._cost_clock() - begun)
        if not answers:
            return
        await self._in_thread(lambda: self._take(answers))
        for _, question, answer in answers:
            if isinstance(answer, console_pb2.WatchViewResponse):
                await self._follow(question.scope, answer)

    def _take(self, answers: Iterable[tuple[Lane, Question, Message | None]]) -> None:
        """Write answers, or that there are none; what that costs is the questions' own."""
        for lane, question, answer in answers:
            begun = time.thread_time()
            if answer is None:
                self._writer.drop(question.scope)
            else:
                self._writer.put(question.scope, answer)
            lane.free_at += (time.thread_time() - begun) / lane.share

    # --- what there is to ask about ------------------------------------------------------------

    async def _follow(self, scope: str, answer: console_pb2.WatchViewResponse) -> None:
        """Ask from now on about what an answer tells of."""
        if scope == RUNS:
            runs = [one for run in answer.runs for one in questions.of_run(run.run_id)]
            await self._now_about(RUNS, runs)
            count = answer.site.node_count
            listed = {NODES: self._nodes} if 0 < count <= LIST_LIMIT else {}
            self._lane(NODES).questions = listed
        elif scope == INCIDENTS:
            known = list(answer.incidents)[:INCIDENT_LIMIT]
            found = (questions.of_incident(one.incident_id) for one in known)
            await self._now_about(INCIDENTS, found)
        elif scope == NODES:
            names = [node.node_name for node in answer.nodes]
            details = names if len(names) <= NODE_LIMIT else []
            await self._now_about(NODES, map(questions.of_node, details))
        elif answer.HasField("map") and answer.map.HasField("layout") and not answer.map.rack:
            await self._now_about(scope, self._maps_within(scope, answer))

    def _maps_within(self, scope: str, answer: console_pb2.WatchViewResponse) -> Iterable[Question]:
        """Return the maps one level deeper, asked for by the map of the first metric."""
        drawn = answer.map
        names = list(drawn.layout.group_names)
        asked = site_pb2.MapRequest(hall=drawn.hall, metric=MAP_METRICS[0])
        cells = sum(drawn.layout.gpu_counts)
        if scope != map_scope(asked):
            return ()
        if not drawn.hall:
            metrics = MAP_METRICS if cells <= 4 * LIST_LIMIT else FEW_METRICS
            return [
                questions.of_map(hall, "", metric)
                for hall in names[:HALL_LIMIT]
                for metric in metrics
            ]
        racks = names[:RACK_LIMIT] if len(self._of.get(NODES, ())) else []
        return [
            questions.of_map(drawn.hall, rack, metric) for rack in racks for metric in FEW_METRICS
        ]

    async def _now_about(self, source: str, found: Iterable[Question]) -> None:
        """Replace the questions that come from one answer; what is gone is recorded as gone."""
        before, now = self._of.get(source, {}), {one.scope: one for one in found}
        kept = {name: before.get(name, one) for name, one in now.items()}
        self._of[source] = kept
        for name, question in kept.items():
            self._lane(question.kind).questions[name] = question
        if gone := before.keys() - kept.keys():
            await self._in_thread(lambda: self._drop(gone))

    def _drop(self, scopes: Iterable[str]) -> None:
        """Record that these are gone, and what was asked because of them."""
        for scope in scopes:
            for lane in self._lanes.values():
                lane.questions.pop(scope, None)
            self._writer.drop(scope)
            self._drop(self._of.pop(scope, ()))
