"""Cuts an expression into marks, words and comparisons; knows no fields."""

from __future__ import annotations

import re
from typing import TypeAlias

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.match.expression import KEYWORDS, MatchError

TEXT_LIMIT = 1_000  # characters
_SHOWN_LIMIT = 40
_SPACES = re.compile(r"\s*")
_NAME = re.compile(r"[^\s()<>=!~]+")
_SIGN = re.compile(r"\s*(>=|<=|!=|=|>|<|~)")
_VALUE = re.compile(r"[^\s(),]+")
_COMMA = re.compile(r"\s*,\s*")
_QUOTED = {"'": re.compile(r"'((?:[^']|'')*)'"), '"': re.compile(r'"((?:[^"]|"")*)"')}
_SIGNS = "<>=!~"


@dataclass(frozen=True, slots=True)
class Mark:
    """A parenthesis or, in lower case, a keyword."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Bare:
    """A text without a sign: a bare word, or one value of a comparison."""

    text: str
    at: int
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A name, a sign and what follows; `text` is all of it as it was written."""

    name: str
    sign: str
    values: tuple[Bare, ...]
    text: str
    at: int


Token: TypeAlias = Mark | Bare | Comparison


def shown(text: str) -> str:
    """Return foreign text in quotes, escaped and cut."""
    cut = len(text) > _SHOWN_LIMIT
    return repr(text[:_SHOWN_LIMIT] + "..." if cut else text)


def error(message: str, at: int) -> MatchError:
    """Return the error, with the place as people count it."""
    return MatchError(f"{message} (at character {at + 1})")


def scan(text: str) -> list[Token]:
    """Return the tokens.

    Raises:
        MatchError: It is too long, or something in it is no token.
    """
    if len(text) > TEXT_LIMIT:
        raise MatchError(f"at most {TEXT_LIMIT:,} characters, not {len(text):,}")
    for at, character in enumerate(text):
        if not character.isprintable() and not character.isspace():
            raise error(f"{shown(character)} cannot be in it; ? stands for any character", at)
    return _Scanner(text).tokens()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tokens(self) -> list[Token]:
        found = []
        while not self._is_over():
            found.append(self._token())
        return found

    def _is_over(self) -> bool:
        self._skip(_SPACES)
        return self._at == len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[match.lastindex or 0]

    def _token(self) -> Token:
        at = self._at
        first = self._text[at]
        if first in "()":
            self._at += 1
            return Mark(first, at)
        if first in _QUOTED:
            return self._quoted(first, ends=" )")
        name = self._skip(_NAME)
        sign = self._skip(_SIGN) if name is not None else None
        if name is None or (sign is None and self._next() == "!"):
            whole = _VALUE.match(self._text, at)
            raise error(
                f"{shown(whole[0] if whole else first)} is no term; "
                "write FIELD, a sign and a value: class>=P3",
                at,
            )
        if sign is not None:
            values = self._values(sign, at)
            return Comparison(name, sign, values, self._text[at : self._at], at)
        if name.lower() in KEYWORDS:
            return Mark(name.lower(), at)
        self._no_parenthesis(at)
        return Bare(name, at)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _values(self, sign: str, at: int) -> tuple[Bare, ...]:
        values: list[Bare] = []
        follows = sign
        while not values or self._skip(_COMMA) is not None:
            signed = self._at
            self._skip(_SPACES)
            if self._next() in ("", "(", ")", ","):
                term = shown(self._text[at:signed].rstrip())
                raise error(f"{term}: a value must follow {follows}", at)
            values.append(self._value(at))
            follows = "the comma"
        return tuple(values)

    def _value(self, term: int) -> Bare:
        at = self._at
        first = self._text[at]
        if first in _QUOTED:
            return self._quoted(first, ends=" ),")
        value = self._skip(_VALUE) or ""
        if first in _SIGNS:
            raise error(
                f"{shown(self._text[term : self._at])}: a value begins with no sign; quote it",
                term,
            )
        self._no_parenthesis(term)
        return Bare(value, at)

    def _quoted(self, quote: str, ends: str) -> Bare:
        at = self._at
        value = self._skip(_QUOTED[quote])
        if value is None:
            raise error(f"{shown(self._text[at:])} is not closed; add {quote}", at)
        after = self._next()
        if not after.isspace() and after not in ends:
            raise error(f"{shown(self._text[at : self._at])}: put a space behind it", at)
        if not value.isprintable():
            raise error(f"{shown(value)} must be on one line", at)
        return Bare(value.replace(quote * 2, quote), at, is_quoted=True)

    def _no_parenthesis(self, at: int) -> None:
        """Keep `label=a(b)` from being read as two terms."""
        if self._next() == "(":
            term = shown(self._text[at : self._at])
            raise error(f"{term}: put a space before ( or quote all of it", at)
