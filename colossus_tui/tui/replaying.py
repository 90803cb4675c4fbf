"""The keys of a replay, and the one that records: they are the same on every screen."""

from __future__ import annotations

import time

from colossus_tui.model import Playback
from colossus_tui.tui.actions import COMMANDS, REPLAY
from colossus_tui.tui.feed import Feed
from colossus_tui.tui.workbench import Workbench

ACTIONS = {command.name.partition("(")[0] for command in COMMANDS if command.scope == REPLAY}
ASKED_SECONDS = 0.5  # for the answer to a key to be shown; keys may come faster
SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)


class ReplayKeys(Workbench):
    """The app's part that moves a replay.

    Attributes:
        feed: Who is told.
    """

    feed: Feed
    _asked: tuple[float, float, bool] = (0.0, 1.0, False)  # when, speed and whether to stand still

    @property
    def playback(self) -> Playback | None:
        """Where the replay stands; None of a hub."""
        return self.view.playback if self.view is not None else None

    @property
    def is_replay(self) -> bool:
        """Whether a recording is shown."""
        return self.playback is not None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep a replay's keys from a hub."""
        if action in ACTIONS and not self.is_replay:
            return False
        return super().check_action(action, parameters)

    def _pace(self) -> tuple[float, bool]:
        """Return speed and whether it stands still, as shown or as asked for a moment ago."""
        when, speed, paused = self._asked
        playback = self.playback
        if playback is None or time.monotonic() - when < ASKED_SECONDS:
            return speed, paused
        return playback.speed, playback.paused

    def _set_pace(self, speed: float, paused: bool) -> None:
        self._asked = time.monotonic(), speed, paused
        self.feed.set_pace(speed=speed, paused=paused)

    def action_play(self) -> None:
        """Play, or stand still."""
        speed, paused = self._pace()
        self._set_pace(speed, not paused)

    def action_step(self, seconds: float) -> None:
        """Go forward, or back."""
        self.feed.step(seconds)

    def action_pace(self, turns: int) -> None:
        """Play at the next speed, or at the one before."""
        now, paused = self._pace()
        if turns > 0:
            speed = next((one for one in SPEEDS if one > now), SPEEDS[-1])
        else:
            speed = next((one for one in reversed(SPEEDS) if one < now), SPEEDS[0])
        self._set_pace(speed, paused)

    def action_alert(self) -> None:
        """Go to the next alert."""
        self.feed.next_alert()

    def action_record(self) -> None:
        """Begin to record, or end it."""
        self.feed.record()
