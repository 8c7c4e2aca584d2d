"""Quality against knowledge, as SVG: a labelled point for each method, or a line for each sweep, with intervals.

Colours are CSS classes of the page (light and dark); every text is escaped here, as SVG goes in unescaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from harness.report.render import text

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 46
LETTER = 7.0  # an upper estimate of a letter's width at 12 px
COLOURS = 8


@dataclass(frozen=True)
class Point:
    """A method's place, with its intervals where it has them (in the axes' units)."""

    label: str
    x: float
    y: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    is_baseline: bool = False


def draw(points: Sequence[Point], across: str, up: str, margin: float | None = None) -> str:
    """The SVG of `points`; `across` and `up` name the axes, `margin` (an x) marks the largest tolerated loss."""
    x_axis, y_axis = _axes(points)
    parts = []
    if margin is not None and x_axis.low < margin < x_axis.high:
        x = x_axis.place(margin)
        parts.append(f'<line class="margin" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>')
    places = [(x_axis.place(p.x), y_axis.place(p.y)) for p in points]
    for index, (point, (x, y)) in enumerate(zip(points, places, strict=True)):
        parts += _marks(point, x, y, index, x_axis, y_axis)
    return svg(across, up, _grid(x_axis, y_axis), [*parts, *_names(points, places)])


@dataclass(frozen=True)
class Front:
    """A line through the settings of a sweep, in the setting's order; the label of a point is its setting."""

    label: str
    points: tuple[Point, ...]


def draw_fronts(fronts: Sequence[Front], across: str, up: str) -> str:
    """The SVG of `fronts`, each named at its last point; `across` and `up` name the axes."""
    points = [point for front in fronts for point in front.points]
    x_axis, y_axis = _axes(points)
    parts = []
    for index, front in enumerate(fronts):
        places = [(x_axis.place(p.x), y_axis.place(p.y)) for p in front.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="curve c{index % COLOURS}" points="{path}"/>')
        for point, (x, y) in zip(front.points, places, strict=True):
            parts += ["<g>", f"<title>{escape(f'{front.label}, {point.label}')}</title>"]
            parts += [*_marks(point, x, y, index, x_axis, y_axis), "</g>"]
    named = [replace(front.points[-1], label=front.label) for front in fronts]
    parts += _names(named, [(x_axis.place(p.x), y_axis.place(p.y)) for p in named])
    return svg(across, up, _grid(x_axis, y_axis), parts)


def _axes(points: Sequence[Point]) -> tuple[Axis, Axis]:
    return (
        Axis.around([p.x for p in points] + [e for p in points for e in p.across or ()], LEFT, WIDTH - RIGHT),
        Axis.around([p.y for p in points] + [e for p in points for e in p.up or ()], HEIGHT - BOTTOM, TOP),
    )


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    ticks = [part for tick in x_axis.ticks() for part in x_tick(x_axis.place(tick), tick_text(tick))]
    return [*ticks, *y_ticks(y_axis)]


def _names(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> Iterator[str]:
    for index, (point, (x, y)) in enumerate(zip(points, _labels(points, places), strict=True)):
        shown = escape(_label(point))
        yield f'<text class="label c{index % COLOURS}" x="{x:.1f}" y="{y:.1f}">{shown}</text>'


@dataclass(frozen=True)
class Axis:
    """A linear axis from low to high (data) over start to end (pixels), with ticks at round numbers."""

    low: float
    high: float
    start: float
    end: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> Axis:
        low, high = min(values), max(values)
        room = (high - low) * 0.08 or max(abs(high) * 0.05, 0.5)
        low, high = low - room, high + room
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 5, 10) if power * k >= 0.7 * rough)
        return cls(low, high, start, end, step)

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step)
        return [index * self.step for index in range(first, math.floor(self.high / self.step) + 1)]


def svg(across: str, up: str, grid: Iterable[str], marks: Iterable[str], right: float = WIDTH - RIGHT) -> str:
    """A picture: its grid, the names of its two axes (up to `right`), and its marks."""
    floor, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle:.1f})"'
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{attribute(f"{up} against {across}")}">',
        *grid,
        f'<text class="axis middle" x="{(LEFT + right) / 2:.1f}" y="{floor + 38}">{escape(across)}</text>',
        f'<text class="axis middle" x="14" y="{middle:.1f}" {turned}>{escape(up)}</text>',
        *marks,
        "</svg>",
    ]
    return "\n".join(parts)


def x_tick(x: float, name: str) -> Iterator[str]:
    """A vertical line of the grid with its name below."""
    floor = HEIGHT - BOTTOM
    yield f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{floor}"/>'
    yield f'<text class="tick middle" x="{x:.1f}" y="{floor + 17}">{escape(name)}</text>'


def y_ticks(axis: Axis, right: float = WIDTH - RIGHT) -> Iterator[str]:
    """The horizontal lines of the grid with their numbers."""
    for tick in axis.ticks():
        y = axis.place(tick)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}"/>'
        yield f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{tick_text(tick)}</text>'


def tick_text(value: float) -> str:
    """A number on an axis."""
    return f"{value:.6g}".replace("-", "−")


def _marks(point: Point, x: float, y: float, index: int, x_axis: Axis, y_axis: Axis) -> list[str]:
    colour = f"c{index % COLOURS}"
    parts = []
    if point.across is not None:
        low, high = (x_axis.place(edge) for edge in point.across)
        parts.append(f'<line class="bar {colour}" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>')
    if point.up is not None:
        low, high = (y_axis.place(edge) for edge in point.up)
        parts.append(f'<line class="bar {colour}" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>')
    kind = "hollow" if point.is_baseline else "dot"
    parts.append(f'<circle class="{kind} {colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    return parts


def _label(point: Point) -> str:
    return text.one_line(point.label, 28)


def _labels(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places of the labels: the nearest one around each point that overlaps nothing."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    found = []
    for point, (x, y) in zip(points, places, strict=True):
        width = LETTER * len(_label(point))
        choices = [choice for far in (1, 2, 3, 4) for choice in _around(x, y, width, far)]
        best = min(choices, key=lambda choice: _trouble(choice, width, taken))
        taken.append((best[0], best[1] - 11, best[0] + width, best[1] + 3))
        found.append(best)
    return found


def _around(x: float, y: float, width: float, far: int) -> list[tuple[float, float]]:
    right, left, near = x + 9, x - 9 - width, 7 + 14 * (far - 1)
    return [
        (right, y - near), (right, y + near + 9), (left, y - near), (left, y + near + 9),
        (x - width / 2, y - near - 5), (x - width / 2, y + near + 14),
    ]  # fmt: skip


def _trouble(place: tuple[float, float], width: float, taken: Sequence[tuple[float, float, float, float]]) -> float:
    x, y = place
    box = (x, y - 11, x + width, y + 3)
    outside = max(LEFT - box[0], 0) + max(box[2] - WIDTH, 0) + max(TOP - box[1], 0) + max(box[3] - HEIGHT + BOTTOM, 0)
    overlap = sum(
        max(min(box[2], other[2]) - max(box[0], other[0]), 0) * max(min(box[3], other[3]) - max(box[1], other[1]), 0)
        for other in taken
    )
    return 10 * outside + overlap


def attribute(value: str) -> str:
    """Text for an attribute of the SVG."""
    return escape(value, {'"': "&quot;"})
