"""Choosing GPUs by an expression over the store's columns, all rows at once.

It means what `GpuMatch` means for one row. A number is compared in its column's own precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from colossus_tui.model.match import (
    COMPARE,
    GPU_WORD_FIELDS,
    And,
    Bits,
    Expression,
    GpuMatch,
    Not,
    Number,
    Or,
    Text,
    Word,
    text_test,
)

Chosen: TypeAlias = NDArray[np.bool_]


class GpuColumns(Protocol):
    """What is known of all GPUs at one instant; a field is a name in `GPU_FIELDS`."""

    @property
    def count(self) -> int:
        """How many GPUs there are; the length of every column."""

    def numbers(self, field: str) -> NDArray[np.float32] | NDArray[np.float64]:
        """Return a number field in its first unit; NaN is not available."""

    def texts(self, field: str) -> tuple[NDArray[np.integer[Any]], Sequence[str]]:
        """Return each GPU's place among the distinct names, -1 for none, and those names."""

    def uuids(self) -> NDArray[np.bytes_]:
        """Return the UUIDs, of one width; empty is not available."""


def select(match: GpuMatch, columns: GpuColumns) -> Chosen:
    """Return for each GPU whether it is meant."""
    return _Selection(columns).of(match.expression)


class _Selection:
    """Each answer is a new array, which the next may change."""

    def __init__(self, columns: GpuColumns) -> None:
        self._columns = columns

    def of(self, expression: Expression) -> Chosen:
        match expression:
            case And(parts):
                return self._all(parts)
            case Or(parts):
                return ~self._all([Not(part) for part in parts])
            case Not(part):
                chosen = self.of(part)
                return np.logical_not(chosen, out=chosen)
            case Number():
                return self._number(expression)
            case Bits():
                return self._bits(expression)
            case Text("uuid"):
                return self._uuid(expression)
            case Text(field):
                return self._by_name(field, text_test(expression))
            case Word(text):
                return self._word(text)

    def _all(self, parts: Sequence[Expression]) -> Chosen:
        chosen = np.ones(self._columns.count, np.bool_)
        for part in parts:
            chosen &= self.of(part)
            if not chosen.any():
                break
        return chosen

    def _number(self, term: Number) -> Chosen:
        values = self._columns.numbers(term.field)
        with np.errstate(over="ignore"):  # what its precision cannot hold is infinite
            wanted = values.dtype.type(term.value)
        chosen: Chosen = COMPARE[term.sign](values, wanted)
        if term.sign == "!=":
            chosen &= ~np.isnan(values)
        return chosen

    def _bits(self, term: Bits) -> Chosen:
        values = self._columns.numbers(term.field)
        known = ~np.isnan(values)
        masks = np.where(known, values, 0).astype(np.int64)
        chosen: Chosen = known & ((masks & term.mask != 0) == (term.sign == "="))
        return chosen

    def _by_name(self, field: str, decide: Callable[[str], bool]) -> Chosen:
        codes, names = self._columns.texts(field)
        verdicts = np.empty(len(names) + 1, np.bool_)
        verdicts[:-1] = np.fromiter(map(decide, names), np.bool_, len(names))
        verdicts[-1] = decide("")  # which the code -1 takes
        chosen: Chosen = verdicts[codes]
        return chosen

    def _uuid(self, term: Text) -> Chosen:
        chosen = np.zeros(self._columns.count, np.bool_)
        for value in term.values:
            if term.sign != "~":
                chosen |= _are(self._columns.uuids(), value)
            elif value.endswith("*"):
                chosen |= _begin(self._columns.uuids(), value[:-1])
            else:
                chosen |= _contain(self._columns.uuids(), value)
        return ~chosen if term.sign == "!=" else chosen

    def _word(self, word: str) -> Chosen:
        chosen = _contain(self._columns.uuids(), word)
        for field in GPU_WORD_FIELDS:
            if field != "uuid":
                chosen |= self._by_name(field, lambda name: word in name.lower())
        return chosen


def _are(texts: NDArray[np.bytes_], value: str) -> Chosen:
    if not value.isascii():
        return np.zeros(texts.size, np.bool_)
    chosen: Chosen = texts == np.bytes_(value.encode())
    return chosen


def _begin(texts: NDArray[np.bytes_], beginning: str) -> Chosen:
    """Decide which begin so; it and what follows it are in lower case."""
    width, wanted = texts.itemsize, beginning.encode()
    chosen = np.zeros(texts.size, np.bool_)
    if beginning.isascii() and len(wanted) <= width:
        firsts = np.arange(texts.size) * width
        chosen[_narrowed(firsts, _octets(texts), wanted) // width] = True
    return chosen


def _contain(texts: NDArray[np.bytes_], piece: str) -> Chosen:
    width, wanted = texts.itemsize, piece.encode()
    chosen = np.zeros(texts.size, np.bool_)
    if not piece.isascii() or not 0 < len(wanted) <= width:
        return chosen
    octets = _octets(texts)
    last = len(wanted) - 1
    firsts = np.flatnonzero(_is(octets[last:], wanted[last]))
    firsts = _narrowed(firsts, octets, wanted[:last])
    chosen[firsts[firsts % width + last < width] // width] = True  # none runs into the next row
    return chosen


def _octets(texts: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(texts).view(np.uint8)


def _narrowed(
    firsts: NDArray[np.intp], octets: NDArray[np.uint8], wanted: bytes
) -> NDArray[np.intp]:
    """Return those places where these octets stand.

    The last ones first: UUIDs begin alike and soon differ, so that few are left to look at.
    """
    for place in reversed(range(len(wanted))):
        firsts = firsts[_is(octets[firsts + place], wanted[place])]
    return firsts


def _is(octets: NDArray[np.uint8], wanted: int) -> Chosen:
    """Compare with one octet in lower case."""
    is_letter = ord("a") <= wanted <= ord("z")
    chosen: Chosen = (octets | 0x20 if is_letter else octets) == wanted
    return chosen
