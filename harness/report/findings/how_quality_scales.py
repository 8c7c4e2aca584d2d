"""How quality scales: the error of a method by the size of the base (or the rank) and the amount of its data.

Two laws are fitted to the cells of a method and tried on the largest one, which neither has seen
(`harness.stats.scaling`). Nothing is said where there are fewer than two sizes of the model or three of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy

from harness.records import DataChoice
from harness.report.collect import Block, ReportModel
from harness.report.findings.equal_quality import sweeps_of
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell
from harness.stats.scaling import PARAMETERS, Cells, Forecast, Scaling, scaling

PARAMETERS_OF_BASE = "parameters of the base"
FEWEST_SIZES, FEWEST_ROWS = 2, 3

MEANING = (
    "Error = A · X^-a · D^-b + E, where X is the size, D the rows of training data, and E what neither removes (Zhang "
    "et al. 2024, equation 1). The error of a share is 100 % less it; a score of which less is better is its own "
    "error, and on the log scale its logarithm. The exponents have 95 % intervals from a bootstrap over cells. Both "
    "this law and the additive one, A · X^-a + B · D^-b + E, are fitted without the largest cell and predict it; one "
    "cell does not decide between laws. Not corrected for the number of fits: exploratory."
)


@dataclass(frozen=True)
class Scaled:
    """A method on one metric and one set of data: its law, or why it has none. axis: what X is."""

    method: str
    metric: BenchmarkMetric
    quality: str
    axis: str
    percent: bool
    cells: int
    found: Scaling | None
    reason: str = ""


def base_sizes(model: ReportModel) -> dict[str, int]:
    """The parameters of every base model that the ledger knows; the fewest, as an adapter adds to them."""
    found: dict[str, int] = {}
    for entry in model.ledger:
        if entry.get("base") in model.matrix.bases and entry.get("total_parameters"):
            count = int(entry["total_parameters"])
            found[str(entry["base"])] = min(count, found.get(str(entry["base"]), count))
    return found


def one_per_size(model: ReportModel) -> tuple[dict[str, int], dict[str, str]]:
    """The bases of known and different sizes; and each base that is as large as one listed before it -> that one.

    Bases of one size differ in something else, such as their pretraining, which the law has no term for.
    """
    sizes = base_sizes(model)
    kept: dict[int, str] = {}
    alike = {}
    for base in (base for base in model.matrix.bases if base in sizes):
        if (first := kept.setdefault(sizes[base], base)) != base:
            alike[base] = first
    return {base: size for size, base in kept.items()}, alike


def scaled(model: ReportModel) -> tuple[Scaled, ...]:
    """Every method, metric and set of data with two or more sizes of the model and three or more of the data."""
    rows = _rows_of(model)
    known = [b for b in model.blocks if b.data in rows]
    if model.matrix.stop or len({rows[b.data] for b in known}) < FEWEST_ROWS:
        return ()
    return tuple(
        one
        for quality in model.matrix.data_qualities
        for one in _of_quality([b for b in known if b.data.quality == quality], model, rows)
    )


def _rows_of(model: ReportModel) -> dict[DataChoice, int]:
    """The rows of every choice of data; those of a whole set are what the provenance says of it."""
    found = {data: data.size for data in model.matrix.data if data.size}
    manifest: Mapping[str, Mapping[str, object]] = model.provenance.get("data") or {}
    for data in model.matrix.data:
        entry = manifest.get(f"demonstrations {data.quality}".strip(), {})
        if not data.size and isinstance(rows := entry.get("rows"), int):
            found[data] = rows
    return found


def _of_quality(blocks: Sequence[Block], model: ReportModel, rows: Mapping[DataChoice, int]) -> Iterator[Scaled]:
    sizes, _ = one_per_size(model)
    by_base = [b for b in blocks if b.base in sizes]
    if len(sizes) >= FEWEST_SIZES:
        for method in model.matrix.methods:
            if not method.on_small_base:
                places = [(b, method.label, float(sizes[b.base])) for b in by_base]
                yield from _of_metrics(places, method.label, PARAMETERS_OF_BASE, rows)
    for sweep in sweeps_of(model.matrix.methods):
        if sweep.field == "rank":
            for base in dict.fromkeys(b.base for b in blocks):
                places = [
                    (b, one.label, float(one.fields["rank"])) for b in blocks if b.base == base for one in sweep.methods
                ]
                named = f"{sweep.name} on {base}" if len(model.matrix.bases) > 1 else sweep.name
                yield from _of_metrics(places, named, "rank", rows)


Places = Sequence[tuple[Block, str, float]]


def _of_metrics(places: Places, method: str, axis: str, rows: Mapping[DataChoice, int]) -> Iterator[Scaled]:
    first = places[0][0]
    for metric in (one.metric for one in first.measured if one.metric.primary and one.metric.against_baseline):
        cells: list[tuple[float, float, float]] = []
        percent = True
        for block, label, size in places:
            one = block.measured_on(metric)
            error = None if one is None else _error(one, label)
            if one is not None and error is not None:
                percent &= one.percent and not one.panel.log
                cells.append((size, float(rows[block.data]), error))
        if (found := _fitted(cells, method, metric, first.data.quality, axis, percent)) is not None:
            yield found


def _error(one: Measured, label: str) -> float | None:
    """The quantity that is to become less; None where the metric has no best value, or without scores."""
    found = one.panel.comparable([label])
    if not found.scores or (one.metric.higher_is_better and not one.percent):
        return None
    mean = found.scores[0].mean
    return 1 - mean if one.metric.higher_is_better else mean


def _fitted(
    cells: Sequence[tuple[float, float, float]],
    method: str,
    metric: BenchmarkMetric,
    quality: str,
    axis: str,
    percent: bool,
) -> Scaled | None:
    sizes, rows, errors = (numpy.array([cell[at] for cell in cells]) for at in range(3))
    if len(set(sizes)) < FEWEST_SIZES or len(set(rows)) < FEWEST_ROWS:
        return None
    if all(len(set(errors[sizes == size])) == 1 for size in set(sizes)):
        return None  # it takes no data
    said = Scaled(method, metric, quality, axis, percent, len(cells), None, f"{len(cells)} cells")
    if len(cells) <= PARAMETERS["multiplicative"]:
        return said
    return replace(said, found=scaling(Cells(sizes, rows, errors)), reason="")


COLUMNS = (
    Column("method", left=True), Column("X", left=True), Column("cells"), Column("a", "of size"),
    Column("b", "of data"),
    Column("E", "floor"), Column("largest cell", "error, held out"), Column("multiplicative", "misses it by"),
    Column("additive", "misses it by"), Column("finding", left=True),
)  # fmt: skip


def scaling_parts(model: ReportModel) -> Iterator[Part]:
    """The law in words and a table for each metric and set of data; nothing of a design with too few sizes."""
    found = scaled(model)
    if not found:
        return
    yield Paragraph(MEANING)
    if (alike := one_per_size(model)[1]) and any(one.axis == PARAMETERS_OF_BASE for one in found):
        said = text.listed([f"{base} (as large as {first})" for base, first in alike.items()])
        yield Paragraph(f"Left out, since the law knows bases by their size alone: {said}.")
    for title, quality in dict.fromkeys((one.metric.title, one.quality) for one in found):
        own = [one for one in found if (one.metric.title, one.quality) == (title, quality)]
        named = f"{in_plain(title)}, {quality}" if quality else in_plain(title)
        yield Table(COLUMNS, tuple(_row(one) for one in own), caption=named)


def _row(one: Scaled) -> tuple[TableCell, ...]:
    head = (TableCell(one.method), TableCell(one.axis), TableCell(str(one.cells)))
    if one.found is None:
        return (*head, *[blank_cell()] * 6, TableCell(f"cannot forecast: {one.reason}", mood="open"))
    law, percent = one.found, one.percent
    forecasts = {forecast.law: forecast for forecast in law.forecasts}
    held = next(iter(law.forecasts), None)
    return (
        *head,
        _exponent(law.fit.exponents[0], law.size),
        _exponent(law.fit.exponents[1], law.rows),
        TableCell(tabular.score_text(law.fit.floor, percent), tabular.interval(*law.floor, percent)),
        TableCell(tabular.score_text(None if held is None else held.observed, percent)),
        _miss(forecasts.get("multiplicative"), percent),
        _miss(forecasts.get("additive"), percent),
        _finding(law),
    )


def _exponent(value: float, interval: tuple[float, float]) -> TableCell:
    return TableCell(f"{value:.2f}", f"[{interval[0]:.2f}, {interval[1]:.2f}]")


def _miss(forecast: Forecast | None, percent: bool) -> TableCell:
    if forecast is None:
        return blank_cell("too few cells")
    low, high = (None if end is None else end - forecast.observed for end in (forecast.low, forecast.high))
    return TableCell(tabular.signed(forecast.miss, percent), tabular.interval(low, high, percent, "+"))


def _finding(law: Scaling) -> TableCell:
    if reason := law.undetermined:
        return TableCell(f"cannot forecast: {reason}", mood="open")
    first = law.forecasts[0]
    inside = (first.low or 0.0) <= first.observed <= (first.high or 0.0)
    return TableCell("forecasts the largest cell", mood="good") if inside else TableCell("misses it", mood="bad")
