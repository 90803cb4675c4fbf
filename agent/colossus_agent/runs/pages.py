"""The rank pages of one attempt: what its loops report, and the agreement on a step."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from colossus_hook import page as layout
from colossus_hook.page import CheckpointRecord, PageError, RankPage, StepRecord

_NAME = re.compile(r"rank-(\d{1,6})\.page")
VERBS = {"checkpoint": layout.VERB_CHECKPOINT, "pause": layout.VERB_PAUSE}


@dataclass(frozen=True, slots=True)
class RankAnswer:
    """What one rank says to an agreement."""

    rank: int
    ok: bool
    detail: str = ""
    step: int = -1


@dataclass(frozen=True, slots=True)
class RankProgress:
    """What one rank reported since it was last read."""

    rank: int
    steps: tuple[StepRecord, ...]
    missed_count: int
    checkpoints: tuple[tuple[CheckpointRecord, bool], ...] = ()  # with: found on disk
    is_whole_run: bool = False  # speaks for every rank


class _Page:
    """One open page and how far it was read."""

    def __init__(self, path: Path) -> None:
        self.page = RankPage(str(path))
        self.inode = os.stat(path).st_ino
        self.identity = self.page.identity()
        self.facts = self.page.facts()
        self.step_count = 0
        self.checkpoint_count = 0


class AttemptPages:
    """All pages in one attempt's folder; a page that cannot be read is as good as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: dict[int, _Page] = {}
        self._agreed: dict[int, tuple[str, int, int]] = {}

    def refresh(self) -> None:
        """Open pages that have come since."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            rank, path = int(match[1]), self._folder / name
            try:
                known = self._pages.get(rank)
                if known is not None and known.inode == os.stat(path).st_ino:
                    continue
                self._pages[rank] = _Page(path)
                if known is not None:
                    known.page.close()
            except (PageError, OSError):
                continue

    def close(self) -> None:
        """Let go of all pages."""
        for page in self._pages.values():
            page.page.close()
        self._pages.clear()

    @property
    def ranks(self) -> dict[int, layout.Identity]:
        """Who wrote the pages."""
        return {rank: page.identity for rank, page in self._pages.items()}

    def inode(self, rank: int) -> int:
        """Return the inode of a rank's page."""
        return self._pages[rank].inode

    def facts(self) -> dict[str, float]:
        """Return the facts that the loops stated; rank 0's win."""
        merged: dict[str, float] = {}
        for _, page in sorted(self._pages.items(), reverse=True):
            merged |= page.facts
        return merged

    def step(self, rank: int) -> int:
        """Return the rank's last finished step; -1 when not known."""
        page = self._pages.get(rank)
        try:
            return page.page.current_step() if page else -1
        except PageError:
            return -1

    def read(self) -> list[RankProgress]:
        """Return what is new in every page."""
        progress = []
        for rank, page in sorted(self._pages.items()):
            try:
                page.step_count, missed, steps = page.page.read_steps(page.step_count)
                page.checkpoint_count, checkpoints = page.page.read_checkpoints(
                    page.checkpoint_count
                )
            except PageError:
                continue
            if steps or checkpoints or missed:
                found = tuple((record, os.path.exists(record.path)) for record in checkpoints)
                progress.append(RankProgress(rank, tuple(steps), missed, found))
        return progress

    def tell_again(self) -> None:
        """Let the next `read` return each rank's newest checkpoint once more."""
        for page in self._pages.values():
            page.checkpoint_count = max(page.checkpoint_count - 1, 0)

    def prepare(self, agreement: int, verb: str, step: int, hold_ns: int) -> list[RankAnswer]:
        """Promise `step` on every page, or on none.

        The write is the delivery: a rank whose last finished step is still below `step` afterwards
        will see the order when it finishes that step, however long a step takes.
        """
        answers = [self._check(rank, step) for rank in sorted(self._pages)]
        if all(answer.ok for answer in answers):
            self._agreed[agreement] = (verb, step, hold_ns)
            self._order(agreement, layout.PHASE_PREPARED)
            answers = [self._check(rank, step) for rank in sorted(self._pages)]
        if not all(answer.ok for answer in answers) and agreement in self._agreed:
            self.abort(agreement)
        return answers

    def ready(self, agreement: int) -> list[RankAnswer]:
        """Let ranks that wait in vain act: every rank of the run has promised."""
        return self._advance(agreement, layout.PHASE_READY)

    def commit(self, agreement: int) -> list[RankAnswer]:
        """Make the promise binding; a rank that has given up waiting answers no."""
        return self._advance(agreement, layout.PHASE_COMMITTED)

    def _advance(self, agreement: int, phase: int) -> list[RankAnswer]:
        if agreement not in self._agreed and not self._recover(agreement):
            return [RankAnswer(rank, False, "no such agreement") for rank in sorted(self._pages)]
        expired = [rank for rank in sorted(self._pages) if self._gave_up(rank, agreement)]
        if not expired:
            self._order(agreement, phase)
        return [
            RankAnswer(
                rank,
                not expired,
                "waited too long for the commit" if rank in expired else "",
                self.step(rank),
            )
            for rank in sorted(self._pages)
        ]

    def abort(self, agreement: int) -> list[RankAnswer]:
        """Take the promise back; a rank that has acted by itself says so."""
        if agreement in self._agreed or self._recover(agreement):
            self._order(agreement, layout.PHASE_ABORTED)
        return [
            RankAnswer(rank, not acted, "has acted already" if acted else "", self.step(rank))
            for rank in sorted(self._pages)
            for acted in [self._acted(rank, agreement) == layout.ACTED_DONE]
        ]

    def _check(self, rank: int, step: int) -> RankAnswer:
        current = self.step(rank)
        if current >= step:
            return RankAnswer(rank, False, f"already finished step {current}", current)
        return RankAnswer(rank, True, "", current)

    def _gave_up(self, rank: int, agreement: int) -> bool:
        return self._acted(rank, agreement) in (layout.ACTED_EXPIRED, layout.ACTED_ABORTED)

    def _acted(self, rank: int, agreement: int) -> int:
        """Return what the rank did about the agreement; a rank without a page has given up."""
        try:
            acted = self._pages[rank].page.acted()
        except PageError:
            return layout.ACTED_EXPIRED
        return acted.state if acted.agreement == agreement else layout.ACTED_NONE

    def _recover(self, agreement: int) -> bool:
        """Find an agreement of the agent before this one in the pages themselves."""
        names = {number: name for name, number in VERBS.items()}
        for page in self._pages.values():
            try:
                order = page.page.order()
            except PageError:
                continue
            if order.agreement == agreement and order.verb in names:
                self._agreed[agreement] = (names[order.verb], order.step, order.hold_ns)
                return True
        return False

    def _order(self, agreement: int, phase: int) -> None:
        verb, step, hold_ns = self._agreed[agreement]
        order = layout.Order(agreement, VERBS[verb], phase, step, hold_ns)
        for page in self._pages.values():
            try:
                page.page.write_order(order)
            except PageError:
                continue
