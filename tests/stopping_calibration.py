"""Simulated runs that stop by their results: how often they decide wrongly, and how much of the matrix they need.

    python tests/stopping_calibration.py results/calibration [--runs 1000]

writes stopping.json. An item's logit is the sum of the item's difficulty (sd 1.5), a method x item part (sd 0.6), the
method's skill and a method x seed part. The looks, the tests and the release of methods are those of the project
(`harness.engine.stopping.looks_of`, `harness.report.numbers.comparisons`); test_stopping.py holds the loop here to
`harness.report.numbers.looks` on rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from harness.engine.experiment import Stop
from harness.engine.results.looked import Look
from harness.engine.stopping import looks_of
from harness.report.numbers.comparisons import KEPT_LEVEL, corrected_family, established_sign, testable
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference, seed_pool
from harness.stats.families import holm, non_inferiority_p
from harness.stats.intervals import Estimate

Array = NDArray[numpy.float64]
MARGIN = 0.02


EARLY, EARLY_SEEDS = Stop((0.05, 0.1, 0.2, 0.4, 1.0)), Stop((0.05, 0.1, 0.2, 0.4, 1.0), (3, 5))
EVERY_TENTH = Stop(tuple(tenth / 10 for tenth in range(1, 11)))


@dataclass(frozen=True)
class World:
    """A benchmark and the methods on it; what differs is the difference of each from the baseline, in points.

    gains    of each method; where it is one number, the standard deviation from which they are drawn in each run, and
             where there are more than methods, the effects of which they are a sample
    seed_sd  of a method's seeds, on the logit scale; 0: no seed changes anything
    sizes    items of each cluster, repeated
    knowledge  whether a loss of less than the margin decides, too
    """

    title: str
    items: int
    seeds: int
    gains: tuple[float, ...] | float
    seed_sd: float
    methods: int = 5
    accuracy: float = 0.5
    sizes: tuple[int, ...] = (1,)
    knowledge: bool = False
    stop: Stop = EARLY


# points between the baseline and the methods of results/methods on its primary metrics, at most 45 in size
SEEN = (
    -23.8, -8.4, -5.6, -5.4, -5.3, -5.3, -4.9, -4.8, -2.5, -1.4, -1.1, -0.8, -0.7, 0.7, 8.8, 21.8, 23.3, 32.0, 32.7,
    39.7, 40.5, 43.3, 44.0, *(45.0,) * 32,
)  # fmt: skip


def worlds() -> list[World]:
    """Where nothing differs, where losses equal the margin, and where effects are drawn."""
    early = EARLY_SEEDS
    none = (0.0,) * 5
    return [
        World("equal, 5,000 items, no seed", 5000, 1, none, 0.0),
        World("equal, 5,000 items, seed sd 0.2", 5000, 5, none, 0.2, stop=early),
        World("equal, 5,000 items, seed sd 0.5", 5000, 5, none, 0.5, stop=early),
        World("equal, 5,000 items, accuracy 95 %", 5000, 5, none, 0.1, accuracy=0.95, stop=early),
        World("equal, 1,000 items, seed sd 0.2", 1000, 5, none, 0.2, stop=early),
        World("equal, 1,000 items, 15 methods", 1000, 5, (0.0,) * 15, 0.2, methods=15, stop=early),
        World("equal, 400 items, a look at every 40", 400, 3, none, 0.1, stop=EVERY_TENTH),
        World("equal, 500 items in clusters of 1 to 5", 500, 5, none, 0.2, sizes=(1, 2, 3, 4, 5), stop=early),
        World("equal, 200 items, seeds one by one", 200, 6, none, 0.3, stop=Stop((1.0,), (2, 3, 4, 5, 6))),
        World("a loss of the margin, 5,000 items", 5000, 5, (-MARGIN,) * 5, 0.05, knowledge=True, stop=early),
        World("a loss of the margin, accuracy 95 %", 2000, 3, (-MARGIN,) * 5, 0.0, accuracy=0.95, knowledge=True),
        World("effects of results/methods, 5,000 items", 5000, 5, tuple(e / 100 for e in SEEN), 0.05, 8, stop=early),
        World("effects of results/methods, seed sd 0.2", 5000, 5, tuple(e / 100 for e in SEEN), 0.2, 8, stop=early),
        World("effects of sd 3 points, 5,000 items", 5000, 5, 0.03, 0.05, methods=8, stop=early),
        World("effects of sd 6 points, 5,000 items", 5000, 5, 0.06, 0.05, methods=8, stop=early),
        World("effects of sd 10 points, 5,000 items", 5000, 5, 0.10, 0.05, methods=8, stop=early),
        World("effects of sd 10 points, 5,000 items, seed sd 0.2", 5000, 5, 0.10, 0.2, methods=8, stop=early),
        World("effects of sd 6 points, 5,000 items, no seed", 5000, 1, 0.06, 0.0, methods=8),
    ]  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """values (methods + 1, seeds, items), the baseline last; clusters (items,), codes that rise."""

    values: Array
    clusters: NDArray[numpy.int64]
    gains: Array

    def scores(self, method: int, items: int, seeds: int) -> Scores:
        """The totals of a method on the first items and seeds."""
        codes = self.clusters[:items]
        weights = numpy.bincount(codes).astype(float)
        totals = [numpy.bincount(codes, weights=line[:items]) for line in self.values[method, :seeds]]
        return Scores(numpy.stack(totals), weights)


def drawn(world: World, chance: numpy.random.Generator) -> Answers:
    """One run of the whole matrix."""
    if isinstance(world.gains, float):
        gains = chance.normal(0, world.gains, world.methods)
    elif len(world.gains) > world.methods:
        gains = chance.choice(world.gains, world.methods)
    else:
        gains = numpy.array(world.gains)
    count = len(gains) + 1
    skills = numpy.array([_skill(world.accuracy + gain) for gain in (*gains, 0.0)])
    difficulty = chance.normal(0, 1.5, world.items) + chance.normal(0, 0.6, (count, world.items))
    logits = skills[:, None, None] + chance.normal(0, world.seed_sd, (count, world.seeds, 1)) + difficulty[:, None]
    values = (chance.random(logits.shape) < 1 / (1 + numpy.exp(-logits))).astype(float)
    if world.seed_sd == 0:
        values = numpy.repeat(values[:, :1], world.seeds, axis=1)
    repeats = numpy.resize(world.sizes, world.items)
    codes = numpy.repeat(numpy.arange(world.items), repeats)[: world.items]
    return Answers(values, codes, gains)


_NODES, _WEIGHTS = numpy.polynomial.hermite_e.hermegauss(60)


def _skill(accuracy: float) -> float:
    """The skill with that mean accuracy over difficulties of sd 1.5 and 0.6, without seeds."""
    spread = numpy.hypot(1.5, 0.6) * _NODES
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = float((_WEIGHTS / (1 + numpy.exp(-(middle + spread)))).sum() / _WEIGHTS.sum())
        low, high = (middle, high) if reached < accuracy else (low, middle)
    return (low + high) / 2


BINARY = Scale(bounds=(0.0, 1.0))


@dataclass(frozen=True)
class Decision:
    """sign: 1 better, -1 worse, 0 kept within the margin, None open; spent: the share of its evaluations until then."""

    sign: int | None
    estimate: Estimate
    spent: float = 1.0


def look_at(
    answers: Answers, open_ones: Sequence[int], look: Look, *, knowledge: bool
) -> list[tuple[Estimate, int | None]]:
    """The corrected estimate and the decision of each open method at one look."""
    items = int(numpy.searchsorted(answers.clusters, _clusters(answers, look.items)))
    methods = [answers.scores(method, items, look.seeds) for method in (*open_ones, len(answers.gains))]
    pool = seed_pool(methods)
    found = [difference(method, methods[-1], pool, BINARY) for method in methods[:-1]]
    shown = corrected_family(found, [0] * len(found), len(found), look.spent)
    kept: list[float | None] = [None] * len(found)
    if knowledge:
        losses = [None if one is None else non_inferiority_p(one, MARGIN) for one in testable(found)]
        kept = [None if p is None else p / look.spent for p in holm(losses)]
    decided: list[tuple[Estimate, int | None]] = []
    for (estimate, p), loss in zip(shown, kept, strict=True):
        sign = established_sign(estimate, p)
        decided.append((estimate, sign or (0 if loss is not None and loss <= KEPT_LEVEL else None)))
    return decided


def _clusters(answers: Answers, share: float) -> int:
    return int(numpy.ceil(share * (int(answers.clusters[-1]) + 1)))


def stopped(answers: Answers, looks: Sequence[Look], *, knowledge: bool) -> tuple[list[Decision], float]:
    """The decision about each method, and the share of the matrix's evaluations that it took."""
    methods, whole = len(answers.gains), answers.values.shape[2] * answers.values.shape[1]
    decisions: dict[int, Decision] = {}
    baseline = 0.0
    for look in looks:
        open_ones = [method for method in range(methods) if decisions.get(method, _OPEN).sign is None]
        if not open_ones:
            break
        baseline = look.items * look.seeds * answers.values.shape[2] / whole
        for method, (estimate, sign) in zip(
            open_ones, look_at(answers, open_ones, look, knowledge=knowledge), strict=True
        ):
            decisions[method] = Decision(sign, estimate, baseline)
    found = [decisions[method] for method in range(methods)]
    return found, (sum(one.spent for one in found) + baseline) / (methods + 1)


_OPEN = Decision(None, Estimate(None))


@dataclass(frozen=True)
class Figures:
    """Shares of runs, of contrasts or of evaluations.

    error     runs with any wrong decision: a difference where there is none, or in the wrong direction, or a loss of
              the margin or more called kept
    together  runs in which the interval of every contrast, at the look where it ended, holds its true difference
    decided   contrasts that the run decided; whole: that the whole matrix decides, tested once
    agreed    of the contrasts that the run decided, those of which the whole matrix says the same
    lost      of the contrasts that the whole matrix decides, those that the run leaves open
    spent     evaluations made, as a share of the whole matrix
    early     the same of the methods that were decided
    """

    runs: int
    error: float
    together: float
    decided: float
    whole: float
    agreed: float
    lost: float
    spent: float
    early: float


def simulate(world: World, runs: int) -> Figures:
    """Run the world that many times, from seeds 0, 1, 2 ..."""
    looks = looks_of(world.stop, world.seeds)
    single = (Look(1.0, world.seeds, 1.0),)
    counts = numpy.zeros(8)
    contrasts = 0
    for run in range(runs):
        answers = drawn(world, numpy.random.default_rng([21, run]))
        found, spent = stopped(answers, looks, knowledge=world.knowledge)
        full, _ = stopped(answers, single, knowledge=world.knowledge)
        contrasts += len(found)
        counts[0] += any(_wrong(one, gain) for one, gain in zip(found, answers.gains, strict=True))
        counts[1] += all(_holds(one.estimate, gain) for one, gain in zip(found, answers.gains, strict=True))
        counts[2] += sum(one.sign is not None for one in found)
        counts[3] += sum(one.sign is not None for one in full)
        counts[4] += sum(a.sign is not None and a.sign == b.sign for a, b in zip(found, full, strict=True))
        counts[5] += sum(a.sign is None and b.sign is not None for a, b in zip(found, full, strict=True))
        counts[6] += spent
        counts[7] += sum(one.spent for one in found if one.sign is not None)
    error, together, decided, whole, agreed, lost, spent, early = counts.tolist()
    return Figures(
        runs, error / runs, together / runs, decided / contrasts, whole / contrasts,
        agreed / decided if decided else 1.0, lost / whole if whole else 0.0, spent / runs,
        early / decided if decided else 1.0,
    )  # fmt: skip


def _wrong(decision: Decision, gain: float) -> bool:
    if decision.sign is None:
        return False
    if decision.sign == 0:
        return gain <= -MARGIN
    return decision.sign * gain <= 0


def _holds(estimate: Estimate, gain: float) -> bool:
    return estimate.low is None or estimate.high is None or estimate.low <= gain <= estimate.high


def main(arguments: Sequence[str]) -> None:
    """Write stopping.json, world by world; those that it has are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    asked = parser.parse_args(arguments)
    file = asked.folder / "stopping.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for world in worlds():
        if known.get(world.title, {}).get("runs", 0) >= asked.runs:
            continue
        known[world.title] = {**asdict(replace(world)), **asdict(simulate(world, asked.runs))}
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(world.title, json.dumps({k: round(v, 4) for k, v in known[world.title].items() if isinstance(v, float)}))


if __name__ == "__main__":
    main(sys.argv[1:])
