"""The tables of a block: its numbers as cells of text. No number is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.benchmark import Metric
from harness.report.collect import Block, MethodCost
from harness.report.findings.audit import FLAG as FLAG_UNLIKE
from harness.report.findings.audit import flagged
from harness.report.numbers.comparisons import Comparison, Kept, MethodScore, Result, is_kept
from harness.report.numbers.matrix import CellState, Matrix, MethodInfo
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain, lines_of
from harness.report.render.tabular import BLANK, Column, Mood, Table, TableCell, blank_cell, estimate_cell
from harness.stats.families import Gap
from harness.stats.intervals import FLAGGED_CLUSTERS

FLAG_FEW = "‡"
FEW = f"{FLAG_FEW} fewer than {FLAGGED_CLUSTERS} effective clusters: read the interval with care."
FLAG_PARTIAL = "†"
BETTER, WORSE = "↑", "↓"
GROUPS_ABREAST = 6  # more groups of one metric do not fit across a sheet of paper


def matrix_table(block: Block, matrix: Matrix) -> Table:
    """Methods x primary metrics on all items, then knowledge kept, gap closed and costs."""
    results = [result for result in block.results if result.metric.primary]
    quality = [result for result in block.of_role("quality") if gap_exists(block, result)]
    columns = [Column("method", left=True), *(_score_column(result) for result in results)]
    if block.kept:
        columns.append(Column("knowledge kept", f"% of {matrix.baseline}" if matrix.baseline else "score"))
    columns += [
        Column("gap closed", f"% of the way to {matrix.reference}, {_short(result, quality)}") for result in quality
    ]
    columns += [Column("trained", "parameters"), Column("fit", "seconds"), Column("overhead", "x base, per token")]
    rows = [_matrix_row(method, block, matrix, results, quality) for method in block.methods]
    rows += _chance_row(results, len(columns))
    return Table(tuple(columns), tuple(rows))


def gap_exists(block: Block, result: Result) -> bool:
    """Whether there is a gap to close: without one, the column would repeat the reason in every cell."""
    gaps = [gap for (_, benchmark, name), gap in block.gaps.items() if (benchmark, name) == _named(result)]
    return any(gap.low is not None for gap in gaps)


def _named(result: Result) -> tuple[str, str]:
    return result.metric.benchmark, result.metric.name


def _short(result: Result, among: Sequence[Result]) -> str:
    """The benchmark's name, with the metric's where the benchmark has several."""
    several = sum(1 for other in among if other.metric.benchmark == result.metric.benchmark) > 1
    return in_plain(result.metric.title if several else result.metric.benchmark)


def _score_column(result: Result) -> Column:
    arrow = "" if result.metric.higher_is_better else ", lower is better"
    unit = f"{in_plain(result.metric.name)}{tabular.unit_suffix(result.metric.unit, result.percent)}{arrow}"
    return Column(in_plain(result.group or result.metric.benchmark), unit, note=result.metric.description)


def _matrix_row(
    method: MethodInfo, block: Block, matrix: Matrix, results: Sequence[Result], quality: Sequence[Result]
) -> tuple[TableCell, ...]:
    cells = [_method_cell(method, block, matrix)]
    cells += [score_cell(method.label, result, block, matrix) for result in results]
    if block.kept:
        cells.append(_kept_cell(block.kept.get(method.label), method.label == matrix.baseline, matrix.margin))
    for result in quality:
        gap = block.gaps.get((method.label, *_named(result)))
        cells.append(_gap_cell(gap, method.label, matrix))
    cost = block.costs.get(method.label, MethodCost())
    cells += [_parameters_cell(cost), _seconds_cell(cost), _overhead_cell(cost)]
    return tuple(cells)


def _method_cell(method: MethodInfo, block: Block, matrix: Matrix) -> TableCell:
    roles = [name for name in ("baseline", "reference") if getattr(matrix, name) == method.label]
    if method.on_small_base:
        roles.append("on small base")
    idle = "taught nothing" if any(label == method.label for label, _ in block.idle) else ""
    small = ", ".join(part for part in (*method.badges, flagged(block, method.label), idle) if part)
    return TableCell(method.label, ", ".join(roles), small, note=method.summary)


def _seeds_shown(label: str, reason: str) -> str:
    """In the place of an interval: the seeds of a method that collapses at some of them."""
    return reason.removeprefix(f"{label} ") if reason.startswith(f"{label} ") else BLANK


def score_cell(label: str, result: Result, block: Block, matrix: Matrix) -> TableCell:
    """Mean, interval and rank of one method, or the state of its cells where it has no score."""
    score = result.scores.get(label)
    if score is None:
        return state_cell(block.states.get((label, result.metric.benchmark), ()))
    estimate = score.estimate
    if estimate.value is None:
        return blank_cell(estimate.reason)
    flags = (FLAG_FEW if estimate.few_clusters else "") + (
        FLAG_PARTIAL if len(score.seeds) < len(matrix.seeds) and len(matrix.seeds) > 1 else ""
    )
    comparison = result.comparisons.get(label, Comparison(estimate))
    mood: Mood = "good" if comparison.better else "bad" if comparison.worse else ""
    mark = f" {BETTER}" if comparison.better else f" {WORSE}" if comparison.worse else ""
    return TableCell(
        tabular.score_text(estimate.value, result.percent) + flags + mark,
        tabular.interval(estimate.low, estimate.high, result.percent) or _seeds_shown(label, estimate.reason),
        _rank(score, FLAG_UNLIKE if flagged(block, label) else ""),
        note=estimate.reason or f"{score.items} items, {len(score.seeds)} seeds, {estimate.clusters} clusters",
        mood=mood,
        best=label in _best(result),
    )


def _best(result: Result) -> set[str]:
    """The methods with the best mean; none where all have the same."""
    sign = result.metric.sign
    means = {k: sign * one.estimate.value for k, one in result.scores.items() if one.estimate.value is not None}
    found = {label for label, value in means.items() if value == max(means.values())}
    return found if len(found) < len(means) else set()


def _rank(score: MethodScore, flag: str) -> str:
    return "" if score.rank is None else tabular.rank(*score.rank) + flag


def state_cell(cells: Sequence[CellState]) -> TableCell:
    """The state of a method without a score; of several states, failed is shown first, then n/a."""
    for state in ("failed", "n/a", "running", "to run", "stopped"):
        found = [cell for cell in cells if cell.state == state]
        if found:
            why = text.one_line(found[0].why, 300)
            return TableCell(
                state, small=text.one_line(why, 48), note=why, mood="failed" if state == "failed" else "blank"
            )
    return TableCell(BLANK, small="no scores", mood="blank")


def _kept_cell(kept: Kept | None, is_baseline: bool, margin: float) -> TableCell:
    if kept is None:
        return blank_cell()
    if kept.difference is None:
        shown = tabular.score_text(kept.score.value, kept.percent)
        interval = tabular.interval(kept.score.low, kept.score.high, kept.percent)
        return TableCell("100", f"of {shown}") if is_baseline else TableCell(shown, interval)
    if kept.share is None:
        return blank_cell(kept.difference.reason)
    lines = (0.0, -margin)
    change = tabular.change(kept.difference, kept.percent, lines)
    interval = tabular.change_interval(kept.difference, kept.percent, lines) or BLANK
    return TableCell(tabular.score_text(kept.share, True), f"{change} {interval}", note=kept.difference.reason)


def _gap_cell(gap: Gap | None, label: str, matrix: Matrix) -> TableCell:
    if label in (matrix.baseline, matrix.reference):
        return TableCell("0" if label == matrix.baseline else "100", "by definition")
    if gap is None:
        return blank_cell()
    if gap.low is None:
        return blank_cell(gap.reason)
    return TableCell(tabular.score_text(gap.value, True), tabular.interval(gap.low, gap.high, True))


def _parameters_cell(cost: MethodCost) -> TableCell:
    if cost.trained is None:
        return blank_cell()
    portion = f"{100 * cost.trained / cost.total:.3g} %" if cost.total else ""
    return TableCell(tabular.count(cost.trained), portion)


def _seconds_cell(cost: MethodCost) -> TableCell:
    if cost.fit_seconds is None:
        return blank_cell()
    shared = f"+ {tabular.seconds(cost.shared_fit_seconds)} shared" if cost.shared_fit_seconds else ""
    return TableCell(tabular.seconds(cost.fit_seconds), shared)


def _overhead_cell(cost: MethodCost) -> TableCell:
    return blank_cell() if cost.overhead is None else TableCell(f"{cost.overhead:.2f}")


def _chance_row(results: Sequence[Result], width: int) -> list[tuple[TableCell, ...]]:
    if all(result.metric.chance is None for result in results):
        return []
    chances = ((result.metric.chance, result.percent) for result in results)
    shown = [TableCell("" if c is None else tabular.score_text(c, percent), mood="chance") for c, percent in chances]
    shown = [cell if cell.text else TableCell("") for cell in shown]
    return [(TableCell("chance", mood="chance"), *shown, *[TableCell("")] * (width - len(shown) - 1))]


def groups_tables(block: Block, matrix: Matrix, by_group: bool) -> list[Table]:
    """A table for each metric with its groups as columns: of metrics reported by group, or of the others.

    Many groups are divided among several tables.
    """
    tables: dict[str, list[Result]] = {}
    for result in block.groups:
        if (result.metric.primary and result.metric.by_group) == by_group:
            tables.setdefault(in_plain(result.metric.title), []).append(result)
    return [
        _scores_table(block, some, matrix, f"{caption}{f', part {part} of {len(parts)}' if len(parts) > 1 else ''}")
        for caption, groups in tables.items()
        for parts in [_abreast(groups)]
        for part, some in enumerate(parts, start=1)
    ]


def _abreast(groups: Sequence[Result]) -> list[Sequence[Result]]:
    """The groups in as few parts as fit across a page, of nearly equal size."""
    size = -(-len(groups) // -(-len(groups) // GROUPS_ABREAST))
    return [groups[at : at + size] for at in range(0, len(groups), size)]


def _scores_table(block: Block, results: Sequence[Result], matrix: Matrix, caption: str = "") -> Table:
    rows = [
        (TableCell(method.label), *(score_cell(method.label, result, block, matrix) for result in results))
        for method in block.methods
    ]
    rows += _chance_row(results, len(results) + 1)
    return Table((Column("method", left=True), *(_score_column(r) for r in results)), tuple(rows), caption)


def secondary_table(block: Block, matrix: Matrix) -> Table | None:
    """Metrics that are not primary: mean, interval, difference from the baseline; nothing is tested."""
    results = [result for result in block.results if not result.metric.primary]
    if not results:
        return None
    whole = _scores_table(block, results, matrix)
    rows = [
        (row[0], *(_secondary_cell(cell, method.label, result) for cell, result in zip(row[1:], results, strict=True)))
        for row, method in zip(whole.rows, block.methods, strict=False)
    ]
    return Table(whole.columns, (*rows, *whole.rows[len(rows) :]))


def _secondary_cell(cell: TableCell, label: str, result: Result) -> TableCell:
    comparison = result.comparisons.get(label)
    if comparison is None or comparison.estimate.low is None:
        return cell if cell.mood in ("failed", "blank") else replace(cell, small="")
    change = estimate_cell(comparison.estimate, result.percent, signed=True)
    return replace(cell, small=f"Δ {change.text} {change.detail}", mood="")


def change_unit(metric: Metric, percent: bool) -> str:
    """The unit of a difference of a metric."""
    if metric.scale == "log":
        return "relative change"
    return "points" if percent else in_plain(metric.name)


def differences_table(result: Result, matrix: Matrix, methods: Sequence[MethodInfo]) -> Table:
    """Every method against the baseline on one metric (or one group of it)."""
    unit = change_unit(result.metric, result.percent)
    columns = [
        Column("method", left=True),
        Column("difference", unit),
        Column("95 % interval", f"all {result.family} together" if result.family else "pointwise"),
        Column("p", f"corrected for {result.family}" if result.family else "not tested"),
        Column("finding", left=True),
        Column("detectable", f"{unit}, alone / corrected"),
        Column("variance", "items / seeds / both, %"),
        Column("clusters", "items x seeds"),
    ]
    if result.metric.role == "knowledge" and matrix.margin > 0:
        columns.insert(
            5, Column("loss ≥ margin", f"one-sided p, margin {tabular.points(matrix.margin, result.percent)}")
        )
    rows = []
    for method in methods:
        if method.label in result.comparisons:
            rows.append(_difference_row(method, result, matrix))
    group = f", group {result.group}" if result.group else ""
    title = f"{in_plain(result.metric.title)}{group}: method − {matrix.baseline}"
    return Table(tuple(columns), tuple(rows), caption=title)


def _difference_row(method: MethodInfo, result: Result, matrix: Matrix) -> tuple[TableCell, ...]:
    comparison = result.comparisons[method.label]
    estimate, percent, lines = comparison.estimate, result.percent, lines_of(result, matrix)
    cells = [TableCell(method.label), TableCell(tabular.change(estimate, percent, lines))]
    if estimate.low is None:
        reason = TableCell(text.one_line(estimate.reason, 80), mood="blank")
        cells += [TableCell(BLANK), TableCell(BLANK), reason, *[TableCell(BLANK)] * 3]
    else:
        clusters = f"{estimate.clusters}{FLAG_FEW if estimate.few_clusters else ''}"
        cells += [
            TableCell(tabular.change_interval(estimate, percent, lines)),
            TableCell(tabular.p_value(comparison.adjusted)),
            finding_cell(comparison, result, matrix),
            TableCell(_effects(comparison, percent)),
            TableCell(_shares(comparison)),
            TableCell(clusters, sample_size_text(comparison)),
        ]
    if result.metric.role == "knowledge" and matrix.margin > 0:
        cells.insert(5, TableCell(tabular.p_value(comparison.kept)))
    return tuple(cells)


def finding_cell(comparison: Comparison, result: Result, matrix: Matrix) -> TableCell:
    """The finding of a comparison, in a few words."""
    if not result.family:
        return TableCell("not tested", mood="blank")
    if comparison.adjusted is None:
        return TableCell("no claim", small="too few clusters or seeds in common", mood="blank")
    kept = result.metric.role == "knowledge" and matrix.margin > 0 and is_kept(comparison)
    if comparison.better:
        return TableCell("better", mood="good")
    if comparison.worse:
        return TableCell("worse, within the margin" if kept else "worse", mood="bad")
    return TableCell("kept within the margin", mood="good") if kept else TableCell("not established", mood="open")


def _effects(comparison: Comparison, percent: bool) -> str:
    if comparison.effect is None:
        return BLANK
    alone, corrected = (tabular.score_text(size, percent) for size in comparison.effect)
    return f"{alone} / {corrected}"


def _shares(comparison: Comparison) -> str:
    if comparison.shares is None:
        return "items only" if comparison.estimate.items_only else BLANK
    return " / ".join(f"{100 * part:.0f}" for part in comparison.shares)


def sample_size_text(comparison: Comparison) -> str:
    """Items x seeds that both have, and the number of items left out."""
    dropped = f", {comparison.dropped} dropped" if comparison.dropped else ""
    return f"{comparison.items} x {comparison.estimate.seeds}{dropped}"
