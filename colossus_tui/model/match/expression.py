"""Checked expressions: their parts, how they print, and whether they hold for one row.

A number that is not available meets no comparison, not even `!=`; a text that is not available is
the empty text. `not` turns its term round and nothing more: `not temp>85` holds for a GPU without
a temperature, `temp<=85` does not.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.priority import PriorityClass

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
KEYWORDS = ("and", "or", "not")
_PLAIN = re.compile(r"[\w.:/@+%-]+")
_ORDERED = frozenset(member.value for member in PriorityClass)


class MatchError(ValueError):
    """An expression is wrong; the message names the term, where it is and the remedy."""


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; one without parts always does, and prints as nothing."""

    parts: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        return " and ".join(
            f"({part})" if isinstance(part, And | Or) else str(part) for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class Or:
    """One of the parts holds."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(
            f"({part})" if isinstance(part, Or) else str(part) for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Expression

    def __str__(self) -> str:
        return f"not ({self.part})" if isinstance(self.part, And | Or) else f"not {self.part}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number compared with one in the field's first unit."""

    field: str
    sign: str
    value: float

    def __str__(self) -> str:
        whole = abs(self.value) < 1e15 and self.value == int(self.value)
        return f"{self.field}{self.sign}{int(self.value) if whole else repr(self.value)}"


@dataclass(frozen=True, slots=True)
class Bits:
    """One of these names is set in a mask, or with `!=` none is; `mask` has all their bits."""

    field: str
    sign: str
    names: tuple[str, ...]
    mask: int

    def __str__(self) -> str:
        return f"{self.field}{self.sign}{','.join(self.names)}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is one of the values, with `!=` none, with `~` like one, or beside it in order.

    The values of `~` are in lower case: with * or ? a pattern of the whole text, else a piece.
    """

    field: str
    sign: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.field}{self.sign}{','.join(map(_quoted, self.values))}"


@dataclass(frozen=True, slots=True)
class Word:
    """A piece, in lower case, of one of the texts by which a row is known."""

    text: str

    def __str__(self) -> str:
        return _quoted(self.text)


Term: TypeAlias = Number | Bits | Text | Word
Expression: TypeAlias = And | Or | Not | Number | Bits | Text | Word


EVERYTHING = And()


class Row(Protocol):
    """What an expression is decided over, one at a time."""

    def number(self, field: str) -> float | None:
        """Return a number; None or NaN is not available."""

    def texts(self, field: str) -> Sequence[str]:
        """Return a field's texts; none is the empty text."""

    def words(self) -> Sequence[str]:
        """Return the texts by which it is known."""


def holds(expression: Expression, row: Row) -> bool:
    """Return whether the row meets the expression."""
    match expression:
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Not(part):
            return not holds(part, row)
        case Word(text):
            return any(text in known.lower() for known in row.words())
        case Text(field, sign):
            decided = map(text_test(expression), row.texts(field) or ("",))
            return all(decided) if sign == "!=" else any(decided)
        case Number(field) | Bits(field):
            value = row.number(field)
            return value is not None and not math.isnan(value) and _number_holds(expression, value)


def _number_holds(term: Number | Bits, value: float) -> bool:
    if isinstance(term, Number):
        return bool(COMPARE[term.sign](value, term.value))
    return (int(value) & term.mask != 0) is (term.sign == "=")


def text_test(term: Text) -> Callable[[str], bool]:
    """Return what decides a text term for one text."""
    if term.sign in ("=", "!="):
        wanted = frozenset(term.values)
        return wanted.__contains__ if term.sign == "=" else lambda text: text not in wanted
    if term.sign == "~":
        likes = [_like(value) for value in term.values]
        if len(likes) == 1:  # a site has 137,500 nodes to ask
            return lambda text: likes[0](text.lower())
        return lambda text: any(like(text.lower()) for like in likes)
    compare, value = COMPARE[term.sign], term.values[0]
    return lambda text: text in _ORDERED and bool(compare(text, value))


def _like(value: str) -> Callable[[str], bool]:
    if "*" not in value and "?" not in value:
        return lambda text: value in text
    if value.count("*") == 1 and "?" not in value:
        first, _, last = value.partition("*")
        least = len(value) - 1
        return lambda text: len(text) >= least and text.startswith(first) and text.endswith(last)
    # Square brackets are no pattern here; the translation never goes back over a star.
    found = re.compile(fnmatch.translate(value.replace("[", "[[]"))).match
    return lambda text: found(text) is not None


def terms(expression: Expression) -> Iterator[Term]:
    """Yield every term, in the order in which they are written."""
    match expression:
        case And(parts) | Or(parts):
            for part in parts:
                yield from terms(part)
        case Not(part):
            yield from terms(part)
        case _:
            yield expression


def names(expression: Expression, field: str) -> bool:
    """Return whether one of its terms is about this field."""
    return any(not isinstance(term, Word) and term.field == field for term in terms(expression))


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in KEYWORDS:
        return text
    if "'" not in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'
