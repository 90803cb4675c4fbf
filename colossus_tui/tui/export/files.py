"""Where exports go: a folder of the user's own, a name with the time, nothing overwritten."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from colossus_tui.paths import PathError, export_dir, make_private

_TRIES = 100


def write(name: str, texts: Mapping[str, str]) -> list[Path]:
    """Write one file for each suffix, all of one name, and return them.

    Raises:
        PathError: The folder or a file cannot be written.
    """
    folder = make_private(export_dir(), "COLOSSUS_EXPORT_DIR")
    stem = file_stem(name)
    for count in range(_TRIES):
        paths = [folder / f"{stem}{f'-{count}' if count else ''}.{suffix}" for suffix in texts]
        if any(path.exists() for path in paths):
            continue
        try:
            for path, text in zip(paths, texts.values(), strict=True):
                with path.open("x", encoding="utf-8", newline="") as file:
                    file.write(text)
        except OSError as error:
            raise PathError(f"{error.filename}: {error.strerror}") from None
        return paths
    raise PathError(f"{folder}: {_TRIES} exports of {stem} already; move them away")


def file_stem(name: str) -> str:
    """Return a name with the time, of characters that every file system takes."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{kept or 'screen'}"
