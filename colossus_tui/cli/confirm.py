"""Asking the operator at the terminal; without one the answer is no."""

from __future__ import annotations

import sys
from collections.abc import Callable

from colossus_tui.cli.output import note

NOBODY = "colossus: nobody is here to confirm it; add --yes if you mean it"


def yes(question: str) -> bool:
    """Ask a question whose answer is no unless it is y or yes."""
    return _answer(f"{question} [y/N] ", lambda text: text.strip().lower() in ("y", "yes"))


def typed(request: str, wanted: str) -> bool:
    """Ask for exactly this text."""
    return _answer(f"{request}: ", lambda text: text == wanted)


def _answer(prompt: str, means_yes: Callable[[str], bool]) -> bool:
    if not sys.stdin.isatty():
        note(NOBODY)
        return False
    sys.stderr.write(prompt)
    sys.stderr.flush()
    try:
        if means_yes(input()):
            return True
    except EOFError:
        pass
    note("not done")
    return False
