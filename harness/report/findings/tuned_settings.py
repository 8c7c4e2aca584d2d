"""The search for settings: the trials, the choice, and whether its gain holds on the test items.

Reads tuning.json. A trial's quality and knowledge are the means used for the choice, on the validation items and one
seed. The best of several looks better there than it is, so the section also shows the paired difference of the tuned
method and the method as written on the test items, over the experiment's own seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.engine.choice import RULE
from harness.engine.search import TUNED
from harness.report.collect import ReportModel
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured, difference_of
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Folded, Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell
from harness.stats.intervals import Estimate

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """The gain of the chosen settings on the test items: tuned - as written."""

    method: str
    metric: BenchmarkMetric
    percent: bool
    difference: Estimate


def tuned_of(measured: Sequence[Measured], tuning: Mapping[str, Any]) -> tuple[Tuned, ...]:
    """Tuned minus as written, on every primary metric, for each method whose search found other settings."""
    found = []
    for search in tuning.get("searches", ()):
        label = str(search["method"])
        pair = [label + TUNED, label]
        if not search["chosen"]:
            continue
        for one in measured:
            if one.metric.primary and set(pair) <= set(one.panel.methods):
                found.append(Tuned(label, one.metric, one.percent, difference_of(one, one.panel.comparable(pair))))
    return tuple(found)


def tuning_parts(model: ReportModel) -> Iterator[Part]:
    """The rule, a row for each method, the test items' verdict, and every trial."""
    tuning = model.tuning
    yield Paragraph(
        f"{tuning['trials']} settings for every method (fewer where its ranges allow no more): those as written and "
        f"others drawn at random from its declared ranges. Scored with one seed ({tuning['seed']}) on the "
        f"{tuning['split']} items of {text.listed(list(tuning['benchmarks']))}, {tuning['base']}, none of which is a "
        f"test item. The rule, {tuning['rule']}: the highest quality among those that lose no more than "
        f"{tabular.points(tuning['margin'], True)} of knowledge against the baseline{_ties(tuning['rule'])}; if all "
        "lose more, the smallest loss. The choice used these scores, so the best of them is too optimistic; only the "
        "test items decide."
    )
    yield _chosen_table(tuning["searches"])
    for block in model.blocks:
        if tuned := tuned_of(block.measured, tuning):
            yield _test_table(tuned, block.title)
    for search in tuning["searches"]:
        yield Folded(f"{search['method']}: all trials", _trials_table(search))


def _ties(rule: str) -> str:
    """How ties are decided; folders written before that rule named the highest quality alone."""
    if rule != RULE:
        return ""
    return (
        ", where those within one standard error of it tie (paired over these items), and ties go to the setting that "
        "keeps more knowledge (again within one standard error), then to the one that trains fewer parameters, then "
        "on fewer tokens, then generates fewer, then to the first"
    )


def _chosen_table(searches: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        Column("method", left=True), Column("chosen", "differences from the settings as written", left=True),
        Column("quality", "validation: as written, chosen"), Column("knowledge", "minus the baseline's: the same"),
        Column("trials", "failed in brackets"), Column("search", "tokens trained on"), Column("search", "fit seconds"),
    )  # fmt: skip
    rows = []
    for search in searches:
        trials: Sequence[Trial] = search["trials"]
        share = _share(trials)
        first, best = trials[0], trials[search["chosen"]]
        failed = sum(bool(trial["why"]) for trial in trials)
        rows.append((
            TableCell(str(search["method"])), TableCell(_changes(first, best)),
            TableCell(" → ".join(tabular.score_text(trial["quality"], share) for trial in (first, best))),
            TableCell(" → ".join(tabular.signed(trial["knowledge"], share) for trial in (first, best))),
            TableCell(f"{len(trials)}{f' ({failed})' if failed else ''}"),
            TableCell(tabular.count(_total(trials, "training_tokens"))),
            TableCell(tabular.seconds(_total(trials, "fit_seconds"))),
        ))  # fmt: skip
    return Table(columns, tuple(rows), caption="Chosen settings")


def _share(trials: Sequence[Trial]) -> bool:
    """Whether the scores are shares, shown in per cent and points."""
    return all(0 <= trial["quality"] <= 1 for trial in trials if trial["quality"] is not None)


def _changes(first: Trial, best: Trial) -> str:
    if first is best:
        return "as written"
    changed = {name: value for name, value in best["fields"].items() if value != first["fields"][name]}
    return text.one_line(", ".join(f"{name} {json.dumps(value)}" for name, value in changed.items()), 200)


def _total(trials: Sequence[Trial], name: str) -> float:
    return sum(float(trial.get(name, 0.0)) for trial in trials)


def _test_table(tuned: Sequence[Tuned], where: str) -> Table:
    """On the test items; pointwise intervals, nothing is tested."""
    titles = list(dict.fromkeys(one.metric.title for one in tuned))
    columns = (Column("method", left=True), *(Column(in_plain(title), "tuned minus as written") for title in titles))
    rows = []
    for method in dict.fromkeys(one.method for one in tuned):
        own = {one.metric.title: one for one in tuned if one.method == method}
        shown = [
            estimate_cell(own[t].difference, own[t].percent, signed=True) if t in own else blank_cell() for t in titles
        ]
        rows.append((TableCell(method), *shown))
    return Table(columns, tuple(rows), caption=f"On the test items: {where}. Paired, pointwise 95 % intervals.")


def _trials_table(search: Mapping[str, Any]) -> Table:
    """Sorted by learning rate where that was searched, so that its effect can be read down the column."""
    names: Sequence[str] = search["fields"]
    trials: list[Trial] = list(search["trials"])
    if "learning_rate" in names:
        trials.sort(key=lambda trial: (trial["fields"]["learning_rate"], trial["number"]))
    columns = (
        Column("trial"), *(Column(name, left=True) for name in names), Column("quality", "validation"),
        Column("knowledge", "minus the baseline's"), Column("", left=True),
    )  # fmt: skip
    share = _share(trials)
    rows = []
    for trial in trials:
        chosen = trial["number"] == search["chosen"]
        said = trial["why"] or ("chosen" if chosen else "as written" if trial["number"] == 0 else "")
        rows.append((
            TableCell(str(trial["number"])),
            *(TableCell(text.one_line(json.dumps(trial["fields"][name]), 60)) for name in names),
            TableCell(tabular.score_text(trial["quality"], share)),
            TableCell(tabular.signed(trial["knowledge"], share)),
            TableCell(text.one_line(said, 200), mood="good" if chosen else "failed" if trial["why"] else ""),
        ))  # fmt: skip
    return Table(columns, tuple(rows))
