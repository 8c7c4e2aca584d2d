"""Scores against training data: how many examples are needed, and does it matter which.

All cells of one base model and metric form one panel, so that sizes and qualities are compared in pairs over
items and seeds as methods are. Two families are tested, each over all primary metrics of the base: every size
against the largest, and every quality against the first one that the experiment lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy

from harness.records import DataChoice
from harness.report.findings.forests import forest_rows
from harness.report.numbers.comparisons import corrected_family, established_sign
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured, Panel, build_panel, difference_of, measure, method_rows, score_of
from harness.report.render import bands, tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.curve_picture import Line, Place, draw_curves, size_ticks
from harness.report.render.document import Bullets, Drawn, Folded, Paragraph, Part, Picture, Statement, Sure
from harness.report.render.forest_picture import draw_forest
from harness.report.render.tabular import (
    BLANK,
    Column,
    Mood,
    Table,
    TableCell,
    blank_cell,
    change,
    change_interval,
    estimate_cell,
)
from harness.report.render.text import listed
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    import pandas


Kind = Literal["size", "quality"]


@dataclass(frozen=True)
class DataContrast:
    """The difference of a method with `data` from `against`, with its simultaneous interval.

    adjusted  p after the correction over its family; None where no claim is made
    """

    kind: Kind
    method: str
    data: DataChoice
    against: DataChoice
    estimate: Estimate
    adjusted: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is established, otherwise 0."""
        return established_sign(self.estimate, self.adjusted)


@dataclass(frozen=True)
class Curve:
    """One primary metric of one base.

    scores     (method, data) -> mean with its pointwise interval
    flat       methods that score the same whatever the data: they take none
    families   kind -> number of tests that the correction runs over
    """

    base: str
    metric: BenchmarkMetric
    percent: bool
    scores: dict[tuple[str, DataChoice], Estimate]
    flat: tuple[str, ...]
    contrasts: tuple[DataContrast, ...]
    families: dict[Kind, int]

    @property
    def methods(self) -> list[str]:
        """The methods that the data changes, in the experiment's order."""
        return [m for m in dict.fromkeys(method for method, _ in self.scores) if m not in self.flat]

    def contrasts_of(self, kind: Kind, method: str, data: DataChoice) -> DataContrast | None:
        """The one comparison of that kind at a point; None for what the others are compared with."""
        found = (c for c in self.contrasts if (c.kind, c.method, c.data) == (kind, method, data))
        return next(found, None)


def curves_of(rows: pandas.DataFrame, matrix: Matrix) -> tuple[Curve, ...]:
    """A curve for each base and primary metric; none where the experiment has no axis of data."""
    if len(matrix.data) < 2:
        return ()
    return tuple(curve for base in matrix.bases for curve in _corrected(list(_of_base(rows, matrix, base))))


def _of_base(rows: pandas.DataFrame, matrix: Matrix, base: str) -> Iterator[Curve]:
    for benchmark in matrix.benchmarks:
        for metric in benchmark.metrics:
            if metric.primary and metric.against_baseline:
                own = rows[(rows["benchmark"] == benchmark.label) & (rows["metric"] == metric.name)]
                yield _curve(own, matrix, base, metric)


def _curve(rows: pandas.DataFrame, matrix: Matrix, base: str, metric: BenchmarkMetric) -> Curve:
    labelled = _labelled(rows, matrix, base)
    fixed = {_label(m.label, data) for m in matrix.methods if m.deterministic for data in matrix.data}
    kin = {_label(m, data): f"{name}\0{data.title}" for m, name in matrix.kin.items() for data in matrix.data}
    measured = measure(metric, build_panel(labelled, fixed, matrix.seeds, kin))
    scores = {
        (method.label, data): score_of(measured, _label(method.label, data))
        for method in matrix.methods
        for data in matrix.data
        if _label(method.label, data) in measured.panel.methods
    }
    flat = tuple(method.label for method in matrix.methods if _is_flat(measured.panel, method.label, matrix.data))
    contrasts = tuple(
        _contrast(measured, kind, method.label, data, against)
        for method in matrix.methods
        if method.label not in flat
        for kind, data, against in _pairs(matrix)
    )
    return Curve(base, metric, measured.percent, scores, flat, contrasts, {})


def _label(method: str, data: DataChoice) -> str:
    return f"{method}\0{data.quality}\0{data.size}"


def _labelled(rows: pandas.DataFrame, matrix: Matrix, base: str) -> pandas.DataFrame:
    """The rows of a base, each method at each choice of data taken for a method of its own."""
    import pandas

    places = [(method, data) for method in matrix.methods for data in matrix.data]
    parts = [
        method_rows(rows, matrix, base, *place).assign(method=_label(place[0].label, place[1])) for place in places
    ]
    return pandas.concat(parts)


def _is_flat(panel: Panel, method: str, choices: Sequence[DataChoice]) -> bool:
    found = [panel.methods[label] for data in choices if (label := _label(method, data)) in panel.methods]
    return all(
        one.seeds == found[0].seeds and numpy.array_equal(one.values, found[0].values, equal_nan=True) for one in found
    )


def _pairs(matrix: Matrix) -> Iterator[tuple[Kind, DataChoice, DataChoice]]:
    """Every size against the largest of its quality (0: all rows), every quality against the first at its size."""
    largest = max(matrix.data_sizes, key=lambda size: (size == 0, size))
    for data in matrix.data:
        if data.size != largest:
            yield "size", data, data._replace(size=largest)
        if data.quality != matrix.data_qualities[0]:
            yield "quality", data, data._replace(quality=matrix.data_qualities[0])


def _contrast(measured: Measured, kind: Kind, method: str, data: DataChoice, against: DataChoice) -> DataContrast:
    pair = measured.panel.comparable([_label(method, data), _label(method, against)])
    return DataContrast(kind, method, data, against, difference_of(measured, pair))


def _corrected(curves: list[Curve]) -> Iterator[Curve]:
    """Max-t over all comparisons of a kind, whichever metric they are on."""
    contrasts = [contrast for curve in curves for contrast in curve.contrasts]
    corrected: dict[int, DataContrast] = {}
    where = {id(contrast): at for at, curve in enumerate(curves) for contrast in curve.contrasts}
    families: dict[Kind, int] = {}
    for kind in ("size", "quality"):
        family = [contrast for contrast in contrasts if contrast.kind == kind]
        families[kind] = len(family)
        shown = corrected_family([c.estimate for c in family], [where[id(c)] for c in family])
        for contrast, (estimate, p) in zip(family, shown, strict=True):
            corrected[id(contrast)] = replace(contrast, estimate=estimate, adjusted=p)
    for curve in curves:
        tested = tuple(corrected[id(contrast)] for contrast in curve.contrasts)
        yield replace(curve, contrasts=tested, families=families)


MOST_OPEN = 3
MOST_LINES = 6  # in one picture of curves: more have a picture for each method


def curve_parts(curves: Sequence[Curve], matrix: Matrix) -> Iterator[Part]:
    """The established findings, then the picture and table of each metric; quality metrics first."""
    curves = sorted(curves, key=lambda curve: ("quality", "knowledge", "other").index(curve.metric.role))
    several = len(matrix.bases) > 1
    said = [(_title(curve, several), found) for curve in curves if (found := tuple(_statements(curve, matrix)))]
    if said:
        yield Bullets(tuple(said))
    yield Paragraph(_legend(curves, matrix))
    for curve in curves:
        if any(estimate.value is not None for estimate in curve.scores.values()):
            yield from _pictures(curve, matrix, several)
            table = _table(curve, matrix, several)
            yield table if len(curves) == 1 else Folded(f"{table.caption}: means", replace(table, caption=""))


def _title(curve: Curve, several: bool) -> str:
    title = in_plain(curve.metric.title)
    return f"{curve.base}, {title}" if several else title


def _legend(curves: Sequence[Curve], matrix: Matrix) -> str:
    families = next((curve.families for curve in curves), {})
    said = []
    if len(matrix.data_sizes) > 1:
        said.append(
            "Smaller sets are subsets of larger ones and are redrawn for each seed, so all differences are paired."
        )
    if families.get("size"):
        said.append(
            f"Δ size: against {_size(_largest(matrix))} of the same set (corrected for "
            f"{bands.counted(families['size'], 'test')})."
        )
    if families.get("quality"):
        said.append(
            f"Δ data: against {matrix.data_qualities[0]} at the same size (corrected for "
            f"{bands.counted(families['quality'], 'test')})."
        )
    said.append(
        "The intervals of means are pointwise 95 %, those of differences hold all together; coloured where the "
        "corrected test establishes a difference."
    )
    return " ".join(said)


def _largest(matrix: Matrix) -> int:
    return 0 if 0 in matrix.data_sizes else max(matrix.data_sizes)


def _size(size: int) -> str:
    return f"{size:,} examples" if size else "all examples"


# ---- words


def _statements(curve: Curve, matrix: Matrix) -> Iterator[Statement]:
    if len(matrix.data_sizes) == 1:
        for quality in matrix.data_qualities[1:]:
            yield from _on_methods(curve, matrix, quality)
        return
    for method in curve.methods:
        for quality in matrix.data_qualities:
            yield from _on_sizes(curve, matrix, method, quality)
        for quality in matrix.data_qualities[1:]:
            yield from _on_quality(curve, matrix, method, quality)


def _on_sizes(curve: Curve, matrix: Matrix, method: str, quality: str) -> Iterator[Statement]:
    """The largest size against each smaller one: where it is better, where nothing is established."""
    found = [c for c in curve.contrasts if (c.kind, c.method, c.data.quality) == ("size", method, quality)]
    who = f"{method}, {quality}" if quality else method
    # the contrasts are of the smaller sizes; the words describe the largest
    for contrasts, lead, mood in _findings(curve, found, -1):
        parts = [f"{_short(c.data.size)} ({_change(c, curve.percent, -1)})" for c in contrasts]
        yield Statement(who, f"{_size(_largest(matrix))} {lead} {listed(parts)}", mood)


def _on_quality(curve: Curve, matrix: Matrix, method: str, quality: str) -> Iterator[Statement]:
    """A quality against the first one, over the sizes."""
    found = [c for c in curve.contrasts if (c.kind, c.method, c.data.quality) == ("quality", method, quality)]
    for contrasts, lead, mood in _findings(curve, found):
        parts = [f"at {_short(c.data.size)} ({_change(c, curve.percent)})" for c in contrasts]
        yield Statement(method, f"{quality} {lead} {matrix.data_qualities[0]} {listed(parts)}", mood)


def _on_methods(curve: Curve, matrix: Matrix, quality: str) -> Iterator[Statement]:
    """A quality against the first one, over the methods; only the largest open differences are listed."""
    found = [c for c in curve.contrasts if (c.kind, c.data.quality) == ("quality", quality)]
    for contrasts, lead, mood in _findings(curve, found):
        contrasts.sort(key=lambda contrast: -abs(contrast.estimate.value or 0.0))
        shown = contrasts[:MOST_OPEN] if mood == "open" else contrasts
        parts = [f"{contrast.method} ({_change(contrast, curve.percent)})" for contrast in shown]
        parts += [f"{len(contrasts) - len(shown)} more"] if len(shown) < len(contrasts) else []
        yield Statement(f"{quality} {lead} {matrix.data_qualities[0]}", listed(parts), mood)


def _findings(
    curve: Curve, found: Sequence[DataContrast], direction: int = 1
) -> Iterator[tuple[list[DataContrast], str, Mood]]:
    """The findings with their words; direction -1 describes the side that the contrasts are against."""
    better = direction if curve.metric.higher_is_better else -direction
    said: tuple[tuple[int, str, Mood], ...] = (
        (better, "better than", "good"),
        (-better, "worse than", "bad"),
        (0, "not established against", "open"),
    )
    for sign, lead, mood in said:
        contrasts = [c for c in found if c.sign == sign and c.estimate.value is not None]
        if contrasts:
            yield contrasts, lead, mood


def _short(size: int) -> str:
    return f"{size:,}" if size else "all"


def _change(contrast: DataContrast, percent: bool, direction: int = 1) -> str:
    shown = contrast.estimate if direction > 0 else contrast.estimate.turned()
    return f"{change(shown, percent)} {change_interval(shown, percent)}".strip()


# ---- table


def _table(curve: Curve, matrix: Matrix, several: bool) -> Table:
    unit = f"{in_plain(curve.metric.name)}{tabular.unit_suffix(curve.metric.unit, curve.percent)}"
    columns = [Column("method", left=True)]
    if matrix.data_qualities != ("",):
        columns.append(Column("data", left=True))
    columns += [Column(_size(size), unit) for size in matrix.data_sizes]
    rows = []
    for method in curve.methods:
        for quality in matrix.data_qualities:
            head = [TableCell(method), *([TableCell(quality)] if quality else [])]
            rows.append((*head, *(_cell(curve, method, DataChoice(quality, size)) for size in matrix.data_sizes)))
    for method in curve.flat:
        first = next((estimate for (label, _), estimate in curve.scores.items() if label == method), None)
        head = [
            TableCell(method, "uses no training data"),
            *([TableCell(BLANK)] if matrix.data_qualities != ("",) else []),
        ]
        rows.append((*head, *[_score(curve, first, "") for _ in matrix.data_sizes]))
    return Table(tuple(columns), tuple(rows), caption=_title(curve, several))


def _cell(curve: Curve, method: str, data: DataChoice) -> TableCell:
    by_size, by_quality = (curve.contrasts_of(kind, method, data) for kind in ("size", "quality"))
    parts = [
        f"Δ {name} {_change(contrast, curve.percent)}"
        for name, contrast in (("size", by_size), ("data", by_quality))
        if contrast is not None and contrast.estimate.value is not None
    ]
    better = curve.metric.sign
    signs = [contrast.sign * better for contrast in (by_size, by_quality) if contrast is not None and contrast.sign]
    mood: Mood = "good" if signs and min(signs) > 0 else "bad" if signs and max(signs) < 0 else ""
    return _score(curve, curve.scores.get((method, data)), "; ".join(parts), mood)


def _score(curve: Curve, estimate: Estimate | None, small: str, mood: Mood = "") -> TableCell:
    cell = blank_cell() if estimate is None else estimate_cell(estimate, curve.percent)
    return replace(cell, small=small, mood=mood or cell.mood)


# ---- picture


def _pictures(curve: Curve, matrix: Matrix, several: bool) -> Iterator[Part]:
    """Curves over sizes; at one size, the differences between qualities, as lines between two places would overlap."""
    if len(matrix.data_sizes) == 1:
        for quality in matrix.data_qualities[1:]:
            yield _forest(curve, matrix, quality, several)
        return
    lines = [line for line in _lines(curve, matrix) if line.places]
    up = text.one_line(f"{_title(curve, several)}{tabular.unit_suffix(curve.metric.unit, curve.percent)}", 60)
    ends = [end for line in lines for end in line.ends]
    groups = [lines]
    if len(lines) > MOST_LINES:
        # a picture for each method, all on one axis
        names = list(dict.fromkeys(line.method for line in lines if not line.level))
        groups = [[line for line in lines if line.level or line.method == name] for name in names]
    for group in groups:
        said = "; ".join(
            f"{line.label}: {', '.join(f'{place.up:.1f} at {place.across}' for place in line.places)}" for line in group
        )
        across = "training examples"
        drawn = draw_curves(group, size_ticks(matrix.data_sizes), across, up, ends)
        yield Picture(drawn, f"{up} against {across}: {said}.")


def _forest(curve: Curve, matrix: Matrix, quality: str, several: bool) -> Drawn:
    """Every method's difference between this quality and the first."""
    better = curve.metric.sign
    kinds: dict[int, Sure] = {1: "shown", -1: "worse", 0: "idle"}
    found = [c for c in curve.contrasts if (c.kind, c.data.quality) == ("quality", quality)]
    found.sort(key=lambda one: -better * (one.estimate.value or 0.0))
    rows, unit = forest_rows(
        [(one.method, one.estimate, kinds[one.sign * better]) for one in found], curve.percent, (0.0,)
    )
    title = f"{_title(curve, several)}: {quality} minus {matrix.data_qualities[0]}"
    unit = unit or curve.metric.unit or in_plain(curve.metric.name)
    together = f"intervals of all {curve.families['quality']} tests together" if len(found) > 1 else "95 % interval"
    lower = "" if better > 0 else "; lower is better"
    return Drawn(title, draw_forest(rows, title, f"{unit}; {together}{lower}", None))


def _lines(curve: Curve, matrix: Matrix) -> Iterator[Line]:
    sizes = sorted(matrix.data_sizes, key=lambda size: (size == 0, size))
    for method in curve.methods:
        for quality in matrix.data_qualities:
            choices = [(_short(size), DataChoice(quality, size)) for size in sizes]
            label = f"{method}, {quality}" if quality else method
            yield Line(label, tuple(_places(curve, method, choices)), method=method)
    for method in curve.flat:
        everywhere = [("any", data) for data in matrix.data][:1]
        yield Line(method, tuple(_places(curve, method, everywhere)), level=True, method=method)


def _places(curve: Curve, method: str, choices: Sequence[tuple[str, DataChoice]]) -> Iterator[Place]:
    factor = 100 if curve.percent else 1
    for name, data in choices:
        estimate = curve.scores.get((method, data))
        if estimate is not None and estimate.value is not None:
            low, high = (None if edge is None else edge * factor for edge in (estimate.low, estimate.high))
            yield Place(name, estimate.value * factor, low, high)
