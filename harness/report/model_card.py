"""A model card for one artifact: its making, its data, its scores with intervals, and the limits of the evidence.

The licence is left to the owner: it follows from those of the base model and of the training data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.report.collect import Block, ReportModel
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import MethodInfo
from harness.report.render.markdown import table_lines
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell
from harness.report.render.text import escape_markdown


@dataclass(frozen=True)
class Pushed:
    """The artifact of a card: a method of one block at one seed.

    library  that loads its files without bakeoff: peft, transformers, or none
    """

    block: Block
    method: MethodInfo
    seed: int
    key: str
    library: str


def model_card(model: ReportModel, pushed: Pushed) -> str:
    """The card as Markdown, with the hub's fields on top."""
    return "\n".join([*_fields(pushed), *_made(model, pushed), *_scored(model, pushed), *_limits(model, pushed), ""])


def _fields(pushed: Pushed) -> Iterator[str]:
    """The fields that the hub reads; only a base model with an owner can be one of the hub."""
    base = pushed.block.base
    yield "---"
    if base.count("/") == 1 and not base.startswith(("/", ".", "microworld/")):
        yield f"base_model: {json.dumps(base)}"
        yield f"base_model_relation: {'adapter' if pushed.library == 'peft' else 'finetune'}"
    if pushed.library:
        yield f"library_name: {pushed.library}"
    yield from ("tags:", "- bakeoff", "# license: left to you; it follows from the base model's and the data's", "---")


def _made(model: ReportModel, pushed: Pushed) -> Iterator[str]:
    method, base = pushed.method, pushed.block.base
    record: Mapping[str, object] = model.models.get(base) or {}
    known = [
        f"{name} {escape_markdown(str(record[name]))}" for name in ("digest", "revision", "dtype") if record.get(name)
    ]
    yield f"\n# {escape_markdown(method.title)}, seed {pushed.seed}\n"
    name = escape_markdown(model.matrix.name)
    yield f"An artifact of the experiment {name} of bakeoff, content key `{pushed.key}`.\n"
    where = Path(base).name if base.startswith(("/", ".", "~")) else base  # a place on this machine means nothing there
    yield f"- Base model: {escape_markdown(where)}{': ' if known else ''}{', '.join(known)}"
    yield f"- Method: {escape_markdown(f'{method.label} ({method.plugin}): {method.summary}')}"
    if method.inputs:
        yield f"- Built on other rows of the experiment: {escape_markdown(', '.join(method.inputs))}"
    yield "\n## Settings\n"
    yield from (f"- {name}: {escape_markdown(repr(value))}" for name, value in sorted(method.fields.items()))
    yield "\n## Training data\n"
    own = [(name, one) for name, one in sorted((model.provenance.get("data") or {}).items()) if name in method.needs]
    for name, one in own:
        rows = f"{one['rows']:,} rows, " if one.get("rows") else ""
        licence = escape_markdown(str(one.get("licence") or "not stated"))
        yield (
            f"- {name}: {escape_markdown(str(one.get('name', 'not stated')))}, {rows}fingerprint "
            f"{escape_markdown(str(one.get('digest', 'not stated')))}, licence: {licence}"
        )
    if not own:
        yield "No entry of provenance.json names a training set of it."


def _scored(model: ReportModel, pushed: Pushed) -> Iterator[str]:
    """The method's scores over all seeds of the experiment, and its differences from the baseline."""
    label, baseline = pushed.method.label, model.matrix.baseline
    yield "\n## Scores\n"
    yield "Means over the seeds of the experiment, with 95 % intervals; this artifact is one of these seeds.\n"
    heads = (
        Column("metric", left=True),
        Column(label),
        Column(f"difference from {baseline}"),
        Column("test", left=True),
    )
    found = [one for one in pushed.block.results if one.metric.primary and label in one.scores]
    yield from table_lines(Table(heads, tuple(_row(result, label) for result in found)))


def _row(result: Result, label: str) -> tuple[TableCell, ...]:
    score, told = result.scores[label].estimate, result.comparisons.get(label)
    first = (TableCell(result.metric.title), estimate_cell(score, result.percent))
    if told is None:
        return (*first, blank_cell(), blank_cell())
    verdict = "better" if told.better else "worse" if told.worse else "no difference found"
    said = TableCell(verdict if told.adjusted is not None else "not tested")
    return (*first, estimate_cell(told.estimate, result.percent, signed=True), said)


def _limits(model: ReportModel, pushed: Pushed) -> Iterator[str]:
    """The conclusions that these numbers do not allow."""
    own = [cell.seed for cells in pushed.block.states.values() for cell in cells if cell.method == pushed.method.label]
    seeds = len(set(own))
    one_seed = "one training run, so that the intervals are over items alone and say nothing of other runs"
    yield "\n## What may not be concluded\n"
    place = escape_markdown(pushed.block.title)
    yield f"- About other base models, sizes or training data: these are results on {place}."
    yield f"- About this artifact alone: the scores are of {one_seed if seeds == 1 else f'{seeds} training runs'}."
    yield (
        "- That two methods are equal where no difference was found: the report says which difference could have been "
        "detected."
    )
    yield "- About abilities, languages or harms that none of the benchmarks asks for."
    hits = [one for one in model.contamination if one.get("flagged") or one.get("matched")]
    named = {str(one["benchmark"]) for one in hits}
    if named:
        yield f"- Generalisation on {escape_markdown(', '.join(sorted(named)))}: items of it are in a training set."
    if "untuned" in pushed.method.badges:
        yield "- That its settings are the best: they were not searched for."
