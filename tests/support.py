"""What every kind of test needs: waiting for a condition, and finding free resources."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], timeout: float = 10.0, *, message: str = "") -> T:
    """Call `condition` until it is truthy and return its value.

    Args:
        condition: Read again about 20 times a second; what takes long, or does not come for long,
            is read less often, for the rest of the machine has work to do meanwhile.
        timeout: Seconds after which the test fails.
        message: What was waited for, for the failure's text.

    Raises:
        AssertionError: The condition stayed falsy for `timeout` seconds.
    """
    start = time.monotonic()
    deadline = start + timeout
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s still waiting for {message or condition}")
        time.sleep(max(0.05, 2 * (time.monotonic() - began), min((began - start) / 20, 0.25)))
