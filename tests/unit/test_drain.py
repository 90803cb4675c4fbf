"""What may be on its way to a terminal, over links of every kind; time is the test's."""

from __future__ import annotations

import heapq

import pytest

from colossus_tui.tui.drain import QUEUED_WRITES, START_BYTES, START_SECONDS, Bandwidth, Drain

CELLS = 80 * 24
FRAME = 600  # bytes of a usual state


class Link:
    """A console that shows states and answers keys, and a link that keeps what it cannot take.

    Args:
        rate: Bytes a second.
        delay: One way, seconds.
        answers: Whether the terminal answers.
    """

    def __init__(
        self,
        rate: float,
        delay: float,
        *,
        answers: bool = True,
        bandwidth: Bandwidth = Bandwidth.AUTO,
    ) -> None:
        self.now = 0.0
        self.drain = Drain(bandwidth, lambda: self.now)
        self.rate, self.delay, self.answers = rate, delay, answers
        self.free = 0.0  # when the link has taken all
        self.coming: list[float] = []
        self.wanted = 0  # bytes that should be on the screen
        self.sent = 0
        self.shown: list[float] = []
        self.most_backlog = 0.0
        self.is_stalled = False
        self.drain.begin()
        self._ask()

    @property
    def backlog(self) -> float:
        """Bytes that the link has not taken yet."""
        return max(self.free - self.now, 0.0) * self.rate

    def _write(self, count: int) -> None:
        self.drain.sent(count)
        self.sent += count
        self.free = max(self.free, self.now) + count / self.rate
        self.most_backlog = max(self.most_backlog, self.backlog)

    def _ask(self) -> None:
        if self.drain.should_ask():
            self._write(4)
            self.drain.asked()
            if self.answers:
                heapq.heappush(self.coming, self.free + 2 * self.delay)

    def draw(self) -> None:
        """Write what is wanted, as far as there is room."""
        room = self.drain.room(0, CELLS)
        count = self.wanted if room is None else min(room, self.wanted)
        if count:
            self._write(count)
            self.wanted -= count
        self.drain.has_rest = self.wanted > 0
        if not self.wanted:
            self.drain.settled()
        self._ask()

    def step(self, seconds: float = 0.05) -> None:
        """Let time pass."""
        self.now += seconds
        while self.coming and self.coming[0] <= self.now and not self.is_stalled:
            heapq.heappop(self.coming)
            self.drain.answered()
        if self.wanted:
            self.draw()

    def train(self, seconds: int, frame: int = FRAME) -> None:
        """Have a new state each second; one that comes before the last is sent replaces it."""
        for _ in range(seconds):
            if self.drain.may_show():
                self.shown.append(self.now)
                self.wanted = frame
                self.draw()
            for _ in range(20):
                self.step()

    def press(self, count: int = 200) -> float:
        """Press a key whose answer is so long; return after how many seconds it has arrived."""
        began = self.now
        self.now += self.delay
        self.drain.pressed()
        self.wanted = count
        while self.wanted:
            self.draw()
            self.step()
        return self.free + self.delay - began


@pytest.mark.parametrize("delay", [0.02, 0.15, 0.3])
def test_a_modem_is_found_out_and_has_no_backlog_and_fast_answers(delay: float) -> None:
    link = Link(960, delay)
    link.train(15)

    assert link.drain.is_slow
    assert link.drain.words.startswith("slow link: every ")
    assert 500 < (link.drain.rate or 0) < 2_000
    link.most_backlog = 0
    link.train(60)
    assert link.most_backlog < 960 * 1.0, "a second of the link at most"
    waits = []
    for _ in range(20):
        link.train(2)
        waits.append(link.press())
    assert max(waits) < 1.5


@pytest.mark.parametrize(
    ("rate", "delay"), [(1e7, 0.0001), (1e6, 0.02), (1e6, 0.3), (2e4, 0.05), (1.2e4, 0.15)]
)
def test_a_link_that_takes_a_state_a_second_gets_one(rate: float, delay: float) -> None:
    link = Link(rate, delay)
    link.train(30)

    assert not link.drain.is_slow
    assert len(link.shown) == 30
    assert link.drain.words == ""


def test_a_link_that_becomes_slow_and_fast_again_is_followed() -> None:
    link = Link(1e6, 0.05)
    link.train(10)
    link.rate = 960.0
    link.train(20)
    assert link.drain.is_slow
    assert link.backlog < 960

    link.rate = 1e6
    link.train(40)

    assert not link.drain.is_slow


def test_states_are_shown_as_seldom_as_their_size_needs() -> None:
    small, large = Link(960, 0.1), Link(960, 0.1)
    small.train(60, frame=300)
    large.train(60, frame=2_500)

    assert small.drain.period <= 3
    assert 5 <= large.drain.period <= 10
    for link in (small, large):
        gaps = [b - a for a, b in zip(link.shown[5:], link.shown[6:], strict=False)]
        assert gaps
        assert link.backlog < 960


@pytest.mark.parametrize("bandwidth", [Bandwidth.AUTO, Bandwidth.LOW])
def test_a_terminal_that_stalls_gets_nothing_more_until_it_goes_on(bandwidth: Bandwidth) -> None:
    link = Link(1e5, 0.05, bandwidth=bandwidth)
    link.train(10)
    link.is_stalled = True
    before = link.sent
    link.train(30)

    assert link.sent - before < 6 * FRAME

    link.is_stalled = False
    link.train(5)
    assert not link.wanted


def test_a_terminal_that_never_answers_is_written_to_as_ever() -> None:
    link = Link(1e6, 0.01, answers=False)
    link.train(30)

    assert not link.drain.is_slow
    assert len(link.shown) == 30
    assert not link.drain.is_waiting
    assert link.sent < 30 * FRAME + 10 * 4, "and asked seldom"


def test_until_it_has_answered_a_terminal_gets_one_screen() -> None:
    link = Link(960, 0.3)
    link.wanted = 50_000
    link.draw()

    assert link.sent <= CELLS * START_BYTES + 10
    assert link.drain.room(0, CELLS) == 0
    silent = Link(960, 0.3, answers=False)
    silent.now += START_SECONDS + 0.1
    assert silent.drain.room(0, CELLS) is None


def test_a_link_that_is_said_to_be_slow_is_paced_without_an_answer() -> None:
    link = Link(960, 0.1, answers=False, bandwidth=Bandwidth.LOW)
    link.train(60)

    assert link.drain.is_slow
    assert link.most_backlog < 960
    assert link.press() < 1.5


def test_full_bandwidth_never_asks_and_never_waits() -> None:
    link = Link(960, 0.1, bandwidth=Bandwidth.FULL)
    link.train(20)

    assert not link.drain.is_slow
    assert len(link.shown) == 20
    assert link.sent == 20 * FRAME


def test_a_write_that_blocks_holds_the_next_and_in_the_end_counts_as_slow() -> None:
    link = Link(1e6, 0.01, answers=False)
    link.now = 10.0
    assert link.drain.room(QUEUED_WRITES + 1, CELLS) == 0
    assert not link.drain.is_slow, "a burst is no stall"
    link.now += 2
    assert link.drain.room(QUEUED_WRITES + 1, CELLS) == 0
    assert link.drain.is_slow
    link.now += 1
    assert link.drain.room(0, CELLS), "and goes on when it can"
    link.now += 100
    assert link.drain.room(0, CELLS) is None


def test_an_answer_that_was_not_asked_for_changes_nothing() -> None:
    drain = Drain(clock=lambda: 5.0)

    drain.answered()

    assert not drain.is_waiting
    assert drain.rate is None
