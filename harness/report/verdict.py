"""The statistics of a block in plain words: what is shown, what is lost, what is not established.

'Better' and 'worse' are used after the correction over the block's family, and 'kept' only where a loss of the
margin or more is rejected. Everything else is 'not established', never 'no loss'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from harness.engine.showable import counted
from harness.report.collect import Block, MethodCost, ReportModel
from harness.report.findings.audit import idle_fits
from harness.report.findings.audit import warning as unlike
from harness.report.findings.finish import finish_warning
from harness.report.findings.forests import forest_part
from harness.report.numbers.comparisons import Result, is_kept
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.bands import benchmark_title, in_plain, lines_of
from harness.report.render.document import Bullets, Drawn, Folded, Paragraph, Part, Statement, Tucked
from harness.report.render.tabular import (
    Column,
    Mood,
    Table,
    TableCell,
    change,
    change_interval,
    count,
    interval,
    points,
    rank,
    score_text,
    seconds,
)
from harness.report.render.text import listed
from harness.stats.intervals import FEWEST_CLUSTERS, FLAGGED_CLUSTERS, Estimate
from harness.stats.winner import choice_bias

ONE_SEED = (
    "One seed: how much another seed would change is unknown. Everything here describes these "
    "trained runs only (items are the only source of chance), not the methods."
)
KINDS = ("better", "kept", "slight", "worse", "near", "open", "few", "blank")


def headline(block: Block, matrix: Matrix) -> str:
    """One sentence on the block as a whole."""
    if not any(result.scores for result in block.results):
        return "No cell of the matrix is done yet: there is nothing to compare."
    if matrix.baseline is None:
        return "No baseline is declared, so the methods are ranked and not tested against a baseline."
    quality, knowledge = block.of_role("quality"), block.of_role("knowledge")
    if not quality:
        return f"No primary quality metric is declared; the changes against {matrix.baseline} follow."
    winners = [m.label for m in block.methods if _wins(m.label, quality, knowledge)]
    better = f"better than {matrix.baseline} on a quality metric and worse on none"
    loss = f"lose less than {margin_of(knowledge, matrix)} of knowledge" if knowledge else ""
    runs = "these trained runs of " if block.one_seed else ""
    if winners:
        return f"Shown to be {better}{f', and to {loss}' if loss else ''}: {runs}{listed(winners)}."
    if loss:
        return f"No method is shown to do all of this at once: be {better}, and {loss}."
    return f"No method is shown to be {better}."


def _wins(label: str, quality: Sequence[Result], knowledge: Sequence[Result]) -> bool:
    pairs = [result.comparisons[label] for result in quality if label in result.comparisons]
    kept = [result.comparisons.get(label) for result in knowledge]
    return (
        any(pair.better for pair in pairs)
        and not any(pair.worse for pair in pairs)
        and all(pair is not None and is_kept(pair) for pair in kept)
    )


def statements(block: Block, matrix: Matrix) -> tuple[tuple[str, tuple[Statement, ...]], ...]:
    """(metric, what is established on it) for every primary metric."""
    lines = []
    for role in ("quality", "knowledge", "other"):
        for result in block.of_role(role):
            said = _on_metric(result, matrix) if matrix.baseline is not None else _ranked(result)
            if said:
                title = in_plain(result.metric.title) + (f" ({role})" if role != "other" else "")
                lines.append((title, tuple(said)))
    return tuple(lines)


def _on_metric(result: Result, matrix: Matrix) -> list[Statement]:
    """Findings on one primary metric; empty where there is nothing to compare."""
    groups = _sorted_out(result, matrix.margin if result.metric.role == "knowledge" else 0.0)
    margin = points(matrix.margin, result.percent)
    leads: dict[str, tuple[str, Mood]] = {
        "better": (f"better than {matrix.baseline}", "good"),
        "kept": (f"shown not to lose {margin} or more", "good"),
        "slight": (f"worse than {matrix.baseline}, but shown to lose less than {margin}", "bad"),
        "worse": (f"worse than {matrix.baseline}", "bad"),
        "near": ("not established after the correction, although its own interval excludes 0", "open"),
        "open": ("not established either way", "open"),
        "few": ("no claim: too few clusters or seeds in common", "open"),
        "blank": ("could not be compared", "open"),
    }
    said = []
    for kind, (lead, mood) in leads.items():
        if groups[kind]:
            named = ", ".join(_named(label, result, matrix) for label in groups[kind])
            said.append(Statement(lead, named + (_unseen(groups[kind], result) if kind == "open" else ""), mood))
    return said


def _sorted_out(result: Result, margin: float) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {kind: [] for kind in KINDS}
    sign = result.metric.sign
    best_first = sorted(result.comparisons.items(), key=lambda pair: -sign * (pair[1].estimate.value or 0.0))
    for label, comparison in best_first:
        if comparison.estimate.p is None:
            kind = "blank"
        elif comparison.adjusted is None:
            kind = "few"
        elif margin and is_kept(comparison):
            kind = "better" if comparison.better else "slight" if comparison.worse else "kept"
        else:
            kind = "better" if comparison.better else "worse" if comparison.worse else _undecided(comparison.estimate)
        groups[kind].append(label)
    return groups


def _undecided(estimate: Estimate) -> str:
    """'near' where only the correction for several tests leaves the difference open."""
    if estimate.low is None or estimate.high is None:
        return "open"
    return "open" if estimate.low <= 0 <= estimate.high else "near"


def _named(label: str, result: Result, matrix: Matrix) -> str:
    """The method with its difference and the interval of it."""
    estimate = result.comparisons[label].estimate
    if estimate.low is None:
        return f"{label} ({estimate.reason})" if estimate.reason else label
    lines = lines_of(result, matrix)
    return f"{label} {change(estimate, result.percent, lines)} {change_interval(estimate, result.percent, lines)}"


def _unseen(labels: Sequence[str], result: Result) -> str:
    """The size of a true difference that the test can miss."""
    effects = [c.effect[1] for label, c in result.comparisons.items() if label in labels and c.effect is not None]
    if not effects:
        return ""
    if result.percent and max(effects) >= 1:
        return " (with so few seeds even the largest possible true difference can be missed here)"
    return f" (a true difference below about {points(max(effects), result.percent)} can be missed here)"


def _ranked(result: Result) -> list[Statement]:
    top = [label for label, score in result.scores.items() if score.rank is not None and score.rank[0] == 1]
    if not top:
        return [Statement("not ranked", "")] if result.scores else []
    if len(top) == len(result.scores):
        return [Statement("no method is shown to be better than another", "", "open")]
    return [Statement("no method is shown to be better than", listed(top), "good")]


def limits(block: Block, matrix: Matrix) -> list[str]:
    """Limits that a reader must know before quoting the verdict."""
    said = []
    if block.one_seed:
        said.append(ONE_SEED)
    if block.tests:
        said.append(
            f"Better and worse hold after the correction for {counted(block.tests, 'test')} (step-down max-t, 5 % "
            "family-wise: every method against the baseline on every primary metric). The intervals of these "
            "differences hold all together with 95 %; every other interval is pointwise."
        )
    if matrix.stop:
        said.append(
            f"This run stops by its results, at look {matrix.stop.reached} of {len(matrix.stop.looks)}: the error "
            "rates hold for all looks together; see Looks for what was decided when, and on how many items and seeds."
        )
    losses = sum(len(result.comparisons) for result in block.of_role("knowledge"))
    if losses and matrix.margin > 0:
        said.append(
            f"Shown not to lose: a loss of the margin or more is rejected (one-sided 2.5 %, Holm over {losses} "
            "tests). A difference that is only not significant is called not established."
        )
    few = _titles(block.results, lambda one: one.few_clusters)
    if few:
        said.append(f"Fewer than {FLAGGED_CLUSTERS} effective clusters, so read with care: {few}.")
    thin = _titles(block.results, lambda one: one.thin_seeds, compared=True)
    if thin:
        said.append(
            "So few seeds, and methods to pool them with, that seed variance rests on two degrees of freedom: where "
            "seeds had an sd of 10 points, such tests were wrong in up to 9 % of simulated runs instead of 5 % "
            f"(docs/statistics.md, section 15). It concerns {thin}."
        )
    lopsided = _titles([result for result in block.results if not result.percent], lambda one: one.skewed)
    if lopsided:
        said.append(
            f"Skewed scores, so that intervals are too narrow (fewer clusters than 25 times the squared skewness): "
            f"{lopsided}."
        )
    none = [
        in_plain(r.metric.title)
        for r in block.results
        if r.metric.primary and 0 < r.effective_clusters < FEWEST_CLUSTERS
    ]
    if none:
        said.append(f"Fewer than {FEWEST_CLUSTERS} effective clusters, so no interval and no test: {', '.join(none)}.")
    if idle := idle_fits(block):
        said.append(idle)
    open_cells = [c for cells in block.states.values() for c in cells if c.state not in ("done", "n/a", "stopped")]
    if open_cells:
        said.append(f"{len(open_cells)} cells have no result (see below); they count as undecided.")
    return said


def _titles(results: Sequence[Result], concerned: Callable[[Estimate], bool], *, compared: bool = False) -> str:
    """The metrics on which any method's score, or its difference to the baseline, has this property."""
    scored = ((in_plain(r.metric.title), (r.comparisons if compared else r.scores).values()) for r in results)
    return ", ".join(sorted({title for title, own in scored for one in own if concerned(one.estimate)}))


def margin_of(knowledge: Sequence[Result], matrix: Matrix) -> str:
    """The margin in the unit of the knowledge metrics."""
    return points(matrix.margin, all(result.percent for result in knowledge))


MOST_METRICS = 3


def answers(block: Block, matrix: Matrix) -> tuple[tuple[str, tuple[Statement, ...]], ...]:
    """(metric, best method within the margin and best of all); empty without baseline or knowledge."""
    knowledge = block.of_role("knowledge")
    if matrix.baseline is None or not knowledge or not matrix.margin > 0:
        return ()
    found = []
    for result in block.of_role("quality")[:MOST_METRICS]:
        said = tuple(_on_metric_named(result, knowledge, block, matrix))
        if said:
            title, margin = in_plain(result.metric.title), margin_of(knowledge, matrix)
            found.append((f"{title}, within the margin of {margin} of knowledge", said))
    return tuple(found)


def _on_metric_named(result: Result, knowledge: Sequence[Result], block: Block, matrix: Matrix) -> Iterator[Statement]:
    ordered = _ordered(result)
    better = [label for label in ordered if result.comparisons[label].better]
    if not better:
        yield Statement(f"no method is shown to be better than {matrix.baseline}", "", "open")
        return
    safe = [label for label in ordered if all(_kept(label, one) for one in knowledge)]
    unsure = [label for label in ordered if label not in safe and not any(_lost(label, one) for one in knowledge)]
    named = []
    if any(label in safe for label in better):
        named.append(("best among the methods shown to lose less than the margin", safe, "good"))
    else:
        said = f"no method is shown both to be better than {matrix.baseline} and to lose less than the margin"
        yield Statement(said, "", "open")
        if any(label in unsure for label in better):
            named.append(("best among the methods shown to be better whose loss is undecided", unsure, ""))
    if not named or better[0] not in named[0][1]:
        named.append(("highest score regardless of knowledge loss", ordered, "bad"))
    for lead, candidates, mood in named:
        yield _all_named(lead, candidates, result, block, matrix, cast(Mood, mood))


def _ordered(result: Result) -> list[str]:
    """The baseline's rivals that have a score, the best first."""
    sign = result.metric.sign
    values = {label: one.estimate.value for label, one in result.scores.items() if label in result.comparisons}
    known = {label: sign * value for label, value in values.items() if value is not None}
    return sorted(known, key=lambda label: -known[label])


def _kept(label: str, knowledge: Result) -> bool:
    comparison = knowledge.comparisons.get(label)
    return comparison is not None and is_kept(comparison)


def _lost(label: str, knowledge: Result) -> bool:
    comparison = knowledge.comparisons.get(label)
    return comparison is None or comparison.worse


def _all_named(
    lead: str, candidates: Sequence[str], result: Result, block: Block, matrix: Matrix, mood: Mood
) -> Statement:
    """The best of the candidates that is shown to be better than the baseline: its score, knowledge and cost."""
    label = next(one for one in candidates if result.comparisons[one].better)
    own = result.scores[label]
    shown = f"{label}, {score_text(own.estimate.value, result.percent)}{' %' if result.percent else ''}"
    parts = [f"{shown} {interval(own.estimate.low, own.estimate.high, result.percent)}".strip()]
    if own.rank is not None:
        ranked = sum(other.rank is not None for other in result.scores.values())
        parts[0] += f" ({rank(*own.rank)} of {ranked})"
    parts += _raised(label, candidates, result, block)
    kept = block.kept.get(label)
    if kept is not None and kept.difference is not None and kept.difference.value is not None:
        lines = lines_of(block.of_role("knowledge")[0], matrix)
        ends = change_interval(kept.difference, kept.percent, lines)
        unit = " points" if kept.percent else ""
        parts.append(f"knowledge {change(kept.difference, kept.percent, lines)} {ends}{unit}")
    return Statement(lead, "; ".join([*parts, *_cost(block.costs.get(label, MethodCost()))]), mood)


def _raised(label: str, candidates: Sequence[str], result: Result, block: Block) -> Iterator[str]:
    """By how much naming it as the best of the candidates raises its score, where that shows in the digits printed."""
    one = next(one for one in block.measured if one.metric == result.metric and one.group == result.group)
    found, higher = one.panel.comparable(candidates), result.metric.higher_is_better
    value = result.scores[label].estimate.value
    bias = choice_bias(found.scores, higher, one.scale) if found.scores else None
    if value is None or bias is None:
        return
    without = score_text(value - bias * (1 if higher else -1), result.percent)
    if without != score_text(value, result.percent):
        size = points(bias, result.percent)
        yield f"{without}{' %' if result.percent else ''} without the {size} that choosing among {len(candidates)} adds"


def _cost(cost: MethodCost) -> Iterator[str]:
    if cost.trained == 0 and cost.shared_fit_seconds:
        yield "no parameters of its own trained"
    elif cost.trained is not None:
        portion = f" ({100 * cost.trained / cost.total:.3g} %)" if cost.total else ""
        yield f"{count(cost.trained)} parameters trained{portion}"
    if cost.seconds is not None:
        yield f"{seconds(cost.seconds)} s to fit"
    if cost.overhead is not None:
        yield f"{cost.overhead:.2f} x the base's decoding time"


MOST_SPELT_OUT = 8  # with more methods, the findings would fill the first screen


def experiment_question(matrix: Matrix) -> str:
    """The question that the experiment states, or else one made of its methods, in one sentence."""
    if matrix.question:
        return text.one_line(matrix.question)
    rivals = [method for method in matrix.methods if method.label != matrix.baseline]
    rivals = [method for method in rivals if method.label not in matrix.controls] or rivals
    roles = {metric.role for benchmark in matrix.benchmarks for metric in benchmark.metrics if metric.primary}
    kept = ", how much of its knowledge is kept" if "knowledge" in roles else ""
    if matrix.judged:
        asked = f"Is {rivals[0].label}" if len(rivals) == 1 else f"Which of {len(rivals)} methods is"
        return f"{asked} better than {matrix.baseline} on scores that others measured?"
    bases = text.listed(list(matrix.bases)) or "no base model"
    against = f" over {matrix.baseline}" if matrix.baseline else ""
    if len(rivals) == 1:
        return f"Does {rivals[0].label} improve {bases}{against}{kept}, and at what cost?"
    return f"Which of {len(rivals)} ways of aligning {bases} improves it{against}{kept}, and at what cost?"


def verdict_parts(model: ReportModel) -> Iterator[Part]:
    """Block by block: the answer, differences in protocol, the findings and their limits."""
    if not model.blocks:
        yield Paragraph("The matrix is empty: there is nothing to compare.", "warning")
    told: set[str] = set()
    for block in model.blocks:
        parts = tuple(_block_parts(block, model.matrix, len(model.blocks) > 1, told))
        yield from [Tucked(block.title, parts)] if len(model.blocks) > 1 else parts
    for entry in model.contamination:
        if entry["flagged"]:
            held = f"{len(entry['matched'])} of {entry['items']} items of {entry['benchmark']} occur in {entry['set']}"
            yield Paragraph(f"{held}: see the scores without them below.", "warning")
    if model.matrix.judged:
        yield Paragraph("Others measured these scores: see what their files do not state.", "open")
    elif len(model.matrix.bases) == 1 and any(block.results for block in model.blocks):
        about = f"All of this is about {model.matrix.bases[0]}: whether it holds for another base model is not tested."
        yield Paragraph(about, "open")


def _block_parts(block: Block, matrix: Matrix, several: bool, told: set[str]) -> Iterator[Part]:
    lead = f"{block.title}: " if several else ""
    warnings = limits(block, matrix)
    if block.one_seed:
        yield Paragraph(lead + warnings.pop(0), "warning")
    yield Paragraph(lead + headline(block, matrix), "good")
    said = statements(block, matrix)
    yield from _plots(block, matrix)
    answered = answers(block, matrix)
    if answered:
        yield Tucked("the best of each benchmark, with its cost", (Bullets(answered),))
    if unlike(block):
        yield Paragraph(lead + unlike(block), "warning")
    if ends := finish_warning(block, matrix):
        yield Paragraph(lead + ends, "open")
    if said and len(block.methods) > MOST_SPELT_OUT:
        yield Folded(f"{lead}every metric, method by method", _statement_table(said))
    elif said:
        yield Tucked("the findings in words", (Bullets(said),))
    # a limit that holds for every block is stated once
    left = [warning for warning in warnings if warning not in told]
    told.update(left)
    if left:
        yield Tucked("what the words and intervals mean here", tuple(Paragraph(one, "open") for one in left))


def _plots(block: Block, matrix: Matrix) -> list[Drawn]:
    """A forest plot for each primary metric with comparisons, in the order of the findings."""
    if matrix.baseline is None:
        return []
    results = [result for role in ("quality", "knowledge", "other") for result in block.of_role(role)]
    found = []
    for result in (one for one in results if one.comparisons):
        groups = _sorted_out(result, matrix.margin if result.metric.role == "knowledge" else 0.0)
        found.append(forest_part(result, groups, matrix, benchmark_title(result, results)))
    return found


def _statement_table(said: Sequence[tuple[str, Sequence[Statement]]]) -> Table:
    columns = (Column("metric", left=True), Column("finding", left=True), Column("methods", left=True))
    rows = [
        (TableCell(title), TableCell(one.finding, mood=one.mood), TableCell(one.names))
        for title, found in said
        for one in found
    ]
    return Table(columns, tuple(rows))
