"""How the command line prints: aligned tables for people, one stable JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from colossus_tui.plain import plain
from colossus_tui.text import fit, width

SCHEMA_VERSION = 1


def as_json(**parts: Any) -> str:
    """Return one JSON object on one line; see docs/json.md."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **plain(parts)}, allow_nan=False)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Return an aligned table.

    Args:
        heads: One for each column.
        right: One letter for each column: "r" aligns it right.
    """
    widths = [
        max([width(head), *(width(row[index]) for row in rows)]) for index, head in enumerate(heads)
    ]
    lines = [
        "  ".join(
            fit(cell, cells, right=right[index : index + 1] == "r")
            for index, (cell, cells) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join(lines)


def show(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print progress or a problem where it does not disturb the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
