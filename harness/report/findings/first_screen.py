"""The first screen of a report: an answer in one sentence, at most five candidates, and a picture of the trade-off.

It repeats what the sections below it establish, with their numbers: nothing is tested here. Both the bands
(`drawn_intervals`) and the word for how sure an answer is (`how_sure`) are after the corrections, so that they agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.engine.progress import spelled
from harness.report.collect import Block, MethodCost, ReportModel
from harness.report.findings.answer_sentence import MOST_GAINS, named, over_blocks, sentence_of
from harness.report.findings.badges import badges_of, legend_of
from harness.report.findings.drawn_intervals import change_of, interval_words, knowledge_of, mean_change, why_none
from harness.report.findings.how_sure import ORDER, candidates_of, gains_of, rivals_of, sure_of, worse_on
from harness.report.findings.trades import against, trades_of
from harness.report.findings.what_decides import decided_by
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, text
from harness.report.render.bands import axis_of, band_cell
from harness.report.render.document import SURE_WORDS, BandAxis, BandCell, Candidate, Opening, Strip, Sure
from harness.report.render.front_picture import draw_front
from harness.report.render.tabular import BLANK

AS_THE_BASE = 0.05  # decoding times within five per cent are the same
LEAST_SECONDS = 0.05  # less is shown as no time at all


def opening_of(model: ReportModel) -> Opening:
    """The first screen; for several blocks their answers in one, and the word for every method in each."""
    matrix = model.matrix
    strips = tuple(_strip(block, matrix) for block in model.blocks)
    badges = tuple(badges_of(model))
    legend = tuple(legend_of(model))
    if not strips:
        return Opening(("The matrix is empty:", "there is nothing to compare."), badges, strips, legend)
    if len(strips) == 1:
        return Opening(strips[0].answer, badges, strips, legend)
    grid = tuple(
        (method.label, tuple(sure_of(method.label, block, matrix) for block in model.blocks))
        for method in matrix.methods
        if method.label != matrix.baseline
    )
    choices = tuple(one for one in grid if one[0] not in matrix.controls) or grid
    controls = tuple((f"{label} (control)", own) for label, own in grid if (label, own) not in choices)
    return Opening(over_blocks(choices, model), badges, strips, legend, choices + controls)


def _strip(block: Block, matrix: Matrix) -> Strip:
    order, chosen = rivals_of(block, matrix), candidates_of(block, matrix)
    sure = {label: sure_of(label, block, matrix) for label in [*order, *chosen]}
    gains, axes, cells = gains_of(block)[:MOST_GAINS], [], []
    shown_gains = [*gains, *(r for r in block.of_role("other") if r.comparisons and r not in gains)][:MOST_GAINS]
    if matrix.baseline is None:
        return _ranked_strip(block, matrix)
    for result in shown_gains:
        axis, made = _column(bands.benchmark_title(result, shown_gains), dict.fromkeys(chosen, result), matrix)
        axes.append(axis)
        cells.append(made)
    if knowledge := [result for result in block.of_role("knowledge") if result.comparisons]:
        deciding = {label: knowledge_of(label, block, matrix) or knowledge[0] for label in chosen}
        axis, made = _column("knowledge", deciding, matrix, several=len(knowledge) > 1)
        axes.append(axis)
        cells.append(made)
    candidates = tuple(
        Candidate(
            label, sure[label], tuple(made[label] for made in cells),
            _trained(block.costs.get(label, MethodCost())), _run(block.costs.get(label, MethodCost())),
            ", ".join(block.audit.apart(label)), _note(label, sure[label], block, matrix),
        )
        for label in chosen
    )  # fmt: skip
    tally = Counter(sure[label] for label in order)
    pictures = tuple((one.name, *draw_front(one)) for one in trades_of(block, matrix))
    across = against(block, matrix)[0]
    return Strip(
        block.title, sentence_of(block, matrix, order, sure), decided_by(block, matrix, order, sure),
        tuple((kind, tally[kind]) for kind in ORDER if tally[kind]), tuple(axes), candidates,
        _caption(tally, [sure[label] for label in chosen if label in order], len(chosen)), pictures,
        f"against {across}" if across else "", _key(block, matrix, shown_gains), _worse_at(order, sure, block),
        interval_words(block), _left_out(order, chosen, sure),
    )  # fmt: skip


def _ranked_strip(block: Block, matrix: Matrix) -> Strip:
    return Strip(block.title, sentence_of(block, matrix, [], {}), "", (), (), (), "", (), "", "")


def _caption(tally: Counter[Sure], shown: Sequence[Sure], rows: int) -> str:
    """'5 of 15 methods: 1 undecided, 4 of 8 shown worse'; 'All 3 methods and a control'."""
    total, own = sum(tally.values()), Counter(shown)
    more = rows - len(shown)
    controls = f" and {'a control' if more == 1 else f'{more} controls'}" if more else ""
    if total == len(shown):
        return {1: "The method", 2: "Both methods"}.get(total, f"All {total} methods") + controls
    of = {kind: f" of {tally[kind]}" if tally[kind] > own[kind] else "" for kind in ORDER}
    parts = [f"{own[kind]}{of[kind]} {SURE_WORDS[kind]}" for kind in ORDER if own[kind]]
    return f"{len(shown)} of {total} methods{controls}: {', '.join(parts)}"


def _left_out(order: Sequence[str], chosen: Sequence[str], sure: Mapping[str, Sure]) -> str:
    """'ia3 (undecided); dpo, sft and 5 more (shown worse)': the methods without a row, the surest first."""
    rest = [label for label in order if label not in chosen]
    kinds = {kind: [label for label in rest if sure[label] == kind] for kind in ORDER}
    return "; ".join(f"{named(labels)} ({SURE_WORDS[kind]})" for kind, labels in kinds.items() if labels)


def _worse_at(order: Sequence[str], sure: Mapping[str, Sure], block: Block) -> str:
    """'on knowledge', or '6 on knowledge, 3 on tasks': where the methods that are shown worse are worse."""
    lost = [label for label in order if sure[label] == "worse"]
    counts = Counter(title for label in lost for title in _titles_worse(label, block))
    found = counts.most_common(MOST_GAINS)
    if len(found) == 1 and found[0][1] == len(lost):
        return f"on {found[0][0]}"
    return ", ".join(f"{number} on {title}" for title, number in found)


def _titles_worse(label: str, block: Block) -> list[str]:
    primary = [result for role in ("quality", "knowledge", "other") for result in block.of_role(role)]
    return list(dict.fromkeys(bands.benchmark_title(result, primary) for result in worse_on(label, block)))


def _column(
    head: str, results: Mapping[str, Result], matrix: Matrix, *, several: bool = False
) -> tuple[BandAxis, dict[str, BandCell]]:
    """A column of bands on one axis; a cell has more decimals where an end would be rounded onto 0 or the margin.

    results  method -> the metric that it is shown on; `several`: not the same one for all, so that each cell names it
    """
    result = next(iter(results.values()))
    ratio = any(pair.estimate.scale == "ratio" for pair in result.comparisons.values())
    factor = 100.0 if result.percent or ratio else 1.0
    unit = "%" if ratio else "points" if result.percent else result.metric.unit or bands.in_plain(result.metric.name)
    changes = {label: change_of(label, own, matrix) for label, own in results.items()}
    scaled = {k: None if c is None else (c[0] * factor, c[1] * factor, c[2] * factor) for k, c in changes.items()}
    known = [one for one in scaled.values() if one is not None]
    limit = 100.0 if result.percent and not ratio else None
    higher = result.metric.higher_is_better
    lines = [factor * line for line in bands.lines_of(result, matrix)]
    unit = f"{unit}{'' if higher else ', lower is better'}{', where least is kept' if several else ''}"
    axis = axis_of(head, unit, known, abs(lines[-1]), higher, limit)
    digits = bands.decimals(known) if factor == 100 else None
    best = (max if higher else min)((one[1] for one in known), default=None)
    cells = {}
    for label, one in scaled.items():
        mean, reason = mean_change(label, results[label]), text.one_line(why_none(label, results[label]), 40)
        if one is None and mean is not None:
            cells[label] = BandCell(bands.number(factor * mean, digits), reason)
        else:
            own = digits if one is None else bands.deciding(one, digits, lines)
            cells[label] = band_cell(one, axis, own, reason, one is not None and one[1] == best)
        if several and one is not None:
            detail = f"{cells[label].detail}, {bands.in_plain(results[label].metric.benchmark)}"
            cells[label] = replace(cells[label], detail=text.one_line(detail, 48))
    return axis[0], cells


def _trained(cost: MethodCost) -> tuple[str, str]:
    if not cost.trained and cost.seconds is not None and cost.seconds < LEAST_SECONDS:
        return "nothing", ""
    portion = f"{100 * cost.trained / cost.total:.3g} % trained" if cost.trained and cost.total else ""
    if cost.seconds is None:
        return BLANK, portion
    return spelled(cost.seconds) if cost.seconds >= 9.5 else f"{cost.seconds:.1f} s", portion


def _run(cost: MethodCost) -> str:
    if cost.overhead is None:
        return BLANK
    return "as base" if abs(cost.overhead - 1) <= AS_THE_BASE else f"× {cost.overhead:.2g}"


def _note(label: str, sure: Sure, block: Block, matrix: Matrix) -> str:
    """'on knowledge', below the word that says that it is worse, or all of it; and whether it is a control."""
    worse = _titles_worse(label, block)
    said = [f"{'' if sure == 'worse' else 'shown worse '}on {named(worse, 2)}"] if worse else []
    return "; ".join([*said, *(["control with fixed answers"] if label in matrix.controls else [])])


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
