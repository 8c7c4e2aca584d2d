"""Badges and legend of the first screen: what may overturn the answer, and what its words mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.report.collect import Block, ReportModel
from harness.report.findings.answer_sentence import named
from harness.report.findings.audit import idle_fits
from harness.report.findings.declared_contrasts import declared_when
from harness.report.findings.how_sure import ORDER, at_chance, sure_of
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, text
from harness.report.render.document import Badge, Sure
from harness.stats.intervals import FLAGGED_CLUSTERS


def badges_of(model: ReportModel) -> Iterator[Badge]:
    """Warnings that may overturn the answer first, facts after them."""
    matrix, blocks = model.matrix, model.blocks
    done = [block for block in blocks if any(result.scores for result in block.results)]
    if any(block.one_seed for block in done):
        yield Badge("one seed: these trained runs only", "Resolution of this experiment", True)
    if any(at_chance(block, matrix) for block in done):
        yield Badge(f"{matrix.baseline} answers knowledge by chance", "The matrix", True)
    if any(idle_fits(block) for block in done):
        yield Badge("some training taught nothing", "Fairness audit", True)
    if said := _apart(done, matrix):
        yield Badge(said, "Fairness audit", True)
    flagged = [entry for entry in model.contamination if entry["flagged"]]
    if flagged:
        titles = text.listed(sorted({bands.in_plain(str(entry["benchmark"])) for entry in flagged}))
        yield Badge(f"training data holds items of {text.one_line(titles, 60)}", "Training data", True)
    states = Counter(cell.state for cell in matrix.cells)
    if missing := sum(states[name] for name in ("failed", "to run", "running")):
        yield Badge(f"{missing} of {bands.counted(len(matrix.cells), 'cell')} missing", "Cells without a result", True)
    if matrix.judged:
        yield Badge("others measured the scores", "Files of others", False)
    elif len(matrix.bases) == 1 and done:
        yield Badge(f"about {text.one_line(matrix.bases[0], 40)} only", "Provenance", True)
    few = [
        r for block in done for r in block.results if r.metric.primary and 0 < r.effective_clusters < FLAGGED_CLUSTERS
    ]
    if few:
        yield Badge(f"fewer than {FLAGGED_CLUSTERS} clusters on {named(_titles(few), 2)}", "Verdict", True)
    if len(matrix.seeds) > 1:
        yield Badge(f"{len(matrix.seeds)} seeds", "Provenance")
    tests = {block.tests for block in done if block.tests}
    if tests:
        yield Badge(f"corrected for {bands.counted(max(tests), 'test')}", "Verdict")
    if matrix.contrasts:
        when = declared_when(model)
        yield Badge(f"contrasts declared {when}", "Declared contrasts", not when.startswith("before"))
    if matrix.stop:
        yield Badge("stopped by its results", "Looks")
    if model.contamination and not flagged:
        yield Badge("no benchmark item in the training data", "Training data")


def _apart(blocks: Sequence[Block], matrix: Matrix) -> str:
    """'3 of 7 methods differ in training tokens, 2 use another base model': the commonest two fields."""
    apart = {(m.label, name) for block in blocks for m in block.methods for name in block.audit.apart(m.label)}
    labels = {method.label for method in matrix.methods} - {matrix.baseline}
    whole = labels if {label for label, _ in apart} <= labels else {method.label for method in matrix.methods}
    found = Counter(name for _, name in sorted(apart)).most_common()
    lead = f" of {bands.counted(len(whole), 'method')}"
    said = [f"{number}{'' if at else lead} {_differs(name, number)}" for at, (name, number) in enumerate(found[:2])]
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return ", ".join(said) + more


def _differs(name: str, number: int) -> str:
    """'differs in training tokens', and of a base model, which is one of the matrix, 'uses another base model'."""
    ends = "s" if number == 1 else ""
    return f"use{ends} another {name}" if name == "base model" else f"differ{ends} in {name}"


def _titles(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(bands.benchmark_title(result, results) for result in results))


def legend_of(model: ReportModel) -> Iterator[tuple[Sure, str]]:
    """The meaning of each word that occurs."""
    matrix = model.matrix
    used = {sure_of(m.label, b, matrix) for b in model.blocks for m in b.methods if m.label != matrix.baseline}
    if matrix.baseline is None:
        return
    knowledge = [result for block in model.blocks for result in block.of_role("knowledge") if result.comparisons]
    tests = max((block.tests for block in model.blocks), default=0)
    holds = f"after the correction for {bands.counted(tests, 'test')}"
    margin = bands.margin_words(matrix, knowledge)
    keeps = f", and shown to lose less than {margin} of knowledge" if knowledge else ""
    said: dict[Sure, str] = {
        "shown": f"better than {matrix.baseline} on a benchmark and worse on none{keeps}, {holds}",
        "likely": f"the same by each difference's 95 % interval alone, but not {holds}",
        "undecided": f"better, but a loss of {margin} of knowledge or more is neither shown nor ruled out",
        "worse": f"shown to lose knowledge or to be worse on a benchmark, {holds}",
        "idle": "not shown to be better on any benchmark, which does not mean equal",
        "missing": "a benchmark that the answer needs has no result",
    }
    yield from ((kind, said[kind]) for kind in ORDER if kind in used)
