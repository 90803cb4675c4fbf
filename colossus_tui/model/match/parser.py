"""Reads an expression by the fields of one table; every error names the term and the remedy."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping

from colossus_tui.model.match.expression import (
    And,
    Bits,
    Expression,
    MatchError,
    Not,
    Number,
    Or,
    Text,
    Word,
)
from colossus_tui.model.match.fields import Field, NumberField, TextField
from colossus_tui.model.match.scanner import Bare, Comparison, Mark, Token, error, scan, shown

TERM_LIMIT = 32
NESTING_LIMIT = 16
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(.*)", re.ASCII | re.IGNORECASE)
_ORDER = ("<", "<=", ">", ">=")


def read(text: str, fields: Mapping[str, Field]) -> Expression:
    """Return the checked expression; an empty text means every row.

    Raises:
        MatchError: A term is wrong.
    """
    parser = _Parser(scan(text), fields)
    return parser.whole()


class _Parser:
    """Descends: `or` binds least, then `and` or nothing between terms, then `not`."""

    def __init__(self, tokens: list[Token], fields: Mapping[str, Field]) -> None:
        self._tokens = tokens
        self._fields = fields
        self._index = 0
        self._depth = 0
        self._terms = 0

    def whole(self) -> Expression:
        if not self._tokens:
            return And()
        expression = self._any()
        token = self._token()
        if token is not None:  # only a closing one ends an expression
            raise error("no ( is open here; remove the )", token.at)
        return expression

    def _token(self) -> Token | None:
        return self._tokens[self._index] if self._index < len(self._tokens) else None

    def _takes(self, mark: str) -> bool:
        token = self._token()
        taken = isinstance(token, Mark) and token.text == mark
        self._index += taken
        return taken

    def _any(self) -> Expression:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Expression:
        parts = [self._one()]
        while self._takes("and") or self._begins():
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _begins(self) -> bool:
        token = self._token()
        return token is not None and not (isinstance(token, Mark) and token.text in ("or", ")"))

    def _one(self) -> Expression:
        token = self._token()
        if token is None or (isinstance(token, Mark) and token.text in ("and", "or", ")")):
            before = self._tokens[self._index - 1] if self._index else None
            place = before or token
            if before is not None:
                raise error(f"a term must follow {_named(before)}", before.at)
            raise error(f"a term must stand before {_named(token)}", place.at if place else 0)
        self._index += 1
        if isinstance(token, Mark):
            return self._nested(token)
        self._count(token, len(token.values) if isinstance(token, Comparison) else 1)
        if isinstance(token, Comparison):
            return self._comparison(token)
        if not token.text:
            raise error("a word must not be empty", token.at)
        return Word(token.text.lower())

    def _nested(self, mark: Mark) -> Expression:
        self._deeper(mark.at)
        if mark.text == "not":
            expression: Expression = Not(self._one())
        else:
            expression = self._any()
            if not self._takes(")"):
                raise error("this ( is not closed; add )", mark.at)
        self._depth -= 1
        return expression

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > NESTING_LIMIT:
            raise error(f"at most {NESTING_LIMIT} parentheses and nots within each other", at)

    def _count(self, token: Token, count: int) -> None:
        self._terms += count
        if self._terms > TERM_LIMIT:
            raise error(f"at most {TERM_LIMIT} terms and values", token.at)

    def _comparison(self, token: Comparison) -> Expression:
        field = self._fields.get(token.name.lower())
        if field is None:
            raise _unknown(token, self._fields)
        if isinstance(field, TextField):
            return _text(token, field)
        self._unit_apart(token, field)
        if field.bits and any(value.text.lower() in field.bits for value in token.values):
            return _bits(token, field)
        if len(token.values) == 1:
            return Number(field.name, token.sign, _number(token, token.values[0], field))
        self._deeper(token.at)  # it prints in parentheses
        parts = tuple(
            Number(field.name, token.sign, _number(token, value, field)) for value in token.values
        )
        self._depth -= 1
        if token.sign not in ("=", "!="):
            raise error(f"{shown(token.text)}: a list goes with = and != only", token.at)
        return Or(parts) if token.sign == "=" else And(parts)

    def _unit_apart(self, token: Comparison, field: NumberField) -> None:
        """Keep the unit in `mem>40 GiB` from being read as a word."""
        after, value = self._token(), token.values[-1].text
        if not isinstance(after, Bare) or after.is_quoted or not _factor(after.text, field):
            return
        match = _NUMBER.fullmatch(value)
        if match is not None and not match[2]:
            remedy = f"write {shown(value + after.text)}"
            raise error(f"{shown(token.text)}: no space before a unit; {remedy}", token.at)


def _named(token: Token | None) -> str:
    return token.text if isinstance(token, Mark) else "it"


def _unknown(token: Comparison, fields: Mapping[str, Field]) -> MatchError:
    near = difflib.get_close_matches(token.name.lower()[:40], fields, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return error(
        f"{shown(token.name)} is no field{meant}; known: {', '.join(fields)}",
        token.at,
    )


def _text(token: Comparison, field: TextField) -> Expression:
    term, sign = shown(token.text), token.sign
    signs = ("=", "!=", *(_ORDER if field.is_ordered else () if field.known else ("~",)))
    if sign not in signs:
        named = f"{', '.join(signs[:-1])} and {signs[-1]}"
        raise error(f"{term}: {field.name} goes with {named} only", token.at)
    if sign in _ORDER and len(token.values) > 1:
        raise error(f"{term}: a list goes with = and != only", token.at)
    return Text(field.name, sign, tuple(_one_text(token, value, field) for value in token.values))


def _one_text(token: Comparison, value: Bare, field: TextField) -> str:
    term = shown(token.text)
    if field.known:
        folded = {known.lower(): known for known in field.known}.get(value.text.lower())
        if folded is None and (value.text or token.sign in _ORDER):
            known = ", ".join(field.known)
            raise error(f"{term}: {shown(value.text)} is none of {known}", value.at)
        return folded or ""
    is_pattern = "*" in value.text or "?" in value.text
    if token.sign != "~":
        if is_pattern and not value.is_quoted:
            raise error(f"{term}: patterns go with ~; quote it if it is none", value.at)
        return value.text
    if not value.text:
        raise error(f"{term}: a value must follow ~", value.at)
    if field.is_distinct and is_pattern and ("?" in value.text or "*" in value.text[:-1]):
        raise error(f"{term}: {field.name} takes one * at the end, and no ?", value.at)
    return value.text.lower()


def _bits(token: Comparison, field: NumberField) -> Expression:
    names = tuple(value.text.lower() for value in token.values)
    if token.sign not in ("=", "!="):
        raise error(f"{shown(token.text)}: names go with = and != only", token.at)
    for name in names:
        if name not in field.bits:
            known = ", ".join(field.bits)
            raise error(f"{shown(token.text)}: {shown(name)} is none of {known}", token.at)
    mask = 0
    for name in names:
        mask |= field.bits[name]
    return Bits(field.name, token.sign, names, mask)


def _number(token: Comparison, value: Bare, field: NumberField) -> float:
    term = shown(token.text)
    if token.sign == "~":
        raise error(f"{term}: ~ is for texts; {field.name} goes with = != < <= > >=", token.at)
    match = _NUMBER.fullmatch(value.text)
    number = float(match[1]) if match else math.inf
    if match is None or not math.isfinite(number):
        names = f", nor one of {', '.join(field.bits)}" if field.bits else ""
        raise error(f"{term}: {shown(value.text)} is no number{names}", value.at)
    factor = _factor(match[2], field) if match[2] else 1.0
    if not factor:
        units = f"its units: {', '.join(field.units)}" if field.units else "it has none"
        raise error(f"{term}: {shown(match[2])} is no unit of {field.name}; {units}", value.at)
    number = number * factor if factor >= 1 else number / round(1 / factor)
    if field.is_ratio and number > 1:
        raise error(f"{term}: a ratio is at most 1; write 95% or 0.95", value.at)
    if not math.isfinite(number):
        raise error(f"{term}: {shown(value.text)} is too large", value.at)
    return number


def _factor(unit: str, field: NumberField) -> float:
    """Return how many of the field's first unit this one is; 0 for none."""
    folded = {known.lower(): factor for known, factor in field.units.items()}
    return folded.get(unit.lower(), 0.0)
