"""The training data: its licences, test items found in it, and the scores without those items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.curation.card import is_restricted
from harness.report.collect import Block, ReportModel
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured, measure, score_of
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, estimate_cell, text_columns
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Without:
    """A primary metric with and without the items found in the training data.

    matched  number of those items
    scores   method -> mean over all items, mean over the others
    """

    metric: BenchmarkMetric
    percent: bool
    matched: int
    scores: Mapping[str, tuple[Estimate, Estimate]]


MOST_NAMED = 5


def without_matched(
    measured: Sequence[Measured], checked: Sequence[Mapping[str, Any]], quality: str
) -> tuple[Without, ...]:
    """The primary metrics of benchmarks with matched items, scored on the rest of their items."""
    found = []
    for one in measured:
        matched = _matched(checked, one.metric.benchmark, quality)
        if one.metric.primary and matched:
            rest = measure(one.metric, one.panel.without(matched))
            scores = {label: (score_of(one, label), _rest_of(rest, label)) for label in one.panel.methods}
            found.append(Without(one.metric, one.percent, len(matched), scores))
    return tuple(found)


def _rest_of(rest: Measured, label: str) -> Estimate:
    if label not in rest.panel.methods:
        return Estimate(None, reason="every item is in the training data")
    return score_of(rest, label)


def _matched(checked: Sequence[Mapping[str, Any]], benchmark: str, quality: str) -> Collection[str]:
    own = [e for e in checked if e["benchmark"] == benchmark and e["quality"] in ("", quality)]
    return {match["item"] for entry in own for match in entry["matched"]}


def training_data_parts(model: ReportModel) -> Iterator[Part]:
    """Every set with its licence, then the test items found in it."""
    data = model.provenance.get("data")
    sets = [one for one in data.values() if isinstance(one, Mapping)] if isinstance(data, Mapping) else []
    limited = sorted({str(one["name"]) for one in sets if is_restricted(str(one.get("licence", "")))})
    if limited:
        words = (
            "Restricted licences (non-commercial or no derivatives), which also restrict the models trained on them: "
        )
        yield Paragraph(words + ", ".join(limited), "warning")
    if sets:
        head = text_columns("training set", "kind", "licence", "digest")
        yield Table((*head, Column("rows")), tuple(_set_row(one) for one in sets))
    yield from _contamination_parts(model)


def _set_row(one: Mapping[str, Any]) -> tuple[TableCell, ...]:
    licence = str(one.get("licence", ""))
    shown = TableCell(licence or BLANK, mood="bad" if is_restricted(licence) else "")
    names = [TableCell(str(one.get("name"))), TableCell(str(one.get("kind"))), shown, TableCell(str(one.get("digest")))]
    skipped = int(one.get("skipped", 0))
    left = f"{tabular.count(float(skipped))} skipped" if skipped else ""
    return (*names, TableCell(tabular.count(float(one.get("rows", 0))), left, mood="bad" if left else ""))


def _contamination_parts(model: ReportModel) -> Iterator[Part]:
    """The check of every training set against every benchmark, then the scores on the other items."""
    if not model.contamination:
        yield Paragraph("No training set was checked.")
        return
    yield Paragraph(
        "A test item matches a training row when the row covers more than half of its words with 8-grams, or "
        "contains its whole prompt or long answer; items of a declared template are compared by their slots. A set "
        "is flagged when more than 2 % of the items match (the rule of Tulu 3, arXiv 2411.15124)."
    )
    head = [Column(word, left=True) for word in ("training set", "benchmark", "matched items", "examples")]
    yield Table(tuple(head), tuple(_row(entry) for entry in model.contamination))
    for block in model.blocks:
        for without in without_matched(block.measured, model.contamination, block.data.quality):
            yield _scores_table(without, block, len(model.blocks) > 1)


def _row(entry: Mapping[str, Any]) -> tuple[TableCell, ...]:
    name = f"{entry['set']} ({entry['kind']}{', ' + entry['quality'] if entry['quality'] else ''})"
    place = (TableCell(name), TableCell(entry["benchmark"]))
    if entry["items"] is None:
        why = text.one_line(str(entry.get("why", "")), 300)
        return *place, TableCell("not checked", mood="blank"), TableCell(why or BLANK)
    count = f"{len(entry['matched'])} of {entry['items']}{', flagged' if entry['flagged'] else ''}"
    named = [f"{m['item']} in {m['row']} ({m['how']}, {100 * m['coverage']:.0f} %)" for m in entry["matched"]]
    shown = "; ".join(named[:MOST_NAMED]) + ("; ..." if len(named) > MOST_NAMED else "")
    return *place, TableCell(count, mood="bad" if entry["flagged"] else ""), TableCell(shown or BLANK)


def _scores_table(without: Without, block: Block, several: bool) -> Table:
    unit = f"{in_plain(without.metric.name)}{tabular.unit_suffix(without.metric.unit, without.percent)}"
    columns = (Column("method", left=True), Column("all items", unit), Column(f"without {without.matched}", unit))
    rows = [
        (
            TableCell(method.label),
            *(estimate_cell(estimate, without.percent) for estimate in without.scores[method.label]),
        )
        for method in block.methods
        if method.label in without.scores
    ]
    place = f"{block.title}: " if several else ""
    return Table(
        columns, tuple(rows), caption=f"{place}{in_plain(without.metric.title)}, with and without the matched items"
    )
