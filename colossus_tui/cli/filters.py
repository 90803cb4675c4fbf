"""Filters of GPUs as they are typed: checked before a hub is asked, and pointed at when wrong."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from colossus_tui.model.match import (
    GPU_FIELDS,
    And,
    MatchError,
    Number,
    NumberField,
    Or,
    Text,
    Word,
    parse_gpus,
)
from colossus_tui.text import safe, width

# What GPUs can be put in the order of, by the name that a filter has for it.
METRICS = {
    field.name: field.metric
    for field in GPU_FIELDS.values()
    if isinstance(field, NumberField) and field.metric and not field.bits
}
AROUND = 40  # characters of a filter shown before what is wrong, and after it
_AT = re.compile(r"\(at character (\d+)\)$")
_RANK_OF_RUN = re.compile(r"(?P<run>.+):(?P<rank>[0-9]{1,9})")


class GpuFilter(argparse.Action):
    """Takes a filter of GPUs, of one word or of several, and refuses a wrong one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the filter as it was typed."""
        del parser
        text = values if isinstance(values, str) else " ".join(values or ())
        if option_string is None and not text.strip():
            raise argparse.ArgumentError(self, "it is empty; node~* means every GPU")
        try:
            parse_gpus(text)
        except MatchError as error:
            raise argparse.ArgumentError(self, pointed(str(error), text)) from None
        setattr(namespace, self.dest, text)


def pointed(message: str, text: str) -> str:
    """Return what is wrong with a filter, and under it the filter with a mark at the place."""
    message = safe(message)
    found = _AT.search(message)
    if found is None:
        return message
    at = min(int(found[1]) - 1, len(text))
    first = max(at - AROUND, 0)
    before, after = safe(text[first:at]), safe(text[at : at + AROUND])
    return f"{message}\n  {before}{after}\n  {' ' * width(before)}^"


def combined(where: str, *, run_id: str = "", node_name: str = "") -> str:
    """Return a filter that is also of one run, one node or both."""
    named = [
        str(Text(field, "=", (name,)))
        for field, name in (("run", run_id), ("node", node_name))
        if name
    ]
    if not named or not where.strip():
        return " and ".join(named) or where
    return " and ".join([*named, f"({where})"])


def meanings(text: str) -> tuple[str, ...]:
    """Return the filters that a text to find by may mean, the likeliest first.

    `10t:17` is a rank of a run; any other word is a node's name or a pattern of it, or the
    beginning of a UUID, and where there is none, a piece of any name. Whatever else is a filter as
    it stands.
    """
    text = text.strip()
    expression = parse_gpus(text).expression
    if not isinstance(expression, Word) or expression.text != text.lower():
        return (text,)
    if "*" in text or "?" in text:
        return str(Text("node", "~", (text.lower(),))), text
    exact = str(Or((Text("node", "=", (text,)), Text("uuid", "~", (f"{text.lower()}*",)))))
    if found := _RANK_OF_RUN.fullmatch(text):
        rank = Number("rank", "=", int(found["rank"]))
        return str(And((Text("run", "=", (found["run"],)), rank))), exact, text
    return exact, text
