"""Recordings: one compact file of what was seen, written append-only and read up to any damage."""

from colossus_tui.recording.format import RecordingError
from colossus_tui.recording.reader import Recording
from colossus_tui.recording.writer import FileSink, Writer

__all__ = ["FileSink", "Recording", "RecordingError", "Writer"]
