"""How well one colour is read on another.

Relative luminance and contrast ratio are those of WCAG 2.2 (W3C, definitions of both terms), which
asks 4.5:1 of text (1.4.3), 7:1 of text for those who see little (1.4.6), 3:1 of all else (1.4.11).
"""

from __future__ import annotations

TEXT, STRICT, FAINT = 4.5, 7.0, 3.0  # contrast ratios
_STEPS = 64


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb", 0 to 1."""
    red, green, blue = (_linear(part / 255) for part in _parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, grounds: tuple[str, ...], ratio: float) -> str:
    """Return the colour, or the nearest one to white or black that is read on all grounds."""
    ends = sorted(("#000000", "#ffffff"), key=lambda end: -_least(end, grounds))
    for step in range(_STEPS + 1):
        found = mixed(colour, ends[0], step / _STEPS)
        if _least(found, grounds) >= ratio:
            return found
    return ends[0]


def mixed(one: str, other: str, share: float) -> str:
    """Return a colour with so much of the other in it."""
    pairs = zip(_parts(one), _parts(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _least(colour: str, grounds: tuple[str, ...]) -> float:
    return min(contrast(colour, ground) for ground in grounds)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
