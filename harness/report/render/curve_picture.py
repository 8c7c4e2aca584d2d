"""Scores against the number of training examples, as SVG: a line for each method and quality of its data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from harness.report.render import text
from harness.report.render.axes import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    LETTER,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    svg,
    x_tick,
    y_ticks,
)

GAP = 15  # pixels between the names of two lines
SHAPES = 4
SIDE = 7  # pixels between the intervals of two lines


@dataclass(frozen=True)
class Place:
    """A score, and its interval where there is one, at a place on the axis (in the axes' units)."""

    across: str
    up: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A method's scores on some data; level: the same everywhere, drawn as a dashed line."""

    label: str
    places: tuple[Place, ...]
    level: bool = False
    method: str = ""

    @property
    def ends(self) -> list[float]:
        """Every number that the axis must show."""
        return [value for place in self.places for value in (place.up, place.low, place.high) if value is not None]


def draw_curves(lines: Sequence[Line], ticks: Sequence[str], across: str, up: str, shown: Sequence[float] = ()) -> str:
    """The SVG of `lines` over equally spaced `ticks` (sizes on a log scale); `shown`: the least that the axis shows."""
    room = 16 + LETTER * max((len(_name(line)) for line in lines), default=0)
    right = WIDTH - RIGHT - min(room, WIDTH / 3)
    y_axis = Axis.around([*shown, *(end for line in lines for end in line.ends)], HEIGHT - BOTTOM, TOP)
    places = {tick: LEFT + 30 + (right - LEFT - 60) * _share(at, len(ticks)) for at, tick in enumerate(ticks)}
    named = ((x, text.one_line(tick, 20)) for tick, x in places.items())
    grid = [*y_ticks(y_axis, round(right, 1)), *(part for x, name in named for part in x_tick(x, name))]
    parts: list[str] = []
    ends: list[tuple[float, int, Line]] = []
    for index, line in enumerate(lines):
        shift = SIDE * (index - (len(lines) - 1) / 2) if len(ticks) > 1 else 0.0
        parts += _line(line, index, y_axis, places, 0.0 if line.level else shift, right)
        ends.append((y_axis.place(line.places[-1].up), index, line))
    return svg(across, up, grid, [*parts, *_names(ends, right)], right)


def size_ticks(sizes: Sequence[int]) -> list[str]:
    """The names of the sizes; 0 means all rows."""
    return [f"{size:,}" if size else "all" for size in sorted(sizes, key=lambda size: size or math.inf)]


def _share(at: int, count: int) -> float:
    return at / (count - 1) if count > 1 else 0.5


def _line(line: Line, index: int, y_axis: Axis, places: dict[str, float], shift: float, right: float) -> Iterator[str]:
    colour = f"c{index % COLOURS}"
    if line.level:
        y = y_axis.place(line.places[0].up)
        yield f'<line class="margin {colour}" x1="{LEFT}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>'
        return
    found = [(places[place.across] + shift, place) for place in line.places]
    path = " ".join(f"{x:.1f},{y_axis.place(place.up):.1f}" for x, place in found)
    yield f'<polyline class="curve {colour}" points="{path}"/>'
    for x, place in found:
        if place.low is not None and place.high is not None:
            low, high = y_axis.place(place.low), y_axis.place(place.high)
            yield f'<line class="bar {colour}" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
        yield _dot(index, x, y_axis.place(place.up))


def _dot(index: int, x: float, y: float) -> str:
    """The mark of a line: its shape tells neighbours apart where colours do not."""
    looks = f'class="dot c{index % COLOURS}"'
    if index % SHAPES == 1:
        return f'<path {looks} d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"/>'
    if index % SHAPES == 2:
        return f'<path {looks} d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
    if index % SHAPES == 3:
        return f'<path {looks} d="M{x:.1f} {y - 6:.1f}l5.5 9.5h-11z"/>'
    return f'<circle {looks} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def _names(ends: Sequence[tuple[float, int, Line]], right: float) -> Iterator[str]:
    """Each line's name next to its end, moved down where two would overlap."""
    last = -math.inf
    low = HEIGHT - BOTTOM - GAP * (len(ends) - 1)
    for at, (y, index, line) in enumerate(sorted(ends, key=lambda end: (end[0], end[1]))):
        last = max(last + GAP, min(y, low + GAP * at))
        shown = escape(_name(line))
        yield f'<text class="label c{index % COLOURS}" x="{right + 8:.1f}" y="{last + 4:.1f}">{shown}</text>'


def _name(line: Line) -> str:
    return text.one_line(line.label, 28)
