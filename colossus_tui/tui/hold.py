"""A screen that stands still: what was shown then, with the ages of now."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from colossus_tui.model import Action, View

if TYPE_CHECKING:
    from colossus_tui.tui.screens.base import ColossusScreen

AGE = "age_seconds"
MANY_NODES, MANY_SECONDS = 1_000, 10.0  # of so many all ages take too long to make each second
T = TypeVar("T")


@dataclass(slots=True)
class Hold:
    """What is held on a screen, and what came since.

    Attributes:
        screen: The one that it was held on; it ends where another one opens.
        since_unix_ns: When it began.
    """

    screen: ColossusScreen
    view: View
    journal: tuple[Action, ...] | None
    since_unix_ns: int = field(default_factory=lambda: time.time_ns())
    _began: float = field(default_factory=time.monotonic)
    _aged: float = 0.0  # how much older the view was made when it last was
    _newest: View | None = None
    _journal: tuple[Action, ...] | None = None

    def take(self, view: View | None, journal: tuple[Action, ...] | None) -> None:
        """Keep what came for later."""
        self._newest = view if view is not None else self._newest
        self._journal = journal if journal is not None else self._journal

    @property
    def newest_view(self) -> View:
        """What to go on with."""
        return self._newest or self.view

    @property
    def newest_journal(self) -> tuple[Action, ...] | None:
        """What to go on with."""
        return self._journal if self._journal is not None else self.journal

    def aged(self) -> View | None:
        """Return what is held, as old as it is now; None while it need not be made anew."""
        seconds = time.monotonic() - self._began
        if len(self.view.nodes) > MANY_NODES and seconds - self._aged < MANY_SECONDS:
            return None
        self._aged = seconds
        return aged(self.view, seconds)


def aged(value: T, seconds: float) -> T:
    """Return a model value with every age in it so much higher; -1 stays: never."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changed: dict[str, Any] = {}
    for part in dataclasses.fields(value):
        before = getattr(value, part.name)
        if part.name == AGE:
            after: Any = before + seconds if before >= 0 else before
        elif isinstance(before, tuple) and before and dataclasses.is_dataclass(before[0]):
            parts = [aged(one, seconds) for one in before]
            same = all(new is old for new, old in zip(parts, before, strict=True))
            after = before if same else tuple(parts)
        else:
            after = aged(before, seconds)
        if after is not before:
            changed[part.name] = after
    return dataclasses.replace(value, **changed) if changed else value
