"""The keys of a replay, and the one that records: they are the same on every screen."""

from __future__ import annotations

from colossus_tui.model import Playback
from colossus_tui.tui.actions import COMMANDS, REPLAY
from colossus_tui.tui.feed import Feed
from colossus_tui.tui.workbench import Workbench

ACTIONS = {command.name.partition("(")[0] for command in COMMANDS if command.scope == REPLAY}
SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)


class ReplayKeys(Workbench):
    """The app's part that moves a replay.

    Attributes:
        feed: Who is told.
    """

    feed: Feed

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

    def action_play(self) -> None:
        """Play, or stand still."""
        if (playback := self.playback) is not None:
            self.feed.set_pace(paused=not playback.paused)

    def action_step(self, seconds: float) -> None:
        """Go forward, or back."""
        self.feed.step(seconds)

    def action_pace(self, turns: int) -> None:
        """Play at the next speed, or at the one before."""
        if (playback := self.playback) is None:
            return
        if turns > 0:
            speed = next((one for one in SPEEDS if one > playback.speed), SPEEDS[-1])
        else:
            speed = next((one for one in reversed(SPEEDS) if one < playback.speed), SPEEDS[0])
        self.feed.set_pace(speed=speed)

    def action_alert(self) -> None:
        """Go to the next alert."""
        self.feed.next_alert()

    def action_record(self) -> None:
        """Begin to record, or end it."""
        self.feed.record()
