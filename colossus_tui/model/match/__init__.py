"""The filter language over runs and over GPUs: `run=10t and (temp>85 or util<5%)`."""

from __future__ import annotations

from colossus_tui.model.match.expression import (
    COMPARE,
    And,
    Bits,
    Expression,
    MatchError,
    Not,
    Number,
    Or,
    Row,
    Text,
    Word,
    text_test,
)
from colossus_tui.model.match.fields import (
    ACTION_FIELDS,
    GPU_FIELDS,
    NODE_FIELDS,
    RUN_FIELDS,
    Field,
    NumberField,
    TextField,
)
from colossus_tui.model.match.gpus import GPU_WORD_FIELDS, GpuMatch, parse_gpus
from colossus_tui.model.match.lists import ACTIONS, NODES, Language
from colossus_tui.model.match.parser import NESTING_LIMIT, TERM_LIMIT
from colossus_tui.model.match.runs import FIELDS, Match, parse
from colossus_tui.model.match.scanner import TEXT_LIMIT

__all__ = [
    "ACTIONS",
    "ACTION_FIELDS",
    "COMPARE",
    "FIELDS",
    "GPU_FIELDS",
    "GPU_WORD_FIELDS",
    "NESTING_LIMIT",
    "NODES",
    "NODE_FIELDS",
    "RUN_FIELDS",
    "TERM_LIMIT",
    "TEXT_LIMIT",
    "And",
    "Bits",
    "Expression",
    "Field",
    "GpuMatch",
    "Language",
    "Match",
    "MatchError",
    "Not",
    "Number",
    "NumberField",
    "Or",
    "Row",
    "Text",
    "TextField",
    "Word",
    "parse",
    "parse_gpus",
    "text_test",
]
