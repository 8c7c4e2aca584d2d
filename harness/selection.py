"""Which trial of a method is chosen, by a rule fixed beforehand.

The rule, `quality_within_margin`: of a method's trials leave out those that lose more knowledge than the experiment's
margin against the baseline (the same trial seed and items), and take the highest quality; where every trial loses
more, take the one that loses least. Of equal ones the first, and the settings as written come first. Quality is the
mean over benchmarks of each one's primary quality metrics; a metric of which less is better counts negatively. These
means choose; they are never reported as a method's score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.benchmark import Metric
from harness.config import MethodEntry
from harness.method import Method, fields_of
from harness.outcomes import read_outcomes
from harness.plan import Cell, Plan
from harness.states import state_of
from harness.store import Store
from harness.tune import TRIAL, TUNED

RULE = "quality_within_margin"

Role = Literal["quality", "knowledge"]


@dataclass(frozen=True)
class Trial:
    """One setting and, once it is scored, what came of it.

    quality    None where it failed
    knowledge  the trial's less the baseline's; None without a knowledge metric or a baseline
    why        what failed
    cost       fit_seconds, training_tokens and generated_tokens of the artifact and of those it stands on
    """

    number: int
    method: Method
    quality: float | None = None
    knowledge: float | None = None
    why: str = ""
    cost: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """All trials of one method; `names` are the fields that were searched, `chosen` the trial's number."""

    entry: MethodEntry
    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    chosen: int = 0

    def entries(self) -> Iterator[MethodEntry]:
        """A row for each trial; the settings as written keep their label."""
        for trial in self.trials:
            label = f"{self.entry.label}{TRIAL}{trial.number}" if trial.number else self.entry.label
            yield dataclasses.replace(self.entry, label=label, method=trial.method)

    def rows(self) -> tuple[str, ...]:
        """The labels of the rows that its method has in the experiment; the last one is what was chosen."""
        tuned = self.tuned()
        return (self.entry.label, tuned.label) if tuned else (self.entry.label,)

    def tuned(self) -> MethodEntry | None:
        """The row of what was chosen; None where that is the settings as written."""
        if not self.chosen:
            return None
        return dataclasses.replace(self.entry, label=self.entry.label + TUNED, method=self.trials[self.chosen].method)


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
        found.append(dataclasses.replace(search, trials=trials, chosen=best(trials, plan.experiment.margin)))
    return found


def best(trials: Sequence[Trial], margin: float) -> int:
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
