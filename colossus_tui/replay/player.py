"""Where a replay stands, and what the recording knows of that instant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from colossus_protos.v1 import recording_pb2
from colossus_tui.recording.format import DamageError, Kind, MarkFlag
from colossus_tui.recording.reader import Recording
from colossus_tui.recording.topics import grow_older, join
from colossus_tui.recording.writer import MARK_TOPIC
from colossus_tui.text import safe

M = TypeVar("M", bound=Message)
MIN_SPEED, MAX_SPEED = 0.1, 600.0
MARKS_SHOWN = 400
BURST_NS = 5 * 10**9
STATE_LIMIT = 512 * 1024 * 1024  # bytes of all topics: what a file that nobody trusts may take
ENTRY_BYTES = 512  # what a topic takes beside its name and value, at most
HEADER = "header"  # changes with every answer: its time is when the question was asked


class Player:
    """Plays a recording; between two calls nothing moves but the clock.

    Args:
        clock: Monotonic, seconds.
    """

    def __init__(
        self,
        recording: Recording,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recording = recording
        self.speed = speed
        self.paused = False
        self._clock = clock
        self._position, self._since = recording.start_time_unix_ns, clock()
        self._state: dict[str, dict[str, tuple[int, bytes]]] = {}
        self._size = 0  # of all topics in the state
        self._place, self._index, self._at = -1, 0, -1
        self._control = 0
        self._mark: recording_pb2.Mark | None = None
        self._news = asyncio.Event()
        self._marks: tuple[int, Sequence[recording_pb2.Mark]] = (-1, ())

    # --- the clock ---------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Instant that is shown, Unix nanoseconds; at the end it stands still."""
        now = self._clock()
        if not self.paused:
            moved = self._position + int((now - self._since) * self.speed * 1e9)
            self._position = min(moved, self.recording.end_time_unix_ns)
            self.paused = self._position >= self.recording.end_time_unix_ns
        self._since = now
        return self._position

    @property
    def revision(self) -> int:
        """Grows whenever something else is shown."""
        return self.position // 10**8 + self._control

    def seek(self, time_unix_ns: int) -> None:
        """Go to an instant; beyond either end is that end."""
        low, high = self.recording.start_time_unix_ns, self.recording.end_time_unix_ns
        self._position, self._since = min(max(time_unix_ns, low), high), self._clock()
        self._changed()

    def step(self, seconds: float) -> None:
        """Go forward so many seconds, or back."""
        self.seek(self.position + int(seconds * 1e9))

    def set_pace(self, speed: float | None, paused: bool | None) -> None:
        """Change the speed, stand still, or go on; at the end from the start."""
        at = self.position  # up to now at the speed so far
        if speed is not None:
            self.speed = min(max(speed, MIN_SPEED), MAX_SPEED)
        if paused is not None:
            if not paused and at >= self.recording.end_time_unix_ns:
                self._position = self.recording.start_time_unix_ns
            self.paused = paused
        self._changed()

    def next_alert(self) -> recording_pb2.Mark | None:
        """Go to the next moment at which something went wrong and stand still there.

        What goes wrong within 5 s of the one before belongs to it.
        """
        at, before = self.position, -BURST_NS
        for mark in self._alerts(at - BURST_NS):
            in_burst = mark.time_unix_ns - before < BURST_NS
            before = mark.time_unix_ns
            if mark.time_unix_ns > at and not in_burst:
                self.paused = True
                self.seek(mark.time_unix_ns)
                self._mark = mark
                return mark
        return None

    def _alerts(self, since: int) -> Iterable[recording_pb2.Mark]:
        """Yield the alerts from an instant on; only blocks that have some are unpacked."""
        for place, head in enumerate(list(self.recording.blocks)):
            if head.last_time_unix_ns >= since and head.marks & MarkFlag.ALERT:
                for mark in _marks_in(self.recording.changes(place)):
                    if mark.time_unix_ns >= since and mark.kind == recording_pb2.MARK_KIND_ALERT:
                        yield mark

    def cut_at(self, damage: tuple[int, DamageError] | None) -> None:
        """End the recording where it is damaged, as was found out meanwhile."""
        self.recording.cut_at(damage)
        self._changed()

    def _changed(self) -> None:
        self._control += 10**12  # more than a position ever is: it grows also when going back
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody changes where or how it plays."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    # --- what is known -----------------------------------------------------------------------

    def answer(self, scope: str, kind: type[M]) -> M | None:
        """Return the answer to a question as of the position, as much older as it is by now.

        None where it was not asked, or nothing is whole of it.
        """
        self._go(self.position)
        known = self._state.get(scope)
        if not known:
            return None
        try:
            found = join({name: value for name, (_, value) in known.items()}, kind)
        except DecodeError:
            return None
        if HEADER in known:
            grow_older(found, (self._at - known[HEADER][0]) / 1e9)
        return found

    def _go(self, time_unix_ns: int) -> None:
        """Bring the state to an instant, or to the last before a damage that shows only now."""
        while True:
            whole = len(self.recording.blocks)
            self._play_to(min(time_unix_ns, self.recording.end_time_unix_ns))
            if len(self.recording.blocks) == whole:
                return
            self._state, self._place, self._at = {}, -1, -1

    def _play_to(self, time_unix_ns: int) -> None:
        """Go on from where the state is, or from the newest keyframe where that is nearer."""
        keyframe = self.recording.keyframe_before(time_unix_ns)
        if time_unix_ns < self._at or keyframe > self._place:
            self._place, self._index = keyframe, 0
        self._at = time_unix_ns
        blocks = self.recording.blocks
        while self._place < len(blocks) and blocks[self._place].first_time_unix_ns <= time_unix_ns:
            changes = self.recording.changes(self._place)
            if self._place >= len(blocks):
                return  # it is damaged
            is_keyframe = blocks[self._place].kind is Kind.KEYFRAME
            if is_keyframe and self._index == 0:
                self._state, self._size = {}, 0
            while self._index < len(changes):
                change = changes[self._index]
                if not is_keyframe and change.time_unix_ns > time_unix_ns:
                    return
                self._apply(change)
                self._index += 1
            if self._size > STATE_LIMIT:
                error = DamageError("it wants more memory than any that is written")
                self.recording.cut_at((self._place, error))
                return
            if self._place + 1 >= len(blocks):
                return
            self._place, self._index = self._place + 1, 0

    def _apply(self, change: recording_pb2.RecordedChange) -> None:
        scope, colon, name = change.topic.partition(":")
        if not colon or change.topic == MARK_TOPIC:
            return
        parts = self._state.get(scope, {})
        before = parts.pop(name, None)
        self._size -= _size(change.topic, before[1]) if before is not None else 0
        if not change.removed:
            self._state[scope] = parts
            parts[name] = (change.time_unix_ns, change.value)
            self._size += _size(change.topic, change.value)
        elif not parts:
            self._state.pop(scope, None)

    # --- what is said of it ------------------------------------------------------------------

    def playback(self, missing: str = "") -> recording_pb2.Playback:
        """Return where it stands.

        Args:
            missing: What was asked for and is not recorded.
        """
        recording, position = self.recording, self.position
        return recording_pb2.Playback(
            position_time_unix_ns=position,
            start_time_unix_ns=recording.start_time_unix_ns,
            end_time_unix_ns=recording.end_time_unix_ns,
            speed=self.speed,
            paused=self.paused,
            marks=self._all_marks(),
            damage=recording.damage,
            missing=missing,
            file_name=safe(recording.path.name, 128),
            mark=self._mark if self._mark and self._mark.time_unix_ns == position else None,
        )

    def _all_marks(self) -> Sequence[recording_pb2.Mark]:
        count = len(self.recording.blocks)
        if self._marks[0] != count:
            self._marks = count, self._thinned()
        return self._marks[1]

    def _thinned(self) -> Sequence[recording_pb2.Mark]:
        """Return a mark for each stretch of the recording in which there is one: the gravest."""
        start, end = self.recording.start_time_unix_ns, self.recording.end_time_unix_ns
        stretch = max((end - start) // MARKS_SHOWN, 1)
        found: dict[int, recording_pb2.Mark] = {}
        for head in self.recording.blocks:
            if not head.marks:
                continue
            at, place = head.last_time_unix_ns, (head.last_time_unix_ns - start) // stretch
            alert = bool(head.marks & MarkFlag.ALERT)
            kind = recording_pb2.MARK_KIND_ALERT if alert else recording_pb2.MARK_KIND_ACTION
            if place not in found or alert:
                found[place] = recording_pb2.Mark(time_unix_ns=at, kind=kind)
        return [found[place] for place in sorted(found)]


def _size(topic: str, value: bytes) -> int:
    """Return what a topic takes of memory, bytes."""
    return ENTRY_BYTES + len(topic) + len(value)


def _marks_in(
    changes: Iterable[recording_pb2.RecordedChange],
) -> Iterable[recording_pb2.Mark]:
    for change in changes:
        if change.topic == MARK_TOPIC:
            with suppress(DecodeError):
                yield recording_pb2.Mark.FromString(change.value)
