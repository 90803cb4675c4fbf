"""Choosing GPUs over columns means what it means for each row alone."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from colossus_tui.hub.where import select
from colossus_tui.model.match import (
    GPU_FIELDS,
    And,
    Bits,
    Expression,
    GpuMatch,
    Not,
    Number,
    NumberField,
    Or,
    Text,
    Word,
    parse_gpus,
)

NUMBERS = [one.name for one in GPU_FIELDS.values() if isinstance(one, NumberField)]
NAMED = ["run", "hall", "rack", "node", "product"]
NAMES = ["", "10t", "6t", "10T-eval", "h0-r1-n03", "Ünï", "a b"]
UUIDS = ["", "GPU-00ab", "GPU-00abcd12", "gpu-00AB", "MIG-7", "12gpu"]
SIGNS = ["=", "!=", "<", "<=", ">", ">="]
VALUES = [0.0, 0.25, 0.5, 0.75, 1.0]  # exact in every precision


@dataclass
class Row:
    numbers: dict[str, float] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def number(self, field: str) -> float | None:
        return self.numbers.get(field, math.nan)

    def texts(self, field: str) -> Sequence[str]:
        return [self.named.get(field, "")]

    def words(self) -> Sequence[str]:
        return [self.named.get(one, "") for one in ("run", "node", "rack", "hall", "uuid")]


class Columns:
    """Columns of some rows, made as the hub would."""

    def __init__(self, rows: Sequence[Row], precision: type[np.floating[Any]] = np.float32) -> None:
        self.rows = rows
        self.count = len(rows)
        self.precision = precision

    def numbers(self, field: str) -> NDArray[Any]:
        return np.array([row.number(field) for row in self.rows], self.precision)

    def texts(self, field: str) -> tuple[NDArray[np.integer[Any]], Sequence[str]]:
        texts = [row.texts(field)[0] for row in self.rows]
        names = sorted({text for text in texts if text})
        return np.array([names.index(text) if text else -1 for text in texts], np.int32), names

    def uuids(self) -> NDArray[np.bytes_]:
        width = max((len(row.texts("uuid")[0]) for row in self.rows), default=1) or 1
        return np.array([row.texts("uuid")[0].encode() for row in self.rows], f"S{width}")


def meets(expression: Expression, row: Row) -> bool:
    """Decide as the words of the language say, one row at a time."""
    if isinstance(expression, And):
        return all(meets(part, row) for part in expression.parts)
    if isinstance(expression, Or):
        return any(meets(part, row) for part in expression.parts)
    if isinstance(expression, Not):
        return not meets(expression.part, row)
    if isinstance(expression, Word):
        return any(expression.text in text.lower() for text in row.words())
    if isinstance(expression, Text):
        return text_meets(expression, row.named.get(expression.field, ""))
    value = row.numbers.get(expression.field, math.nan)
    if math.isnan(value):
        return False
    if isinstance(expression, Bits):
        return bool(int(value) & expression.mask) == (expression.sign == "=")
    return compared(value, expression.sign, expression.value)


def text_meets(term: Text, text: str) -> bool:
    if term.sign == "=":
        return text in term.values
    if term.sign == "!=":
        return text not in term.values
    if term.sign == "~":
        patterns = [value if set("*?") & set(value) else f"*{value}*" for value in term.values]
        return any(fnmatch.fnmatchcase(text.lower(), pattern) for pattern in patterns)
    return bool(text) and compared(float(text[1:]), term.sign, float(term.values[0][1:]))


def compared(left: float, sign: str, right: float) -> bool:
    return {
        "=": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[sign]


def listed(values: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3).map(tuple)


def some_text(
    fields: list[str], signs: list[str], values: list[str]
) -> st.SearchStrategy[Expression]:
    return st.builds(Text, st.sampled_from(fields), st.sampled_from(signs), listed(values))


def bits(sign: str, names: tuple[str, ...]) -> Bits:
    known = {"idle": 0x1, "power": 0x84, "thermal": 0x60}
    return Bits("throttle", sign, names, sum({name: known[name] for name in names}.values()))


EITHER = ["=", "!="]
CLASSES = ["P0", "P2", "P4"]
LIKES = ["1", "10t*", "*n03", "?t", "*0*-*", "h0-*-n?3", "ünï", "*", "e", "and"]
terms: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Number, st.sampled_from(NUMBERS), st.sampled_from(SIGNS), st.sampled_from(VALUES)),
    st.builds(bits, st.sampled_from(EITHER), listed(["idle", "power", "thermal"])),
    some_text(NAMED, EITHER, NAMES),
    some_text(NAMED, ["~"], LIKES),
    some_text(["uuid"], EITHER, [*UUIDS, "GPU-00", "GPU-00abcd1234", "é"]),
    some_text(["uuid"], ["~"], ["ab", "gpu-00ab*", "*", "0", "é", "12gpu", "g*", "00abcd12345678"]),
    some_text(["class"], EITHER, [*CLASSES, ""]),
    some_text(["health"], EITHER, ["live", "grey", ""]),
    st.builds(
        Text,
        st.just("class"),
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from(CLASSES).map(lambda one: (one,)),
    ),
    st.builds(Word, st.sampled_from(["t", "n03", "ab", "12gpu", "ünï", "a b", "not", "*", "é"])),
)


def nested(depth: int) -> st.SearchStrategy[Expression]:
    if not depth:
        return terms
    part = nested(depth - 1)
    parts = st.tuples(part, part)
    return st.one_of(terms, st.builds(And, parts), st.builds(Or, parts), st.builds(Not, part))


expressions = nested(3)
rows = st.builds(
    Row,
    st.fixed_dictionaries(
        {}, optional={name: st.sampled_from([*VALUES, math.nan]) for name in NUMBERS}
    ).flatmap(
        lambda numbers: st.sampled_from([math.nan, 0.0, 1.0, 4.0, 96.0, 128.0]).map(
            lambda mask: {**numbers, "throttle": mask}
        )
    ),
    st.fixed_dictionaries(
        {
            "class": st.sampled_from(["", "P0", "P1", "P2", "P4"]),
            "uuid": st.sampled_from(UUIDS),
            "health": st.sampled_from(["", "live", "grey", "lost"]),
        },
        optional={name: st.sampled_from(NAMES) for name in NAMED},
    ),
)


@settings(deadline=None)
@given(
    expressions, st.lists(rows, max_size=8), st.sampled_from([np.float32, np.float64, np.float16])
)
def test_columns_and_rows_agree(
    expression: Expression, some: list[Row], precision: type[np.floating[Any]]
) -> None:
    match = GpuMatch(expression)

    chosen = select(match, Columns(some, precision))

    assert chosen.dtype == np.bool_
    assert chosen.tolist() == [meets(expression, row) for row in some]
    assert chosen.tolist() == [match(row) for row in some]


@settings(deadline=None)
@given(expressions)
def test_an_expression_prints_as_what_it_means(expression: Expression) -> None:
    assert parse_gpus(str(expression)).expression == expression


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), expressions)
def test_columns_are_not_changed(some: list[Row], expression: Expression) -> None:
    class Frozen(Columns):
        def numbers(self, field: str) -> NDArray[Any]:
            return frozen(super().numbers(field))

        def texts(self, field: str) -> tuple[NDArray[np.integer[Any]], Sequence[str]]:
            codes, names = super().texts(field)
            return frozen(codes), names

        def uuids(self) -> NDArray[np.bytes_]:
            return frozen(super().uuids())

    assert select(GpuMatch(expression), Frozen(some)).flags.writeable


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


def test_a_number_is_compared_in_the_precision_of_its_column() -> None:
    columns = Columns([Row({"util": 0.95, "temp": 85.1})])

    assert select(parse_gpus("util=95% temp=85.1"), columns).tolist() == [True]


def test_what_a_column_cannot_hold_is_beyond_all_of_it() -> None:
    columns = Columns([Row({"mem": 1e30}), Row()])

    assert select(parse_gpus("mem<1e300"), columns).tolist() == [True, False]
    assert select(parse_gpus("mem>1e300 or mem>-1e300"), columns).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [True, True, True]),
        ("run=10t and temp>85 and age<5", [True, False, False]),
        ("run=''", [False, False, True]),
        ("not temp>85", [False, True, True]),
        ("uuid~gpu-00AB*", [True, True, False]),
        ("uuid=GPU-00ab", [True, False, False]),
        ("uuid=GPU-00abcd12,''", [False, True, True]),
        ("12gpu", [False, False, False]),  # the end of one row and the beginning of the next
    ],
)
def test_some_expressions(text: str, expected: list[bool]) -> None:
    columns = Columns(
        [
            Row({"temp": 91.0, "age": 1.0}, {"run": "10t", "uuid": "GPU-00ab"}),
            Row({"temp": 60.0, "age": 1.0}, {"run": "10t", "uuid": "GPU-00abcd12"}),
            Row(),
        ]
    )

    assert select(parse_gpus(text), columns).tolist() == expected


def test_a_uuid_column_may_be_a_view_with_gaps() -> None:
    class Strided(Columns):
        def uuids(self) -> NDArray[np.bytes_]:
            return np.repeat(super().uuids(), 2)[::2]

    columns = Strided([Row(named={"uuid": "GPU-1"}), Row(named={"uuid": "GPU-2"})])

    assert select(parse_gpus("uuid~gpu-2*"), columns).tolist() == [False, True]
    assert select(parse_gpus("U-1"), columns).tolist() == [True, False]
