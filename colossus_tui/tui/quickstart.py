"""While the console starts: nothing is collected, and its two threads take turns more often."""

from __future__ import annotations

import gc
import sys

SECONDS = 2.0  # until the first state is shown, with a margin
TURN_SECONDS = 0.0005  # of a thread: the feed's has little to do at a time, and the screen waits
_usual_turn = sys.getswitchinterval()


def begin() -> None:
    """Hurry; before Textual is loaded."""
    gc.disable()
    sys.setswitchinterval(TURN_SECONDS)


def end() -> None:
    """Go on as usual; what was loaded is no garbage, and never looked at again."""
    if gc.isenabled():
        return  # nobody has hurried
    gc.freeze()
    gc.enable()
    sys.setswitchinterval(_usual_turn)
