"""Pure functions from model values to lines and rows; tested without a terminal.

A span is text with the name of a style of the themes; a line is spans.
"""

from __future__ import annotations

from typing import TypeAlias

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Span, ...]

LEFT, GAP = 2, 2  # cells of a table: before the first column, for cursor and mark; between columns
