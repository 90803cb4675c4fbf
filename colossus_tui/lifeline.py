"""A child process that ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable


def watch_lifeline(ended: Callable[[], object]) -> None:
    """Call `ended` when standard input ends: its other end was held by who started this."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            ended()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
