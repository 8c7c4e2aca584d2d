"""Equal-budget tuning: as many trials for every method, chosen by one rule on items that no test uses.

The trials are an experiment of their own (one base, the first choice of data, one seed), planned, kept and resumed
as any other. The settings that they choose join the experiment as further rows, NAME_tuned, beside those as written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from harness.benchmark import Benchmark
from harness.config import BenchmarkEntry, Experiment, MethodEntry
from harness.data.test_set import TestItem
from harness.errors import UserError
from harness.method import fields_of
from harness.plan import Plan, make_plan
from harness.plugin_fields import build_plugin
from harness.search import draws, searchable
from harness.selection import Search, Trial, select
from harness.states import state_of
from harness.store import Store
from harness.tune import Tune


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
    built: Benchmark = build_plugin("benchmarks", entry.plugin, given, f"{where}, tune: on", {})
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
