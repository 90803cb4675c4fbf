"""What an operator has chosen and wants again: one JSON file in the folder of his settings.

A damaged file is told and left as it is: nothing is written until it is repaired or moved away.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from colossus_tui.paths import config_dir
from colossus_tui.text import safe
from colossus_tui.tui.modes import THEME_NAMES

FILE = "console.json"
SIZE_LIMIT = 1 << 20  # bytes; more was not written here


class SettingsError(Exception):
    """The file cannot be read or written; the message names it and the remedy."""


class Settings:
    """Reads the file whenever asked, since another console may have written it.

    Args:
        may_write: Whether anything is kept.
    """

    def __init__(self, *, may_write: bool = True) -> None:
        self._may_write = may_write

    @property
    def path(self) -> Path:
        """The file."""
        return config_dir() / FILE

    def theme(self) -> tuple[str | None, str]:
        """Return the remembered theme, or None and what is wrong with it."""
        try:
            found = self.read().get("theme")
        except SettingsError as error:
            return None, str(error)
        if found is None or found in THEME_NAMES:
            return found, ""
        return None, f"{self.path}: theme {safe(str(found), 40)!r} is none of {THEME_NAMES}"

    def read(self) -> dict[str, Any]:
        """Return all of it; empty where nothing was ever chosen.

        Raises:
            SettingsError: It is damaged or cannot be read.
        """
        try:
            if self.path.stat().st_size > SIZE_LIMIT:
                raise SettingsError(f"{self.path} is too large; repair it or move it away")
            found = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, nested without end
            raise SettingsError(
                f"{self.path} is damaged ({error}); repair it or move it away"
            ) from None
        if not isinstance(found, dict):
            raise SettingsError(f"{self.path} holds no JSON object; repair it or move it away")
        return found

    def write(self, name: str, value: object) -> None:
        """Change one part, all others stay; the file is whole at any moment.

        Raises:
            SettingsError: It is damaged, or cannot be written.
        """
        if not self._may_write:
            raise SettingsError("this console only looks: it keeps nothing")
        found = {**self.read(), name: value}
        beside = self.path.with_name(f"{FILE}.{os.getpid()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror}") from None
