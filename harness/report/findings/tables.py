"""The tables of a block: numbers of the model -> cells of text. No number is computed here."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.collect import Block, MethodCost
from harness.report.findings.audit import FLAG as FLAG_UNLIKE
from harness.report.findings.audit import flagged
from harness.report.numbers.comparisons import Comparison, Kept, MethodScore, Result, is_kept
from harness.report.numbers.matrix import CellState, Matrix, MethodInfo
from harness.report.render import text
from harness.report.render.document import Column, Mood, Table, TableCell
from harness.stats.contrasts import Estimate
from harness.stats.families import Gap

FLAG_FEW = "‡"
FLAG_PARTIAL = "†"


def estimate_cell(estimate: Estimate, percent: bool, *, signed: bool = False) -> TableCell:
    """A number above its pointwise interval, or a blank above its reason; `signed` for differences."""
    if estimate.value is None:
        return TableCell(text.BLANK, small=text.one_line(estimate.reason, 60), note=estimate.reason, mood="blank")
    shown = text.interval(estimate.low, estimate.high, percent, "+" if signed else "") or text.BLANK
    return TableCell((text.signed if signed else text.score_text)(estimate.value, percent), shown, note=estimate.reason)


def matrix_table(block: Block, matrix: Matrix) -> Table:
    """Methods x primary metrics on all items, then what alignment keeps, closes and costs."""
    results = [result for result in block.results if result.metric.primary]
    quality = [result for result in block.of_role("quality") if gap_exists(block, result)]
    columns = [Column("method", left=True), *(_score_column(result) for result in results)]
    if block.kept:
        columns.append(Column("knowledge kept", f"% of {matrix.baseline}" if matrix.baseline else "score"))
    columns += [
        Column("gap closed", f"% of the way to {matrix.reference}, {_short(result, quality)}") for result in quality
    ]
    columns += [
        Column("trained", "parameters"),
        Column("fit", "seconds"),
        Column("overhead", "x base, per token"),
    ]
    rows = [_matrix_row(method, block, matrix, results, quality) for method in block.methods]
    rows += _chance_row([result.metric.chance for result in results], results, len(columns))
    return Table(tuple(columns), tuple(rows))


def gap_exists(block: Block, result: Result) -> bool:
    """Whether there is a gap to close: without one a column would hold nothing but its reason."""
    gaps = [gap for (_, benchmark, name), gap in block.gaps.items() if (benchmark, name) == _named(result)]
    return any(gap.low is not None for gap in gaps)


def _named(result: Result) -> tuple[str, str]:
    return result.metric.benchmark, result.metric.name


def _short(result: Result, among: Sequence[Result]) -> str:
    """The benchmark's name, and the metric's where the benchmark alone does not tell."""
    several = sum(1 for other in among if other.metric.benchmark == result.metric.benchmark) > 1
    return result.metric.title if several else result.metric.benchmark


def _score_column(result: Result) -> Column:
    arrow = "" if result.metric.higher_is_better else ", less is better"
    unit = f"{result.metric.name}{text.unit_suffix(result.metric.unit, result.percent)}{arrow}"
    return Column(result.group or result.metric.benchmark, unit, note=result.metric.description)


def _matrix_row(
    method: MethodInfo, block: Block, matrix: Matrix, results: Sequence[Result], quality: Sequence[Result]
) -> tuple[TableCell, ...]:
    cells = [_method_cell(method, block, matrix)]
    cells += [score_cell(method.label, result, block, matrix) for result in results]
    if block.kept:
        cells.append(_kept_cell(block.kept.get(method.label), method.label == matrix.baseline))
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
    small = ", ".join(part for part in (*method.badges, flagged(block, method.label)) if part)
    return TableCell(method.label, ", ".join(roles), small, note=method.summary)


def score_cell(label: str, result: Result, block: Block, matrix: Matrix) -> TableCell:
    """Mean, interval and rank of one method, or the state of its cells where it has no score."""
    score = result.scores.get(label)
    if score is None:
        return state_cell(block.states.get((label, result.metric.benchmark), ()))
    estimate = score.estimate
    if estimate.value is None:
        return TableCell(text.BLANK, note=estimate.reason, small=text.one_line(estimate.reason, 60), mood="blank")
    flags = (FLAG_FEW if estimate.few_clusters else "") + (
        FLAG_PARTIAL if len(score.seeds) < len(matrix.seeds) and len(matrix.seeds) > 1 else ""
    )
    comparison = result.comparisons.get(label, Comparison(estimate))
    mood: Mood = "good" if comparison.better else "bad" if comparison.worse else ""
    return TableCell(
        text.score_text(estimate.value, result.percent) + flags,
        text.interval(estimate.low, estimate.high, result.percent) or text.BLANK,
        _rank(score, FLAG_UNLIKE if flagged(block, label) else ""),
        note=estimate.reason or f"{score.items} items, {len(score.seeds)} seeds, {estimate.clusters} clusters",
        mood=mood,
    )


def _rank(score: MethodScore, flag: str) -> str:
    return "" if score.rank is None else text.rank(*score.rank) + flag


def state_cell(cells: Sequence[CellState]) -> TableCell:
    """The state of a method that has no score here: failed before n/a before to run."""
    for state in ("failed", "n/a", "running", "to run"):
        found = [cell for cell in cells if cell.state == state]
        if found:
            why = text.one_line(found[0].why, 300)
            return TableCell(
                state, small=text.one_line(why, 48), note=why, mood="failed" if state == "failed" else "blank"
            )
    return TableCell(text.BLANK, small="no scores", mood="blank")


def _kept_cell(kept: Kept | None, is_baseline: bool) -> TableCell:
    if kept is None:
        return TableCell(text.BLANK, mood="blank")
    if kept.difference is None:
        shown = text.score_text(kept.score.value, kept.percent)
        interval = text.interval(kept.score.low, kept.score.high, kept.percent)
        return TableCell("100", f"of {shown}") if is_baseline else TableCell(shown, interval)
    if kept.share is None:
        return TableCell(text.BLANK, small=text.one_line(kept.difference.reason, 60), mood="blank")
    low, high = kept.difference.low, kept.difference.high
    change = text.signed(kept.difference.value, kept.percent)
    interval = text.interval(low, high, kept.percent, "+") or text.BLANK
    return TableCell(text.score_text(kept.share, True), f"{change} {interval}", note=kept.difference.reason)


def _gap_cell(gap: Gap | None, label: str, matrix: Matrix) -> TableCell:
    if label in (matrix.baseline, matrix.reference):
        return TableCell("0" if label == matrix.baseline else "100", "by definition")
    if gap is None:
        return TableCell(text.BLANK, mood="blank")
    if gap.low is None:
        return TableCell(text.BLANK, small=text.one_line(gap.reason, 60), note=gap.reason, mood="blank")
    return TableCell(text.score_text(gap.value, True), text.interval(gap.low, gap.high, True))


def _parameters_cell(cost: MethodCost) -> TableCell:
    if cost.trained is None:
        return TableCell(text.BLANK, mood="blank")
    portion = f"{100 * cost.trained / cost.total:.3g} %" if cost.total else ""
    return TableCell(text.count(cost.trained), portion)


def _seconds_cell(cost: MethodCost) -> TableCell:
    if cost.fit_seconds is None:
        return TableCell(text.BLANK, mood="blank")
    shared = f"+ {text.seconds(cost.shared_fit_seconds)} shared" if cost.shared_fit_seconds else ""
    return TableCell(text.seconds(cost.fit_seconds), shared)


def _overhead_cell(cost: MethodCost) -> TableCell:
    return TableCell(text.BLANK, mood="blank") if cost.overhead is None else TableCell(f"{cost.overhead:.2f}")


def _chance_row(chances: Sequence[float | None], results: Sequence[Result], width: int) -> list[tuple[TableCell, ...]]:
    if not any(chance is not None for chance in chances):
        return []
    cells = [TableCell("chance", mood="chance")]
    for chance, result in zip(chances, results, strict=True):
        cells.append(
            TableCell(text.score_text(chance, result.percent), mood="chance") if chance is not None else TableCell("")
        )
    return [tuple(cells + [TableCell("")] * (width - len(cells)))]


def groups_tables(block: Block, matrix: Matrix, by_group: bool) -> list[Table]:
    """One table a metric with its groups as columns: of metrics reported by group, or of the others."""
    titles = dict.fromkeys(r.metric.title for r in block.groups if (r.metric.primary and r.metric.by_group) == by_group)
    return [_groups_table(title, block, matrix) for title in titles]


def _groups_table(title: str, block: Block, matrix: Matrix) -> Table:
    groups = [result for result in block.groups if result.metric.title == title]
    rows = [
        (TableCell(method.label), *(score_cell(method.label, result, block, matrix) for result in groups))
        for method in block.methods
    ]
    rows += _chance_row([result.metric.chance for result in groups], groups, len(groups) + 1)
    return Table((Column("method", left=True), *(_score_column(r) for r in groups)), tuple(rows), caption=title)


def secondary_table(block: Block, matrix: Matrix) -> Table | None:
    """Metrics that are not primary: mean, interval, difference to the baseline; nothing is tested."""
    results = [result for result in block.results if not result.metric.primary]
    if not results:
        return None
    rows = []
    for method in block.methods:
        cells = [TableCell(method.label)]
        for result in results:
            cells.append(_secondary_cell(score_cell(method.label, result, block, matrix), method.label, result))
        rows.append(tuple(cells))
    rows += _chance_row([result.metric.chance for result in results], results, len(results) + 1)
    return Table((Column("method", left=True), *(_score_column(result) for result in results)), tuple(rows))


def _secondary_cell(cell: TableCell, label: str, result: Result) -> TableCell:
    comparison = result.comparisons.get(label)
    if comparison is None or comparison.estimate.low is None:
        return TableCell(
            cell.text,
            cell.detail,
            cell.small if cell.mood in ("failed", "blank") else "",
            cell.note,
            cell.mood,
        )
    change = text.signed(comparison.estimate.value, result.percent)
    interval = text.interval(comparison.estimate.low, comparison.estimate.high, result.percent, "+")
    return TableCell(cell.text, cell.detail, f"Δ {change} {interval}", cell.note)


def differences_table(result: Result, matrix: Matrix, methods: Sequence[MethodInfo]) -> Table:
    """Every method against the baseline on one metric (or one group of it)."""
    unit = "points" if result.percent else result.metric.name
    columns = [
        Column("method", left=True),
        Column("difference", unit),
        Column("95 % interval", "pointwise"),
        Column("p", f"Holm over {result.family}" if result.family else "not tested"),
        Column("finding", left=True),
        Column("detectable", f"{unit}, alone / after Holm"),
        Column("variance", "items / seeds / both, %"),
        Column("clusters", "items x seeds"),
    ]
    if result.metric.role == "knowledge" and matrix.margin > 0:
        columns.insert(5, Column("loss ≥ margin", f"one-sided p, margin {text.points(matrix.margin, result.percent)}"))
    rows = []
    for method in methods:
        if method.label in result.comparisons:
            rows.append(_difference_row(method, result, matrix))
    group = f", group {result.group}" if result.group else ""
    title = f"{result.metric.title}{group}: method − {matrix.baseline}"
    return Table(tuple(columns), tuple(rows), caption=title)


def _difference_row(method: MethodInfo, result: Result, matrix: Matrix) -> tuple[TableCell, ...]:
    comparison = result.comparisons[method.label]
    estimate, percent = comparison.estimate, result.percent
    if estimate.low is None:
        cells = [
            TableCell(method.label),
            TableCell(text.signed(estimate.value, percent)),
            TableCell(text.BLANK),
            TableCell(text.BLANK),
        ]
        cells += [TableCell(text.one_line(estimate.reason, 80), mood="blank"), *[TableCell(text.BLANK)] * 3]
    else:
        cells = [
            TableCell(method.label),
            TableCell(text.signed(estimate.value, percent)),
            TableCell(text.interval(estimate.low, estimate.high, percent, "+")),
            TableCell(text.p_value(comparison.adjusted)),
            finding_cell(comparison, result, matrix),
            TableCell(_effects(comparison, percent)),
            TableCell(_shares(comparison)),
            TableCell(f"{estimate.clusters}{FLAG_FEW if estimate.few_clusters else ''}", sample_size_text(comparison)),
        ]
    if result.metric.role == "knowledge" and matrix.margin > 0:
        cells.insert(5, TableCell(text.p_value(comparison.kept)))
    return tuple(cells)


def finding_cell(comparison: Comparison, result: Result, matrix: Matrix) -> TableCell:
    """What a comparison establishes, in a word or two."""
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
        return text.BLANK
    alone, corrected = (text.score_text(size, percent) for size in comparison.effect)
    return f"{alone} / {corrected}"


def _shares(comparison: Comparison) -> str:
    if comparison.shares is None:
        return "items only" if comparison.estimate.items_only else text.BLANK
    return " / ".join(f"{100 * part:.0f}" for part in comparison.shares)


def sample_size_text(comparison: Comparison) -> str:
    """Items x seeds that both have, and items that were left out."""
    dropped = f", {comparison.dropped} dropped" if comparison.dropped else ""
    return f"{comparison.items} x {comparison.estimate.seeds}{dropped}"
