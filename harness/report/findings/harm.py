"""Harm: every primary metric, or group of one, on which a method is below the baseline, established or not.

Where a metric as a whole is worse, its groups are shown only in the tables by group.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.collect import Block
from harness.report.numbers.comparisons import Comparison, Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell

MOST_LOWER = 6


def harm_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """A row for each harmed method; methods without harm are named below."""
    if matrix.baseline is None or not any(result.comparisons for result in block.results):
        return
    rows, unharmed = [], []
    for method in block.methods:
        worse, lower = _lists(block, method.label)
        if worse or lower:
            more = [f"{len(lower) - MOST_LOWER} more"] if len(lower) > MOST_LOWER else []
            shown = (
                TableCell("; ".join(worse) or BLANK, mood="bad" if worse else "blank"),
                TableCell("; ".join([*lower[:MOST_LOWER], *more])),
            )
            rows.append((TableCell(method.label), *shown))
        elif any(_known(result, method.label) for result in block.results):
            unharmed.append(method.label)
    columns = (
        Column("method", left=True),
        Column("worse", "established after the correction; shares in points", left=True),
        Column("lower", "not established, or not tested", left=True),
    )
    if rows:
        yield Table(columns, tuple(rows), caption=f"Metrics on which each method is below {matrix.baseline}")
    if unharmed:
        yield Paragraph(f"Not below {matrix.baseline} on any metric: {text.listed(unharmed)}.")


def _known(result: Result, label: str) -> bool:
    return label in result.comparisons and result.comparisons[label].estimate.value is not None


def _lists(block: Block, label: str) -> tuple[list[str], list[str]]:
    """(established, others): shares first, then metrics with a unit, the largest loss first."""
    worse: list[tuple[bool, float, str]] = []
    lower: list[tuple[bool, float, str]] = []
    whole = {r.metric.title for r in block.results if label in r.comparisons and r.comparisons[label].worse}
    for result in (r for r in (*block.results, *block.groups) if r.metric.primary):
        if result.group and result.metric.title in whole:
            continue
        comparison = result.comparisons.get(label)
        loss = _loss(result, comparison) if comparison is not None else 0.0
        if comparison is None or not loss:
            continue
        name = ", ".join(part for part in (in_plain(result.metric.title), result.group) if part)
        said = f"{name} {tabular.change(comparison.estimate, result.percent)}"
        (worse if comparison.worse else lower).append((not result.percent, -loss, said))
    first, second = ([said for *_, said in sorted(found)] for found in (worse, lower))
    return first, second


def _loss(result: Result, comparison: Comparison) -> float:
    """The distance below the baseline; 0 where it is not below."""
    value = comparison.estimate.value or 0.0
    return max(0.0, -value if result.metric.higher_is_better else value)
