"""The answer in one sentence: for a block, and over several blocks.

It repeats what is established elsewhere: nothing is tested here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.report.collect import Block, ReportModel
from harness.report.findings.drawn_intervals import change_of, knowledge_of, mean_change
from harness.report.findings.how_sure import ORDER, at_chance, gains_of, worse_on
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, text
from harness.report.render.bands import shown_ends
from harness.report.render.document import SURE_WORDS, Sure

MOST_GAINS = 3
FEW_METHODS = 3


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
        also = f"; also shown: {named(others, 3)}" if others else ""
        lead = f"In these trained runs, {top}:" if block.one_seed else f"Use {top}:"
        price = _prices(top, block)
        kept = _knowledge_words(top, block, matrix, "shown to lose less than")
        said = f"{kept}{price}" if kept.startswith(",") else f"{price}{kept}"
        return lead, f"{_gain_words(top, gains, matrix)}{said}{also}."
    if kind in ("likely", "undecided"):
        said = "knowledge likely kept" if kind == "likely" else "knowledge undecided"
        if not knowledge:
            return "No clear winner yet:", f"most likely {top}, {_gain_words(top, gains, matrix)}."
        return (
            "No clear winner yet:",
            f"{top} comes closest to a gain that keeps knowledge: {_gain_words(top, gains, matrix)}, "
            f"{said}{_change_words(top, block, matrix)}.",
        )
    lost = [one for one in order if sure[one] == "worse" and any(_better(one, result) for result in gains)]
    if lost:
        return "No winner:", _lost_words(lost[0], order, gains, block, matrix)
    said = f"{_best_change(order, gains, matrix)}{_better_elsewhere(order, gains, block)}."
    return f"No method is shown to improve {matrix.baseline}:", said


def _lost_words(best: str, order: Sequence[str], gains: Sequence[Result], block: Block, matrix: Matrix) -> str:
    """The gain of a method that is shown worse elsewhere, and whether all that gain are worse there."""
    lost = worse_on(best, block)
    primary = [result for role in ("quality", "knowledge", "other") for result in block.of_role(role)]
    titles = list(dict.fromkeys(bands.benchmark_title(result, primary) for result in lost))
    only_knowledge = all(result.metric.role == "knowledge" for result in lost)
    change = _change_words(best, block, matrix)
    what = f"lose knowledge{change}" if only_knowledge else f"be worse on {named(titles, 2)}"
    better = [one for one in order if any(_better(one, result) for result in gains)]
    alike = len(better) > 1 and all(result in worse_on(one, block) for one in better for result in lost)
    it = f"like every method that improves {matrix.baseline} it is" if alike else "it is"
    gained = [result for result in gains if _better(best, result)]
    return f"the best gain is that of {best}, {_gain_words(best, gained, matrix)}, but {it} shown to {what}."


def _best_change(order: Sequence[str], gains: Sequence[Result], matrix: Matrix) -> str:
    """The best mean change on the first gain metric, where no method is shown to be better, worded by its sign."""
    sign = gains[0].metric.sign
    means = {label: sign * mean for label in order if (mean := mean_change(label, gains[0])) is not None}
    best = max(means, key=lambda label: means[label], default=order[0])
    said = f"{_gain_words(best, gains[:1], matrix)}{_control_words(best, matrix, gains[0])}"
    if means.get(best, 1.0) > 0:
        return f"the best mean change is that of {best}, {said}"
    if len(means) == 1:
        return f"{best} has {said}"
    title = bands.benchmark_title(gains[0], gains)
    return f"no mean on {title} is better than that of {matrix.baseline}, and {best} comes closest: {said}"


def _better_elsewhere(order: Sequence[str], gains: Sequence[Result], block: Block) -> str:
    """'; document is shown better on perplexity alone': on primary metrics that measure no gain."""
    primary = [result for role in ("quality", "knowledge", "other") for result in block.of_role(role)]
    found = [
        f"{named(better, 2)} {'is' if len(better) == 1 else 'are'} shown better on"
        f" {bands.benchmark_title(result, primary)} alone"
        for result in primary
        if result not in gains and (better := [label for label in order if _better(label, result)])
    ]
    return f"; {text.listed(found)}" if found else ""


def _control_words(top: str, matrix: Matrix, result: Result) -> str:
    """'; the control echo, whose answers are fixed, has +3': where a control is above the best method."""
    sign = result.metric.sign
    best = mean_change(top, result)
    for label in matrix.controls:
        mean, change = mean_change(label, result), change_of(label, result, matrix)
        if label != top and best is not None and mean is not None and sign * mean > sign * best:
            shown = shown_ends(change or (mean, mean, mean), result, matrix)[0]
            return f"; the control {label}, whose answers are fixed, has {shown}"
    return ""


def _prices(label: str, block: Block) -> str:
    """The other primary metrics on which it is shown worse."""
    others = [result for result in block.of_role("other") if result not in gains_of(block)]
    worse = [r for r in others if label in r.comparisons and r.comparisons[label].worse]
    return f", but worse on {named([bands.benchmark_title(r, others) for r in worse], 2)}" if worse else ""


def _better(label: str, result: Result) -> bool:
    return label in result.comparisons and result.comparisons[label].better


def _gain_words(label: str, gains: Sequence[Result], matrix: Matrix) -> str:
    """'+83 points on instruction following (+76 to +91)'; of several metrics the values alone."""
    parts: list[str] = []
    units: list[str] = []
    for result in gains[:MOST_GAINS]:
        change, mean = change_of(label, result, matrix), mean_change(label, result)
        if mean is None:
            continue
        value, low, high, unit = shown_ends(change or (mean, mean, mean), result, matrix)
        interval = "" if len(gains) > 1 else f" ({low} to {high})" if change else " (no corrected interval)"
        units.append(unit)
        shown = f"{value} {unit}" if len(parts) == 0 or unit != units[0] else value
        direction = "" if result.metric.higher_is_better else ", where lower is better"
        parts.append(f"{shown} on {bands.benchmark_title(result, gains)}{direction}{interval}")
    more = f" and {len(gains) - MOST_GAINS} other metrics" if len(gains) > MOST_GAINS else ""
    return (text.listed(parts) if not more else ", ".join(parts) + more) or "whose gain was not measured"


def _change_words(label: str, block: Block, matrix: Matrix) -> str:
    result = knowledge_of(label, block, matrix)
    change = None if result is None else change_of(label, result, matrix)
    if result is None or change is None:
        return ""
    value, low, high, unit = shown_ends(change, result, matrix)
    several = [one for one in block.of_role("knowledge") if one.comparisons]
    on = f" on {bands.benchmark_title(result, several)}" if len(several) > 1 else ""
    return f" ({value} {unit}{on}, {low} to {high})"


def _knowledge_words(label: str, block: Block, matrix: Matrix, lead: str) -> str:
    results = [result for result in block.of_role("knowledge") if result.comparisons]
    if not results:
        return "; knowledge was not measured"
    if at_chance(block, matrix):
        return f"; knowledge says nothing here, since {matrix.baseline} itself answers by chance"
    return f", and {lead} {bands.margin_words(matrix, results)} of knowledge{_change_words(label, block, matrix)}"


# ---- over several blocks


def over_blocks(grid: Sequence[tuple[str, Sequence[Sure]]], model: ReportModel) -> tuple[str, str]:
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
        also = f"; {named(some)} in some of them" if some else ""
        price = _priceover_blocks(everywhere, model)
        return (
            f"In all {blocks} settings:",
            f"{named(everywhere)} {verb} shown to improve {matrix.baseline}{price}{kept}{also}.",
        )
    best = max(passes.values(), default=0)
    if best:
        top = [label for label, count in passes.items() if count == best]
        said = f"{named(top)} in {best} of {blocks} settings{kept}."
        return f"No method is shown to improve {matrix.baseline} everywhere:", said
    if len(grid) <= FEW_METHODS:
        said = "; ".join(f"{label}: {_counted_words(own)}" for label, own in grid)
        return "No clear winner in any setting:", f"of {blocks} choices of base model and data, {said}."
    lost = [label for label, count in worse.items() if count == blocks]
    end = f"; shown worse in all of them: {named(lost)}." if lost else "."
    return "No clear winner in any setting:", f"{blocks} choices of base model and data were tried{end}"


def _priceover_blocks(labels: Sequence[str], model: ReportModel) -> str:
    """', but 11 of them to be worse on diversity (similarity)': worse in any block, on metrics other than the gains."""
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


def named(labels: Sequence[str], most: int = 4) -> str:
    shown = list(labels[:most]) + ([f"{len(labels) - most} more"] if len(labels) > most else [])
    return text.listed(shown)
