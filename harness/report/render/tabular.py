"""Tables, their cells, and how a number is written in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.render.text import one_line
from harness.stats.intervals import Estimate

BLANK = "–"  # a number that could not be computed; never 0
USUAL = {True: 1, False: 3}  # decimals of percentage points; significant digits of other numbers
MOST_MORE_DIGITS = 8
ROUNDING_ERROR = 1e-9
Lines = tuple[float, ...]
"""The values that decide about a difference, in the metric's own unit: 0, and for knowledge the margin."""
Mood = Literal["", "good", "bad", "open", "blank", "failed", "chance", "warning"]


@dataclass(frozen=True)
class TableCell:
    """text, a second and third line in small print, and a note that explains it (a tooltip, a footnote).

    best: no other row of its column has a better value; printed in bold, which has no other meaning in tables
    """

    text: str
    detail: str = ""
    small: str = ""
    note: str = ""
    mood: Mood = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    """head, and in small print its unit or meaning; `left` for text, otherwise numbers."""

    head: str
    unit: str = ""
    note: str = ""
    left: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    caption: str = ""


def text_columns(*heads: str) -> tuple[Column, ...]:
    """Columns of text without a unit."""
    return tuple(Column(head, left=True) for head in heads)


def blank_cell(reason: str = "") -> TableCell:
    """The cell of a number that could not be computed, above the reason."""
    return TableCell(BLANK, small=one_line(reason, 60), note=reason, mood="blank")


def estimate_cell(estimate: Estimate, percent: bool, *, signed: bool = False, lines: Lines = (0.0,)) -> TableCell:
    """A number above its pointwise interval, or a blank above its reason; `signed` for differences."""
    if estimate.value is None:
        return blank_cell(estimate.reason)
    if signed:
        shown, limits = change(estimate, percent, lines), change_interval(estimate, percent, lines)
    else:
        shown, limits = score_text(estimate.value, percent), interval(estimate.low, estimate.high, percent)
    return TableCell(shown, limits or BLANK, note=estimate.reason)


def change(estimate: Estimate, percent: bool, lines: Lines = (0.0,)) -> str:
    """A difference, signed; a relative change as '+41 %'. It has the decimals of its interval."""
    if estimate.scale == "ratio" and estimate.value is not None:
        return f"{_number(100 * estimate.value, False, '+', _digits(estimate, False, lines))} %"
    if estimate.value is None:
        return BLANK
    return _number(estimate.value, percent, "+", _digits(estimate, percent, lines))


def change_interval(estimate: Estimate, percent: bool, lines: Lines = (0.0,)) -> str:
    """The interval of a difference, '[-2 %, +41 %]' of a relative change, or nothing where there is none.

    lines  the values that decide, 0 and perhaps the margin: no end is rounded onto one of them
    """
    if estimate.low is None or estimate.high is None:
        return ""
    ratio = estimate.scale == "ratio"
    digits = _digits(estimate, percent and not ratio, lines)
    ends = (estimate.low, estimate.high)
    if ratio:
        low, high = (f"{_number(100 * end, False, '+', digits)} %" for end in ends)
    else:
        low, high = (_number(end, percent, "+", digits) for end in ends)
    return f"[{low}, {high}]"


def _digits(estimate: Estimate, percent: bool, lines: Lines) -> int:
    """How many decimals (of percentage points) or significant digits a difference and its interval are shown with."""
    usual = USUAL[percent]
    if estimate.low is None or estimate.high is None:
        return usual
    factor = 100.0 if percent or estimate.scale == "ratio" else 1.0
    ends = [factor * end for end in (estimate.low, estimate.high)]
    return deciding_digits(ends, [factor * line for line in lines], usual, significant=not percent)


def deciding_digits(ends: Sequence[float], lines: Sequence[float], usual: int, *, significant: bool = False) -> int:
    """The usual digits, or so many more that every end is shown on its own side of every line.

    significant  count significant digits and not decimals
    """
    for digits in range(usual, usual + MOST_MORE_DIGITS):
        shown = [float(f"{end:.{digits}{'g' if significant else 'f'}}") for end in ends]
        if all(_side(one, line) == _side(end, line) for one, end in zip(shown, ends, strict=True) for line in lines):
            return digits
    return usual


def _side(value: float, line: float) -> int:
    """-1 below the line, 0 on it, 1 above it."""
    return 0 if abs(value - line) < ROUNDING_ERROR else 1 if value > line else -1


def score_text(value: float | None, percent: bool) -> str:
    """A score: per cent with one decimal (the header says so), or three significant digits."""
    return BLANK if value is None else _number(value, percent, "")


def signed(value: float | None, percent: bool) -> str:
    """A difference: percentage points with one decimal, or three significant digits."""
    return BLANK if value is None else _number(value, percent, "+")


def interval(low: float | None, high: float | None, percent: bool, sign: str = "") -> str:
    """'[low, high]', or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"[{_number(low, percent, sign)}, {_number(high, percent, sign)}]"


def points(value: float, percent: bool) -> str:
    """A size with its unit: '2.0 points', or the bare number for a metric that is not a share."""
    return f"{_number(value, percent, '')} points" if percent else _number(value, percent, "")


def _number(value: float, percent: bool, sign: str, digits: int | None = None) -> str:
    digits = USUAL[percent] if digits is None else digits
    if percent:
        shown = f"{100 * value:{sign}.{digits}f}"
    elif abs(value) >= 1000:
        shown = f"{value:{sign},.0f}"
    else:
        shown = f"{value:{sign}.{digits}g}"
    if float(shown.replace(",", "")) == 0:
        shown = shown.replace("-", "").replace("+", "")
    return shown.replace("-", "−")


def p_value(p: float | None) -> str:
    if p is None:
        return BLANK
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float | None) -> str:
    """A count, short: 1,234 or 12.3 M."""
    if value is None:
        return BLANK
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Seconds to three digits; less than 5 ms is 0."""
    if value is None:
        return BLANK
    if value < 0.005:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def unit_suffix(name: str, percent: bool) -> str:
    """The unit that follows a metric's name."""
    return ", %" if percent else f", {name}" if name else ""


def rank(best: int, worst: int) -> str:
    """A rank, or an interval of ranks."""
    return f"rank {best}" if best == worst else f"rank {best}–{worst}"
