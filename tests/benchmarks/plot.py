"""A plot of a few lines as SVG, written by hand: axes, ticks, a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 360, 60, 50, 40, 20
_COLOURS = ("#1b6ca8", "#c1440e", "#3a7d44", "#7d3a75")
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points, in the order of their x."""

    name: str
    points: tuple[tuple[float, float], ...]


def plot(lines: Sequence[Line], *, title: str, x: str, y: str) -> str:
    """Draw lines over a common scale that begins at zero."""
    most_x = _round_up(max(point[0] for line in lines for point in line.points))
    most_y = _round_up(max(point[1] for line in lines for point in line.points))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(point: tuple[float, float]) -> str:
        return f"{_LEFT + wide * point[0] / most_x:.1f},{_HEIGHT - _BOTTOM - high * point[1] / most_y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_WIDTH / 2, 20, title, anchor="middle"),
        _text(_LEFT + wide / 2, _HEIGHT - 10, x, anchor="middle"),
        _text(12, _TOP - 10, y),
    ]
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        across, up = _LEFT + wide * share, _HEIGHT - _BOTTOM - high * share
        parts.append(f'<path d="M{_LEFT},{up:.1f} H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, up + 4, f"{most_y * share:g}", anchor="end"))
        parts.append(_text(across, _HEIGHT - _BOTTOM + 18, f"{most_x * share:g}", anchor="middle"))
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(map(place, line.points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            _text(_WIDTH - _RIGHT - 8, _HEIGHT - _BOTTOM - 30 + 18 * number, line.name, anchor="end", fill=colour)
        )
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value)
