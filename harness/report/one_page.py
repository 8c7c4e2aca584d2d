"""A results folder -> one page to show: the answer, the numbers and the front as PNG and SVG, 1200 x 675, and as text.

Everything is placed in pixels, with the origin at the upper left; a text is measured before it is placed, and made
smaller or cut where it would not fit. matplotlib is imported only here, and asks nothing of the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.files import write_text
from harness.report.collect import ReportModel, collect
from harness.report.findings.first_screen import opening_of
from harness.report.findings.trades import trades_of
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.axes import Axis
from harness.report.render.bands import counted, counted_points
from harness.report.render.document import SURE_WORDS, Opening, Strip, Sure
from harness.report.render.front_picture import Mark, Trade, apart, signed_tick, spread

WIDE, HIGH = 1200, 675
LEFT, RIGHT = 44.0, 1156.0
COLOURS = {
    "ink": "#1d2129", "faint": "#5a6270", "line": "#d9dde3", "zone": "#e3edf8", "shown": "#00695c", "likely": "#00695c",
    "undecided": "#8a5a00", "worse": "#a3231c", "idle": "#626a76", "missing": "#626a76", "base": "#1d2129",
}  # fmt: skip
SHAPES = {"shown": "o", "likely": "o", "undecided": "D", "worse": "s", "idle": "o", "missing": "x", "base": "+"}
TABLE = (LEFT, 620.0)  # where the table begins and ends across
MOST_ROWS, MOST_COLUMNS = 14, 5
GRID_NAMES = 150.0


def write_one_page(folder: Path, out: Path | None = None) -> list[Path]:
    """Write card.png, card.svg and card.txt (the same in words) into the folder, or into `out`; the paths.

    Equal results give equal bytes with one version of matplotlib.
    """
    if find_spec("matplotlib") is None:
        raise UserError("a card is drawn by matplotlib, which is not installed", fix="pip install 'bakeoff[card]'")
    model = collect(folder)
    opening = opening_of(model)
    target = out or folder
    target.mkdir(parents=True, exist_ok=True)
    front = next((trades[0] for block in model.blocks if (trades := trades_of(block, model.matrix))), None)
    with _figure() as sheet:
        _draw(sheet, opening, model, front)
        sheet.figure.savefig(target / "card.png", dpi=72, metadata={"Software": None})
        title = text.one_line(f"{model.matrix.name}: {' '.join(opening.answer)}", 400)
        sheet.figure.savefig(target / "card.svg", metadata={"Date": None, "Creator": None, "Title": title})
    write_text(target / "card.txt", alternative(opening, model.matrix, front) + "\n")
    return [target / name for name in ("card.png", "card.svg", "card.txt")]


def alternative(opening: Opening, matrix: Matrix, front: Trade | None) -> str:
    """The card in words, for those who do not see it."""
    asked = f" {matrix.question}" if matrix.question else ""
    said = [f"Results of the study {matrix.name}.{asked} {' '.join(opening.answer)}"]
    if len(opening.strips) == 1 and opening.strips[0].candidates:
        strip = opening.strips[0]
        said.append(f"A table of {counted(len(strip.candidates), 'method')}:")
        for one in strip.candidates:
            cells = [f"{axis.head} {c.text} ({c.detail})" for axis, c in zip(strip.axes, one.cells, strict=True)]
            run = "decodes as the base does" if one.run == "as base" else f"decoding time {one.run} of the base's"
            sure = " ".join(filter(None, [SURE_WORDS[one.sure], one.note]))
            said.append(f"- {one.method}, {sure}: {', '.join(cells)}; {one.train[0]} to train, {run}.")
    for label, own in opening.grid:
        words = {word: own.count(word) for word in own}
        said.append(f"- {label}: {', '.join(f'{SURE_WORDS[word]} in {n}' for word, n in words.items())}.")
    if front is not None:
        places = "; ".join(f"{one.name} {one.y:+.3g} at {one.x:+.3g}" for one in front.parted()[0])
        best = text.listed([one.name for one in front.front()])
        said.append(f"A picture of {front.up} against {front.across}: {places}. On the front of the means: {best}.")
        if front.absent:
            said.append(f"Not in the picture, because not measured: {text.listed(list(front.absent))}.")
    said += _warnings(opening)
    return "\n".join(text.one_line(line, text.LONGEST_PROSE) for line in said)


def _warnings(opening: Opening) -> list[str]:
    named = [badge.text for badge in opening.badges if badge.warns]
    return [f"Mind: {'; '.join(named)}."] if named else []


# ---- the sheet


class Sheet:
    """A page in pixels, whose texts are measured."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(HIGH, 0))
        self.axes.axis("off")

    def width(self, said: str, size: float, weight: str = "normal") -> float:
        """How many pixels wide a text is."""
        from matplotlib.font_manager import FontProperties

        found = self.figure.canvas.get_renderer().get_text_width_height_descent(
            said, FontProperties(size=size, weight=weight), False
        )
        return float(found[0])

    def write(
        self, x: float, y: float, said: str, size: float = 15, colour: str = "ink", *,
        room: float = WIDE, align: str = "left", weight: str = "normal",
    ) -> None:  # fmt: skip
        """A text whose base line is at y, cut with an ellipsis where it is wider than `room`."""
        shown = text.one_line(said, 400)
        while self.width(shown, size, weight) > room and len(shown) > 1:
            shown = shown.rstrip("…")[:-1].rstrip() + "…"
        self.axes.text(
            x, y, shown, size=size, color=COLOURS[colour], ha=align, va="baseline", weight=weight, parse_math=False
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, thick: float = 1, style: str = "-") -> None:
        """A line; grey ones are below all others."""
        below = 1.5 if colour == "line" else 2
        self.axes.plot(xs, ys, style, color=COLOURS[colour], linewidth=thick, solid_capstyle="butt", zorder=below)

    def mark(self, x: float, y: float, kind: str, size: float = 9) -> None:
        """The shape of a word for how sure an answer is."""
        hollow = kind in ("likely", "missing", "idle")
        face = "white" if hollow and kind != "missing" else COLOURS[kind]
        self.axes.plot(
            [x], [y], SHAPES[kind], color=COLOURS[kind], markersize=size - 1 * (SHAPES[kind] in "Ds"),
            markerfacecolor=face, markeredgewidth=1.8 if kind in ("likely", "base", "missing", "idle") else 0.5,
        )  # fmt: skip

    def wrapped(self, words: Sequence[tuple[str, str]], size: float, room: float) -> list[list[tuple[str, str]]]:
        """Words with their weights, as lines that fit into `room`."""
        lines: list[list[tuple[str, str]]] = [[]]
        used, gap = 0.0, self.width(" ", size)
        for word, weight in words:
            wide = self.width(word, size, weight)
            if lines[-1] and used + wide > room:
                lines.append([])
                used = 0.0
            lines[-1].append((word, weight))
            used += wide + gap
        return lines


@contextmanager
def _figure() -> Iterator[Sheet]:
    """A figure of the card's size, drawn without a display; SVG text is drawn as shapes, so no font is asked for."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": "bakeoff", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks: boxes
        figure = Figure(figsize=(WIDE / 72, HIGH / 72), dpi=72, facecolor="white")
        FigureCanvasAgg(figure)
        yield Sheet(figure)


def _draw(sheet: Sheet, opening: Opening, model: ReportModel, front: Trade | None) -> None:
    matrix = model.matrix
    bases = matrix.bases[0] if len(matrix.bases) == 1 else counted(len(matrix.bases), "base model")
    facts = [matrix.name, bases, counted(len(matrix.seeds), "seed"), "bakeoff"]
    sheet.write(LEFT, 46, " · ".join(facts), 15, "faint", room=RIGHT - LEFT)
    if matrix.question:
        sheet.write(LEFT, 72, matrix.question, 17, "faint", room=RIGHT - LEFT)
    top = _sentence(sheet, opening.answer, 84.0 if matrix.question else 60.0) + 30
    table = len(opening.strips) == 1 and opening.strips[0].candidates
    if table:
        _table(sheet, opening.strips[0], front, top)
    elif opening.grid:
        _grid(sheet, opening, top)
    if front is not None:
        first = _short(opening.strips[0].title) if len(opening.strips) > 1 else ""
        _front(sheet, front, top, first)
    notes = [*_warnings(opening), *([_reading(opening.strips[0], matrix, front)] * bool(table))]
    for line, said in enumerate(notes):
        sheet.write(LEFT, HIGH - 24 - 20 * line, said, 14, "faint", room=RIGHT - LEFT)


def _reading(strip: Strip, matrix: Matrix, front: Trade | None) -> str:
    """A line on the numbers: against what, on what the worse are worse, and the methods without a mark."""
    at = strip.worse_at
    said = [f"Changes against {matrix.baseline}, {strip.interval}."]
    said += [f"Shown worse{'' if at.startswith('on ') else ':'} {at}."] if at else []
    said += ["Dashed: no other method has better means on both axes."] * bool(front and len(front.front()) > 1)
    said += [f"Not measured for the picture: {text.listed(list(front.absent))}."] if front and front.absent else []
    return " ".join(said)


def _sentence(sheet: Sheet, answer: tuple[str, str], y: float) -> float:
    """The answer across the page below `y`, smaller until it has four lines or fewer; the height at which it ends."""
    words = [(word, "bold") for word in answer[0].split()] + [(word, "normal") for word in answer[1].split()]
    size = 28.0
    lines = sheet.wrapped(words, size, RIGHT - LEFT)
    while len(lines) > 4 and size > 14:
        size -= 2
        lines = sheet.wrapped(words, size, RIGHT - LEFT)
    for line in lines[:6]:
        y += 1.32 * size
        x = LEFT
        for word, weight in line:
            sheet.write(x, y, word, size, weight=weight)
            x += sheet.width(word, size, weight) + sheet.width(" ", size)
    return y


def _table(sheet: Sheet, strip: Strip, front: Trade | None, top: float) -> None:
    """The candidates: the metric of the picture, knowledge (or else another metric), and what they cost."""
    gains = [at for at, axis in enumerate(strip.axes) if not axis.knowledge]
    drawn = [at for at in gains if front is not None and strip.axes[at].head == front.name]
    first = (drawn or gains)[:1]
    knowledge = [at for at, axis in enumerate(strip.axes) if axis.knowledge]
    shown = [*first, *(knowledge or [at for at in gains if at not in first][:1])]
    places = [200.0 + 160.0 * at for at in range(len(shown))]
    for x, at in zip(places, shown, strict=True):
        sheet.write(x, top + 16, strip.axes[at].head, 14, "faint", room=150)
        sheet.write(x, top + 34, strip.axes[at].unit, 13, "faint", room=150)
    costs = (535.0, 620.0)
    for x, said in zip(costs, ("to train", "to run"), strict=True):
        sheet.write(x, top + 16, said, 14, "faint", align="right", room=80)
    room = min(62.0, (HIGH - 62 - top - 46) / max(len(strip.candidates), 1))
    for row, one in enumerate(strip.candidates):
        y = top + 46 + room * row
        sheet.line(TABLE, (y, y), "line")
        sheet.mark(LEFT + 6, y + 0.36 * room, one.sure)
        sheet.write(LEFT + 20, y + 0.44 * room, one.method, 17, weight="bold", room=130)
        sheet.write(LEFT + 20, y + 0.80 * room, SURE_WORDS[one.sure], 14, one.sure, room=130)
        for x, at in zip(places, shown, strict=True):
            sheet.write(x, y + 0.44 * room, one.cells[at].text, 17, room=150)
            sheet.write(x, y + 0.80 * room, one.cells[at].detail, 14, "faint", room=150)
        sheet.write(costs[0], y + 0.44 * room, one.train[0], 16, align="right", room=85)
        sheet.write(costs[1], y + 0.44 * room, one.run, 16, align="right", room=80)
    if strip.candidates:
        y = top + 46 + room * len(strip.candidates)
        sheet.line(TABLE, (y, y), "line")


def _grid(sheet: Sheet, opening: Opening, top: float) -> None:
    """How sure every method is in every setting; the longer side goes down."""
    heads = [_short(strip.title) for strip in opening.strips]
    rows: list[tuple[str, Sequence[Sure]]] = list(opening.grid)
    names = GRID_NAMES
    if len(heads) > MOST_COLUMNS and len(rows) <= MOST_COLUMNS:
        turned = list(zip(*(own for _, own in rows), strict=True))
        heads, rows = [label for label, _ in rows], list(zip(heads, turned, strict=True))
        names = 400.0
    heads = heads[:MOST_COLUMNS]
    step = (TABLE[1] - LEFT - names) / max(len(heads), 1)
    for at, head in enumerate(heads):
        for line, part in enumerate(head.split(", ")[:2]):
            x = LEFT + names + (at + 0.5) * step
            sheet.write(x, top + 12 + 15 * line, part, 12, "faint", align="center", room=step - 6)
    used = list(dict.fromkeys(word for _, own in rows[:MOST_ROWS] for word in own[:MOST_COLUMNS]))
    room = min(26.0, (HIGH - 86 - top - 38) / max(min(len(rows), MOST_ROWS), 1))
    for row, (label, own) in enumerate(rows[:MOST_ROWS]):
        y = top + 38 + room * row
        sheet.line(TABLE, (y, y), "line", 0.7)
        sheet.write(LEFT, y + 0.7 * room, label, min(15.0, 0.66 * room), room=names - 8)
        for at, word in enumerate(own[:MOST_COLUMNS]):
            sheet.mark(LEFT + names + (at + 0.5) * step, y + 0.5 * room, word, min(9.0, 0.5 * room))
    x, y = LEFT, HIGH - 56.0
    for word in used:
        sheet.mark(x + 6, y - 5, word)
        sheet.write(x + 17, y, SURE_WORDS[word], 14, word)
        x += 34 + sheet.width(SURE_WORDS[word], 14)


def _short(setting: str) -> str:
    """A choice of base and data without the folder of the base."""
    return ", ".join(part.rsplit("/", 1)[-1] for part in setting.split(", "))


# ---- the front

BOX = (790.0, 1046.0)  # where the plot begins and ends across; names are left and right of it
TICKS = 32.0  # the room for the numbers of the upright axis
STEP = 19.0


def _front(sheet: Sheet, front: Trade, top: float, title: str) -> None:
    sheet.write(650, top + 16, f"{front.up} ({title})" if title else front.up, 15, room=RIGHT - 650)
    ceiling, floor = top + 44, HIGH - 112.0
    x_axis, y_axis = front.axes(BOX, (floor, ceiling))
    if front.margin > 0:
        edge = min(max(x_axis.place(-front.margin if front.higher[1] else front.margin), BOX[0]), BOX[1])
        sheet.axes.fill_between([edge, BOX[1]], ceiling, floor, color=COLOURS["zone"], linewidth=0)
        sheet.write(BOX[1], ceiling - 7, f"loss under {counted_points(front.margin)} →", 12, "faint", align="right")
    for value in y_axis.ticks():
        y = y_axis.place(value)
        sheet.line(BOX, (y, y), "line", 0.7)
        sheet.write(BOX[0] - 5, y + 4, signed_tick(value), 12, "faint", align="right", room=TICKS)
    for value, said in _apart(sheet, x_axis):
        sheet.write(x_axis.place(value), floor + 18, said, 12, "faint", align="center")
    zero = x_axis.place(0.0)
    sheet.line((zero, zero), (ceiling, floor), "faint", 1)
    sheet.write(sum(BOX) / 2, floor + 40, front.across, 14, "faint", align="center", room=RIGHT - 650)
    level = y_axis.place(0.0)
    sheet.line(BOX, (level, level), "faint", 1)
    best = front.front()
    sheet.line([x_axis.place(one.x) for one in best], [y_axis.place(one.y) for one in best], "faint", 1.2, "--")
    near = sorted(front.parted()[0], key=lambda one: (one.loud, one.kind == "base"))
    for one in near:
        _placed(sheet, one, x_axis.place, y_axis.place)
    named = [one for one in near if one.name in front.named()]
    _names(sheet, [(one, x_axis.place(one.x), y_axis.place(one.y)) for one in named], ceiling, floor)


def _apart(sheet: Sheet, axis: Axis) -> list[tuple[float, str]]:
    """The ticks of an axis with their texts, which do not touch."""
    widths = [sheet.width(signed_tick(value), 12) for value in axis.ticks()]
    return [(value, signed_tick(value)) for value in apart(axis, widths)]


def _placed(sheet: Sheet, one: Mark, across: Any, up: Any) -> None:
    if one.loud:
        if one.across is not None:
            sheet.line([across(end) for end in one.across], [up(one.y)] * 2, one.kind, 1.4)
        if one.up is not None:
            sheet.line([across(one.x)] * 2, [up(end) for end in one.up], one.kind, 1.4)
    sheet.mark(across(one.x), up(one.y), one.kind, 10 if one.loud or one.kind == "base" else 6)


def _names(sheet: Sheet, marks: Sequence[tuple[Mark, float, float]], ceiling: float, floor: float) -> None:
    """Names left and right of the plot, each near its mark's height and joined to it by a line."""
    room = int((floor - ceiling) / STEP) + 1
    for left in (True, False):
        own = sorted((one for one in marks if (one[1] < sum(BOX) / 2) == left), key=lambda one: one[2])[:room]
        heights = spread([y for _, _, y in own], STEP, ceiling, floor)
        for (mark, x, y), at in zip(own, heights, strict=True):
            edge = BOX[0] - TICKS - 4 if left else BOX[1] + 6
            sheet.line((x, edge), (y, at), "line", 0.8)
            align, start = ("right", edge - 4) if left else ("left", edge + 4)
            sheet.write(
                start, at + 5, mark.name, 14, mark.kind, align=align, room=BOX[0] - TICKS - 656 if left else 104
            )
