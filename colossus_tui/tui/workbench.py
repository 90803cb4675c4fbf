"""What an operator does with the console itself: theme, hold, export, copy, saved views."""

from __future__ import annotations

from collections.abc import Sequence

from textual.filter import LineFilter, Monochrome, NoColor

from colossus_tui.model import Action, View
from colossus_tui.text import safe
from colossus_tui.tui.hold import Hold
from colossus_tui.tui.modes import Modes, colours_of
from colossus_tui.tui.paced import PacedApp
from colossus_tui.tui.plain_text import AsciiFilter
from colossus_tui.tui.saved import SavedView, saved_views
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.settings import Settings, SettingsError
from colossus_tui.tui.theme import ASCII, THEMES, UNICODE
from colossus_tui.tui.theme.textual import textual_theme

COPY_LIMIT = 74_000  # bytes of a text: what xterm takes at most, in base64 100,000
TAKES_COLOUR = (Monochrome, NoColor)


class Workbench(PacedApp):
    """The part of the console that knows of no run.

    Attributes:
        view: What is shown; while it is held, the state of then with the ages of now.
        journal: The actions that are shown; None until they were read.
        hold: What is held, if anything is.
        settings: What the operator has chosen.
    """

    def __init__(self, modes: Modes) -> None:
        super().__init__(modes.bandwidth)
        self.settings = Settings(may_write=not modes.looks_only)
        self.glyphs = ASCII if modes.ascii_only else UNICODE
        self.colours = colours_of(self.console.color_system)
        chosen, self.unsaid = modes.theme(self.colours, self.settings)
        self._take_theme(chosen)
        self.animation_level = "none"
        self._no_colour, self._ascii = NoColor(), AsciiFilter()  # strips remember by the filter
        self.view: View | None = None
        self.journal: tuple[Action, ...] | None = None
        self.hold: Hold | None = None

    def tell(self, title: str, text: str, good: bool) -> None:
        """Say something at the edge of the screen, for a while."""
        self.notify(
            safe(text, 400),
            title=safe(title, 200),
            severity="information" if good else "warning",
            markup=False,
        )

    # --- theme -------------------------------------------------------------------------------

    def action_theme(self) -> None:
        """Show everything in the next theme that this terminal can show, and remember it."""
        names = [name for name, theme in THEMES.items() if theme.needs <= self.colours]
        at = names.index(self.theme_now.name) if self.theme_now.name in names else -1
        self.show_theme(names[(at + 1) % len(names)])
        self.tell("theme", f"{self.theme_now.name}: {self.theme_now.meaning}", good=True)
        try:
            self.settings.write("theme", self.theme_now.name)
        except SettingsError as error:
            self.tell("the theme is not remembered", str(error), good=False)

    def show_theme(self, name: str) -> None:
        """Show everything in this theme."""
        self._take_theme(name)
        self.show_all()

    def _take_theme(self, name: str) -> None:
        self.theme_now = THEMES[name]
        self.register_theme(textual_theme(self.theme_now))
        self.theme = name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what takes colours away where the theme has none, and letters beyond ASCII."""
        kept = [one for one in super().get_line_filters() if not isinstance(one, TAKES_COLOUR)]
        kept += [] if self.theme_now.needs else [self._no_colour]
        return kept + ([self._ascii] if self.glyphs is ASCII else [])

    # --- hold --------------------------------------------------------------------------------

    def action_hold(self) -> None:
        """Let the screen stand still, or go on."""
        if self.hold is not None:
            self.release()
        elif self.view is not None and isinstance(self.screen, ColossusScreen):
            self.hold = Hold(self.screen, self.view, self.journal)
            self.show_all()

    def release(self) -> None:
        """Go on with what came in the meantime."""
        if self.hold is not None:
            self.view, self.journal = self.hold.newest_view, self.hold.newest_journal
            self.hold = None
            self.show_all()

    def take(self, view: View | None = None, journal: tuple[Action, ...] | None = None) -> None:
        """Show what the hub sent, now or when the hold is over."""
        if self.hold is not None:
            self.hold.take(view, journal)
            return
        self.view = view if view is not None else self.view
        self.journal = journal if journal is not None else self.journal
        self.show_state()

    def let_ages_grow(self) -> None:
        """Let what is held grow old in sight."""
        if self.hold is not None and (older := self.hold.aged()) is not None:
            self.view = older
            self.show_state()

    # --- export and copy ---------------------------------------------------------------------

    def action_export(self) -> None:
        """Write the screen as picture, JSON and CSV."""
        from colossus_tui.tui.export.screen import export

        if isinstance(self.screen, ColossusScreen):
            self.tell("export", *export(self.screen))

    def action_copy(self) -> None:
        """Copy the name of what is under the cursor."""
        if isinstance(self.screen, ColossusScreen):
            self._copy(self.screen.thing() or "")

    def action_copy_all(self) -> None:
        """Copy the screen's body as text."""
        if isinstance(self.screen, ColossusScreen):
            self._copy("\n".join(safe(line, COPY_LIMIT) for line in self.screen.text_lines()))

    def _copy(self, text: str) -> None:
        """Hand a text to the terminal's clipboard (OSC 52), if it is one that fits."""
        size = len(text.encode())
        if not text or size > COPY_LIMIT:
            large = f"{size / 1e3:,.0f} kB is too much to copy; export it"
            self.tell("copy", large if text else "nothing here", good=False)
            return
        lines = text.splitlines()
        self.copy_to_clipboard("\n".join(safe(line, COPY_LIMIT) for line in lines))
        self.tell("copied", lines[0] if len(lines) == 1 else f"{len(lines)} lines", good=True)

    # --- saved views -------------------------------------------------------------------------

    def action_save(self) -> None:
        """Ask for the name under which this screen, as it is, is kept."""
        from colossus_tui.tui.screens.saved import SaveCard

        screen = self.screen
        if not isinstance(screen, ColossusScreen) or screen.saved_state() is None:
            self.tell("save", "this screen has nothing to keep", good=False)
            return
        self.push_screen(SaveCard(screen.scope, screen.saved_state() or {}))

    def action_saved(self) -> None:
        """List what was kept, to open one."""
        from colossus_tui.tui.screens.saved import SavedCard

        try:
            found = saved_views(self.settings)
        except SettingsError as error:
            self.tell("saved views", str(error), good=False)
            return
        if isinstance(self.screen, ColossusScreen):
            self.push_screen(SavedCard(found))

    async def open_saved(self, saved: SavedView) -> None:
        """Show a screen as it was kept; what cannot be so any more is told."""
        from colossus_tui.tui.screens.saved import screen_of

        if saved.theme in THEMES and THEMES[saved.theme].needs <= self.colours:
            self.show_theme(saved.theme)
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        if saved.screen != "overview":
            await self.push_screen(screen_of(saved))
        screen = self.screen
        assert isinstance(screen, ColossusScreen)
        if wrong := screen.restore(saved.state):
            self.tell(f"saved view {saved.name}", wrong, good=False)
        self.show_all()
