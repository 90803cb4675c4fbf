"""Slurm's short form of many node names: "n[1-3,07],login" and its like."""

from __future__ import annotations

LIMIT = 200_000  # a list from a broken or hostile source must not fill the memory
TEXT_LIMIT = 1024 * 1024
_BRACKETS, _DIGITS = 8, 18  # of one name


def expand(text: str) -> tuple[str, ...]:
    """Return every name, in the order given.

    Raises:
        ValueError: It is malformed or names more than LIMIT nodes.
    """
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"more than {TEXT_LIMIT} characters")
    names: list[str] = []
    for part in _split(text):
        if part.count("[") > _BRACKETS:
            raise ValueError(f"{part[:40]!r} has more than {_BRACKETS} brackets")
        names += _expand_part(part)
        if len(names) > LIMIT:
            raise ValueError(f"more than {LIMIT} nodes")
    return tuple(names)


def _split(text: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth not in (0, 1):
            raise ValueError(f"brackets of {text[:80]!r} do not match")
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    if depth:
        raise ValueError(f"brackets of {text[:80]!r} do not match")
    return [part for part in [*parts, text[start:]] if part]


def _expand_part(part: str) -> list[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    body, _, tail = rest.partition("]")
    tails = _expand_part(tail) if tail else [""]
    names = []
    for piece in body.split(","):
        low, dash, high = piece.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"{piece[:40]!r} is no range")
        if len(low) > _DIGITS:
            raise ValueError(f"{piece[:40]!r} has more than {_DIGITS} digits")
        numbers = range(int(low), int(high if dash else low) + 1)
        if len(numbers) * len(tails) > LIMIT:
            raise ValueError(f"more than {LIMIT} nodes")
        names += [f"{head}{number:0{len(low)}d}{end}" for number in numbers for end in tails]
    return names
