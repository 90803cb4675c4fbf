"""The agent as a process: one to a state folder, ended by a signal or its lifeline, in time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from colossus_agent.app import Agent
from colossus_agent.config import AgentConfig
from colossus_agent.sampler import Sampler

LOG = logging.getLogger(__name__)
EXIT_SECONDS = 1.5  # from the signal to the end, however stuck a driver's call is
LOCK_SECONDS = 3.0  # how long the agent before this one may take to end


class InUseError(Exception):
    """Another agent holds the state; the message is its pid."""


def hold(folder: Path) -> None:
    """Hold the state in `folder` until this process ends.

    Raises:
        InUseError: Another agent has it.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InUseError(os.pread(descriptor, 16, 0).decode("ascii", "replace")) from None
            time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def serve(config: AgentConfig) -> bool:
    """Run the agent; return whether it ended because it was told to."""
    try:
        sampler = Sampler(config.node_name)
        try:
            return asyncio.run(_serve(config, sampler))
        finally:
            sampler.close()
    except Exception:  # the root of the process: log it and say so by the code
        LOG.exception("agent=failed")
        return False


async def _serve(config: AgentConfig, sampler: Sampler) -> bool:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        threading.Thread(target=_end_for_sure, name="exit", daemon=True).start()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    if config.lifeline:
        _watch_lifeline(lambda: loop.call_soon_threadsafe(end))
    try:
        await Agent(config, sampler).run()
    except asyncio.CancelledError:
        return True
    return False


def _end_for_sure() -> None:
    time.sleep(EXIT_SECONDS)
    logging.shutdown()
    os._exit(0)


def _watch_lifeline(ended: Callable[[], object]) -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            ended()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
