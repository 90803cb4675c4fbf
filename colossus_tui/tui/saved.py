"""Screens that an operator keeps under a name: filter, order, metric and theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from colossus_tui.tui.settings import Settings, SettingsError

KEY = "views"
NAME_LIMIT, COUNT_LIMIT = 40, 50


@dataclass(frozen=True, slots=True)
class SavedView:
    """One screen as it was kept.

    Attributes:
        screen: Its scope, such as "nodes".
        state: What the screen itself restores.
    """

    name: str
    screen: str
    state: Mapping[str, str]
    theme: str = ""


def saved_views(settings: Settings) -> list[SavedView]:
    """Return what was kept, in order of its names.

    Raises:
        SettingsError: The file is damaged, or what is kept in it is no list of views.
    """
    kept = settings.read().get(KEY, [])
    if not isinstance(kept, list):
        raise SettingsError(f"{settings.path}: {KEY!r} is no list; repair it or move the file away")
    found = [_view(settings, index, one) for index, one in enumerate(kept, start=1)]
    return sorted(found, key=lambda view: view.name)


def keep(settings: Settings, view: SavedView) -> None:
    """Keep a view, in place of another one of its name.

    Raises:
        SettingsError: The file is damaged, full or cannot be written.
    """
    others = _others(settings, view.name)
    if len(others) >= COUNT_LIMIT:
        raise SettingsError(f"{COUNT_LIMIT} views are kept already; delete one first")
    settings.write(KEY, [*others, asdict(view)])


def forget(settings: Settings, name: str) -> None:
    """Delete a view.

    Raises:
        SettingsError: The file is damaged or cannot be written.
    """
    settings.write(KEY, _others(settings, name))


def _others(settings: Settings, name: str) -> list[Any]:
    """Return all but one as they stand in the file, also with what this version does not know."""
    saved_views(settings)  # a damaged one is told
    kept = settings.read().get(KEY, [])
    return [one for one in kept if one.get("name", "")[:NAME_LIMIT] != name]


def _view(settings: Settings, index: int, value: Any) -> SavedView:
    texts = ("name", "screen", "theme")
    right = isinstance(value, dict) and all(isinstance(value.get(t, ""), str) for t in texts)
    state = value.get("state", {}) if right else None
    if not isinstance(state, dict) or not all(isinstance(one, str) for one in state.values()):
        where = f"{settings.path}: {KEY}, entry {index}"
        raise SettingsError(f"{where} is no saved view; repair it or move the file away")
    return SavedView(
        value.get("name", "")[:NAME_LIMIT], value.get("screen", ""), state, value.get("theme", "")
    )
