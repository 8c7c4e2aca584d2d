"""The same model in two precisions, or behind two backends: the effect of that alone on a method's score.

Two bases of an experiment that are the same files, on one kind of device with one template, in another dtype or with
another backend are such a pair. Each method is compared with itself, item by item and seed by seed, so the difference
is the rounding's: in training, scoring and sampling together. Two backends also draw other samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from harness.report.findings.tables import change_unit
from harness.report.numbers.matrix import BenchmarkMetric, CellState, Matrix
from harness.report.numbers.panel import Measured, block_rows, difference_of, panels_of
from harness.report.numbers.protocol import OWN_BACKEND
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, estimate_cell
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Precision:
    """One metric on two bases that are one model in two precisions, or behind two backends: the second minus the first.

    field  dtype or backend; dtypes: its two values
    """

    bases: tuple[str, str]
    dtypes: tuple[str, str]
    metric: BenchmarkMetric
    percent: bool
    differences: Mapping[str, Estimate]
    field: str = "dtype"


RECORDED = ("digest", "dtype", "device", "chat_template", "backend")


def precisions_of(rows: pandas.DataFrame, matrix: Matrix, models: Mapping[str, Any]) -> tuple[Precision, ...]:
    """For every pair of bases that differ in the dtype or the backend alone, every primary metric.

    models  label -> digest, dtype, device, template and backend, of provenance.json
    """
    found: list[Precision] = []
    for first, second in combinations(matrix.bases, 2):
        one, other = models.get(first, {}), models.get(second, {})
        apart = [name for name in RECORDED if one.get(name) != other.get(name)]
        if one.get("digest") and apart in (["dtype"], ["backend"]):
            dtypes = (str(one.get(apart[0], OWN_BACKEND)), str(other.get(apart[0], OWN_BACKEND)))
            for measured in _measured(rows, matrix, first, second):
                panel = measured.panel
                pairs = {m.label: [f"{m.label}\0{base}" for base in (second, first)] for m in matrix.methods}
                differences = {
                    label: difference_of(measured, panel.comparable(pair))
                    for label, pair in pairs.items()
                    if set(pair) <= set(panel.methods)
                }
                if measured.metric.primary and differences:
                    found.append(
                        Precision((first, second), dtypes, measured.metric, measured.percent, differences, apart[0])
                    )
    return tuple(found)


def _measured(rows: pandas.DataFrame, matrix: Matrix, first: str, second: str) -> Iterator[Measured]:
    """Every metric, with a method's rows on either base as two methods; of the first choice of data."""
    import pandas

    parts = []
    every: dict[tuple[str, str], tuple[CellState, ...]] = {}
    methods = tuple(replace(m, label=f"{m.label}\0{base}") for base in (first, second) for m in matrix.methods)
    for base in (first, second):
        own, states = block_rows(rows, matrix, base, matrix.data[0])
        own = own[own["base"] == base]
        parts.append(own.assign(method=own["method"].astype(str) + "\0" + base))
        every |= {(f"{method}\0{base}", benchmark): cells for (method, benchmark), cells in states.items()}
    yield from panels_of(pandas.concat(parts), replace(matrix, methods=methods), every)


WAYS = {"dtype": "in another precision", "backend": "behind another backend"}
DRAWS = " Backends draw different samples, so that sampled answers differ by chance too."


def precision_parts(found: Sequence[Precision]) -> Iterator[Part]:
    """A table for each pair of bases, all of which differ in the same field, and metric; nothing without a pair."""
    if not found:
        return
    field = found[0].field
    yield Paragraph(
        f"Each method compared with itself on the same model {WAYS[field]}, on the same items and seeds, with "
        "the first choice of data. A difference between methods that is no larger than these may be rounding. "
        f"Intervals are pointwise 95 %, and nothing is tested.{DRAWS if field == 'backend' else ''}"
    )
    for one in found:
        unit = change_unit(one.metric, one.percent)
        columns = (
            Column("method", left=True),
            Column(f"{one.dtypes[1]} minus {one.dtypes[0]}", unit),
            Column("95 % interval", "pointwise"),
        )
        rows = []
        for method, difference in one.differences.items():
            shown = estimate_cell(difference, one.percent, signed=True)
            rows.append((TableCell(method), replace(shown, detail="", small=""), TableCell(shown.detail or BLANK)))
        yield Table(
            columns, tuple(rows), caption=f"{in_plain(one.metric.title)}: {one.bases[1]} against {one.bases[0]}"
        )
