"""What an operator looks for, as filters; and what was found, as rows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from colossus_tui.model import Found, FoundGpu
from colossus_tui.model.match import And, MatchError, Number, Or, Text, parse_gpus
from colossus_tui.text import duration, measured, number, safe
from colossus_tui.tui.views import Span

_RANKED = re.compile(r"([^\s:()<>=!~,]+):(\d{1,9})", re.ASCII)
_WORD = re.compile(r"[^\s()<>=!~,'\"*?]+")
FOUND_COLUMNS = (
    ("NODE", 24, False),
    ("GPU", 3, True),
    ("RUN", 14, False),
    ("RANK", 7, True),
    ("POWER", 7, True),
    ("TEMP", 6, True),
    ("AGE", 7, True),
    ("HALL", 12, False),
    ("RACK", 16, False),
    ("UUID", 44, False),
)


def filters_of(text: str) -> list[str]:
    """Return the filters to try, one after the other, until one meets a GPU.

    RUN:RANK is that rank; a single word is a node, then the beginning of one or of a UUID, then a
    piece of any name; all else is a filter itself.

    Raises:
        MatchError: It is none of these.
    """
    text = text.strip()
    if not text:
        raise MatchError("type a node, a GPU's UUID or its beginning, RUN:RANK or a filter")
    if ranked := _RANKED.fullmatch(text):
        run, rank = ranked.groups()
        return [str(And((Text("run", "=", (run,)), Number("rank", "=", float(rank)))))]
    if _WORD.fullmatch(text) and text.lower() not in ("and", "or", "not"):
        begins = (f"{text.lower()}*",)
        node, uuid = Text("node", "~", begins), Text("uuid", "~", begins)
        return [str(Text("node", "=", (text,))), str(Or((node, uuid))), str(parse_gpus(text))]
    return [str(parse_gpus(text))]


def only_node(found: Found) -> FoundGpu | None:
    """Return the first GPU if all that were found are of one node."""
    nodes = {gpu.node_name for gpu in found.gpus}
    return found.gpus[0] if len(nodes) == 1 and found.total_count <= len(found.gpus) else None


def found_cells(gpu: FoundGpu) -> Mapping[str, Span]:
    """Return one row's cells by the heads of FOUND_COLUMNS."""
    old = gpu.age_seconds >= 5
    style = "old" if old else "plain"
    return {
        "NODE": (safe(gpu.node_name, 63), "strong"),
        "GPU": (str(gpu.gpu_index), "plain"),
        "RUN": (safe(gpu.run_id, 63) or "-", "plain"),
        "RANK": (number(gpu.rank) if gpu.rank >= 0 else "-", "plain"),
        "POWER": (measured(gpu.values.get("power"), "W"), style),
        "TEMP": (measured(gpu.values.get("gpu_temperature"), "C"), style),
        "AGE": (duration(round(gpu.age_seconds)) if old else "< 5 s", style),
        "HALL": (safe(gpu.hall, 63) or "-", "dim"),
        "RACK": (safe(gpu.rack, 63) or "-", "dim"),
        "UUID": (safe(gpu.gpu_uuid, 63), "dim"),
    }
