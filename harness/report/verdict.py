"""The statistics of a block in plain words: what is shown, what is lost, what is not established.

'Better' and 'worse' are said after Holm's correction over the block's family; 'kept' only where a loss of the
margin or more is rejected. What is neither is 'not established', never 'no loss'.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison import LEVEL
from harness.report.document import Mood, Statement
from harness.report.matrix import Matrix
from harness.report.model import Block, Comparison, Result
from harness.report.text import interval, listed, points, signed
from harness.statistics import FEWEST_CLUSTERS, Estimate

ONE_SEED = (
    "One seed: how much another seed would change is unknown. Everything here speaks of these "
    "trained runs only (items as the one source of chance), not of the methods."
)
KINDS = ("better", "kept", "slight", "worse", "near", "open", "few", "blank")
KEPT_LEVEL = LEVEL / 2  # one-sided: the counterpart of a 95 % interval inside the margin


def headline(block: Block, matrix: Matrix) -> str:
    """One sentence on the block as a whole."""
    if not any(result.scores for result in block.results):
        return "No cell of the matrix is done yet: there is nothing to compare."
    if matrix.baseline is None:
        return "No baseline is declared: the methods are ranked, and none is tested against another."
    quality, knowledge = block.of_role("quality"), block.of_role("knowledge")
    if not quality:
        return f"No primary quality metric is declared: the changes against {matrix.baseline} follow."
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


def is_kept(comparison: Comparison) -> bool:
    """Whether a loss of the margin or more is rejected."""
    return comparison.kept is not None and comparison.kept <= KEPT_LEVEL


def statements(block: Block, matrix: Matrix) -> tuple[tuple[str, tuple[Statement, ...]], ...]:
    """(metric, what is established on it) for every primary metric."""
    lines = []
    for role in ("quality", "knowledge", "other"):
        for result in block.of_role(role):
            said = _on_metric(result, matrix) if matrix.baseline is not None else _ranked(result)
            if said:
                title = f"{result.metric.title} ({role})" if role != "other" else result.metric.title
                lines.append((title, tuple(said)))
    return tuple(lines)


def _on_metric(result: Result, matrix: Matrix) -> list[Statement]:
    """Findings on one primary metric; empty where no method was to be compared."""
    groups = _sorted_out(result, matrix.margin if result.metric.role == "knowledge" else 0.0)
    margin = points(matrix.margin, result.percent)
    leads: dict[str, tuple[str, Mood]] = {
        "better": (f"better than {matrix.baseline}", "good"),
        "kept": (f"shown not to lose {margin} or more", "good"),
        "slight": (f"worse than {matrix.baseline}, but shown to lose less than {margin}", "bad"),
        "worse": (f"worse than {matrix.baseline}", "bad"),
        "near": ("not established after the correction, though its own interval leaves out 0", "open"),
        "open": ("not established either way", "open"),
        "few": ("no claim, for too few clusters or seeds in common", "open"),
        "blank": ("could not be compared", "open"),
    }
    said = []
    for kind, (lead, mood) in leads.items():
        if groups[kind]:
            named = ", ".join(_named(label, result) for label in groups[kind])
            said.append(Statement(lead, named + (_unseen(groups[kind], result) if kind == "open" else ""), mood))
    return said


def _sorted_out(result: Result, margin: float) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {kind: [] for kind in KINDS}
    sign = 1.0 if result.metric.higher_is_better else -1.0
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
    """Whether it is the correction that leaves it open."""
    if estimate.low is None or estimate.high is None:
        return "open"
    return "open" if estimate.low <= 0 <= estimate.high else "near"


def _named(label: str, result: Result) -> str:
    """The method with its difference and the interval of it."""
    estimate = result.comparisons[label].estimate
    if estimate.low is None:
        return f"{label} ({estimate.reason})" if estimate.reason else label
    shown = f"{label} {signed(estimate.value, result.percent)}"
    return f"{shown} {interval(estimate.low, estimate.high, result.percent, '+')}"


def _unseen(labels: Sequence[str], result: Result) -> str:
    """How large a true difference may well have gone unseen."""
    effects = [c.effect[1] for label, c in result.comparisons.items() if label in labels and c.effect is not None]
    if not effects:
        return ""
    if result.percent and max(effects) >= 1:
        return " (with so few seeds even the largest true difference may well go unseen here)"
    return f" (a true difference below about {points(max(effects), result.percent)} may well go unseen here)"


def _ranked(result: Result) -> list[Statement]:
    top = [label for label, score in result.scores.items() if score.rank is not None and score.rank[0] == 1]
    if not top:
        return [Statement("not ranked", "")] if result.scores else []
    if len(top) == len(result.scores):
        return [Statement("no method is shown to be better than another", "", "open")]
    return [Statement("no method is shown to be better than", listed(top), "good")]


def limits(block: Block, matrix: Matrix) -> list[str]:
    """What the reader must know before quoting the verdict."""
    said = []
    if block.one_seed:
        said.append(ONE_SEED)
    if block.tests:
        said.append(
            f"Better and worse hold after Holm's correction over {block.tests} tests (5 % family-wise: every "
            "method against the baseline on every primary metric); intervals are pointwise 95 %."
        )
    losses = sum(len(result.comparisons) for result in block.of_role("knowledge"))
    if losses and matrix.margin > 0:
        said.append(
            f"Shown not to lose: a loss of the margin or more is rejected (one-sided 2.5 %, Holm over {losses} "
            "tests). A difference that is merely not significant is called not established."
        )
    few = sorted({r.metric.title for r in block.results for s in r.scores.values() if s.estimate.few_clusters})
    if few:
        said.append(f"Fewer than {FEWEST_CLUSTERS} independent clusters, so no claim: {', '.join(few)}.")
    open_cells = [c for cells in block.states.values() for c in cells if c.state not in ("done", "n/a")]
    if open_cells:
        said.append(f"{len(open_cells)} cells have no result (see below); they count as undecided.")
    return said


def margin_of(knowledge: Sequence[Result], matrix: Matrix) -> str:
    """The margin in the unit of the knowledge metrics."""
    return points(matrix.margin, all(result.percent for result in knowledge))
