"""The first screen of a report: an answer in one sentence, at most five candidates, and a picture of the trade-off.

It repeats what the sections below it establish, with their numbers: nothing is tested here. Bands are the 95 %
intervals of each difference alone; the word for how sure an answer is comes from `how_sure`, after the corrections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.engine.progress import spelled
from harness.report.collect import Block, MethodCost, ReportModel
from harness.report.findings.audit import idle_fits
from harness.report.findings.declared_contrasts import declared_when
from harness.report.findings.how_sure import ORDER, change_of, chosen_of, gains_of, in_order, knowledge_change, sure_of
from harness.report.findings.trades import against, trades_of
from harness.report.findings.what_decides import decided_by
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, text
from harness.report.render.bands import Ends, axis_of, band_cell, shown_ends
from harness.report.render.document import SURE_WORDS, Badge, BandAxis, BandCell, Candidate, Opening, Strip, Sure
from harness.report.render.front_picture import draw_front
from harness.report.render.tabular import BLANK
from harness.stats.contrasts import FLAGGED_CLUSTERS

MOST_GAINS = 3
FEW_METHODS = 3
AS_THE_BASE = 0.05  # decoding times within five per cent are the same


def opening_of(model: ReportModel) -> Opening:
    """The first screen; for several blocks their answers in one, and the word for every method in each."""
    matrix = model.matrix
    strips = tuple(_strip(block, matrix) for block in model.blocks)
    badges = tuple(_badges(model))
    legend = tuple(_legend(model))
    if not strips:
        return Opening(("The matrix is empty:", "there is nothing to compare."), badges, strips, legend)
    if len(strips) == 1:
        return Opening(strips[0].answer, badges, strips, legend)
    grid = tuple(
        (method.label, tuple(sure_of(method.label, block, matrix) for block in model.blocks))
        for method in matrix.methods
        if method.label != matrix.baseline
    )
    choices = [one for one in grid if one[0] not in matrix.controls] or grid
    return Opening(_over_blocks(choices, model), badges, strips, legend, grid)


def _over_blocks(grid: Sequence[tuple[str, Sequence[Sure]]], model: ReportModel) -> tuple[str, str]:
    """The sentence over several blocks: the methods that pass in all of them, or in most."""
    matrix, blocks = model.matrix, len(model.blocks)
    if matrix.baseline is None:
        return "No baseline is declared:", "the methods are ranked in each setting, and not tested."
    roles = {metric.role for benchmark in matrix.benchmarks for metric in benchmark.metrics if metric.primary}
    kept = " and to keep its knowledge" if "knowledge" in roles else "; knowledge was not measured"
    passes = {label: sum(one == "shown" for one in own) for label, own in grid}
    worse = {label: sum(one == "worse" for one in own) for label, own in grid}
    everywhere = [label for label, count in passes.items() if count == blocks]
    if everywhere:
        verb = "is" if len(everywhere) == 1 else "are"
        some = [label for label, count in passes.items() if 0 < count < blocks]
        also = f"; {_named(some)} in some of them" if some else ""
        price = _price_over_blocks(everywhere, model)
        return (
            f"In all {blocks} settings:",
            f"{_named(everywhere)} {verb} shown to improve {matrix.baseline}{price}{kept}{also}.",
        )
    best = max(passes.values(), default=0)
    if best:
        top = [label for label, count in passes.items() if count == best]
        said = f"{_named(top)} in {best} of {blocks} settings{kept}."
        return f"No method is shown to improve {matrix.baseline} everywhere:", said
    if len(grid) <= FEW_METHODS:
        said = "; ".join(f"{label}: {_counted_words(own)}" for label, own in grid)
        return "No clear winner in any setting:", f"of {blocks} choices of base model and data, {said}."
    lost = [label for label, count in worse.items() if count == blocks]
    end = f"; shown worse in all of them: {_named(lost)}." if lost else "."
    return "No clear winner in any setting:", f"{blocks} choices of base model and data were tried{end}"


def _price_over_blocks(labels: Sequence[str], model: ReportModel) -> str:
    """', but 11 of them to be worse on diversity (similarity)': worse in any block, on metrics that are no gain."""
    worse: dict[str, set[str]] = {}
    for block in model.blocks:
        others = [result for result in block.of_role("other") if result not in gains_of(block)]
        for result in others:
            own = {one for one in labels if one in result.comparisons and result.comparisons[one].worse}
            worse.setdefault(bands.benchmark_title(result, others), set()).update(own)
    found = sorted(((title, len(own)) for title, own in worse.items() if own), key=lambda one: -one[1])[:2]
    if len(labels) == 1:
        return f", but to be worse on {text.listed([title for title, _ in found])}" if found else ""
    said = [
        f"{number}{' of them to be worse' if not at else ''} on {title}" for at, (title, number) in enumerate(found)
    ]
    return f", but {text.listed(said)}" if found else ""


def _counted_words(own: Sequence[Sure]) -> str:
    """'shown worse in 9, undecided in 3'."""
    counts = Counter(own)
    return ", ".join(f"{SURE_WORDS[kind]} in {counts[kind]}" for kind in ORDER if counts[kind])


def _named(labels: Sequence[str], most: int = 4) -> str:
    shown = list(labels[:most]) + ([f"{len(labels) - most} more"] if len(labels) > most else [])
    return text.listed(shown)


def _strip(block: Block, matrix: Matrix) -> Strip:
    rivals = [method.label for method in block.methods if method.label != matrix.baseline]
    controls = set(matrix.controls)
    order = sorted(in_order(block, matrix, rivals), key=lambda label: label in controls)
    sure = {label: sure_of(label, block, matrix) for label in order}
    chosen = chosen_of(order, sure)
    choices = [label for label in order if label not in controls] or order
    gains, axes, cells = gains_of(block)[:MOST_GAINS], [], []
    shown_gains = [*gains, *(r for r in block.of_role("other") if r.comparisons and r not in gains)][:MOST_GAINS]
    if matrix.baseline is None:
        return _ranked_strip(block, matrix)
    for result in shown_gains:
        changes = {label: change_of(label, result) for label in chosen}
        axis, made = _column(bands.benchmark_title(result, shown_gains), changes, result, matrix)
        axes.append(axis)
        cells.append(made)
    if knowledge := [result for result in block.of_role("knowledge") if result.comparisons]:
        kept = {label: knowledge_change(label, block) for label in chosen}
        axis, made = _column("knowledge", kept, knowledge[0], matrix)
        axes.append(axis)
        cells.append(made)
    candidates = tuple(
        Candidate(
            label, sure[label], tuple(made[label] for made in cells),
            _trained(block.costs.get(label, MethodCost())), _run(block.costs.get(label, MethodCost())),
            ", ".join(block.audit.apart(label)), _note(label, block, shown_gains),
        )
        for label in chosen
    )  # fmt: skip
    tally = Counter(sure.values())
    pictures = tuple((one.name, *draw_front(one)) for one in trades_of(block, matrix))
    across = against(block, matrix)[0]
    return Strip(
        block.title, sentence_of(block, matrix, choices, sure), decided_by(block, matrix, choices, sure),
        tuple((kind, tally[kind]) for kind in ORDER if tally[kind]), tuple(axes), candidates,
        _caption(order, chosen), pictures, f"against {across}" if across else "", _key(block, matrix, shown_gains),
    )  # fmt: skip


def _ranked_strip(block: Block, matrix: Matrix) -> Strip:
    return Strip(block.title, sentence_of(block, matrix, [], {}), "", (), (), (), "", (), "", "")


def _caption(order: Sequence[str], chosen: Sequence[str]) -> str:
    if len(order) <= len(chosen):
        return {1: "The method", 2: "Both methods"}.get(len(order), f"All {len(order)} methods")
    return f"{len(chosen)} of {len(order)} methods, the surest first"


def _column(
    head: str, changes: dict[str, Ends | None], result: Result, matrix: Matrix
) -> tuple[BandAxis, dict[str, BandCell]]:
    """A column of bands on one axis; a cell has more decimals where an end would be rounded onto 0 or the margin."""
    ratio = any(pair.estimate.scale == "ratio" for pair in result.comparisons.values())
    factor = 100.0 if result.percent or ratio else 1.0
    unit = "%" if ratio else "points" if result.percent else result.metric.unit or bands.in_plain(result.metric.name)
    scaled = {k: None if c is None else (c[0] * factor, c[1] * factor, c[2] * factor) for k, c in changes.items()}
    known = [one for one in scaled.values() if one is not None]
    limit = 100.0 if result.percent and not ratio else None
    higher = result.metric.higher_is_better
    lines = [factor * line for line in bands.lines_of(result, matrix)]
    margin = abs(lines[-1])
    axis = axis_of(head, unit if higher else f"{unit}, lower is better", known, margin, higher, limit)
    digits = bands.decimals(known) if factor == 100 else None
    best = (max if higher else min)((one[1] for one in known), default=None)
    cells = {}
    for label, one in scaled.items():
        pair = result.comparisons.get(label)
        reason = pair.estimate.reason if pair is not None else "not measured"
        if pair is not None and one is None and pair.estimate.value is not None:
            cells[label] = BandCell(bands.number(factor * pair.estimate.value, digits), text.one_line(reason, 40))
        else:
            own = digits if one is None else bands.deciding(one, digits, lines)
            cells[label] = band_cell(one, axis, own, text.one_line(reason, 40), one is not None and one[1] == best)
    return axis[0], cells


def _trained(cost: MethodCost) -> tuple[str, str]:
    if cost.trained == 0 and not cost.seconds:
        return "nothing", "nothing trained"
    portion = f"{100 * cost.trained / cost.total:.3g} % trained" if cost.trained and cost.total else ""
    if cost.seconds is None:
        return BLANK, portion
    return spelled(cost.seconds) if cost.seconds >= 9.5 else f"{cost.seconds:.1f} s", portion


def _run(cost: MethodCost) -> str:
    if cost.overhead is None:
        return BLANK
    return "as base" if abs(cost.overhead - 1) <= AS_THE_BASE else f"× {cost.overhead:.2g}"


def _note(label: str, block: Block, shown: Sequence[Result]) -> str:
    """The primary metrics of other roles on which it is shown worse and which have no column."""
    worse = [
        bands.benchmark_title(result, block.results)
        for result in block.of_role("other")
        if result not in shown and label in result.comparisons and result.comparisons[label].worse
    ]
    return f"shown worse on {_named(worse, 2)}" if worse else ""


def _key(block: Block, matrix: Matrix, shown: Sequence[Result]) -> str:
    """The scores of the baseline."""
    parts = []
    for result in [*shown, *block.of_role("knowledge")]:
        score = result.scores.get(str(matrix.baseline))
        if score is not None and score.estimate.value is not None:
            value = score.estimate.value
            said = f"{100 * value:.3g} %" if result.percent else f"{value:.3g} {result.metric.unit}".strip()
            parts.append(f"{said} on {bands.benchmark_title(result, [*shown, *block.of_role('knowledge')])}")
    return f"{matrix.baseline} itself: {', '.join(parts)}." if parts else ""


# ---- the sentence


def sentence_of(block: Block, matrix: Matrix, order: Sequence[str], sure: dict[str, Sure]) -> tuple[str, str]:
    """(what follows, why) in about 25 words."""
    if not any(result.scores for result in block.results):
        return "No cell is done yet:", "there is nothing to compare."
    if matrix.baseline is None:
        return "No baseline is declared:", "the methods are ranked, and not tested against each other's baseline."
    gains, knowledge = gains_of(block), [r for r in block.of_role("knowledge") if r.comparisons]
    if not order:
        return "Nothing is compared:", f"the experiment has no method but {matrix.baseline}."
    if not gains:
        what = "knowledge" if knowledge else "nothing"
        return "No benchmark measures quality here:", f"{what} alone is compared with {matrix.baseline}."
    top, kind = order[0], sure[order[0]]
    if kind == "shown":
        others = [label for label in order[1:] if sure[label] == "shown"]
        also = f"; also shown: {_named(others, 3)}" if others else ""
        lead = f"In these trained runs, {top}:" if block.one_seed else f"Use {top}:"
        price = _prices(top, block)
        kept = _knowledge_words(top, block, matrix, "shown to lose less than")
        return lead, f"{_gain_words(top, gains, matrix)}{kept}{price}{also}."
    if kind in ("likely", "undecided"):
        said = "knowledge likely kept" if kind == "likely" else "knowledge undecided"
        if not knowledge:
            return "No clear winner yet:", f"most likely {top}, {_gain_words(top, gains, matrix)}."
        return (
            "No clear winner yet:",
            f"closest is {top}, {_gain_words(top, gains, matrix)}, {said}{_change_words(top, block, matrix)}.",
        )
    better = [one for one in order if sure[one] == "worse" and any(_better(one, result) for result in gains)]
    if better:
        best, lost = better[0], _change_words(better[0], block, matrix) if knowledge else ""
        what = f"lose knowledge{lost}" if knowledge else "be worse on another benchmark"
        it = "it is" if len(order) == 1 else f"like every method that improves {matrix.baseline} it is"
        gain = _gain_words(best, gains, matrix)
        return "No winner:", f"the best gain is that of {best}, {gain}, but {it} shown to {what}."
    return (
        f"No method is shown to improve {matrix.baseline}:",
        f"{top} comes closest, {_gain_words(top, gains, matrix)}{_control_words(top, block, matrix, gains[0])}.",
    )


def _control_words(top: str, block: Block, matrix: Matrix, result: Result) -> str:
    """'; the control echo, whose answers are fixed, has +3': where a control is above the best method."""
    sign = 1 if result.metric.higher_is_better else -1
    best = change_of(top, result)
    for label in matrix.controls:
        change = change_of(label, result)
        if label != top and best is not None and change is not None and sign * change[1] > sign * best[1]:
            return f"; the control {label}, whose answers are fixed, has {shown_ends(change, result, matrix)[0]}"
    return ""


def _prices(label: str, block: Block) -> str:
    """The other primary metrics on which it is shown worse."""
    others = [result for result in block.of_role("other") if result not in gains_of(block)]
    worse = [r for r in others if label in r.comparisons and r.comparisons[label].worse]
    return f", but worse on {_named([bands.benchmark_title(r, others) for r in worse], 2)}" if worse else ""


def _better(label: str, result: Result) -> bool:
    return label in result.comparisons and result.comparisons[label].better


def _gain_words(label: str, gains: Sequence[Result], matrix: Matrix) -> str:
    """'+83 points on instruction following (+76 to +91)'; of several metrics the values alone."""
    parts: list[str] = []
    units: list[str] = []
    for result in gains[:MOST_GAINS]:
        change = change_of(label, result)
        if change is None:
            continue
        value, low, high, unit = shown_ends(change, result, matrix)
        interval = f" ({low} to {high})" if len(gains) == 1 else ""
        units.append(unit)
        shown = f"{value} {unit}" if len(parts) == 0 or unit != units[0] else value
        parts.append(f"{shown} on {bands.benchmark_title(result, gains)}{interval}")
    more = f" and {len(gains) - MOST_GAINS} other metrics" if len(gains) > MOST_GAINS else ""
    return (text.listed(parts) if not more else ", ".join(parts) + more) or "whose gain has no interval"


def _change_words(label: str, block: Block, matrix: Matrix) -> str:
    change, results = knowledge_change(label, block), block.of_role("knowledge")
    if change is None or not results:
        return ""
    value, low, high, _ = shown_ends(change, results[0], matrix)
    return f" ({value}, {low} to {high})"


def _knowledge_words(label: str, block: Block, matrix: Matrix, lead: str) -> str:
    results = [result for result in block.of_role("knowledge") if result.comparisons]
    if not results:
        return "; knowledge was not measured"
    if at_chance(block, matrix):
        return f"; knowledge says nothing here, since {matrix.baseline} itself answers by chance"
    return f", and {lead} {bands.margin_words(matrix, results)} of knowledge{_change_words(label, block, matrix)}"


def at_chance(block: Block, matrix: Matrix) -> bool:
    """Whether the baseline's knowledge is not told apart from random answers, so that none can be lost."""
    found = []
    for result in block.of_role("knowledge"):
        score, chance = result.scores.get(str(matrix.baseline)), result.metric.chance
        if score is not None and chance is not None and score.estimate.low is not None:
            found.append(score.estimate.low <= chance)
    return bool(found) and all(found)


# ---- badges and legend


def _badges(model: ReportModel) -> Iterator[Badge]:
    """Warnings that may overturn the answer first, facts after them."""
    matrix, blocks = model.matrix, model.blocks
    done = [block for block in blocks if any(result.scores for result in block.results)]
    if any(block.one_seed for block in done):
        yield Badge("one seed: these trained runs only", "Resolution of this experiment", True)
    if any(at_chance(block, matrix) for block in done):
        yield Badge(f"{matrix.baseline} answers knowledge by chance", "The matrix", True)
    if any(idle_fits(block) for block in done):
        yield Badge("some training taught nothing", "Fairness audit", True)
    apart = {method.label for block in done for method in block.methods if block.audit.apart(method.label)}
    fields = {name for block in done for method in block.methods for name in block.audit.apart(method.label)}
    if apart:
        said = f"{len(apart)} of {len(matrix.methods)} differ in {_named(sorted(fields), 2)} (§)"
        yield Badge(said, "Fairness audit", True)
    flagged = [entry for entry in model.contamination if entry["flagged"]]
    if flagged:
        named = text.listed(sorted({bands.in_plain(str(entry["benchmark"])) for entry in flagged}))
        yield Badge(f"training data holds items of {text.one_line(named, 60)}", "Training data", True)
    states = Counter(cell.state for cell in matrix.cells)
    if missing := sum(states[name] for name in ("failed", "to run", "running")):
        yield Badge(f"{missing} of {bands.counted(len(matrix.cells), 'cell')} missing", "Cells without a result", True)
    if matrix.judged:
        yield Badge("others measured the scores", "Files of others", False)
    elif len(matrix.bases) == 1 and done:
        yield Badge("one base model", "Provenance", True)
    few = [
        r for block in done for r in block.results if r.metric.primary and 0 < r.effective_clusters < FLAGGED_CLUSTERS
    ]
    if few:
        yield Badge(f"fewer than {FLAGGED_CLUSTERS} clusters on {_named(_titles(few), 2)}", "Verdict", True)
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


def _titles(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(bands.benchmark_title(result, results) for result in results))


def _legend(model: ReportModel) -> Iterator[tuple[Sure, str]]:
    """The meaning of each word that occurs."""
    matrix = model.matrix
    used = {sure_of(m.label, b, matrix) for b in model.blocks for m in b.methods if m.label != matrix.baseline}
    if matrix.baseline is None:
        return
    knowledge = [result for block in model.blocks for result in block.of_role("knowledge") if result.comparisons]
    tests = max((block.tests for block in model.blocks), default=0)
    holds = f"after the correction for {bands.counted(tests, 'test')}"
    keeps = f", and shown to lose less than {bands.margin_words(matrix, knowledge)} of knowledge" if knowledge else ""
    said: dict[Sure, str] = {
        "shown": f"better than {matrix.baseline} on a benchmark and worse on none{keeps}, {holds}",
        "likely": f"the same by the band drawn here, but not {holds}",
        "undecided": "better, but a loss of knowledge of that size is neither shown nor ruled out",
        "worse": f"shown to lose knowledge or to be worse on a benchmark, {holds}",
        "idle": "not shown to be better on any benchmark, which does not mean equal",
        "missing": "a benchmark that the answer needs has no result",
    }
    yield from ((kind, said[kind]) for kind in ORDER if kind in used)
