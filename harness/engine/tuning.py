"""Equal-budget tuning: as many trials for every method, chosen by one rule on items that no test uses.

The trials are an experiment of their own (one base, the first choice of data, one seed), planned, kept and resumed
as any other. The settings that they choose join the experiment as further rows, NAME_tuned, beside those as written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.benchmark import Benchmark, Metric
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry, Tune
from harness.engine.plan import Cell, Plan, make_plan
from harness.engine.plugin_fields import build_plugin
from harness.engine.search import Role, Search, Trial, draws, searchable
from harness.engine.states import state_of
from harness.engine.store.outcomes import read_outcomes
from harness.engine.store.store import Store
from harness.engine.yaml_lines import Located
from harness.errors import UserError
from harness.method import fields_of
from harness.records import TestItem


def plans(experiment: Experiment, folder: Path, *, download: bool = False) -> Iterator[Plan]:
    """The plan of the trials, where the experiment tunes, and then its own. Fill each before asking for the next.

    folder  the store. Raises UserError where the block `tune` cannot be followed, or where trials are not filled.
    """
    if experiment.tune is None:
        yield make_plan(experiment, folder, download=download)
        return
    trials = make_plan(trials_of(experiment, experiment.tune), folder, download=download)
    yield trials
    searches = select(trials, searched(experiment, experiment.tune), Store(folder))
    plan = make_plan(_with_tuned(experiment, searches), folder, download=download)
    plan.searches = tuple(searches)
    plan.tuned_on = tuple(column.label for column in trials.experiment.benchmarks)
    yield plan


def unfilled(plan: Plan, store: Store) -> int:
    """The cells that are neither done nor failed."""
    return sum(state_of(cell, store).name in ("to run", "running") for cell in plan.cells)


def trials_of(experiment: Experiment, tune: Tune) -> Experiment:
    """The experiment of the trials: the settings as written and those drawn, on the other items."""
    columns = _columns(experiment, tune)
    _check_apart(experiment, columns, tune)
    drawn = [one for search in searched(experiment, tune) for one in search.entries()]
    named = {entry.label for entry in drawn}
    first = [entry for entry in experiment.methods if entry.label == experiment.baseline and entry.label not in named]
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}, trials",
        bases=experiment.bases[:1],
        methods=(*first, *drawn),
        benchmarks=columns,
        data_quality=experiment.data_quality[:1],
        data_sizes=(0,),
        seeds=(tune.seed,),
        reference=None,
        out_of_distribution={},
        tune=None,
    )


def searched(experiment: Experiment, tune: Tune) -> list[Search]:
    """What is tried for each method that has anything to search; its first trial is the method as written."""
    found = []
    for entry in experiment.methods:
        names = list(tune.fields.get(entry.label, searchable(entry.method)))
        if not names:
            continue
        drawn = draws(entry.method, names, tune.trials - 1, f"{tune.seed}/{entry.label}")
        tried = tuple(Trial(number, method) for number, method in enumerate([entry.method, *drawn]))
        found.append(Search(entry, tuple(names), tried))
    if not found:
        raise UserError(
            "no method has anything to search", where=str(experiment.file), fix="Leave out `tune`, or add a method."
        )
    return found


def _columns(experiment: Experiment, tune: Tune) -> tuple[BenchmarkEntry, ...]:
    """The benchmarks that decide, on the other split. One that is named and has no split is an error."""
    found = []
    for entry in experiment.benchmarks:
        if tune.benchmarks and entry.label not in tune.benchmarks:
            continue
        if not any(item.name == "split" for item in dataclasses.fields(entry.benchmark)):  # type: ignore[arg-type]
            if tune.benchmarks:
                raise UserError(
                    f"`tune`: {entry.label} has no splits", where=str(experiment.file), fix="Name others to tune on."
                )
            continue
        found.append(dataclasses.replace(entry, benchmark=_on(entry, tune.on, str(experiment.file))))
    roles = {metric.role for entry in found for metric in entry.benchmark.metrics() if metric.primary}
    if "quality" not in roles:
        raise UserError(
            f"nothing to tune on: no benchmark with a primary quality metric has a split {tune.on!r}",
            where=str(experiment.file),
            fix="Add such a benchmark, or leave out `tune`.",
        )
    return tuple(found)


def _on(entry: BenchmarkEntry, split: str, where: str) -> Benchmark:
    given = {**fields_of(entry.benchmark), "split": split}
    located = Located(given, {(): f"{where}, tune: on"})
    built: Benchmark = build_plugin("benchmarks", entry.plugin, located, {})
    return built


def _check_apart(experiment: Experiment, columns: tuple[BenchmarkEntry, ...], tune: Tune) -> None:
    """Raises UserError where an item that settings are chosen on is also an item of a test."""
    asked = {_words(item.text): (entry.label, item.id) for entry in columns for item in _items(entry)}
    for entry in experiment.benchmarks:
        for item in _items(entry):
            if found := asked.get(_words(item.text)):
                raise UserError(
                    f"`tune`: item {found[1]!r} of {found[0]} ({tune.on}) is also item {item.id!r} of {entry.label}",
                    where=str(experiment.file),
                    fix="Tune on a split that no test uses.",
                )


def _items(entry: BenchmarkEntry) -> tuple[TestItem, ...]:
    known = entry.benchmark.test_set()
    return known.items if known else ()


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _with_tuned(experiment: Experiment, searches: list[Search]) -> Experiment:
    """The experiment with a row beside each method for which something better than as written was found."""
    by_label = {search.entry.label: search for search in searches}
    methods: list[MethodEntry] = []
    for entry in experiment.methods:
        methods.append(entry)
        search = by_label.get(entry.label)
        if search is not None and (tuned := search.tuned()):
            methods.append(tuned)
    return dataclasses.replace(experiment, methods=tuple(methods))


RULE = "quality_within_margin"


def select(plan: Plan, searches: Iterable[Search], store: Store) -> list[Search]:
    """The searches with their trials scored and chosen. `plan` is that of the trials, filled."""
    by_label: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        by_label.setdefault(cell.entry.label, []).append(cell)
    start = _mean_of(by_label.get(str(plan.experiment.baseline), []), "knowledge", store)
    found = []
    for search in searches:
        rows = zip(search.trials, search.entries(), strict=True)
        trials = tuple(_scored(trial, by_label[entry.label], start, store) for trial, entry in rows)
        found.append(dataclasses.replace(search, trials=trials, chosen=best_trial(trials, plan.experiment.margin)))
    return found


def best_trial(trials: Sequence[Trial], margin: float) -> int:
    """The number of the trial that the rule chooses; the settings as written where every trial failed."""
    usable = [trial for trial in trials if trial.quality is not None]
    kept = [trial for trial in usable if trial.knowledge is None or trial.knowledge >= -margin]
    if kept:
        return max(kept, key=lambda trial: (trial.quality or 0.0, -trial.number)).number
    if usable:
        return max(usable, key=lambda trial: (trial.knowledge or 0.0, -trial.number)).number
    return 0


def record(search: Search) -> dict[str, Any]:
    """One search as tuning.json has it."""
    return {
        "method": search.entry.label,
        "fields": list(search.names),
        "chosen": search.chosen,
        "trials": [
            {
                "number": trial.number,
                "fields": {name: fields_of(trial.method)[name] for name in search.names},
                "quality": trial.quality,
                "knowledge": trial.knowledge,
                "why": trial.why,
                **trial.cost,
            }
            for trial in search.trials
        ],
    }


def _scored(trial: Trial, cells: Sequence[Cell], start: float | None, store: Store) -> Trial:
    failed = [state.why for state in (state_of(cell, store) for cell in cells) if state.name == "failed"]
    spent = _spent(cells, store)
    if failed:
        return dataclasses.replace(trial, why=failed[0], cost=spent)
    own = _mean_of(cells, "knowledge", store)
    lost = None if own is None or start is None else own - start
    return dataclasses.replace(trial, quality=_mean_of(cells, "quality", store), knowledge=lost, cost=spent)


def _mean_of(cells: Iterable[Cell], role: Role, store: Store) -> float | None:
    """Mean over benchmarks of the weighted means of their primary metrics with that role; None where there is none."""
    means = []
    for cell in cells:
        metrics = [one for one in cell.column.benchmark.metrics() if one.primary and one.role == role]
        if not metrics or not store.done("outcomes", cell.key):
            continue
        outcomes = list(read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"))
        signed = [_signed(outcomes, one) for one in metrics]
        known = [value for value in signed if value is not None]
        means += [sum(known) / len(known)] if known else []
    return sum(means) / len(means) if means else None


def _signed(outcomes: Sequence[Mapping[str, Any]], metric: Metric) -> float | None:
    """The weighted mean, turned so that more is better; None where no item has the metric."""
    own = [one for one in outcomes if metric.name in one["metrics"]]
    weights = [float(one["weights"].get(metric.name, 1.0)) for one in own]
    if not sum(weights):
        return None
    total = sum(weight * float(one["metrics"][metric.name]) for weight, one in zip(weights, own, strict=True))
    return (1.0 if metric.higher_is_better else -1.0) * total / sum(weights)


def _spent(cells: Sequence[Cell], store: Store) -> dict[str, float]:
    """What the fits of these cells' artifact, and of all that it stands on, cost as far as they are done."""
    names = ("fit_seconds", "training_tokens", "generated_tokens")
    node = cells[0].node
    ledgers = [store.cost("artifacts", key) for key in (node.key, *node.beneath) if store.done("artifacts", key)]
    return {name: sum(float(ledger[name]) for ledger in ledgers) for name in names}
