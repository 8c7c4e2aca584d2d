"""Equal-budget tuning: the same number of trials for every method, chosen by one rule on items that no test uses.

The trials are an experiment of their own (one base, the first choice of data, one seed), planned, stored and resumed
like any other. The settings that win join the experiment as further rows, NAME_tuned, next to those it declares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.engine.choice import best_trial, error_of, trial_score
from harness.engine.experiment import BenchmarkEntry, Experiment, Tune
from harness.engine.plan import Cell, Plan
from harness.engine.plugin_fields import build_plugin
from harness.engine.refusals import plan_of_usable_rows
from harness.engine.search import Role, Search, Trial, TrialScore, draws, searchable
from harness.engine.states import state_of
from harness.engine.store.store import Store
from harness.engine.yaml_lines import Located
from harness.errors import UserError
from harness.method import fields_of


def plans(
    experiment: Experiment, folder: Path, *, download: bool = False, store: Store | None = None
) -> Iterator[Plan]:
    """The plan of the trials, where the experiment tunes, and then its own. Fill each before asking for the next.

    folder  the store's
    store   the store itself, where there is more to it than the folder
    Raises UserError where the block `tune` cannot be followed, or where trials are not filled.
    """
    if experiment.tune is None:
        yield plan_of_usable_rows(experiment, folder, download=download)
        return
    searches = _searches(experiment, experiment.tune)
    trials = plan_of_usable_rows(_trials(experiment, experiment.tune, searches), folder, download=download)
    yield trials
    searches = select(trials, searches, store or Store(folder))
    plan = plan_of_usable_rows(_with_tuned(experiment, searches), folder, download=download)
    plan.searches = tuple(searches)
    plan.tuned_on = tuple(column.label for column in trials.experiment.benchmarks)
    yield plan


def unfilled(plan: Plan, store: Store) -> int:
    """The number of cells that are neither done nor failed."""
    return sum(state_of(cell, store).name in ("to run", "running") for cell in plan.cells)


def _trials(experiment: Experiment, tune: Tune, searches: list[Search]) -> Experiment:
    """The experiment of the trials: the settings that it declares and those drawn, on the other items."""
    columns = _columns(experiment, tune)
    _check_apart(experiment, columns, tune)
    drawn = [one for search in searches for one in search.entries()]
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
        stop=None,
    )


def _searches(experiment: Experiment, tune: Tune) -> list[Search]:
    """The trials of each method that has a field to search; the first is the method as the experiment declares it."""
    found = []
    for entry in experiment.methods:
        names = list(tune.fields.get(entry.label, searchable(entry.method)))
        if names:
            drawn = draws(entry.method, names, tune.trials - 1, f"{tune.seed}/{entry.label}")
            tried = tuple(Trial(number, method) for number, method in enumerate([entry.method, *drawn]))
            found.append(Search(entry, tuple(names), tried))
    if not found:
        raise _error(experiment, "no method has a field to search", "Leave out `tune`, or add a method.")
    return found


def _columns(experiment: Experiment, tune: Tune) -> tuple[BenchmarkEntry, ...]:
    """The benchmarks that decide, on the other split. A benchmark that `tune` names must have splits."""
    found = []
    for entry in experiment.benchmarks:
        if tune.benchmarks and entry.label not in tune.benchmarks:
            continue
        given = fields_of(entry.benchmark)
        if "split" in given:
            located = Located({**given, "split": tune.on}, {(): f"{experiment.file}, tune: on"})
            found.append(
                dataclasses.replace(
                    entry, benchmark=build_plugin("benchmarks", entry.plugin, located, {}, experiment.file.parent)
                )
            )
        elif tune.benchmarks:
            raise _error(experiment, f"`tune`: {entry.label} has no splits", "Name others to tune on.")
    roles = {metric.role for entry in found for metric in entry.benchmark.metrics() if metric.primary}
    if "quality" not in roles:
        what = f"nothing to tune on: no benchmark with a primary quality metric has a split {tune.on!r}"
        without = [entry.label for entry in experiment.benchmarks if "split" not in fields_of(entry.benchmark)]
        named = f" (without any split: {', '.join(without)})" if without else ""
        raise _error(experiment, what + named, "Add such a benchmark, or leave out `tune`.")
    return tuple(found)


def scored_on(experiment: Experiment) -> str:
    """Which benchmarks the trials are scored on, and which have no split and so decide nothing; "" without `tune`."""
    if not (tune := experiment.tune):
        return ""
    asked = [one for one in experiment.benchmarks if not tune.benchmarks or one.label in tune.benchmarks]
    split = [one.label for one in asked if "split" in fields_of(one.benchmark)]
    told = f"Trials are scored on the split {tune.on!r} of {', '.join(split)}."
    without = [one.label for one in asked if one.label not in split]
    return f"{told} Without a split, so no trial is scored on them: {', '.join(without)}." if without else told


def _check_apart(experiment: Experiment, columns: tuple[BenchmarkEntry, ...], tune: Tune) -> None:
    """Raises UserError where an item that settings are chosen on is also an item of a test."""
    asked = {words: (label, name) for label, name, words in _items(columns)}
    for label, name, words in _items(experiment.benchmarks):
        if found := asked.get(words):
            what = f"`tune`: item {found[1]!r} of {found[0]} ({tune.on}) is also item {name!r} of {label}"
            raise _error(experiment, what, "Tune on a split that no test uses.")


def _items(columns: Iterable[BenchmarkEntry]) -> Iterator[tuple[str, str, str]]:
    """(benchmark, item, its words) of every benchmark whose items are known."""
    for entry in columns:
        if known := entry.benchmark.test_set():
            yield from ((entry.label, item.id, " ".join(item.text.casefold().split())) for item in known.items)


def _error(experiment: Experiment, what: str, fix: str) -> UserError:
    return UserError(what, where=str(experiment.file), fix=fix)


def _with_tuned(experiment: Experiment, searches: list[Search]) -> Experiment:
    """The experiment with a row after each method for which a trial beat the settings that it declares."""
    tuned = {search.entry.label: search.tuned() for search in searches}
    rows = ((entry, tuned.get(entry.label)) for entry in experiment.methods)
    return dataclasses.replace(experiment, methods=tuple(one for pair in rows for one in pair if one))


def select(plan: Plan, searches: Iterable[Search], store: Store) -> list[Search]:
    """The searches with scored trials and a chosen one. `plan` is the plan of the trials, filled."""
    by_label: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        by_label.setdefault(cell.entry.label, []).append(cell)
    start = trial_score(by_label.get(str(plan.experiment.baseline), []), "knowledge", store)
    found = []
    for search in searches:
        rows = zip(search.trials, search.entries(), strict=True)
        trials = tuple(_scored(trial, by_label[entry.label], start, store) for trial, entry in rows)
        found.append(dataclasses.replace(search, trials=trials, chosen=best_trial(trials, plan.experiment.margin)))
    return found


def record(search: Search) -> dict[str, Any]:
    """One search as tuning.json holds it; quality_error is the standard error of the difference to the chosen trial."""
    best = search.trials[search.chosen]
    return {
        "method": search.entry.label,
        "fields": list(search.names),
        "chosen": search.chosen,
        "trials": [
            {
                "number": trial.number,
                "fields": {name: fields_of(trial.method)[name] for name in search.names},
                "quality": trial.quality,
                "quality_error": None if trial.quality is None else error_of(best, trial, "quality"),
                "knowledge": trial.knowledge,
                "why": trial.why,
                **trial.cost,
            }
            for trial in search.trials
        ],
    }


def _scored(trial: Trial, cells: Sequence[Cell], start: TrialScore | None, store: Store) -> Trial:
    failed = [state.why for state in (state_of(cell, store) for cell in cells) if state.name == "failed"]
    spent = _spent(cells, store)
    if failed:
        return dataclasses.replace(trial, why=failed[0], cost=spent)
    quality, own = trial_score(cells, "quality", store), trial_score(cells, "knowledge", store)
    lost = None if own is None or start is None else own.value - start.value
    scores: dict[Role, TrialScore | None] = {"quality": quality, "knowledge": own}
    parts = {role: score.parts for role, score in scores.items() if score is not None}
    value = None if quality is None else quality.value
    return dataclasses.replace(trial, quality=value, knowledge=lost, cost=spent, parts=parts)


def _spent(cells: Sequence[Cell], store: Store) -> dict[str, float]:
    """The cost of the fits of these cells' artifact and of all that it is made from, as far as they are done."""
    names = ("fit_seconds", "training_tokens", "generated_tokens", "trained_parameters")
    node = cells[0].node
    scored = next((store.cost("outcomes", cell.key) for cell in cells if store.done("outcomes", cell.key)), None)
    fits = (
        scored["fits"]
        if scored
        else {key: store.cost("artifacts", key) for key in (node.key, *node.beneath) if store.done("artifacts", key)}
    )
    return {name: sum(float(ledger.get(name) or 0) for ledger in fits.values()) for name in names}
