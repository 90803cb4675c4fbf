"""Every key, from the same registry as the bindings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model.match import FIELDS, GPU_FIELDS
from colossus_tui.text import fit
from colossus_tui.tui.actions import COMMANDS
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.theme import STATE_STYLES
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.runs import OLD, OLD_SECONDS
from colossus_tui.tui.views.words import labelled
from colossus_tui.tui.widgets.lines import Lines


class HelpScreen(ColossusScreen):
    """Keys, states and words."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("help")
    scope = "help"
    heading = "help"

    def body(self) -> Iterable[Widget]:
        """One scrolled text."""
        yield Lines(id="help", focusable=True)

    def on_mount(self) -> None:
        """Give the text the keys."""
        self.query_one("#help", Lines).add_class("body").focus()
        super().on_mount()

    def show_body(self) -> None:
        """Fill the text."""
        glyphs, room = self.console.glyphs, self.size.width - 3
        lines: list[Line] = [(("KEYS", "head"),)]
        for command in COMMANDS:
            where = ", ".join(command.scope).replace("all", "everywhere")
            lines.append(
                (
                    (fit(f"  {command.shown}", 9), "key"),
                    (fit(command.label, 9), "strong"),
                    (fit(command.help, 46), "plain"),
                    (where, "dim"),
                )
            )
        lines.append((("  arrows, page keys and j k move; a click chooses, two open", "plain"),))
        lines += [(), (("FILTER", "head"),)]
        lines += labelled("  words", "must all be in its name, label or command", room)
        lines += labelled(
            "  FIELD=VALUE",
            f"also with != and, for numbers and class, < <= > >=; fields: {', '.join(FIELDS)}",
            room,
        )
        lines += labelled("  on the map", f"of GPUs: {', '.join(GPU_FIELDS)}; run=a temp>85", room)
        lines += [(), (("STATES OF A RUN", "head"),)]
        lines += [
            ((f"  {glyphs.states[state]} {state}", style),) for state, style in STATE_STYLES.items()
        ]
        lines.append(
            ((f"  {OLD} beside a state: its figures are over {OLD_SECONDS:g} s old", "plain"),)
        )
        lines += [
            (),
            (("WORDS", "head"),),
            (
                ("  durable step   ", "dim"),
                ("last step whose checkpoint all ranks committed", "plain"),
            ),
            (
                ("  at risk        ", "dim"),
                ("GPU-hours since then; rank-hours without GPUs", "plain"),
            ),
            (
                ("  ETTR           ", "dim"),
                ("productive time that was not redone / wall time", "plain"),
            ),
            (("  n/a            ", "dim"), ("not measured here; never the same as 0", "plain")),
        ]
        self.query_one("#help", Lines).set_lines(lines)
