"""Items gained and lost against the baseline, and the length of the answers.

A small net change may hide many items that changed sides. gained = mean over items and seeds of
max(method - baseline, 0) and lost = mean of max(baseline - method, 0), so gained - lost is the paired difference. For
right-or-wrong answers they are the shares of items that became right and that became wrong. Intervals are those of
any mean here: items are clustered by their source, seeds are random.

Words are separated by white space. Lengths are means over the answers in samples.parquet and show whether a gain
comes with longer answers; nothing is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy

from harness.engine.showable import counted
from harness.report.collect import Block
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured, MethodValues, Panel, at_seeds, measure, score_of
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Turnover:
    """The gains and losses of a method against the baseline on one metric; gained - lost is their difference."""

    method: str
    metric: BenchmarkMetric
    percent: bool
    gained: Estimate
    lost: Estimate


def turnovers_of(measured: Sequence[Measured], matrix: Matrix) -> tuple[Turnover, ...]:
    """Every primary metric of every method but the baseline; empty without a baseline."""
    found = []
    for one in measured:
        if not one.metric.primary or not one.metric.against_baseline or matrix.baseline not in one.panel.methods:
            continue
        for method in matrix.methods:
            if method.label != matrix.baseline and method.label in one.panel.methods:
                sides = _sides(one, method.label, str(matrix.baseline))
                found.append(Turnover(method.label, one.metric, one.percent, *sides))
    return tuple(found)


def _sides(one: Measured, label: str, baseline: str) -> tuple[Estimate, Estimate]:
    """(gained, lost)"""
    panel = replace(one.panel, log=False, constants={})  # gains and losses are counted in the scores' own units
    seeds = tuple(sorted(set(panel.methods[label].seeds) & set(panel.methods[baseline].seeds)))
    if panel.reason or not seeds:
        blank = Estimate(None, reason=panel.reason or "no seed in common")
        return blank, blank
    own, other = (
        at_seeds(MethodValues(panel.methods[name].seeds, one.panel.scores_of(name)), seeds)
        for name in (label, baseline)
    )
    change = (own - other) * one.metric.sign
    gained, lost = (
        _mean(one, replace(panel, methods={"side": MethodValues(seeds, numpy.maximum(part, 0.0))}))
        for part in (change, -change)
    )
    return gained, lost


def _mean(one: Measured, panel: Panel) -> Estimate:
    return score_of(replace(measure(replace(one.metric, scale="linear"), panel), percent=one.percent), "side")


def turnover_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """One table for each metric."""
    turnovers = turnovers_of(block.measured, matrix)
    if not turnovers:
        return
    yield Paragraph(
        f"Items gained and lost against {matrix.baseline}: gained minus lost is the difference above. For "
        "right-or-wrong answers these are the shares of items that became right and that became wrong; for other "
        "metrics, the mean rise and the mean fall over all items. Pointwise 95 % intervals; nothing is tested."
    )
    for title in dict.fromkeys(one.metric.title for one in turnovers):
        own = [one for one in turnovers if one.metric.title == title]
        unit = "points" if own[0].percent else "score"
        columns = (Column("method", left=True), Column("gained", unit), Column("lost", unit))
        rows = tuple((TableCell(o.method), *(estimate_cell(e, o.percent) for e in (o.gained, o.lost))) for o in own)
        yield Table(columns, rows, caption=f"{in_plain(title)}: items gained and lost")


@dataclass(frozen=True)
class Lengths:
    """The length of one method's answers to one benchmark.

    words  per answer, on average
    empty  share of answers without a word
    cut    share of truncated prompts (their left end was cut)
    """

    answers: int
    words: float
    empty: float
    cut: float


def lengths_of(samples: pandas.DataFrame) -> Mapping[tuple[str, str], Lengths]:
    """(method, benchmark) -> its answers' lengths, where there are answers. `samples` are those of one block."""
    found = {}
    for (method, benchmark), own in samples.groupby(["method", "benchmark"], sort=True):
        if any(map(len, own["completions"].to_numpy())):
            answers = [answer for texts in own["completions"] for answer in texts]
            words = [len(answer.split()) for answer in answers]
            cut = sum("truncated" in flags for flags in own["flags"])
            empty = sum(count == 0 for count in words)
            found[str(method), str(benchmark)] = Lengths(
                len(answers), sum(words) / len(words), empty / len(words), cut / len(own)
            )
    return found


def length_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """A row for each method, a column for each benchmark that asks for answers."""
    lengths = lengths_of(block.samples) if block.samples is not None else {}
    benchmarks = [b.label for b in matrix.benchmarks if any((m.label, b.label) in lengths for m in block.methods)]
    if not benchmarks:
        return
    yield Paragraph(
        "Words per answer, with the shares of empty answers and of truncated prompts where there are any. Read the "
        "scores of a metric or judge that favours length together with these."
    )
    columns = (Column("method", left=True), *(Column(name, "words per answer") for name in benchmarks))
    rows = []
    for method in block.methods:
        own = [lengths.get((method.label, name)) for name in benchmarks]
        if any(own):
            rows.append((TableCell(method.label), *(_cell(one) for one in own)))
    yield Table(columns, tuple(rows), caption="Length of the answers")


def _cell(found: Lengths | None) -> TableCell:
    if found is None:
        return blank_cell()
    said = [f"{100 * found.empty:.1f} % empty"] if found.empty else []
    said += [f"{100 * found.cut:.1f} % of prompts cut"] if found.cut else []
    return TableCell(f"{found.words:.1f}", small=", ".join(said), note=counted(found.answers, "answer"))
