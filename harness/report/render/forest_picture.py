"""Differences to the baseline on one metric, as SVG: a line for each method with its interval, and the same as text.

Colour and shape say what is established, as in the front; every text is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from harness.report.render import text
from harness.report.render.axes import Axis, attribute, tick_text
from harness.report.render.front_picture import mark_of, short_name, squeezed

FOREST_WIDTH = 760
SPAN = (170.0, 560.0)  # where the axis begins and ends
ROW = 19
TOP_ROW = 22
LONGEST_LABEL = 20
DIGIT = 6.7  # the widest that a character of an interval is on average


@dataclass(frozen=True)
class ForestRow:
    """A method: its difference with the ends of its interval in the axis's unit, and all three as text."""

    name: str
    ends: tuple[float, float, float] | None
    kind: str
    said: str


def draw_forest(rows: Sequence[ForestRow], title: str, unit: str, zone: tuple[float, float] | None) -> str:
    """The drawing of rows in their order; `zone`: differences that count as kept."""
    known = [row.ends for row in rows if row.ends is not None]
    values = [end for ends in known for end in ends] + [0.0]
    if zone is not None:
        # the margin is in view, and so is a loss of 0; how much more may be gained is not limited
        values += [end for end in (1.3 * zone[0], 1.3 * zone[1]) if abs(end) < float("inf")]
    axis = Axis.around(values, *SPAN)
    floor = TOP_ROW + ROW * len(rows)
    parts = [
        f'<svg class="forest" viewBox="0 0 {FOREST_WIDTH} {floor + 44}" role="img" '
        f'aria-label="{attribute(text.one_line(title, 160))}">',
        *_backdrop(axis, floor, unit, zone),
    ]
    for at, row in enumerate(rows):
        parts += _line(row, TOP_ROW + ROW * (at + 0.5), axis)
    return "\n".join([*parts, "</svg>"])


def _backdrop(axis: Axis, floor: float, unit: str, zone: tuple[float, float] | None) -> Iterator[str]:
    if zone is not None:
        low, high = (min(max(axis.place(min(max(end, axis.low), axis.high)), SPAN[0]), SPAN[1]) for end in zone)
        yield f'<rect class="zone" x="{low:.1f}" y="{TOP_ROW}" width="{high - low:.1f}" height="{floor - TOP_ROW}"/>'
        yield f'<text class="tick" x="{low + 3:.1f}" y="{TOP_ROW - 6}">loss within the margin</text>'
    for tick in axis.ticks():
        x = axis.place(tick)
        said = ("+" if tick > 1e-9 else "") + tick_text(tick if abs(tick) > 1e-9 else 0.0)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_ROW}" y2="{floor}"/>'
        yield f'<text class="tick middle" x="{x:.1f}" y="{floor + 15}">{said}</text>'
    zero = axis.place(0.0)
    yield f'<line class="null" x1="{zero:.1f}" x2="{zero:.1f}" y1="{TOP_ROW}" y2="{floor}"/>'
    middle = sum(SPAN) / 2
    yield f'<text class="tick middle" x="{middle:.1f}" y="{floor + 33}">{escape(text.one_line(unit, 80))}</text>'


def _line(row: ForestRow, y: float, axis: Axis) -> Iterator[str]:
    yield f'<text class="label end" x="{SPAN[0] - 10:g}" y="{y + 4:.1f}">{short_name(row.name, LONGEST_LABEL)}</text>'
    if row.ends is not None:
        low, value, high = (axis.place(end) for end in row.ends)
        yield f'<g class="{row.kind}"><path class="span" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
        yield f"{mark_of(row.kind, value, y, 4.5)}</g>"
    said, left = text.one_line(row.said, 40), SPAN[1] + 12
    fitted = squeezed(len(said) * DIGIT, FOREST_WIDTH - left)
    yield f'<text class="tick said" x="{left:g}" y="{y + 4:.1f}"{fitted}>{escape(said)}</text>'
