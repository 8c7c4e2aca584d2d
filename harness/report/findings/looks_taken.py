"""A run that may stop: its looks, what each decided, and how much of the matrix was not needed."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.collect import Block, ReportModel
from harness.report.numbers.comparisons import Comparison, Result, is_kept
from harness.report.numbers.matrix import Matrix
from harness.report.render import tabular
from harness.report.render.bands import in_plain, lines_of
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, text_columns
from harness.stats.families import LEVEL


def looks_parts(model: ReportModel) -> Iterator[Part]:
    """The rule, the looks, and the comparisons that each decided."""
    stop = model.matrix.stop
    if stop is None:
        return
    yield Paragraph(
        "This run stops by its results: after each look below, a method whose comparisons with "
        f"{model.matrix.baseline} on a benchmark are all decided gets no more work there, and its numbers stay those "
        "of that look. Decided means better, worse, or shown to lose less than the margin of knowledge. The looks "
        f"share the error rate of {100 * LEVEL:g} % in proportion to their evaluations, so that it holds for all of "
        "them together, and so do the simultaneous intervals; pointwise intervals do not allow for the looks. Ranks, "
        "claims, groups and pairs of methods are not tested: they need the whole matrix, which the same command "
        "without --until runs; what is done is kept."
    )
    yield _looks_table(model.matrix)
    if saved := _saved(model):
        yield Paragraph(saved)
    for block in model.blocks:
        rows = [row for result in block.results for row in _rows(result, block, model.matrix)]
        if rows:
            caption = f"What was decided when{f', {block.title}' if len(model.blocks) > 1 else ''}"
            columns = text_columns("look", "method", "metric", "finding", "items", "seeds")
            yield Table(columns, tuple(row for _, row in sorted(rows, key=lambda one: one[0])), caption)


def _looks_table(matrix: Matrix) -> Table:
    assert matrix.stop
    columns = (
        Column("look"), Column("items", "% of each benchmark"), Column("seeds"), Column("error rate", "%"),
        Column("released", "method x benchmark"),
    )  # fmt: skip
    rows = []
    for number, look in enumerate(matrix.stop.looks, 1):
        released = sum(at == number for at in matrix.stop.releases.values())
        shown = str(released) if number <= matrix.stop.reached else f"{BLANK} not needed"
        cells = (str(number), f"{100 * look.items:g}", str(look.seeds), f"{100 * LEVEL * look.spent:.3g}", shown)
        rows.append(tuple(TableCell(cell) for cell in cells))
    return Table(columns, tuple(rows))


def _rows(result: Result, block: Block, matrix: Matrix) -> Iterator[tuple[int, tuple[TableCell, ...]]]:
    """(look, row) of each comparison of a metric."""
    assert matrix.stop
    if not result.family:
        return
    for label, comparison in result.comparisons.items():
        look = matrix.stop.releases.get((block.base, block.data, label, result.metric.benchmark), matrix.stop.reached)
        estimate = comparison.estimate
        lines = lines_of(result, matrix)
        ends = tabular.change_interval(estimate, result.percent, lines)
        shown = f"{_finding(comparison)}: {tabular.change(estimate, result.percent, lines)} {ends}"
        cells = (
            str(look),
            label,
            in_plain(result.metric.title),
            shown.strip(),
            f"{comparison.items:,}",
            str(estimate.seeds),
        )
        yield look, tuple(TableCell(cell) for cell in cells)


def _finding(comparison: Comparison) -> str:
    if comparison.better or comparison.worse:
        return "better" if comparison.better else "worse"
    return "loses less than the margin" if is_kept(comparison) else "not decided"


def _saved(model: ReportModel) -> str:
    """The share of the matrix's evaluations that was made, counted in answered items."""
    matrix, rows = model.matrix, model.rows
    if not len(rows) or not matrix.stop:
        return ""
    share = matrix.stop.looks[matrix.stop.reached - 1].items
    places = ["base", "method", "data_quality", "data_size", "benchmark"]
    answered = rows.drop_duplicates([*places, "seed", "group", "item"])
    done = whole = 0.0
    for _, own in answered.groupby("benchmark", observed=True):
        seen = len(own.drop_duplicates(["group", "item"]))
        divided = bool((own["upto"] > 0).any())
        rivals = len(own.drop_duplicates(places))
        done += len(own)
        whole += seen / (share if divided else 1.0) * rivals * len(matrix.seeds)
    return f"About {100 * done / whole:.0f} % of the whole matrix was evaluated: {done:,.0f} of {whole:,.0f} answers."
