"""One screen as files: its picture, and the values behind it as JSON and CSV."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colossus_tui.paths import PathError
from colossus_tui.tui.compositor import lines_of
from colossus_tui.tui.export import files
from colossus_tui.tui.export.svg import svg
from colossus_tui.tui.export.values import as_csv, as_json

if TYPE_CHECKING:
    from colossus_tui.tui.screens.base import ColossusScreen


def picture(screen: ColossusScreen) -> str:
    """Return the screen as it is shown now, as SVG."""
    console = screen.console
    site = console.view.site if console.view is not None else None
    title = f"{site.site_name if site is not None else 'colossus'}: {screen.title_text()}"
    return svg(lines_of(console.screen), console.theme_now, title)


def export(screen: ColossusScreen) -> tuple[str, bool]:
    """Write the screen's files; return where they are, or what went wrong, and whether it did."""
    view = screen.console.view
    site = view.site.site_name if view is not None and view.site is not None else ""
    texts = {"svg": picture(screen)}
    if (exported := screen.exported()) is not None:
        texts["json"] = as_json(exported, site, time.time_ns())
        texts["csv"] = as_csv(exported)
    try:
        paths = files.write(f"{screen.scope}-{screen.thing() or ''}", texts)
    except PathError as error:
        return str(error), False
    return f"{paths[0].with_suffix('')}.{{{','.join(texts)}}}", True
