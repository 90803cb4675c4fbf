"""How fast the terminal takes what is written, and how much may therefore be on its way to it.

What is between the console and the screen (a pseudo-terminal, ssh, a modem) holds seconds of a slow
link's bytes before a write blocks. So the terminal itself is asked: a question behind a frame is
answered once the frame has arrived. A terminal that never answers counts as fast until a write
blocks. Nothing here writes or reads; times come from the clock that is given.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum

QUESTION = "\x1b[6n"  # where is the cursor? Every terminal since the VT100 answers
SLOW_RATE, FAST_RATE = 4_000.0, 8_000.0  # bytes a second: slow under one until over the other
ASSUMED_RATE = 960.0  # 9,600 bit/s: of a link that is said to be slow and does not answer
ASK_SECONDS = 1.0  # between two questions on a fast link
HOLD_SECONDS = 0.5  # an answer that is out for longer than this holds up the next frame
START_SECONDS = 2.0  # for the first answer; until then a link is neither fast nor slow
START_BYTES = 3  # a cell: as much as a whole screen takes
QUEUED_WRITES = 8  # of the thirty that Textual's writer takes before it blocks who draws
LOST_SECONDS = 20.0  # an answer that is out for longer does not come
BLOCKED_SECONDS, FREE_SECONDS = 1.0, 60.0  # until that counts, and until it is forgotten
# So long every frame must be fast until a slow link is fast again: some let a little through at
# once and no more. It doubles each time that the link then proves slow.
PATIENCE_SECONDS, MOST_PATIENCE_SECONDS = 30.0, 600.0
LATE_SECONDS, LATE_COUNT = 0.06, 3  # frames in a row that arrive so late make a link slow
VERY_LATE_SECONDS = 1.0  # one does
RISE = 1.03  # of the rate with each frame that was faster
MEASURED_BYTES = 60  # of a frame that tells a rate
SHORTEST_SECONDS = 0.02  # that a frame is taken to last: what is shorter is not told apart
KEY_SECONDS, FRAME_SECONDS = 0.6, 0.3  # of the link that wait at most: behind a key, else
LEAST_BYTES = 100
URGENT_SECONDS = 8.0
EXPECT_SECONDS = 2.0
LEAST_PERIOD, MOST_PERIOD = 2, 10  # seconds between two states on a slow link
SHARE = 0.5  # of the link for new states; the rest is for keys


class Bandwidth(StrEnum):
    """What was asked for."""

    AUTO = "auto"
    LOW = "low"
    FULL = "full"


class Drain:
    """One terminal's link.

    Attributes:
        is_slow: Whether frames are sent in pieces, new states seldom.
        rate: Bytes a second that it takes; None while not measured.
        round_trip: Shortest time from a question to its answer, seconds.
        has_rest: Whether something that should be on the screen was not sent yet.
    """

    def __init__(
        self, bandwidth: Bandwidth = Bandwidth.AUTO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bandwidth = bandwidth
        self._clock = clock
        self.is_slow = bandwidth is Bandwidth.LOW
        self.rate: float | None = None
        self.round_trip = math.inf
        self.has_rest = False
        self._answers = False
        self._asks = bandwidth is not Bandwidth.FULL
        self._begun = math.inf
        self._sent = self._arrived = 0
        self._questions: deque[tuple[float, int]] = deque()  # when, and all that was sent by then
        self._asked = self._answered = -math.inf
        self._leaked = clock()
        self._urgent_until = -math.inf
        self._late_count = 0
        self._last_slow = -math.inf  # when a frame last arrived as it does on a slow link
        self._patience = PATIENCE_SECONDS / 2
        self._blocked = math.inf  # since when
        self._freed = -math.inf  # when it last did
        self._expects_until = -math.inf
        self._shown = -math.inf
        self._shown_sent = 0
        self._state_bytes = 0.0

    # --- what happens ----------------------------------------------------------------------

    def begin(self) -> None:
        """Take that the terminal is there, and is asked for the first time."""
        self._begun = self._clock()

    def sent(self, count: int) -> None:
        """Take that so many bytes were written."""
        self._leak()
        self._sent += count

    def asked(self) -> None:
        """Take that the question was written."""
        self._asked = self._clock()
        self._questions.append((self._asked, self._sent))

    def answered(self) -> None:
        """Take that the terminal answered the oldest question."""
        if not self._questions:
            return  # of somebody else's question
        now, (asked, total) = self._clock(), self._questions.popleft()
        count, self._arrived = total - self._arrived, max(total, self._arrived)
        self.round_trip = min(self.round_trip, now - asked)
        # What was sent before the last answer came has been on its way since then, not before.
        was_idle = asked >= self._answered
        seconds = now - (asked + self.round_trip if was_idle else self._answered)
        self._answered, self._answers = now, True
        if count < MEASURED_BYTES:
            return
        self._decide(count / max(seconds, SHORTEST_SECONDS), seconds)
        # The shortest round trip that was seen is longer than the link's: rather too slow.
        spare = self.round_trip / 4 if was_idle else 0.0
        rate = count / max(seconds + spare, SHORTEST_SECONDS)
        if self.rate is None:
            self.rate = rate
        elif rate < self.rate:
            self.rate = (self.rate + rate) / 2
        else:
            self.rate = min(rate, self.rate * RISE)

    def _decide(self, rate: float, seconds: float) -> None:
        if self._bandwidth is not Bandwidth.AUTO:
            return
        now = self._clock()
        if self.is_slow:
            if rate < FAST_RATE and seconds > SHORTEST_SECONDS:
                self._last_slow = now
            self.is_slow = now - self._last_slow < self._patience
            return
        is_late = rate < SLOW_RATE and seconds > LATE_SECONDS
        self._late_count = self._late_count + 1 if is_late else 0
        if self._late_count >= LATE_COUNT or (is_late and seconds > VERY_LATE_SECONDS):
            self.is_slow, self._late_count, self._last_slow = True, 0, now
            self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)

    def pressed(self) -> None:
        """Take that a key was pressed: what it changes goes before all else."""
        self._urgent_until = self._clock() + URGENT_SECONDS

    def expect(self) -> None:
        """Take that another screen is open: the states that come for it are shown at once."""
        self._expects_until = self._clock() + EXPECT_SECONDS

    def settled(self) -> None:
        """Take that all that should be on the screen was sent."""
        self.has_rest = False
        self._urgent_until = -math.inf

    def stop(self) -> None:
        """Ask no more: the console ends, and a late answer would be typed into the shell."""
        self._asks = False

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come, from a terminal that answers."""
        return self._answers and bool(self._questions)

    @property
    def is_unknown(self) -> bool:
        """Whether the first answer is still to come, and may be."""
        if self._answers or not self._asks or self._bandwidth is not Bandwidth.AUTO:
            return False
        return self._clock() - self._begun < START_SECONDS

    # --- what may be done ------------------------------------------------------------------

    def should_ask(self) -> bool:
        """Return whether the question goes behind what was just written."""
        if not self._asks:
            return False
        if not self._answers:  # a terminal that has never answered is asked seldom
            return self._clock() - self._asked >= ASK_SECONDS * max(len(self._questions), 1) ** 2
        if self.is_slow:
            return not self._questions or self._questions[-1][1] < self._sent
        return not self._questions and self._clock() - self._asked >= ASK_SECONDS

    def room(self, queued: int, cells: int) -> int | None:
        """Return how many bytes may be written now; None for any number, of whole frames.

        Args:
            queued: Writes that the driver's own thread has not made yet.
            cells: Of the screen.
        """
        if self._blocks(queued):
            return 0
        if self._questions and self._clock() - self._questions[0][0] > LOST_SECONDS:
            self._questions.clear()  # rather a little too much than nothing ever again
            self._arrived = self._sent
        if self.is_unknown:
            return max(cells * START_BYTES - self._sent, 0)
        if not self.is_slow:
            oldest = self._questions[0][0] if self._questions and self._answers else math.inf
            late = self._asks and self._clock() - oldest > max(HOLD_SECONDS, 3 * self.round_trip)
            return 0 if late else None
        self._leak()
        rate, travels = self._slow_rate(), self._slow_rate() * self._latency()
        free = travels + rate * KEY_SECONDS - (self._sent - self._arrived)
        if self._clock() < self._urgent_until:
            return int(free) if free >= LEAST_BYTES / 2 else 0
        if self._sent - self._arrived > travels + LEAST_BYTES:
            return 0
        return max(LEAST_BYTES, int(min(free, rate * FRAME_SECONDS)))

    def _blocks(self, queued: int) -> bool:
        """Return whether a write blocks; a link that does not answer is slow when it does."""
        now = self._clock()
        if queued <= QUEUED_WRITES:
            self._blocked = math.inf
            if not self._answers and now - self._freed > FREE_SECONDS:
                self.is_slow = self._bandwidth is Bandwidth.LOW
            return False
        self._blocked = min(self._blocked, now)
        if now - self._blocked > BLOCKED_SECONDS:
            self._freed = now
            if self._bandwidth is Bandwidth.AUTO and not self._answers:
                self.is_slow = True
        return True

    def _slow_rate(self) -> float:
        return min(self.rate or ASSUMED_RATE, SLOW_RATE)

    def _latency(self) -> float:
        return min(self.round_trip, 1.0) if self._answers else 0.0

    def _leak(self) -> None:
        """Count as arrived what a link that does not answer has had the time for."""
        now = self._clock()
        if not self._answers:
            gone = int((now - self._leaked) * self._slow_rate())
            if gone:
                self._arrived = min(self._sent, self._arrived + gone)
                self._leaked = now
        else:
            self._leaked = now

    def may_show(self) -> bool:
        """Return whether a new state may go to the screen now; it then should."""
        if not self.is_slow:
            return True
        now = self._clock()
        urgent = self.has_rest and now < self._urgent_until
        early = now - self._shown < self.period - 0.1
        if now > self._expects_until and (urgent or early):
            return False
        if math.isfinite(self._shown):
            taken = self._sent - self._shown_sent
            self._state_bytes = (self._state_bytes + taken) / 2 if self._state_bytes else taken
        self._shown, self._shown_sent = now, self._sent
        return True

    @property
    def period(self) -> int:
        """Seconds from one state on the screen to the next, on a slow link."""
        seconds = math.ceil(self._state_bytes / (self._slow_rate() * SHARE))
        return min(max(seconds, LEAST_PERIOD), MOST_PERIOD)

    @property
    def words(self) -> str:
        """What the operator should know of it; "" on a fast link."""
        return f"slow link: every {self.period} s" if self.is_slow else ""
