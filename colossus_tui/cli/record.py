"""`colossus record`: the hub's last minutes as a file, or what is seen from now on."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.text import bytes_, safe

if TYPE_CHECKING:
    from colossus_tui.client import Client


def record(client: Client, arguments: argparse.Namespace) -> int:
    """Write a recording; returns 0 when there is one."""
    from colossus_tui.client import recording_path

    path = Path(arguments.output) if arguments.output else recording_path()
    if arguments.last is not None:
        size = client.export_recording(path, arguments.last)
        return _said(path, size, arguments)
    until = "for so long" if arguments.seconds else "until Ctrl-C"
    note(f"recording into {safe(str(path))} {until}")
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            client.record(path, arguments.seconds)
    finally:
        signal.signal(signal.SIGTERM, before)
    client.close()  # the last block is on disk then
    return _said(path, path.stat().st_size, arguments)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _said(path: Path, size: int, arguments: argparse.Namespace) -> int:
    from colossus_tui.recording import Recording

    with Recording(path) as recording:
        start, end = recording.start_time_unix_ns, recording.end_time_unix_ns
        if arguments.json:
            show(
                as_json(
                    file_name=str(path),
                    size_bytes=size,
                    start_time_unix_ns=start,
                    end_time_unix_ns=end,
                )
            )
        else:
            show(f"{safe(str(path))}: {bytes_(size)}, {_when(start)} to {_when(end)}")
            show(f"look at it: colossus replay {safe(str(path))}")
    return exit_codes.OBSERVED


def _when(unix_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ns / 1e9))
