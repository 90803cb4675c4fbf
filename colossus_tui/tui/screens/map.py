"""The map of the site: halls down to GPUs, coloured by one metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget

from colossus_tui.model import Found, FoundGpu, MapRequest
from colossus_tui.model.match import MatchError, parse_gpus
from colossus_tui.text import safe
from colossus_tui.tui.actions import MAP_NAMES
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import bindings
from colossus_tui.tui.screens.found import FoundScreen
from colossus_tui.tui.screens.nodes import NodeScreen
from colossus_tui.tui.screens.typed import TypedScreen
from colossus_tui.tui.views.find import filters_of, only_node
from colossus_tui.tui.views.heat import Picture, cells_of, outliers, picture_of
from colossus_tui.tui.views.map import (
    Beside,
    cell_of,
    group_of,
    short_lines,
    step_down,
    tall_lines,
    where_text,
)
from colossus_tui.tui.widgets.heatmap import HeatMap
from colossus_tui.tui.widgets.ink import Ink
from colossus_tui.tui.widgets.lines import Lines

SIDE_FROM, SIDE_CELLS = 120, 60  # the width from which the figures stand beside the map
BELOW_LINES, FEW_LINES = 9, 6
METRICS = tuple(MAP_NAMES)


@dataclass(slots=True)
class _Level:
    """One map on the way down, and the cell that the cursor must go to when it comes."""

    hall: str = ""
    rack: str = ""
    group: str = ""
    cell: str = ""
    place: int = 0


class MapScreen(TypedScreen):
    """A heat map with its figures.

    Args:
        where: Filter of GPUs to begin with.
        hall: Hall to begin in; "" for the whole site.
        rack: Rack of it to begin in.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("map")
    DEFAULT_CSS = f"""
    #site {{ layout: horizontal; }}
    #site > #heat {{ width: 1fr; height: 1fr; margin: 0 1; }}
    #site > #beside {{ width: {SIDE_CELLS}; height: 1fr; }}
    #site.narrow {{ layout: vertical; }}
    #site.narrow > #beside {{ width: 1fr; margin: 0 1; }}
    """
    scope = "map"

    def __init__(self, where: str = "", hall: str = "", rack: str = "") -> None:
        super().__init__()
        self._levels = [_Level()]
        if hall:
            self._levels.append(_Level(hall))
        if rack:
            self._levels.append(_Level(hall, rack))
        self._goes = False  # the cursor still has to go to the level's cell
        self._metric = METRICS[0]
        self._where = where
        self._note = ""
        self._picture: Picture | None = None
        self._ink: Ink | None = None
        self._digits = False

    def body(self) -> Iterable[Widget]:
        """The map, and its figures beside or below it."""
        yield Container(HeatMap(id="heat"), Lines(id="beside"), id="site", classes="body")

    def on_mount(self) -> None:
        """Give the map the keys."""
        self._heat.focus()
        super().on_mount()

    @property
    def _heat(self) -> HeatMap:
        return self.query_one("#heat", HeatMap)

    @property
    def _request(self) -> MapRequest:
        level = self._levels[-1]
        return MapRequest(level.hall, level.rack, self._metric, self._where)

    def wanted(self) -> Wanted:
        """This map."""
        return Wanted(map=self._request)

    def title_text(self) -> str:
        """What is typed, else where this is and what filters it."""
        if typed := self.typed_text():
            return typed
        title = f"map: {where_text(self._request)}"
        if self._where:
            title += f"   where {safe(self._where, 60)}"
        return title

    # --- what is shown -----------------------------------------------------------------------

    def show_body(self) -> None:
        """Bring the map and its figures up to date."""
        self._take()
        theme = self.console.theme_now
        if self._ink is None or self._ink.theme is not theme or self._ink.digits != self._digits:
            self._ink = Ink(self.console.glyphs, theme, digits=self._digits)
        picture, ink = self._picture, self._ink
        narrow = self.size.width < SIDE_FROM
        site, part = self.query_one("#site"), self.query_one("#beside", Lines)
        site.set_class(narrow, "narrow")
        if narrow:
            part.styles.height = BELOW_LINES if self.size.height > 30 else FEW_LINES
        else:
            part.styles.height = "1fr"
        if picture is None or ink is None:
            part.set_lines([(("asking for the map ...", "dim"),)])
            return
        self._heat.set_picture(picture, ink)
        if self._goes:
            self._go()
        self._show_figures()

    def _take(self) -> None:
        """Take the hub's map, if it is the one that was asked for last."""
        view, request = self.console.view, self._request
        found = view.map if view is not None else None
        if found is None or (self._picture is not None and found is self._picture.site_map):
            return
        if (found.hall, found.rack, found.metric) == (request.hall, request.rack, request.metric):
            self._picture = picture_of(found, self._picture)

    def _go(self) -> None:
        """Put the cursor on the cell that this level was entered by."""
        level, picture = self._levels[-1], self._picture
        layout = picture.site_map.layout if picture is not None else None
        if picture is None or layout is None or not self._is_current(picture):
            return
        self._goes = False
        found = cell_of(layout, level.group, level.cell, level.place)
        self._heat.go(0 if found is None else found)

    def _is_current(self, picture: Picture) -> bool:
        level, site_map = self._levels[-1], picture.site_map
        return (site_map.hall, site_map.rack) == (level.hall, level.rack)

    def _show_figures(self) -> None:
        assert self._picture is not None
        assert self._ink is not None
        view, picture = self.console.view, self._picture
        site_map = picture.site_map
        notes = [self._note] if self._note else []
        shown = site_map.metric, site_map.where
        if not self._is_current(picture) or shown != (self._metric, self._where):
            notes.append(f"asking for {MAP_NAMES[self._metric]} of {where_text(self._request)} ...")
        beside = Beside(
            picture,
            MapRequest(site_map.hall, site_map.rack),
            self._heat.cursor,
            view.site.limits if view is not None and view.site is not None else (),
            site_map.where,
            tuple(notes),
            self.console.glyphs,
            self._ink.colours,
        )
        part = self.query_one("#beside", Lines)
        narrow = self.size.width < SIDE_FROM
        room = BELOW_LINES if self.size.height > 30 else FEW_LINES
        if narrow:
            part.set_lines(short_lines(beside, self.size.width - 2, room)[:room])
        else:
            room = max(part.size.height, 1)
            part.set_lines(tall_lines(beside, SIDE_CELLS - 1, room)[:room])

    def on_heat_map_moved(self) -> None:
        """Tell of the cell that the cursor is on now."""
        if self._picture is not None:
            self._show_figures()

    def saved_state(self) -> dict[str, str]:
        """Metric and filter; it opens with the whole site."""
        return {"metric": self._metric, "filter": self._where}

    def restore(self, state: Mapping[str, str]) -> str:
        """Take metric and filter."""
        metric, where = state.get("metric", ""), state.get("filter", "")
        self._metric = metric if metric in METRICS else self._metric
        try:
            parse_gpus(where)
        except MatchError as error:
            return str(error)
        self._filter(where)
        return ""

    def exported(self) -> Exported | None:
        """The cells of the map, each with its value."""
        if self._picture is None:
            return None
        about = {"metric": self._metric, "where": self._where}
        return Exported("cells", cells_of(self._picture), self._picture.site_map.roll_up, about)

    def thing(self) -> str | None:
        """The name of the cell under the cursor."""
        layout = self._picture.site_map.layout if self._picture is not None else None
        cursor = self._heat.cursor
        return layout.cell_names[cursor] if layout is not None and cursor is not None else None

    # --- what the operator does --------------------------------------------------------------

    def _ask(self) -> None:
        """Ask for the map that is wanted now."""
        self.console.feed.show(self.wanted())
        self.show()

    def action_metric(self, step: int) -> None:
        """Colour by the next metric, or by the one before."""
        self.action_choose((METRICS.index(self._metric) + step) % len(METRICS))

    def action_choose(self, index: int) -> None:
        """Colour by this metric."""
        self._metric = METRICS[index]
        self._ask()

    def action_digits(self) -> None:
        """Draw every cell as a digit, also where that needs more lines than there are; or not."""
        self._digits = not self._digits
        self.show()

    def action_outlier(self, step: int) -> None:
        """Go to the worst cell; from a cell that stands out to the next worse or the one before."""
        if self._picture is None or not (found := outliers(self._picture)):
            self._note = "no cell stands out"
            self.show()
            return
        self._note = ""
        cursor = self._heat.cursor
        at = found.index(cursor) + step if cursor in found else min(step, 0)
        self._heat.go(found[at % len(found)])

    def action_open(self) -> None:
        """Open what the cell under the cursor is in: hall, rack, then node."""
        picture, cursor = self._picture, self._heat.cursor
        layout = picture.site_map.layout if picture is not None else None
        if picture is None or layout is None or cursor is None or not self._is_current(picture):
            self.console.bell()
            return
        group, place = group_of(layout, cursor)
        cell = layout.cell_names[cursor]
        here = self._levels[-1]
        here.group, here.cell, here.place = group, cell, place
        below = step_down(self._request, layout, cursor)
        if below is None:
            self.app.push_screen(NodeScreen(group, place))
        elif all(below[: len(self._levels)]):
            self._enter([*self._levels, _Level(below[0], below[1], cell)])
        else:
            self._note = "these nodes name no hall or rack"
            self.show()

    def on_heat_map_opened(self) -> None:
        """A double click opens."""
        self.action_open()

    def action_back(self) -> None:
        """Go up one level; from the site back to the screen before."""
        if len(self._levels) > 1:
            self._enter(self._levels[:-1])
        else:
            super().action_back()

    def _enter(self, levels: list[_Level]) -> None:
        self._levels, self._goes, self._note = levels, True, ""
        self._ask()

    # --- filter and find ---------------------------------------------------------------------

    def action_filter(self) -> None:
        """Begin to type a filter; the one that is there can be changed."""
        self.begin_entry(Entry("filter", self._where))

    def action_find(self) -> None:
        """Begin to type what to look for."""
        self._note = ""
        self.begin_entry(Entry("find"))

    def begin(self, character: str) -> bool:
        """A slash begins a filter, F what to look for."""
        if character == "/":
            self.action_filter()
        elif character == "F":
            self.action_find()
        return character in "/F"

    def check_entry(self, entry: Entry) -> None:
        """A filter of GPUs, or what can be made into one."""
        if entry.word == "filter":
            parse_gpus(entry.text)
        else:
            filters_of(entry.text)

    def entered(self, entry: Entry) -> None:
        """Filter, or look for it."""
        if entry.word == "filter":
            self._filter(entry.text.strip())
        else:
            self._note = f"looking for {safe(entry.text, 60)!r} ..."
            self.console.feed.find(entry.text, filters_of(entry.text))

    def dropped(self, entry: Entry) -> None:
        """A filter that is given up filters no more."""
        if entry.word == "filter":
            self._filter("")

    def _filter(self, where: str) -> None:
        self._where = where
        self.console.feed.show(self.wanted())

    def found(self, text: str, found: Found | None, detail: str) -> None:
        """Go to what was found, or list it to choose from."""
        self._note = ""
        if found is None:
            self._note = detail
        elif not found.gpus:
            self._note = f"nothing found for {safe(text, 60)!r}"
        elif (only := only_node(found)) is not None:
            self.jump(only)
        else:
            self.app.push_screen(FoundScreen(text, found, self.jump))
        self.show()

    def jump(self, gpu: FoundGpu) -> None:
        """Show a GPU on the map of its rack; its node where the rack is not known."""
        if not (gpu.hall and gpu.rack):
            self.app.push_screen(NodeScreen(gpu.node_name, gpu.gpu_index))
            return
        hall = _Level(group=gpu.hall, cell=gpu.rack)
        rack = _Level(gpu.hall, group=gpu.rack, cell=gpu.node_name)
        gpus = _Level(gpu.hall, gpu.rack, gpu.node_name, place=gpu.gpu_index)
        self._enter([hall, rack, gpus])
