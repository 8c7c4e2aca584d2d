"""The rule that chooses among the trials of a search, and the scores that it reads.

The best of several trials is maximised over noise, and at a ceiling over the last item. So trials within one standard
error of the best tie, the standard error being that of the paired difference over the clusters of validation items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.benchmark import Metric
from harness.engine.plan import Cell
from harness.engine.search import Role, Trial, TrialScore
from harness.engine.store.outcomes import read_outcomes
from harness.engine.store.store import Store

RULE = "quality_within_one_standard_error"
_ROUNDING = 1e-9


def best_trial(trials: Sequence[Trial], margin: float) -> int:
    """The number of the trial that the rule chooses; 0, the declared settings, where every trial failed.

    Of the trials that lose no more knowledge than the margin, those within one standard error of the highest quality
    tie; of these, those within one standard error of the most knowledge; of these the cheapest, in trained parameters,
    then tokens trained on, then tokens generated; then the first. Seconds do not count, because another machine
    would choose another setting. Where all lose more than the margin, the smallest loss.
    """
    usable = [trial for trial in trials if trial.quality is not None]
    kept = [trial for trial in usable if trial.knowledge is None or trial.knowledge >= -margin]
    if kept:
        tied = within_one_error(within_one_error(kept, "quality"), "knowledge")
        return min(tied, key=lambda trial: (*(trial.cost.get(name, 0.0) for name in CHEAPER), trial.number)).number
    if usable:
        return max(usable, key=lambda trial: (trial.knowledge or 0.0, -trial.number)).number
    return 0


CHEAPER = ("trained_parameters", "training_tokens", "generated_tokens")


def within_one_error(trials: Sequence[Trial], role: Role) -> list[Trial]:
    """The trials that are less than one standard error behind the best; all of them where none has a value."""
    known = [(value, trial) for trial in trials if (value := getattr(trial, role)) is not None]
    if not known:
        return list(trials)
    top, best = max(known, key=lambda pair: (pair[0], -pair[1].number))
    return [trial for value, trial in known if top - value <= error_of(best, trial, role) + _ROUNDING]


def error_of(first: Trial, second: Trial, role: Role) -> float:
    """The standard error of the paired difference of two trials, over clusters of items; 0 where no item is known.

    sqrt(sum over benchmarks of C / (C - 1) sum over clusters of (x_c - y_c)^2), with x and y the clusters' parts of
    the trials' deviations (`TrialScore.parts`). One training run each: the variance between seeds is not part of it.
    """
    variance = 0.0
    for benchmark, parts in first.parts.get(role, {}).items():
        other = second.parts.get(role, {}).get(benchmark, {})
        if len(parts) > 1 and parts.keys() == other.keys():
            variance += len(parts) / (len(parts) - 1) * sum((parts[name] - other[name]) ** 2 for name in parts)
    return math.sqrt(variance)


def trial_score(cells: Iterable[Cell], role: Role, store: Store) -> TrialScore | None:
    """Mean over benchmarks of the mean of their primary metrics with that role; None where there is none.

    Every metric is signed so that higher is better.
    """
    found: dict[str, TrialScore] = {}
    for cell in cells:
        metrics = [one for one in cell.column.benchmark.metrics() if one.primary and one.role == role]
        if metrics and store.done("outcomes", cell.key):
            outcomes = list(read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"))
            known = [score for one in metrics if (score := _of_metric(outcomes, one)) is not None]
            if known:
                found[cell.column.label] = _average(known)
    if not found:
        return None
    parts = {label: {name: part / len(found) for name, part in one.parts[""].items()} for label, one in found.items()}
    return TrialScore(sum(one.value for one in found.values()) / len(found), parts)


def _average(scores: Sequence[TrialScore]) -> TrialScore:
    """The mean of several metrics on the same items."""
    names = dict.fromkeys(name for score in scores for name in score.parts[""])
    parts = {name: sum(score.parts[""].get(name, 0.0) for score in scores) / len(scores) for name in names}
    return TrialScore(sum(score.value for score in scores) / len(scores), {"": parts})


def _of_metric(outcomes: Sequence[Mapping[str, Any]], metric: Metric) -> TrialScore | None:
    """The weighted mean and each cluster's part of it; None where no item has the metric."""
    sign = metric.sign
    own = [one for one in outcomes if metric.name in one["metrics"]]
    weights = [float(one["weights"].get(metric.name, 1.0)) for one in own]
    whole = sum(weights)
    if not whole:
        return None
    values = [sign * float(one["metrics"][metric.name]) for one in own]
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / whole
    parts: dict[str, float] = {}
    for one, weight, value in zip(own, weights, values, strict=True):
        parts[one["cluster"]] = parts.get(one["cluster"], 0.0) + weight * (value - mean) / whole
    return TrialScore(mean, {"": parts})
