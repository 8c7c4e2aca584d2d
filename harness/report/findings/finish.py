"""Answers that are unfinished or have thoughts: the share of each method on each benchmark, and where methods differ.

An item has the flag where any of its answers has. A share that differs between methods says that a score compares
more than the methods: a limit on the length of answers, for example, cuts those of one method only. So the difference
from the baseline is estimated as that of a score (paired over seeds and items, items clustered by their source), and
marked where its pointwise 95 % interval leaves out 0. It is a warning and not a finding: nothing is corrected for the
number of shares, so about one in twenty equal pairs is marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.report.collect import Block
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured, build_panel, difference_of, measure, repeated_methods, score_of
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell, signed
from harness.stats.intervals import Estimate

FLAG = "¶"
IN_WORDS = {"unfinished": "unfinished answers", "thoughts": "answers with thoughts"}


@dataclass(frozen=True)
class FlaggedShare:
    """One flag of one method's answers on one benchmark.

    share       of its items
    difference  from the baseline's share; None for the baseline, and without one
    """

    flag: str
    method: str
    benchmark: str
    share: Estimate
    difference: Estimate | None

    @property
    def differs(self) -> bool:
        """Whether chance over items and seeds does not explain the difference."""
        found = self.difference
        return (
            found is not None and found.low is not None and found.high is not None and not found.low <= 0 <= found.high
        )


def flagged_shares(block: Block, matrix: Matrix) -> tuple[FlaggedShare, ...]:
    """Every flag, on each benchmark on which any answer has it."""
    if block.samples is None or block.samples.empty:
        return ()
    found = []
    # of millions of items few have a flag
    seen = {flag for flags in filter(len, block.samples["flags"].to_numpy()) for flag in flags}
    for flag in IN_WORDS:
        if flag in seen:
            for benchmark in matrix.benchmarks:
                one = _measured(block, matrix, benchmark.label, flag)
                found += [_share(one, flag, label, matrix) for label in one.panel.methods] if one else []
    return tuple(found)


def _share(one: Measured, flag: str, label: str, matrix: Matrix) -> FlaggedShare:
    base = matrix.baseline
    compared = base is not None and label != base and base in one.panel.methods
    difference = difference_of(one, one.panel.comparable([label, str(base)])) if compared else None
    return FlaggedShare(flag, label, one.metric.benchmark, score_of(one, label), difference)


def _measured(block: Block, matrix: Matrix, benchmark: str, flag: str) -> Measured | None:
    """The flag as a score of 0 or 1 on every item of a benchmark; None where no answer has it."""
    samples = block.samples
    assert samples is not None
    own = samples[samples["benchmark"] == benchmark]
    values = [float(flag in flags) for flags in own["flags"]]
    if not any(values):
        return None
    clusters = _clusters(block, benchmark)
    rows = own[["method", "seed", "group", "item"]].assign(
        value=values, weight=1.0, cluster=[clusters.get(item, item) for item in own["item"].astype(str)]
    )
    metric = BenchmarkMetric(flag, IN_WORDS[flag], role="other", primary=False, benchmark=benchmark)
    return measure(metric, build_panel(rows, repeated_methods(matrix, block.states, benchmark), matrix.seeds))


def _clusters(block: Block, benchmark: str) -> Mapping[str, str]:
    """Item -> its source, as the benchmark's metrics have it."""
    panels = [one.panel for one in block.measured if one.metric.benchmark == benchmark]
    return {
        str(item): str(name) for panel in panels for item, name in zip(panel.items, panel.cluster_names, strict=True)
    }


def finish_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """A table for each flag that occurs: a row for each method, a column for each benchmark."""
    shares = flagged_shares(block, matrix)
    if not shares:
        return
    yield Paragraph(
        "An unfinished answer was stopped by the limit on its length; thoughts are taken off before an answer is "
        f"judged. {FLAG} marks a share that differs from {matrix.baseline or 'the baseline'}'s by more than chance "
        "over items and seeds explains (pointwise 95 %, uncorrected): there a difference in scores may come from "
        "where answers end. A benchmark without a column has no such answer."
    )
    for flag in dict.fromkeys(one.flag for one in shares):
        own = {(one.method, one.benchmark): one for one in shares if one.flag == flag}
        benchmarks = [b.label for b in matrix.benchmarks if any(place[1] == b.label for place in own)]
        rows = tuple(
            (TableCell(method.label), *(_cell(own.get((method.label, name))) for name in benchmarks))
            for method in block.methods
            if any((method.label, name) in own for name in benchmarks)
        )
        columns = (Column("method", left=True), *(Column(in_plain(name), "% of items") for name in benchmarks))
        yield Table(columns, rows, caption=f"Share of {IN_WORDS[flag]}")


def _cell(found: FlaggedShare | None) -> TableCell:
    if found is None:
        return blank_cell()
    cell = estimate_cell(found.share, percent=True)
    if not found.differs or found.difference is None:
        return TableCell(cell.text, cell.detail, note=cell.note)
    by = signed(found.difference.value, percent=True)
    return TableCell(cell.text, cell.detail, f"{FLAG} {by}", note=cell.note, mood="warning")


def finish_warning(block: Block, matrix: Matrix) -> str:
    """A sentence for the verdict: on which benchmarks the share of unfinished answers differs; "" for none."""
    apart: dict[str, list[str]] = {}
    for one in flagged_shares(block, matrix):
        if one.flag == "unfinished" and one.differs:
            apart.setdefault(one.benchmark, []).append(one.method)
    if not apart:
        return ""
    named = "; ".join(f"{benchmark}: {', '.join(labels)}" for benchmark, labels in apart.items())
    return (
        f"The share of unfinished answers differs from {matrix.baseline}'s ({FLAG}) on {named}. A larger limit on the "
        "length of answers would tell whether scores differ because answers are cut."
    )
