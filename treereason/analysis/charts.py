"""Line charts as SVG text: lines with bands, axes with round numbers. Colours are the page's (report.css)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import count, pairwise, takewhile

NUM_COLOURS = 8
WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 44


@dataclass(frozen=True)
class Line:
    """A line through (xs[i], ys[i]) with a band from low[i] to high[i], if any. colour: number of the page's colour.

    marks: single points of it, as (x, low, high).
    """

    name: str
    colour: int
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    steps: bool = field(default=False)


def line_chart(lines: Sequence[Line], x_name: str, y_name: str, y_max: float | None = None) -> str:
    """One chart; its height begins at 0 and ends at `y_max`, by default above the largest value."""
    xs = [x for line in lines for x in line.xs]
    ys = [y for line in lines for y in (*line.ys, *line.high)]
    x_ticks = ticks(max(xs, default=0.0) or 1.0)
    y_ticks = ticks(y_max or max(ys, default=0.0) or 1.0)
    scale = _Scale(max(x_ticks[-1], max(xs, default=0.0)), y_max or max(y_ticks[-1], max(ys, default=0.0)))
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{y_name} by {x_name}")}">',
        *_axes(scale, x_ticks, y_ticks, x_name, y_name),
    ]
    for line in lines:
        parts += _line(line, scale)
    return "".join([*parts, "</svg>"])


def ticks(most: float, about: int = 5) -> list[float]:
    """Round numbers from 0 up to at least nine tenths of `most`, about so many."""
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [round(i * step, 12) for i in takewhile(lambda i: i * step <= most * 1.0001, count())]


@dataclass(frozen=True)
class _Scale:
    x_max: float
    y_max: float

    def x(self, value: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * value / (self.x_max or 1):.1f}"

    def y(self, value: float) -> str:
        return f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / (self.y_max or 1):.1f}"


def _axes(scale: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str) -> Iterator[str]:
    left, right = scale.x(0), scale.x(scale.x_max)
    for tick in y_ticks:
        at = scale.y(tick)
        yield f'<line class="grid" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>'
        yield f'<text class="tick end" x="{LEFT - 8}" y="{float(at) + 4:.1f}">{_number(tick)}</text>'
    for tick in x_ticks:
        yield f'<text class="tick middle" x="{scale.x(tick)}" y="{HEIGHT - BOTTOM + 18}">{_number(tick)}</text>'
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    yield f'<text class="axis middle" x="{middle_x}" y="{HEIGHT - 6}">{escape(x_name)}</text>'
    yield f'<text class="axis middle" transform="translate(14 {middle_y}) rotate(-90)">{escape(y_name)}</text>'


def _line(line: Line, scale: _Scale) -> Iterator[str]:
    colour = f"c{line.colour % NUM_COLOURS}"
    if line.low:
        ends = [*_corners(line, line.high, scale), *reversed(_corners(line, line.low, scale))]
        yield f'<polygon class="band {colour}" points="{" ".join(ends)}"/>'
    points = _corners(line, line.ys, scale)
    yield f'<polyline class="line {colour}" points="{" ".join(points)}"><title>{escape(line.name)}</title></polyline>'
    for x, y in zip(line.xs[-1:], line.ys[-1:], strict=True):
        told = f"{line.name}: {_number(y)} at {_number(x)}"
        dot = f'class="dot {colour}" cx="{scale.x(x)}" cy="{scale.y(y)}" r="3.5"'
        yield f"<circle {dot}><title>{escape(told)}</title></circle>"


def _corners(line: Line, ys: Sequence[float], scale: _Scale) -> list[str]:
    points = list(zip(line.xs, ys, strict=True))
    if line.steps:
        points = [each for a, b in pairwise(points) for each in (a, (b[0], a[1]))] + points[-1:]
    return [f"{scale.x(x)},{scale.y(y)}" for x, y in points]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"
