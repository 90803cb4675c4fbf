"""XID events: what the driver says went wrong with a GPU, as it says it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from colossus_agent.nvml import Nvml
from colossus_agent.readings import MissingError, MissingReason, SensorEvent, Value

# NVIDIA's XID catalogue, as far as an operator must act: the hardware's, and the application's.
CRITICAL_XIDS = {
    48: "double-bit ECC error",
    79: "GPU has fallen off the bus",
    95: "uncontained ECC error",
    119: "GSP does not answer",
}
APPLICATION_XIDS = {
    13: "graphics engine exception",
    31: "GPU memory page fault",
    94: "contained ECC error",
}
WAIT_MS = 5_000
ERROR_SECONDS = 5.0
KEPT_COUNT = 256  # events not taken yet; a storm pushes out the oldest


class Xids:
    """Waits for XID events of the registered GPUs in a thread of its own."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._events: Any = None
        self._indices: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._failed: dict[int, tuple[MissingReason, str]] = {}
        self._happened: deque[SensorEvent] = deque(maxlen=KEPT_COUNT)
        self._closed = threading.Event()

    def register(self, index: int, handle: Any) -> None:
        """Take in the events of a GPU; its reader says so when it has none."""
        try:
            if self._events is None:
                self._events = self._nvml.event_set()
            address = self._nvml.register_xids(self._events, handle)
        except MissingError as error:
            self._failed[index] = error.reason, str(error)
            return
        self._failed.pop(index, None)
        self._last.setdefault(index, 0.0)
        if not self._indices:
            threading.Thread(target=self._watch, name="gpu-xid", daemon=True).start()
        self._indices[address] = index

    def reader(self, index: int) -> Callable[[], Sequence[Value]]:
        """Return a read of the last XID of a GPU since this agent started; 0 is none."""

        def read() -> Sequence[Value]:
            if index in self._failed:
                reason, text = self._failed[index]
                raise MissingError(reason, text)
            return (self._last[index],)

        return read

    def take(self) -> list[SensorEvent]:
        """Return the events since the last time."""
        taken = []
        while self._happened:
            taken.append(self._happened.popleft())
        return taken

    def close(self) -> None:
        """Let the thread end after its wait."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                found = self._nvml.wait_xid(self._events, WAIT_MS)
            except MissingError:  # a lost GPU, for one; its other sensors say so
                self._closed.wait(ERROR_SECONDS)
                continue
            if found is not None:
                self._note(self._indices.get(found[0], -1), found[1])

    def _note(self, index: int, xid: int) -> None:
        if index >= 0:
            self._last[index] = float(xid)
        severity = "critical" if xid in CRITICAL_XIDS else "warning"
        meaning = CRITICAL_XIDS.get(xid) or APPLICATION_XIDS.get(xid)
        text = f"XID {xid}: {meaning}" if meaning else f"XID {xid}"
        self._happened.append(SensorEvent(time.time_ns(), severity, "gpu.xid", text, index))
