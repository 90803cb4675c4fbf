"""Model values as plain ones: what JSON and CSV hold; names keep their units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return model values as JSON knows them; a float that is no number becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return one row of a table: parts of parts as `part.of_part`, lists of rows left out."""
    found = plain(value) if not name else value
    if isinstance(found, dict):
        return {
            key: one
            for part, inner in found.items()
            for key, one in flat(inner, f"{name}.{part}" if name else part).items()
        }
    if isinstance(found, list):
        if any(isinstance(one, dict | list) for one in found):
            return {}
        return {name: " ".join(map(str, found))}
    return {name: found}
