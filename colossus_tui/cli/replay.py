"""`colossus replay`: the whole console on a recording, or a recording served to others."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.embedded import answers
from colossus_tui.recording import Recording, RecordingError
from colossus_tui.replay.__main__ import VERIFY_BYTES
from colossus_tui.text import bytes_, clock, duration, safe

START_SECONDS, STOP_SECONDS = 15.0, 3.0
_AT = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class ReplayError(ValueError):
    """An option does not fit the recording; the message names it and the remedy."""


def replay(arguments: argparse.Namespace) -> int:
    """Show a recording; returns 2 for a file that cannot be replayed."""
    path = Path(arguments.file)
    try:
        with Recording(path) as recording:
            if recording.size <= VERIFY_BYTES or arguments.info or arguments.json:
                recording.verify()
            if not recording.blocks:
                raise ReplayError(f"{path}: nothing of it is whole; {recording.damage}")
            at = instant(arguments.at, recording) if arguments.at else 0
            if arguments.info or arguments.json:
                return _tell(recording, as_object=arguments.json)
            damage = recording.damage
    except (RecordingError, ReplayError) as error:
        note(f"colossus replay: {safe(str(error))}")
        return exit_codes.USAGE
    if damage:
        note(f"colossus replay: {safe(damage)}")
    words = [str(path.absolute()), f"--speed={arguments.speed}", f"--at={at}"]
    if arguments.listen:
        return _serve(arguments.listen, words)
    if not sys.stdout.isatty():
        note("colossus replay: no terminal; --info tells of it, --listen ADDRESS serves it")
        return exit_codes.USAGE
    return _console(words, arguments)


def instant(text: str, recording: Recording) -> int:
    """Return an instant within a recording, Unix nanoseconds.

    Args:
        text: A time of day such as 14:03 or 14:03:22, of the recording's first day or the next; or
            so far from the start, +90s, or from the end, end-2m.

    Raises:
        ReplayError: It is none of these, or outside the recording.
    """
    from colossus_tui.cli.values import span

    low, high = recording.start_time_unix_ns, recording.end_time_unix_ns
    from_end = text.startswith("end-")
    if from_end or text.startswith("+"):
        try:
            offset = int(span(text.removeprefix("end")[1:]) * 1e9)
        except argparse.ArgumentTypeError as error:
            raise ReplayError(f"--at {text!r}: {error}") from None
        found = high - offset if from_end else low + offset
    else:
        match = _AT.fullmatch(text)
        hour, minute, second = (int(part or 0) for part in match.groups()) if match else (99, 0, 0)
        if hour > 23 or minute > 59 or second > 59:
            raise ReplayError(f"--at {text!r}: give 14:03, 14:03:22, +90s or end-2m")
        first = datetime.fromtimestamp(low / 1e9)  # noqa: DTZ006 - as the console shows times
        day = first.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if day.timestamp() * 1e9 < low and day.timestamp() + 1 < low / 1e9:
            day += timedelta(days=1)
        found = max(int(day.timestamp() * 1e9), low)
    if not low <= found <= high:
        raise ReplayError(f"--at {text}: the recording is from {clock(low)} to {clock(high)}")
    return found


def _tell(recording: Recording, *, as_object: bool) -> int:
    start, end = recording.start_time_unix_ns, recording.end_time_unix_ns
    if as_object:
        show(
            as_json(
                file_name=str(recording.path),
                size_bytes=recording.size,
                start_time_unix_ns=start,
                end_time_unix_ns=end,
                damage=recording.damage,
            )
        )
        return exit_codes.OBSERVED
    day = time.strftime("%Y-%m-%d", time.localtime(start / 1e9))
    show(
        f"{safe(str(recording.path))}: {bytes_(recording.size)}, {day} {clock(start)} to "
        f"{clock(end)}, {duration((end - start) / 1e9)}, {len(recording.blocks)} blocks"
    )
    show(safe(recording.damage) or "whole to its end")
    return exit_codes.OBSERVED


def _serve(address: str, words: list[str]) -> int:
    """Serve it here until a signal."""
    from colossus_tui.client import InvalidRequestError
    from colossus_tui.client.address import parse
    from colossus_tui.replay.__main__ import main

    try:
        parsed = parse(address)
    except InvalidRequestError as error:
        note(f"colossus replay: --listen: {safe(str(error))}")
        return exit_codes.USAGE
    socket = Path(parsed.removeprefix("unix:")) if parsed.startswith("unix:") else None
    if socket is not None and socket.exists():
        note(f"colossus replay: --listen: {safe(str(socket))} is there already")
        return exit_codes.USAGE
    note(f"serving it; look at it: colossus --hub {safe(parsed)}")
    try:
        return main([*words, f"--listen={parsed}"])
    finally:
        if socket is not None:
            socket.unlink(missing_ok=True)


def _console(words: list[str], arguments: argparse.Namespace) -> int:
    """Serve it by a child on a private socket, and show the console on that."""
    from colossus_tui.tui.app import run_console

    with tempfile.TemporaryDirectory(prefix="colossus-replay-") as folder:
        socket = Path(folder) / "replay.sock"
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "colossus_tui.replay", *words),
                    *(f"--listen=unix:{socket}", "--lifeline"),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for the console alone
            )
            try:
                deadline = time.monotonic() + START_SECONDS
                while not answers(socket):
                    if child.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        note(safe(log.read().decode(errors="replace").strip()))
                        return exit_codes.OTHER
                    time.sleep(0.02)
                return run_console(
                    f"unix:{socket}",
                    ascii_only=arguments.ascii,
                    theme=arguments.theme,
                    bandwidth=arguments.bandwidth,
                )
            finally:
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
