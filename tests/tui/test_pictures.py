"""Every screen at three sizes in every theme, compared with the pictures that were accepted."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from colossus_tui.tui.modes import COLOURED
from tests.tui.pictures import FOLDER, SCREENS, SIZES, stage

TOTAL_LIMIT, LIMIT = 4_000_000, 60_000  # bytes: all pictures, and one of them


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_looks_as_it_was_accepted(
    name: str,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    different = []
    async with stage(monkeypatch, size) as it:
        await SCREENS[name](it)
        for theme in COLOURED:
            it.app.show_theme(theme)
            await it.pilot.pause()
            path = FOLDER / f"{name}-{size[0]}x{size[1]}-{theme}.svg"
            if not _accepted(path, it.picture(), request.config.getoption("--accept-pictures")):
                different.append(path.with_suffix(".new.svg").name)

    assert different == [], f"look at them in {FOLDER}, then run pytest --accept-pictures"


def _accepted(path: Path, shown: str, accept: bool) -> bool:
    """Return whether the picture is the accepted one; another is left beside it."""
    beside = path.with_suffix(".new.svg")
    if accept or (path.exists() and path.read_text("utf-8") == shown):
        if accept:
            path.parent.mkdir(exist_ok=True)
            path.write_text(shown, "utf-8")
        beside.unlink(missing_ok=True)
        return True
    beside.parent.mkdir(exist_ok=True)
    beside.write_text(shown, "utf-8")
    return False


def test_the_pictures_are_small_and_all_of_them_are_of_a_screen() -> None:
    known = {
        f"{name}-{wide}x{high}-{theme}.svg"
        for name in SCREENS
        for wide, high in SIZES
        for theme in COLOURED
    }
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.svg")}

    assert {name for name in sizes if ".new." not in name} == known
    assert sum(sizes.values()) < TOTAL_LIMIT
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}


def test_a_picture_is_whole_and_loads_nothing() -> None:
    for path in FOLDER.glob("*-120x40-*.svg"):
        text = path.read_text("utf-8")
        root = ET.fromstring(text)

        assert root.tag.endswith("svg")
        assert text.count("http") == 1  # the name of the format
        assert "<script" not in text
        assert not re.search(r"@import|url\(|<image|<foreignObject|href", text)
        assert root.find("{*}title") is not None
