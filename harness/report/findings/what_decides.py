"""The items or seeds that would decide an open answer, by the numbers of 'Resolution of this experiment', corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.collect import Block
from harness.report.findings.how_sure import gains_of
from harness.report.numbers.comparisons import Result, is_kept
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, text
from harness.report.render.document import Sure
from harness.stats.resolution import needed

MOST_NAMED = 3
EFFECT = 0.05  # a gain that is worth finding, as in the advice on the next hour


def decided_by(block: Block, matrix: Matrix, order: Sequence[str], sure: Mapping[str, Sure]) -> str:
    """A sentence on what is missing where nothing is shown; "" where something is, or nothing can be said."""
    if matrix.baseline is None or not order or any(kind == "shown" for kind in sure.values()):
        return ""
    undecided = [label for label in order if sure[label] in ("likely", "undecided")]
    knowledge = [result for result in block.of_role("knowledge") if result.comparisons and result.percent]
    if undecided and knowledge and matrix.margin > 0:
        open_on = [r for r in knowledge if any(not _settled(label, r) for label in undecided[:MOST_NAMED])]
        result = (open_on or knowledge)[0]
        found = _numbers(undecided[:MOST_NAMED], result, matrix.margin)
        what = f"to see a loss of {bands.margin_words(matrix, [result])}"
    else:
        named = [label for label in order if sure[label] in ("likely", "idle")][:MOST_NAMED]
        gains = [result for result in gains_of(block) if result.percent]
        if not named or not gains:
            return ""
        result = gains[0]
        found = _numbers(named, result, EFFECT)
        what = f"to see a gain of {100 * EFFECT:g} points on {bands.benchmark_title(result, gains)}"
    if block.one_seed:
        return f"more seeds (now 1): with one, nothing is decided about the methods, however many items.{_items(found)}"
    tests = bands.counted(max(result.family, 1), "test")
    if not found:
        return (
            f"more items and more seeds together, or fewer methods: {what} with 80 % power after the correction for "
            f"{tests}, neither is enough alone."
        )
    return f"{found} ({what} with 80 % power after the correction for {tests})."


def _items(found: str) -> str:
    return f" For these trained runs alone: {found}." if found else ""


def _settled(label: str, result: Result) -> bool:
    pair = result.comparisons.get(label)
    return pair is not None and (is_kept(pair) or pair.worse)


def _numbers(labels: Sequence[str], result: Result, target: float) -> str:
    """'about 690 to 1,200 items (now 140) or 6 seeds (now 3) for a, b and c'."""
    clusters: list[int] = []
    seeds: list[int] = []
    now: tuple[int, int] | None = None
    named: list[str] = []
    neither: list[str] = []
    for label in labels:
        pair = result.comparisons.get(label)
        plan = None if pair is None else needed(pair.estimate, target, max(result.family, 1))
        if pair is None or plan is None:
            continue
        now = now or (pair.estimate.clusters, pair.estimate.seeds)
        more = plan.clusters is not None and plan.clusters > pair.estimate.clusters
        again = plan.seeds is not None and plan.seeds > pair.estimate.seeds
        if more:
            clusters.append(int(plan.clusters or 0))
        if again:
            seeds.append(int(plan.seeds or 0))
        (named if more or again else neither).append(label)
    if now is None or not named:
        return ""
    title = bands.in_plain(result.metric.benchmark)
    parts = []
    if clusters:
        parts.append(f"about {_span(clusters)} independent items of {title} (now {now[0]:,})")
    if seeds:
        parts.append(f"{_span(seeds)} seeds (now {now[1]})")
    alone = f"; for {text.listed(neither)}, neither more items nor more seeds are enough alone" if neither else ""
    return f"{' or '.join(parts)} for {text.listed(named)}{alone}"


def _span(values: Sequence[int]) -> str:
    low, high = (_rounded(edge) for edge in (min(values), max(values)))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _rounded(value: int) -> int:
    """Two digits: more would say more than is known."""
    size = int(10 ** max(len(str(value)) - 2, 0))
    return -(-value // size) * size
