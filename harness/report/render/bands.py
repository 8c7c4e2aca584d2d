"""Numbers and names of the first screen and the forest plots: axes, bands, and words instead of identifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from harness.engine.showable import counted as counted
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.render import text
from harness.report.render.document import BandAxis, BandCell
from harness.report.render.tabular import BLANK, Lines, deciding_digits, unit_suffix

Ends = tuple[float, float, float]
"""(low, value, high)."""

WIDE = 10.0  # an interval as wide as this, in points, needs no decimals
APART = 0.16  # marks of an axis that are closer than this would run into each other
STEPS = (1, 2, 5, 10)


def in_plain(name: str) -> str:
    """An identifier as words: 'instruction_following' is 'instruction following'."""
    return name.replace("_", " ").strip() or name


def benchmark_title(result: Result, among: Sequence[Result]) -> str:
    """The benchmark in words, with the metric where `among` has several of that benchmark."""
    same = {other.metric.name for other in among if other.metric.benchmark == result.metric.benchmark}
    title = in_plain(result.metric.benchmark)
    if len(same - {result.metric.name}) and in_plain(result.metric.name) != title:
        title = f"{title} ({in_plain(result.metric.name)})"
    return title


def unit_of(result: Result) -> str:
    """The unit of a score."""
    return "%" if result.percent else result.metric.unit or in_plain(result.metric.name)


def axis_title(metric: BenchmarkMetric, percent: bool) -> str:
    """The benchmark and metric in words, with the unit."""
    return text.one_line(f"{in_plain(metric.title)}{unit_suffix(metric.unit, percent)}", 60)


def margin_words(matrix: Matrix, knowledge: Sequence[Result]) -> str:
    """'2 points', or the bare margin of a metric that is not a share."""
    if all(result.percent for result in knowledge):
        return counted_points(100 * matrix.margin)
    return f"{matrix.margin:g}"


def counted_points(value: float) -> str:
    """'1 point', '2.5 points'."""
    return f"{value:.3g} point{'' if value == 1 else 's'}"


def decimals(known: Sequence[Ends]) -> int:
    """How many decimals a column of changes in points has: none where intervals are wide, one if 99.6 became 100."""
    rounded = any(round(abs(value)) in (0, 100) and abs(value) not in (0, 100) for _, value, _ in known)
    return 0 if known and median(high - low for low, _, high in known) >= WIDE and not rounded else 1


def number(value: float, digits: int | None, sign: str = "+") -> str:
    """A signed number, with a minus that is as wide as a plus; None: three significant digits."""
    shown = f"{value:{sign}.3g}" if digits is None else f"{value:{sign}.{digits}f}"
    if float(shown) == 0:
        shown = shown.lstrip("+-")
    return shown.replace("-", "−")


def lines_of(result: Result, matrix: Matrix) -> Lines:
    """The values that decide about a difference on this metric, in its own unit: 0, and for knowledge the margin."""
    if result.metric.role != "knowledge" or not matrix.margin > 0:
        return (0.0,)
    return 0.0, -matrix.margin if result.metric.higher_is_better else matrix.margin


def deciding(ends: Ends, digits: int | None, lines: Sequence[float]) -> int | None:
    """The decimals of a difference and its interval, `digits` or more: no end is rounded onto a line that decides.

    None: so many decimals that the interval's width has two digits; for an interval without width still None
    """
    if digits is None:
        if not ends[2] > ends[0]:
            return None
        digits = max(0, 1 - math.floor(math.log10(ends[2] - ends[0])))
    return deciding_digits((ends[0], ends[2]), lines, digits)


def shown_ends(change: Ends, result: Result, matrix: Matrix) -> tuple[str, str, str, str]:
    """(value, low, high, unit) of a difference, all with the same decimals."""
    ratio = any(pair.estimate.scale == "ratio" for pair in result.comparisons.values())
    factor = 100.0 if result.percent or ratio else 1.0
    scaled = change[0] * factor, change[1] * factor, change[2] * factor
    lines = [factor * line for line in lines_of(result, matrix)]
    digits = deciding(scaled, decimals([scaled]) if factor == 100 else None, lines)
    unit = "%" if ratio else "points" if result.percent else result.metric.unit or in_plain(result.metric.name)
    low, value, high = (number(end, digits) for end in scaled)
    return value, low, high, unit


def axis_of(
    head: str, unit: str, known: Sequence[Ends], margin: float, higher: bool, limit: float | None
) -> tuple[BandAxis, float, float]:
    """The axis of a column with its two ends; the zone within `margin` is marked where it is above 0."""
    low = min([0.0, *(one[0] for one in known), *([-1.5 * margin] if higher else [])])
    high = max([0.0, *(one[2] for one in known), *([] if higher else [1.5 * margin])])
    if low == high:
        low, high = -1.0, 1.0
    step = nice((high - low) / 4)
    low, high = step * math.floor(low / step), step * math.ceil(high / step)
    if limit is not None:
        low, high = max(low, -limit), min(high, limit)
    low, high = (low, high) if high > low else (low - step, high + step)

    def place(value: float) -> float:
        return min(max((value - low) / (high - low), 0.0), 1.0)

    wanted = [0.0, low, high, *([-margin if higher else margin] if margin else []), (low + high) / 2]
    marks: list[tuple[float, str]] = []
    for value in wanted:
        middle = value == (low + high) / 2 and value not in (0.0, low, high)
        if all(abs(place(value) - at) > (0.3 if middle else APART) for at, _ in marks):
            marks.append((place(value), tick(value)))
    zone = None
    if margin:
        zone = (place(-margin), 1.0) if higher else (0.0, place(margin))
    axis = BandAxis(head, unit, tuple(sorted(marks)), place(0.0), zone, knowledge=margin > 0)
    return axis, low, high


def nice(rough: float) -> float:
    """The round step at or above `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * k for k in STEPS if power * k >= rough * 0.999)


def tick(value: float) -> str:
    """A mark of an axis: signed, with as many digits as it needs."""
    return number(round(value, 10), None) if value % 1 else number(value, 0)


def band_cell(
    ends: Ends | None, axis: tuple[BandAxis, float, float], digits: int | None, reason: str, best: bool
) -> BandCell:
    """A value above its interval, and where both are on the axis; without an interval, the reason."""
    if ends is None:
        return BandCell(BLANK, reason)
    _, low, high = axis
    places = tuple(min(max((end - low) / (high - low), 0.0), 1.0) for end in ends)
    shown = [number(end, digits) for end in ends]
    return BandCell(shown[1], f"{shown[0]} to {shown[2]}", (places[0], places[1], places[2]), best)
