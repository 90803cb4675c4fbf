"""Choosing runs by what they are: `class>=P3 state=running gpus>64 imagine`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.run import Run, RunState

TERM_LIMIT = 16
_TERM = re.compile(r"([a-z]+)(>=|<=|!=|=|>|<)(.*)", re.S)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TEXTS: dict[str, Callable[[Run], tuple[str, ...]]] = {
    "class": lambda run: (run.priority_class.value,),
    "state": lambda run: (run.state.value,),
    "backend": lambda run: (run.backend,),
    "run": lambda run: (run.run_id,),
    "label": lambda run: (run.label,),
    "node": lambda run: run.node_names,
    "user": lambda run: (run.job.user if run.job else "",),
    "queue": lambda run: (run.job.queue if run.job else "",),
}
_NUMBERS: dict[str, Callable[[Run], float | None]] = {
    "gpus": lambda run: run.gpu_count,
    "nodes": lambda run: len(run.node_names),
    "ranks": lambda run: run.rank_count,
    "step": lambda run: run.step,
    "loss": lambda run: run.loss,
    "risk": lambda run: run.work_at_risk_hours,
    "mfu": lambda run: run.mfu_ratio,
    "alerts": lambda run: len(run.alerts),
}
FIELDS = (*_TEXTS, *_NUMBERS)
_KNOWN = {"class": [member.value for member in PriorityClass], "state": [*RunState]}


class MatchError(ValueError):
    """An expression is wrong; the message names the term and the remedy."""


@dataclass(frozen=True, slots=True)
class _Term:
    """One condition; an empty field is a word in its name, label or command."""

    field: str
    compare: Callable[[Any, Any], bool]
    wanted: str | float
    is_not: bool = False

    def holds(self, run: Run) -> bool:
        """Return whether the run meets it; a figure that is not available meets none."""
        if not self.field:
            word = str(self.wanted)
            return any(word in text.lower() for text in (run.run_id, run.label, run.command))
        if self.field in _NUMBERS:
            value = _NUMBERS[self.field](run)
            return value is not None and self.compare(value, self.wanted)
        compared = (self.compare(text, self.wanted) for text in _TEXTS[self.field](run))
        return all(compared) if self.is_not else any(compared)


@dataclass(frozen=True, slots=True)
class Match:
    """A checked expression; all its terms must hold."""

    terms: tuple[_Term, ...] = ()

    def __call__(self, run: Run) -> bool:
        """Return whether the run is meant."""
        return all(term.holds(run) for term in self.terms)

    def names(self, field: str) -> bool:
        """Return whether one of its terms is about this field."""
        return any(term.field == field for term in self.terms)


def parse(text: str) -> Match:
    """Return the checked expression; an empty one means every run.

    Raises:
        MatchError: A term is wrong.
    """
    words = text.split()
    if len(words) > TERM_LIMIT:
        raise MatchError(f"at most {TERM_LIMIT} terms, not {len(words)}")
    return Match(tuple(_term(word) for word in words))


def _term(word: str) -> _Term:
    match = _TERM.fullmatch(word)
    if match is None:
        if any(sign in word for sign in "<>=!"):
            raise MatchError(f"{word!r} is no term; write FIELD, a sign and a value: class>=P3")
        return _Term("", operator.contains, word.lower())
    field, sign, value = match.groups()
    if field not in FIELDS:
        raise MatchError(f"{field!r} is no field; known: {', '.join(FIELDS)}")
    if not value:
        raise MatchError(f"{word!r}: a value must follow {sign}")
    if field in _NUMBERS:
        return _Term(field, _COMPARE[sign], _number(word, value))
    if field != "class" and sign not in ("=", "!="):
        raise MatchError(f"{word!r}: {field} goes with = and != only")
    known = _KNOWN.get(field)
    value = {"class": value.upper(), "state": value.lower()}.get(field, value)
    if known is not None and value not in known:
        raise MatchError(f"{word!r}: {value!r} is none of {', '.join(known)}")
    return _Term(field, _COMPARE[sign], value, is_not=sign == "!=")


def _number(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise MatchError(f"{word!r}: {value!r} is no number") from None
