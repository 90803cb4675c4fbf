"""A screen as a small SVG: one class a style, nothing from outside, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from rich.color import Color
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME as SIXTEEN_COLOURS
from textual.strip import Strip

from colossus_tui.text import width
from colossus_tui.tui.theme import DARK, OWN, Theme

WIDE, HIGH, BASE, FONT = 8, 17, 13, 13.33  # of a cell, its base line and its letters, pixels
FONTS = 'ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace'
_HALVES = {"▀": (0, 1), "▄": (1, 2), "█": (0, 2)}  # halves of a cell that a block fills


def svg(strips: Sequence[Strip], theme: Theme, title: str) -> str:
    """Return the picture of a screen's lines."""
    picture = _Picture(theme)
    cells = max((strip.cell_length for strip in strips), default=1)
    for line, strip in enumerate(strips):
        picture.add(line, strip)
    wide, high = cells * WIDE, len(strips) * HIGH
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
            f'width="{wide}" height="{high}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>text{{font:{FONT}px {FONTS};white-space:pre}}{picture.rules()}</style>",
            f'<rect width="100%" height="100%" fill="{picture.ground}"/>',
            *picture.grounds(),
            *picture.lines,
            "</svg>\n",
        )
    )


@dataclass(slots=True)
class _Picture:
    """What was drawn so far.

    Attributes:
        lines: Texts.
        classes: Names of the styles of texts.
        blocks: By colour, what it fills: column, half line, cells, half lines.
    """

    theme: Theme
    lines: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)

    @property
    def ground(self) -> str:
        """Colour behind everything."""
        return DARK.background if self.theme.background == OWN else self.theme.background

    def add(self, line: int, strip: Strip) -> None:
        """Draw one line."""
        x, spans = 0, []
        for text, style, _ in strip.simplify():
            ink, ground, name = self._style(style or Style.null())
            cells = width(text)
            if text.strip() and set(text) <= {*_HALVES, " "}:
                self._halves(ink, ground, x, line, text)
            else:
                self._fill(ground, x, line * 2, cells, 2)
                spans += [(x + at, part, name) for at, part in _parts(text)]
            x += cells
        if spans:
            shown = "".join(
                f'<tspan x="{at * WIDE}" class="{name}"{_exact(part)}>{escape(part)}</tspan>'
                for at, part, name in spans
            )
            self.lines.append(f'<text y="{line * HIGH + BASE}">{shown}</text>')

    def _fill(self, colour: str, x: int, half: int, cells: int, high: int) -> None:
        if colour == self.ground:
            return
        known = self.blocks.setdefault(colour, [])
        for index in range(len(known) - 1, max(len(known) - 3, -1), -1):  # the halves of a line
            left, above, wide, tall = known[index]
            if (above, tall) == (half, high) and left + wide == x:
                known[index] = (left, half, wide + cells, high)
                return
        known.append((x, half, cells, high))

    def _halves(self, ink: str, ground: str, x: int, line: int, text: str) -> None:
        for at, character in enumerate(text):
            first, last = _HALVES.get(character, (0, 0))
            for half in (0, 1):
                colour = ink if first <= half < last else ground
                self._fill(colour, x + at, line * 2 + half, 1, 1)

    def _style(self, style: Style) -> tuple[str, str, str]:
        """Return the colours of letters and ground, and the name of the letters' class."""
        plain = DARK.styles["plain"] if self.theme.background == OWN else self.theme.styles["plain"]
        assert plain.color is not None
        ink = _hex(style.color, plain.color.get_truecolor().hex)
        ground = _hex(style.bgcolor, self.ground)
        if style.reverse:
            ink, ground = ground, ink
        rule = f"fill:{ink}"
        rule += ";font-weight:700" if style.bold else ""
        rule += ";font-style:italic" if style.italic else ""
        rule += ";text-decoration:underline" if style.underline else ""
        return ink, ground, self.classes.setdefault(rule, _name(len(self.classes)))

    def rules(self) -> str:
        """Return the rules of all classes."""
        return "".join(f".{name}{{{rule}}}" for rule, name in self.classes.items())

    def grounds(self) -> Iterable[str]:
        """Yield what is filled, one path a colour."""
        for colour, blocks in self.blocks.items():
            path = "".join(
                f"M{x} {half}h{cells}v{high}h-{cells}z" for x, half, cells, high in blocks
            )
            yield f'<path transform="scale({WIDE} {HIGH / 2})" fill="{colour}" d="{path}"/>'


def _parts(text: str) -> list[tuple[int, str]]:
    """Split a text where a letter of another font may be wider or narrower than a cell."""
    parts: list[tuple[int, str]] = []
    at, start, current = 0, 0, ""
    for character in text:
        if current and (character.isascii() != current[-1].isascii() or current.endswith("  ")):
            parts.append((start, current))
            current, start = "", at
        current += character
        at += width(character)
    parts.append((start, current))
    return [
        (first + width(part) - width(part.lstrip(" ")), part.strip(" "))
        for first, part in parts
        if part.strip(" ")
    ]


def _exact(text: str) -> str:
    """Return what makes letters of another font as wide as cells."""
    if text.isascii() or width(text) < 2:
        return ""
    return f' textLength="{width(text) * WIDE}" lengthAdjust="spacingAndGlyphs"'


def _hex(colour: Color | None, own: str) -> str:
    if colour is None or colour.is_default:
        return own
    return colour.get_truecolor(SIXTEEN_COLOURS).hex


def _name(index: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[index] if index < 26 else f"{letters[index // 26 - 1]}{letters[index % 26]}"
