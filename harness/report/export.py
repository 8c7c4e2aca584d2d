"""The report's numbers as tables: scores and differences for pandas, the matrix for a paper.

Nothing is computed here: every number is one of the report's own, in the metric's units. A number that could not be
computed is blank, with its reason; never 0.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.showable import counted
from harness.files import replacing, write_text
from harness.report.collect import Block, ReportModel
from harness.report.findings.audit import FLAG as FLAG_UNLIKE
from harness.report.findings.tables import BETTER, FLAG_FEW, FLAG_PARTIAL, WORSE, finding_cell, matrix_table
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.markdown import table_lines
from harness.report.render.tabular import BLANK, Column, Table, TableCell
from harness.stats.intervals import FLAGGED_CLUSTERS, Estimate

FORMULA = ("=", "+", "-", "@", "\t", "＝", "＋", "－", "＠")  # what begins a formula in a spreadsheet
PLACE = {
    "base": ("string", "the block's base model; a method on the small base is listed with the others"),
    "data_quality": ("string", "the named training set of the block; empty without such an axis"),
    "data_size": ("int64", "training examples; 0 without such an axis"),
    "method": ("string", "the method's label"),
    "benchmark": ("string", "the benchmark's label"),
    "metric": ("string", "the metric's name"),
    "group": ("string", "the group of items; empty: all items"),
    "role": ("string", "role of the metric: quality, knowledge or other"),
    "primary": ("string", "yes or no: whether the metric is tested"),
    "higher_is_better": ("string", "yes or no"),
}
SCORE_COLUMNS = {
    **PLACE,
    "estimate": ("double", "the mean over items and seeds, in the metric's units (a share is 0.5, not 50)"),
    "low": ("double", "lower end of the pointwise 95 % interval"),
    "high": ("double", "its upper end"),
    "seeds": ("int64", "seeds"),
    "items": ("int64", "items"),
    "clusters": ("int64", "independent sources of items"),
    "rank_best": ("int64", "the best rank that the tests allow"),
    "rank_worst": ("int64", "the worst"),
    "reason": ("string", "why a number is blank"),
}
DIFFERENCE_COLUMNS = {
    **PLACE,
    "against": ("string", "the baseline: estimate is method - baseline"),
    **{name: SCORE_COLUMNS[name] for name in ("estimate", "low", "high")},
    "p": ("double", "two-sided, of this test alone"),
    "p_corrected": (
        "double",
        "after the correction over its family; blank where nothing is tested or no claim is allowed",
    ),
    "family": ("int64", "the number of tests that the correction runs over"),
    "finding": ("string", "better, worse, kept within the margin, not established, no claim or not tested"),
    "seeds": ("int64", "seeds that both have"),
    "items": ("int64", "items that both have"),
    "dropped": ("int64", "items left out because one of them lacks a score"),
    "clusters": SCORE_COLUMNS["clusters"],
    "reason": SCORE_COLUMNS["reason"],
}


TABLES = ("csv", "parquet", "latex", "markdown")


def write_tables(model: ReportModel, folder: Path, kinds: Collection[str] = TABLES) -> list[Path]:
    """Write scores and differences (.csv, .parquet) and the matrix (.tex, .md) into `folder`; their paths.

    The same results give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, columns, rows_of in (("scores", SCORE_COLUMNS, scores), ("differences", DIFFERENCE_COLUMNS, differences)):
        rows = list(rows_of(model))
        for kind, write in (("csv", _write_csv), ("parquet", _write_parquet)):
            if kind in kinds:
                written.append(folder / f"{name}.{kind}")
                write(written[-1], columns, rows)
    tables = [paper_table(block, model.matrix) for block in model.blocks]
    latex = "\n".join(to_latex(table, f"tab:matrix-{at}") for at, table in enumerate(tables, start=1))
    markdown = matrix_markdown(model)
    for kind, name, content in (("latex", "matrix.tex", latex), ("markdown", "matrix.md", markdown)):
        if kind in kinds:
            written.append(folder / name)
            write_text(written[-1], content)
    return written


def matrix_markdown(model: ReportModel) -> str:
    """The matrix as tables in Markdown, one for each block."""
    tables = [paper_table(block, model.matrix) for block in model.blocks]
    return "\n".join(line for table in tables for line in (*table_lines(table), ""))


def scores(model: ReportModel) -> Iterator[dict[str, Any]]:
    """A row for each method and metric (and group) that has a score or the reason why it has none."""
    for block, result in _results(model):
        for label, score in result.scores.items():
            best, worst = score.rank or (None, None)
            yield {
                **_place(block, result, label),
                **_estimate(score.estimate),
                "seeds": len(score.seeds) or None,
                "items": score.items or None,
                "rank_best": best,
                "rank_worst": worst,
            }


def differences(model: ReportModel) -> Iterator[dict[str, Any]]:
    """A row for each comparison with the baseline."""
    for block, result in _results(model):
        for label, comparison in result.comparisons.items():
            yield {
                **_place(block, result, label),
                **_estimate(comparison.estimate),
                "against": model.matrix.baseline,
                "p": comparison.estimate.p,
                "p_corrected": comparison.adjusted,
                "family": result.family or None,
                "finding": finding_cell(comparison, result, model.matrix).text,
                "seeds": comparison.estimate.seeds or None,
                "items": comparison.items or None,
                "dropped": comparison.dropped if comparison.items else None,
            }


def _results(model: ReportModel) -> Iterator[tuple[Block, Result]]:
    return ((block, result) for block in model.blocks for result in (*block.results, *block.groups))


def _estimate(found: Estimate) -> dict[str, Any]:
    names = {"estimate": found.value, "low": found.low, "high": found.high}
    return {**names, "clusters": found.clusters or None, "reason": found.reason}


def _place(block: Block, result: Result, label: str) -> dict[str, Any]:
    return {
        "base": block.base,
        "data_quality": block.data.quality,
        "data_size": block.data.size,
        "method": label,
        "benchmark": result.metric.benchmark,
        "metric": result.metric.name,
        "group": result.group,
        "role": result.metric.role,
        "primary": "yes" if result.metric.primary else "no",
        "higher_is_better": "yes" if result.metric.higher_is_better else "no",
    }


def paper_table(block: Block, matrix: Matrix) -> Table:
    """The report's matrix with only its score columns, and a caption that explains the intervals."""
    whole = matrix_table(block, matrix)
    kept = 1 + sum(1 for result in block.results if result.metric.primary)
    columns = tuple(Column(c.head, c.unit, left=c.left) for c in whole.columns[:kept])
    rows = tuple(tuple(row[:kept]) for row in whole.rows)
    return Table(columns, rows, caption=_caption(block, matrix))


def _caption(block: Block, matrix: Matrix) -> str:
    count = len(matrix.seeds)
    said = [f"{matrix.name}: {block.title}." if matrix.name else f"{block.title}."]
    if block.one_seed:
        said.append(
            "Mean and its pointwise 95 % interval over items only, clustered by their source: with one seed, they "
            "describe these trained runs and not the methods."
        )
    else:
        said.append(
            f"Mean over items and {counted(count, 'seed')}, and its pointwise 95 % interval: items are clustered by "
            "their source, seeds are random."
        )
    said.append("Ranks are the best and the worst that the tests allow.")
    said.append("Bold: the best mean of its column.")
    if matrix.baseline and block.tests:
        said.append(
            f"{BETTER}: better, {WORSE}: worse than {matrix.baseline}, after the correction for "
            f"{counted(block.tests, 'test')}."
        )
    said.append(f"{BLANK}: could not be computed; not zero.")
    marks = " ".join(f"{cell.text} {cell.small}" for row in matrix_table(block, matrix).rows for cell in row)
    if FLAG_FEW in marks:
        said.append(f"{FLAG_FEW}: fewer than {FLAGGED_CLUSTERS} effective clusters.")
    if FLAG_PARTIAL in marks:
        said.append(f"{FLAG_PARTIAL}: fewer seeds than planned.")
    if FLAG_UNLIKE in marks:
        said.append(f"{FLAG_UNLIKE}: differs from most methods in these fields of the protocol.")
    return " ".join(said)


def _write_csv(path: Path, columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _csv_value(value) for name, value in row.items()} for row in rows)


def _csv_value(value: Any) -> Any:
    """A value for a spreadsheet: a text that it would run as a formula begins with an apostrophe; numbers are as is."""
    if not isinstance(value, str):
        return value
    line = text.clean(value)
    return f"'{line}" if line.startswith(FORMULA) else line


def _write_parquet(path: Path, columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow.parquet

    from harness.engine.results.schema import arrow_schema

    with replacing(path) as partial:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=arrow_schema(columns)), partial)


# brackets and stars would be read as options of the row's end before them; a hyphen may be half of a dash
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
    "−": "$-$", "–": "--", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "≥": r"$\geq$", "≤": r"$\leq$",
    "Δ": r"$\Delta$", "×": r"$\times$", "…": r"\dots{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def escape_latex(given: str) -> str:
    """Text that LaTeX sets as it is: no command, no alignment, no comment, one line."""
    return "".join(_ESCAPES.get(letter) or _named(letter) for letter in text.one_line(given, 4000))


def _named(letter: str) -> str:
    """The letter; for the picture of a control character, which few fonts have, its code."""
    code = ord(letter) - 0x2400
    return rf"\textbackslash{{}}x{code:02x}" if 0 <= code < 0x20 else letter


def to_latex(table: Table, label: str) -> str:
    """A `table` environment with the caption; `label` is for \\ref and must be a plain word.

    A cell's interval and rank are in small print below its value. The best of a column is bold, as in the report.
    """
    return "\n".join(_lines(table, label)) + "\n"


def _lines(table: Table, label: str) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs}"
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{escape_latex(table.caption)}}}"
    yield rf"\label{{{label}}}"
    yield rf"\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in table.columns)}}}"
    yield r"\toprule"
    yield _row([escape_latex(column.head) for column in table.columns])
    yield _row([_small(column.unit) for column in table.columns])
    yield r"\midrule"
    for row in table.rows:
        yield _row([_shown(cell) for cell in row])
        for lines in zip(*(_beneath(cell) for cell in row), strict=True):
            if any(lines):
                yield _row(list(lines))
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _shown(cell: TableCell) -> str:
    shown = escape_latex(cell.text)
    return rf"\textbf{{{shown}}}" if cell.best and shown else shown


def _beneath(cell: TableCell) -> tuple[str, str]:
    return _small(cell.detail), _small(cell.small)


def _small(given: str) -> str:
    return rf"{{\scriptsize {escape_latex(given)}}}" if given else ""
