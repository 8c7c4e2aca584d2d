"""The change of quality against that of knowledge, as SVG: a mark for each method; colour and shape say how sure it is.

Names are in two columns next to the plot and joined to their marks by lines, so that they never overlap. The front
joins the means that no other mean beats on both axes, by straight lines: steps would lie on the intervals. A legend
below the plot explains what is drawn. Colours are classes of the page; every text is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from xml.sax.saxutils import escape

from harness.report.render import text
from harness.report.render.axes import Axis, attribute, tick_text

FRONT_WIDTH = 500
PLOT = (100.0, 392.0)  # where the plot begins and ends across
CEILING, FLOOR = 40.0, 334.0
NAME_STEP = 15.0
LONGEST_NAME = 15
LONGEST_AXIS = 78
LINE = 16.0  # of the legend
LETTER = 7.3  # the widest that a letter of a name is on average, in bold
SMALL_LETTER = 6.6  # and of small print
MOST_NAMES = 16  # with more marks, only those of candidates, of the front and of the base are named
MOST_MISSING = 3  # methods without a mark that are named
FAR = 1.0  # a method further away than the width of the candidates' picture is named, and not drawn


@dataclass(frozen=True)
class Mark:
    """A method: its place and intervals in the units of the axes; `loud` for a candidate; kind: how sure, or base."""

    name: str
    x: float
    y: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    kind: str
    loud: bool


@dataclass(frozen=True)
class Trade:
    """A picture: name, marks, words of the axes, margin (0: none), whether more is better (up, across).

    absent: the methods that have no mark because one of their two numbers is not known; interval: what the lines are.
    """

    name: str
    marks: tuple[Mark, ...]
    across: str
    up: str
    margin: float
    higher: tuple[bool, bool]
    absent: tuple[str, ...] = ()
    interval: str = "95 % interval"

    def parted(self) -> tuple[list[Mark], list[Mark]]:
        """The marks to draw, and those so far away that drawing them would squeeze the others."""
        close = [one for one in self.marks if one.loud or one.kind == "base"] or list(self.marks)
        ends = [end for one in close for end in (one.x, *(one.across or ()))]
        ends += [-1.5 * self.margin, 1.0 * self.margin]
        low, high = min(ends), max(ends)
        room = FAR * (high - low)
        near = [one for one in self.marks if low - room <= one.x <= high + room]
        return near, [one for one in self.marks if one not in near]

    def axes(self, plot: tuple[float, float], upright: tuple[float, float]) -> tuple[Axis, Axis]:
        """The axes of the marks to draw, between these places across and (floor, ceiling) up."""
        x_values = [0.0, -1.4 * self.margin, 0.5 * self.margin]
        y_values = [0.0]
        for mark in self.parted()[0]:
            x_values += [mark.x, *(mark.across or () if mark.loud else ())]
            y_values += [mark.y, *(mark.up or () if mark.loud else ())]
        ends = plot if self.higher[1] else (plot[1], plot[0])
        return Axis.around(x_values, *ends), Axis.around(y_values, *(upright if self.higher[0] else upright[::-1]))

    def front(self) -> list[Mark]:
        """The marks that no other beats on both axes, from the one that keeps most."""
        up, across = (1 if one else -1 for one in self.higher)
        found: list[Mark] = []
        for mark in sorted(self.parted()[0], key=lambda one: (-across * one.x, -up * one.y)):
            if not found or up * mark.y > up * found[-1].y:
                found.append(mark)
        return found

    def named(self) -> set[str]:
        """The names of the candidates, of the front, and of the base."""
        best = {one.name for one in self.front()}
        return {mark.name for mark in self.parted()[0] if mark.loud or mark.name in best or mark.kind == "base"}


def draw_front(trade: Trade) -> tuple[str, str]:
    """The drawing and the same in words."""
    near, far = trade.parted()
    room = max(LETTER * len(signed_tick(value)) for value in (*trade.axes(PLOT, (FLOOR, CEILING))[1].ticks(), 0.0))
    x_axis, y_axis = trade.axes((PLOT[0] + room + 2, PLOT[1]), (FLOOR, CEILING))
    best, loud, up, across = trade.front(), trade.named(), trade.up, trade.across
    parts = [
        *_zone(x_axis, trade.margin, trade.higher[1]),
        *_lines(x_axis, y_axis),
        f'<text class="axis" x="0" y="14">↑ {escape(text.one_line(up, LONGEST_AXIS))}</text>',
        f'<text class="axis middle" x="{sum(PLOT) / 2:.1f}" y="{FLOOR + 36:g}">'
        f"{escape(text.one_line(across, LONGEST_AXIS))} →</text>",
        *_joined(best, x_axis, y_axis),
    ]
    crowded = len(near) > MOST_NAMES
    names = list(_named([one for one in near if one.name in loud or not crowded], loud, x_axis, y_axis))
    parts += [leader for leader, _ in names]  # below the intervals: a line on top would seem to fade one half
    for mark in sorted(near, key=lambda one: (one.name in loud, one.loud)):
        parts += _drawn(mark, x_axis, y_axis)
    parts += [name for _, name in names]
    # after the lines that lead to names, which would strike them through
    for value in y_axis.ticks():
        at = f'x="{PLOT[0] + 3:g}" y="{y_axis.place(value) - 3:.1f}"'
        parts.append(f'<text class="tick halo" {at}>{signed_tick(value)}</text>')
    y = FLOOR + 58
    parts.append('<g class="explained">')
    for kind, words in _legend(trade, near, best):
        parts += _legend_row(kind, words, y)
        y += LINE
    parts.append("</g>")
    missing = [f"{text.one_line(one.name, 16)} ({_signed(one.x)})" for one in far]
    missing += [f"{text.one_line(name, 16)} (not measured)" for name in trade.absent]
    if missing:
        more = f" and {len(missing) - MOST_MISSING} more" if len(missing) > MOST_MISSING else ""
        said = f"not drawn: {', '.join(missing[:MOST_MISSING])}{more}"
        fitted = squeezed(len(said) * SMALL_LETTER, FRONT_WIDTH - 4)
        parts.append(f'<text class="tick" x="4" y="{y:g}"{fitted}>{escape(said)}</text>')
        y += LINE
    head = (
        f'<svg class="front" viewBox="0 0 {FRONT_WIDTH} {y - LINE + 8:g}" role="img" '
        f'aria-label="{attribute(text.one_line(f"{up} against {across}", 120))}">'
    )
    places = "; ".join(f"{one.name}: {_signed(one.y)} at {_signed(one.x)}" for one in trade.marks if one.kind != "base")
    on_it = text.listed([one.name for one in best])
    said = f"{up} against {across}: {places}. On the front of the means: {on_it}."
    said += f" Not measured on one of the two: {text.listed(list(trade.absent))}." if trade.absent else ""
    return "\n".join([head, *parts, "</svg>"]), said


def _joined(best: Sequence[Mark], x_axis: Axis, y_axis: Axis) -> Iterator[str]:
    if len(best) < 2:
        return
    path = "L".join(f"{x_axis.place(one.x):.1f} {y_axis.place(one.y):.1f}" for one in best)
    yield f'<path class="best" d="M{path}"><title>{FRONT_WORDS}</title></path>'


FRONT_WORDS = "the front: no other method has better means on both axes"


def _legend(trade: Trade, near: Sequence[Mark], best: Sequence[Mark]) -> Iterator[tuple[str, str]]:
    """(class, words) of each kind of mark and line that is drawn and that the words beside the table do not explain."""
    if any(one.loud and (one.across or one.up) for one in near):
        yield "idle", f"mean with its {trade.interval}"
    if any(not one.loud and one.kind != "base" for one in near):
        names = "without name or interval" if len(near) > MOST_NAMES else "its interval not drawn"
        yield "idle quiet", f"faded: a method that is not in the table, {names}"
    if len(best) > 1:
        yield "best", FRONT_WORDS


def _legend_row(kind: str, words: str, y: float) -> Iterator[str]:
    """A sample of the line or mark, and its words on the base line `y`."""
    up = y - 4
    if kind != "best":
        line = "" if kind == "idle quiet" else f'<path class="span" d="M4 {up:g}H26"/>'
        yield f'<g class="{kind}">{line}{mark_of("idle", 15, up)}</g>'
    else:
        yield f'<path class="best" d="M4 {up:g}H26"/>'
    fitted = squeezed(len(words) * SMALL_LETTER, FRONT_WIDTH - 32)
    yield f'<text class="tick" x="32" y="{y:g}"{fitted}>{escape(words)}</text>'


def _zone(axis: Axis, margin: float, higher: bool) -> Iterator[str]:
    if margin <= 0:
        return
    edge = min(max(axis.place(-margin if higher else margin), PLOT[0]), PLOT[1])
    wide, high = PLOT[1] - edge, FLOOR - CEILING
    yield f'<rect class="zone" x="{edge:.1f}" y="{CEILING:g}" width="{wide:.1f}" height="{high:g}"/>'
    said = f"loss under {margin:.3g} point{'' if margin == 1 else 's'} →"
    yield f'<text class="tick end" x="{PLOT[1]:.1f}" y="{CEILING - 6:g}">{said}</text>'


def _lines(x_axis: Axis, y_axis: Axis) -> Iterator[str]:
    zero, level = x_axis.place(0.0), y_axis.place(0.0)
    for value in y_axis.ticks():
        y = y_axis.place(value)
        yield f'<line class="grid" x1="{PLOT[0]:g}" x2="{PLOT[1]:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
    for value in apart(x_axis, [SMALL_LETTER * len(signed_tick(value)) for value in x_axis.ticks()]):
        said = signed_tick(value)
        yield f'<text class="tick middle" x="{x_axis.place(value):.1f}" y="{FLOOR + 17:g}">{said}</text>'
    yield f'<line class="null" x1="{zero:.1f}" x2="{zero:.1f}" y1="{CEILING:g}" y2="{FLOOR:g}"/>'
    yield f'<line class="null" x1="{PLOT[0]:g}" x2="{PLOT[1]:g}" y1="{level:.1f}" y2="{level:.1f}"/>'


def _drawn(mark: Mark, x_axis: Axis, y_axis: Axis) -> Iterator[str]:
    x, y = x_axis.place(mark.x), y_axis.place(mark.y)
    quiet = "" if mark.loud or mark.kind == "base" else " quiet"
    ends, tall = (f" [{_signed(one[0])}, {_signed(one[1])}]" if one else "" for one in (mark.across, mark.up))
    said = escape(f"{text.one_line(mark.name, 60)}: {_signed(mark.y)}{tall}, {_signed(mark.x)}{ends}")
    yield f'<g class="{mark.kind}{quiet}"><title>{said}</title>'
    if not quiet:
        if mark.across and mark.across[0] < mark.across[1]:
            low, high = (x_axis.place(end) for end in mark.across)
            yield f'<path class="span" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
        if mark.up and mark.up[0] < mark.up[1]:
            low, high = (y_axis.place(end) for end in mark.up)
            yield f'<path class="span" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
    yield f"{mark_of(mark.kind, x, y)}</g>"


def mark_of(kind: str, x: float, y: float, size: float = 5.0) -> str:
    """The shape of a kind: a disc for shown, a ring for likely, a diamond for undecided, a square for shown worse."""
    wide = 2 * size
    if kind == "worse":
        side = wide - 1
        return f'<rect class="mark" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:g}" height="{side:g}"/>'
    if kind == "undecided":
        far = size + 1
        return f'<path class="mark" d="M{x:.1f} {y - far:.1f}l{far:g} {far:g}l-{far:g} {far:g}l-{far:g} -{far:g}z"/>'
    if kind == "missing":
        cross = f"l{wide:g} {wide:g}m0 -{wide:g}l-{wide:g} {wide:g}"
        return f'<path class="mark" d="M{x - size:.1f} {y - size:.1f}{cross}"/>'
    if kind == "base":
        return f'<path class="mark" d="M{x:.1f} {y - size:.1f}v{wide:g}m-{size:g} -{size:g}h{wide:g}"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{size if kind != "idle" else size - 1:g}"/>'


def _named(marks: Sequence[Mark], loud: set[str], x_axis: Axis, y_axis: Axis) -> Iterator[tuple[str, str]]:
    """(line from the mark, name) left and right of the plot, each at its mark's height or pushed away by the next."""
    middle = (PLOT[0] + PLOT[1]) / 2
    room = int((FLOOR - CEILING + 24) / NAME_STEP)
    for side in ("left", "right"):
        own = [one for one in marks if (x_axis.place(one.x) < middle) == (side == "left")]
        # more names than there is room for: those of candidates, of the front and of the base stay
        kept = sorted(own, key=lambda one: one.name not in loud)[:room]
        kept.sort(key=lambda one: (y_axis.place(one.y), one.name))
        for mark, y in zip(
            kept, spread([y_axis.place(one.y) for one in kept], NAME_STEP, CEILING - 4, FLOOR + 8), strict=True
        ):
            x = x_axis.place(mark.x)
            edge, anchor, at = (PLOT[0] - 6, " end", PLOT[0] - 9) if side == "left" else (PLOT[1] + 4, "", PLOT[1] + 7)
            kind = "name" if mark.name in loud else "name quiet"
            leader = f'<path class="leader" d="M{x:.1f} {y_axis.place(mark.y):.1f}L{edge:.1f} {y:.1f}"/>'
            fitted = squeezed(min(len(mark.name), LONGEST_NAME) * LETTER, at if side == "left" else FRONT_WIDTH - at)
            shown = short_name(mark.name)
            yield leader, f'<text class="{kind}{anchor}" x="{at:.1f}" y="{y + 4:.1f}"{fitted}>{shown}</text>'


def _signed(value: float) -> str:
    """A change with three digits."""
    return f"{value:+.3g}".replace("-", "−")


def signed_tick(value: float) -> str:
    """A change on an axis, with its sign."""
    return ("+" if value > 1e-9 else "") + tick_text(value if abs(value) > 1e-9 else 0.0)


def apart(axis: Axis, widths: Sequence[float], gap: float = 8.0) -> list[float]:
    """The ticks of an axis: only every second or third where texts of these widths would touch, 0 among them."""
    every = max(1, ceil((max(widths, default=0.0) + gap) / abs(axis.place(axis.step) - axis.place(0.0))))
    return [value for value in axis.ticks() if round(value / axis.step) % every == 0]


def squeezed(width: float, room: float) -> str:
    """The attributes that make a text of this estimated width fit into its room; empty where it fits."""
    return f' textLength="{room - 2:.0f}" lengthAdjust="spacingAndGlyphs"' if width > room else ""


def short_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name for a picture, cut with an ellipsis and escaped."""
    shown = text.clean(" ".join(name.split()))
    return escape(shown if len(shown) <= longest else shown[: longest - 1] + "…")


def spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Places in the order of `wanted` that are `step` apart or more, near it, and from low to high if they fit."""
    found: list[float] = []
    for value in wanted:
        found.append(max(value, found[-1] + step if found else low))
    limit = high
    for at in range(len(found) - 1, -1, -1):
        found[at] = min(found[at], limit)
        limit = found[at] - step
    return found
