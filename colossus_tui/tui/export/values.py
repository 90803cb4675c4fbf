"""The values behind a screen as JSON and as CSV, raw and with their units in the names."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from colossus_tui.plain import flat, plain
from colossus_tui.text import safe

SCHEMA_VERSION = 1
CELL_LIMIT = 10_000  # characters
_FORMULA = ("=", "+", "-", "@")  # with which a spreadsheet begins to compute


@dataclass(frozen=True, slots=True)
class Exported:
    """What a screen shows.

    Attributes:
        kind: What a row is, such as "runs".
        rows: Model values, in the order of the screen.
        whole: What the screen is about, where that is one thing.
        about: Filter, order, and whatever else says which rows these are.
    """

    kind: str
    rows: Sequence[Any]
    whole: Any = None
    about: dict[str, str] = field(default_factory=dict)


def as_json(exported: Exported, site: str, time_unix_ns: int) -> str:
    """Return one JSON object."""
    parts = {
        "schema_version": SCHEMA_VERSION,
        "site_name": site,
        "time_unix_ns": time_unix_ns,
        "about": exported.about,
        exported.kind: plain(list(exported.rows)),
    }
    if exported.whole is not None:
        parts["whole"] = plain(exported.whole)
    return json.dumps(parts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(exported: Exported) -> str:
    """Return a table with a head; what is not available is empty."""
    rows = [flat(row) for row in exported.rows]
    heads = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    import csv  # a few ms of the console's start

    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_cell(row.get(head)) for head in heads] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula and no terminal for an order."""
    if not isinstance(value, str):
        return value
    text = safe(value, CELL_LIMIT)
    return f"'{text}" if text.startswith(_FORMULA) else text
