"""Scores against training data: how many examples are needed, and does it matter which.

All cells of one base and metric are laid side by side, so that sizes and qualities are compared in pairs over
items and seeds as methods are. Two families are tested, each over all primary metrics of the base: every size
against the largest, and every quality against the first one that the experiment lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy

from harness.comparison import holm
from harness.data_choice import DataChoice
from harness.report.analysis import Measured, claimable, difference_of, measure, rows_of, score_of
from harness.report.matrix import Matrix, MetricInfo
from harness.report.model import Curve, DataContrast, Kind
from harness.report.panel import Panel, build_panel

if TYPE_CHECKING:
    import pandas


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


def _curve(rows: pandas.DataFrame, matrix: Matrix, base: str, metric: MetricInfo) -> Curve:
    labelled = _labelled(rows, matrix, base)
    fixed = {_label(m.label, data) for m in matrix.methods if m.deterministic for data in matrix.data}
    measured = measure(metric, build_panel(labelled, fixed, matrix.seeds))
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
    parts = [rows_of(rows, matrix, base, *place).assign(method=_label(place[0].label, place[1])) for place in places]
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
    """Holm over all comparisons of a kind, whichever metric they are on."""
    contrasts = [contrast for curve in curves for contrast in curve.contrasts]
    several = any(contrast.estimate.seeds > 1 for contrast in contrasts)
    adjusted: dict[int, float | None] = {}
    families: dict[Kind, int] = {}
    for kind in ("size", "quality"):
        family = [contrast for contrast in contrasts if contrast.kind == kind]
        families[kind] = len(family)
        allowed = [c.estimate.p if claimable(c.estimate, several) else None for c in family]
        adjusted.update(zip(map(id, family), holm(allowed), strict=True))
    for curve in curves:
        tested = tuple(replace(contrast, adjusted=adjusted[id(contrast)]) for contrast in curve.contrasts)
        yield replace(curve, contrasts=tested, families=families)
