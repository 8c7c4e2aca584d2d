"""A run that may stop: the results at each look, and the methods whose questions a look decides.

At look k all comparisons with the baseline that are still open, on every primary metric of every benchmark, are one
family, tested on the items and seeds of that look at the level LEVEL * spent_k. A method is released on a benchmark
where the look decides every question about it there: it is better or worse, or shown to lose less than the margin of
knowledge. It needs no more work, and its results stay those of that look.

Why the family-wise error holds under stopping: whatever was released before the first false decision differs from the
baseline in truth, so that the family of each look contains every comparison without a difference; the step-down test
of the look then makes a false decision with probability LEVEL * spent_k at most, and the sum over the looks is LEVEL.
The same holds for the losses of knowledge and for the intervals. docs/statistics.md, section 22.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine.results.schema import PARTS_FILE, read_rows, read_table
from harness.records import DataChoice
from harness.report.numbers.comparisons import Comparison, MethodScore, Result, is_kept, results_of
from harness.report.numbers.matrix import CellState, Matrix, read_matrix
from harness.report.numbers.panel import Measured, block_rows, panels_of

if TYPE_CHECKING:
    import pandas

States = Mapping[tuple[str, str], tuple[CellState, ...]]


def decided(folder: Path) -> dict[tuple[str, DataChoice, str, str], int]:
    """The decisions of the results' last look: (base, data, method, benchmark) -> its number.

    The baseline is released on a benchmark once every other method is, and a method without open questions also on the
    benchmarks that ask none.
    """
    matrix, rows = read_matrix(folder), parted(folder, read_rows(folder))
    assert matrix.stop
    found = {}
    for base in matrix.bases:
        for data in matrix.data:
            own, states = block_rows(rows, matrix, base, data)
            for method, benchmark in _released(own, matrix, states, (base, data)):
                found[base, data, method, benchmark] = matrix.stop.reached
    return found


def _released(
    rows: pandas.DataFrame, matrix: Matrix, states: States, block: tuple[str, DataChoice]
) -> Iterator[tuple[str, str]]:
    """(method, benchmark) that the last look releases."""
    assert matrix.stop
    before = {place[2:] for place in matrix.stop.releases if place[:2] == block}
    _, results = _at_look(matrix.stop.reached, rows, matrix, states, block)
    whole = matrix.stop.looks[matrix.stop.reached - 1].items == 1
    # of a part of the items there may be too few clusters for a test that all items allow
    questions = [r for r in results if r.metric.primary and r.metric.against_baseline and (r.family or not whole)]
    asked = {result.metric.benchmark for result in questions}
    rivals = [method.label for method in matrix.methods if method.label != matrix.baseline]

    def closed(label: str, benchmark: str) -> bool:
        own = [result for result in questions if result.metric.benchmark == benchmark]
        return (
            (label, benchmark) in before
            or all(cell.state == "n/a" for cell in states.get((label, benchmark), ()))
            or all(_answered(result, label) for result in own)
        )

    done = {(label, benchmark) for label in rivals for benchmark in asked if closed(label, benchmark)}
    for label in rivals:
        if asked and all((label, benchmark) in done for benchmark in asked):
            done |= {(label, benchmark.label) for benchmark in matrix.benchmarks}
    for benchmark in matrix.benchmarks:
        if rivals and all((label, benchmark.label) in done for label in rivals):
            done.add((str(matrix.baseline), benchmark.label))
    yield from sorted(done - before)


def _answered(result: Result, label: str) -> bool:
    comparison = result.comparisons.get(label)
    if comparison is None or not result.family:
        return False
    return comparison.better or comparison.worse or (result.metric.role == "knowledge" and is_kept(comparison))


def _at_look(
    number: int, rows: pandas.DataFrame, matrix: Matrix, states: States, block: tuple[str, DataChoice]
) -> tuple[list[Measured], tuple[Result, ...]]:
    """The panels and results of one look, by the methods that were open before it.

    rows  of the block, with the column `upto` of `parted`
    """
    assert matrix.stop
    gone = {place[2:] for place, at in matrix.stop.releases.items() if place[:2] == block and at < number}
    look = matrix.stop.looks[number - 1]
    seeds = matrix.seeds[: look.seeds]
    due = rows[(rows["upto"] <= look.items) & rows["seed"].isin(seeds)]
    for method, benchmark in gone:
        due = due[(due["method"] != method) | (due["benchmark"] != benchmark)]

    def planned(method: str, benchmark: str) -> bool:
        cells = states.get((method, benchmark), ())
        return (method, benchmark) not in gone and any(cell.state != "n/a" for cell in cells)

    measured = panels_of(due, replace(matrix, seeds=seeds), states)
    results = results_of(measured, matrix, lambda one: one.metric.primary, planned, look.spent)
    return measured, tuple(replace(result, scores=_unranked(result)) for result in results)


def _unranked(result: Result) -> dict[str, MethodScore]:
    """Ranks compare methods pair by pair, which no look decides."""
    return {label: replace(score, rank=None) for label, score in result.scores.items()}


def stopped_results(
    rows: pandas.DataFrame, matrix: Matrix, states: States, block: tuple[str, DataChoice]
) -> tuple[list[Measured], tuple[Result, ...]]:
    """Panels of the last look, and results with each method's numbers from the look that decided it."""
    assert matrix.stop
    released = {look for place, look in matrix.stop.releases.items() if place[:2] == block}
    stages = [_at_look(number, rows, matrix, states, block)[1] for number in sorted(released - {matrix.stop.reached})]
    measured, last = _at_look(matrix.stop.reached, rows, matrix, states, block)
    found = []
    for at, result in enumerate(last):
        earlier = [results[at] for results in stages]
        scores: dict[str, MethodScore] = {}
        comparisons: dict[str, Comparison] = {}
        for one in (*earlier, result):  # a later look has only the methods that were still open
            scores |= one.scores
            comparisons |= one.comparisons
        family = max(one.family for one in (*earlier, result))
        found.append(replace(result, scores=scores, comparisons=comparisons, family=family))
    return measured, tuple(found)


def parted(folder: Path, rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with the column `upto`: the share of the items that each is among; 0 for benchmarks scored whole."""
    if not (folder / PARTS_FILE).exists():
        return rows.assign(upto=0.0)
    names = ["benchmark", "group", "item"]
    parts = read_table(folder, PARTS_FILE.removesuffix(".parquet"))
    joined = rows.astype(dict.fromkeys(names, object)).merge(parts, on=names, how="left", validate="many_to_one")
    # a benchmark that cannot be divided is asked whole at the first look
    return rows.assign(upto=joined["upto"].fillna(0.0).to_numpy())
