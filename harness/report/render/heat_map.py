"""A table of numbers between 0 and 1 as squares of one colour, as SVG: the larger the number, the stronger the colour.

The palest colour is the least number of the table, and the strongest the largest, so that differences are seen.

Rows carry names and numbers, columns the numbers alone, so that long names need no turned text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from harness.report.render import text
from harness.report.render.axes import LETTER, attribute

WIDTH = 640
LARGEST, SMALLEST = 44.0, 12.0
MOST_NUMBERED = 40  # so many rows have squares that are large enough for a number, in a picture that may be scrolled
CLOSE = 0.05  # numbers within so little of each other are drawn on the whole scale from 0 to 1
HEAD = 22
SCALE = 34  # room for the scale
READABLE = 20.0  # smaller squares hold no number, so a scale says what colour means
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
FULL = 0.75  # more colour than this, and the number on it is hard to read


def draw_heat_map(
    names: Sequence[str], values: Mapping[tuple[int, int], float], title: str, breaks: Sequence[int] = ()
) -> str:
    """The SVG of `values` by (row, column); a missing pair stays empty.

    breaks  the rows before which a new group begins
    """
    labels = [f"{at + 1}  {text.one_line(name, 34)}" for at, name in enumerate(names)]
    left = min(LETTER * max((len(label) for label in labels), default=0) + 12, WIDTH / 2)
    least = READABLE + 2 if len(names) <= MOST_NUMBERED else SMALLEST
    size = max(min((WIDTH - left - 8) / max(len(names), 1), LARGEST), least)
    ends = _ends(values)
    width, below = max(left + size * len(names) + 8, WIDTH), HEAD + size * len(names) + 8
    scaled = size < READABLE
    height = below + SCALE * scaled
    parts = [f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{attribute(text.one_line(title))}">']
    parts += _names(labels, left, size)
    parts += ['<g class="heat">', *_squares(names, values, left, size, ends), "</g>"]
    end = size * len(names)
    for at in breaks:
        place = size * at
        parts.append(
            f'<path class="break" d="M{left:.1f} {HEAD + place:.1f}h{end:.1f}M{left + place:.1f} {HEAD}v{end:.1f}"/>'
        )
    if scaled:
        parts += _scale(left, below, ends)
    return "\n".join([*parts, "</svg>"])


def _names(labels: Sequence[str], left: float, size: float) -> Iterator[str]:
    for at, label in enumerate(labels):
        middle = HEAD + size * (at + 0.5) + 4
        yield f'<text class="tick end" x="{left - 6:.1f}" y="{middle:.1f}">{escape(label)}</text>'
        fine = " fine" if size < READABLE else ""
        yield f'<text class="tick middle{fine}" x="{left + size * (at + 0.5):.1f}" y="{HEAD - 6}">{at + 1}</text>'


def _ends(values: Mapping[tuple[int, int], float]) -> tuple[float, float]:
    """The numbers of the palest and the strongest colour."""
    known = [min(max(value, 0.0), 1.0) for value in values.values()]
    return (min(known), max(known)) if known and max(known) - min(known) > CLOSE else (0.0, 1.0)


def _scale(left: float, top: float, ends: tuple[float, float]) -> Iterator[str]:
    """The legend of the colours."""
    for at, value in enumerate(STEPS):
        x = left + 40 * at
        shade = f'fill-opacity="{FULL * value:.3f}"'
        yield f'<g class="heat"><rect x="{x:.1f}" y="{top}" width="40" height="10" {shade}/></g>'
        number = ends[0] + value * (ends[1] - ends[0])
        yield f'<text class="tick middle fine" x="{x + 20:.1f}" y="{top + 22}">{number:.2g}</text>'


def _squares(
    names: Sequence[str], values: Mapping[tuple[int, int], float], left: float, size: float, ends: tuple[float, float]
) -> Iterator[str]:
    for (row, column), value in sorted(values.items()):
        x, y = left + size * column, HEAD + size * row
        full = FULL * min(max((value - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0)
        said = escape(f"{text.one_line(names[row], 60)} with {text.one_line(names[column], 60)}: {value:.3f}")
        place = f'x="{_short(x)}" y="{_short(y)}" width="{_short(size)}" height="{_short(size)}"'
        yield f'<rect {place} fill-opacity="{full:.3f}"><title>{said}</title></rect>'
        if size >= READABLE:
            shown = f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")
            yield f'<text x="{_short(x + size / 2)}" y="{_short(y + size / 2 + 3)}">{shown}</text>'


def _short(place: float) -> str:
    """A place with one decimal at most: a large map has thousands of them, twice."""
    return f"{place:.1f}".removesuffix(".0")
