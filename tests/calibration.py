"""Simulated matrices whose truth is known: how often intervals hold it, and how often tests are wrong.

    python tests/calibration.py results/calibration [--runs 1000]

writes figures.json, coverage.svg and README.md. An item's logit is the sum of a cluster's and an item's difficulty
(sd 1.5 in all), a method x item part, the method's skill and a method x seed part. Everything is computed for many
matrices at once: an implementation of its own, which test_calibration.py holds to `harness.stats.contrasts`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import special

Array = NDArray[numpy.float64]

DIFFICULTY = 1.5
# clusters' sizes: repeated from the fewest to the most, of Zipf's law, or one that holds two thirds of the items
DESIGNS: dict[str, tuple[int, ...]] = {
    "100 x 1": (1,) * 100,
    "20 x 5": (5,) * 20,
    "60 x 1-5": tuple(1 + at % 5 for at in range(60)),
    "250 x 1-5": tuple(1 + at % 5 for at in range(250)),
    "5 x 20": (20,) * 5,
    "8 x 12": (12,) * 8,
    "30 of Zipf sizes": tuple(max(1, round(200 / (at + 1))) for at in range(30)),
    "100 of Zipf sizes": tuple(max(1, round(300 / (at + 1))) for at in range(100)),
    "25, one with 68 %": (204, *(4,) * 24),
}
# name -> (sd of a method's seeds, the last method's where it differs, correlation between methods, is the last fixed)
SEEDS: dict[str, tuple[float, float, float, bool]] = {
    "none": (0.0, 0.0, 0.0, False),
    "0.1": (0.1, 0.1, 0.0, False),
    "0.2": (0.2, 0.2, 0.0, False),
    "0.5": (0.5, 0.5, 0.0, False),
    "0.5 shared": (0.5, 0.5, 0.7, False),
    "unequal": (0.1, 0.5, 0.0, False),
    "deterministic": (0.2, 0.0, 0.0, True),
    "0.2 shared 0.7": (0.2, 0.2, 0.7, False),
    "0.5 shared 0.9": (0.5, 0.5, 0.9, False),
    "heavy-tailed": (0.3, 0.3, 0.0, False),
}


@dataclass(frozen=True)
class Scenario:
    """design and variance are names of DESIGNS and SEEDS; better: how much the first method is better, in points.

    methods  up to five: all pairs are tested; more: each against the first
    kin      the first so many methods are built on a common artifact, and the statistics are told
    cluster  sd of a method x cluster part, on the logit scale
    """

    design: str
    seeds: int
    variance: str
    accuracy: float
    better: float
    outcomes: str = "binary"
    interaction: float = 0.6
    methods: int = 4
    kin: int = 0
    cluster: float = 0.0

    @property
    def name(self) -> str:
        effect = f"+{100 * self.better:g}" if self.better else "equal"
        further = [f"{self.methods} methods"] * (self.methods != 4)
        further += [f"{self.kin} of one start"] * (self.kin > 0) + [f"method x cluster {self.cluster}"] * (
            self.cluster > 0
        )
        return ", ".join([
            f"{self.design}, {self.seeds} seeds, seed sd {self.variance}, accuracy {self.accuracy}, {effect}, "
            f"{self.outcomes}, method x item {self.interaction}", *further,
        ])  # fmt: skip

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return (
            list(combinations(range(self.methods), 2))
            if self.methods <= 5
            else [(0, m) for m in range(1, self.methods)]
        )

    @property
    def effective_clusters(self) -> float:
        sizes = DESIGNS[self.design]
        return sum(sizes) ** 2 / sum(size**2 for size in sizes)


def scenarios() -> list[Scenario]:
    """The grid, then what varies one thing more at a time. Those with fewer than 5 effective clusters are refused."""
    variances = ("none", "0.1", "0.2", "0.5", "0.5 shared", "unequal", "deterministic")
    both = [(seeds, variance) for seeds in (3, 5) for variance in variances]
    levels = ((0.5, 0.06), (0.95, 0.02))
    found = [
        Scenario(design, s, v, a, b) for design in ("100 x 1", "20 x 5", "60 x 1-5") for s, v in both for a, b in levels
    ]
    found += [Scenario("60 x 1-5", s, v, a, 0.0) for s, v in both for a, _ in levels]
    found += [Scenario("60 x 1-5", s, v, a, b, "fractional") for s, v in both for a, b in levels]
    found += [Scenario("60 x 1-5", s, v, 0.5, 0.06, interaction=i) for s, v in both for i in (0.0, 1.5)]
    found += [Scenario("250 x 1-5", s, v, 0.5, 0.06) for s, v in both]
    started = [(methods, kin, v) for methods, kin in ((2, 2), (5, 5), (5, 2), (15, 15)) for v in SHARED]
    found += [
        Scenario("60 x 1-5", s, v, 0.5, b, methods=m, kin=k) for s in (3, 5) for m, k, v in started for b in (0.0, 0.06)
    ]
    designs = ("30 of Zipf sizes", "100 of Zipf sizes", "5 x 20", "8 x 12")
    found += [
        Scenario(design, s, "0.1", a, 0.0, methods=5, cluster=c)
        for design in designs for s in (3, 5) for a in (0.5, 0.95) for c in (0.0, 0.8)
    ]  # fmt: skip
    found += [
        Scenario("60 x 1-5", s, "heavy-tailed", 0.5, b, methods=m) for s in (3, 5) for b in (0.0, 0.06) for m in (4, 15)
    ]
    found += [Scenario("60 x 1-5", s, "0.2", a, 0.0, methods=15) for s in (3, 5) for a in (0.5, 0.99)]
    found += [Scenario("60 x 1-5", s, "unequal", 0.5, 0.0, methods=k, kin=k) for s in (3, 5) for k in (5, 15)]
    return found


SHARED = ("0.5", "0.2 shared 0.7", "0.5 shared", "0.5 shared 0.9")


@dataclass(frozen=True)
class Figures:
    """What became of a scenario, as shares of its runs.

    coverage  pointwise intervals that hold the true difference: mean over pairs, and the worst pair
    together  matrices in which the simultaneous intervals hold all true differences
    error     matrices with any false rejection of the step-down max-t (of a true null, or in the wrong direction)
    ranks     matrices in which all rank intervals hold the true ranks; where all pairs are tested
    power     tests of the first pair that find the better method, uncorrected; paired by seed and not, where methods
              share a start
    """

    scenario: str
    runs: int
    coverage: float
    worst: float
    together: float
    error: float
    ranks: float
    power: float
    unpaired: float | None = None


# ---- draws

NODES = numpy.polynomial.hermite_e.hermegauss(60)


def accuracy_of(logit: float, spread: float) -> float:
    """E[sigmoid(logit + N(0, spread))], by Gauss-Hermite quadrature."""
    nodes, weights = NODES
    return float((weights * special.expit(logit + spread * nodes)).sum() / weights.sum())


@cache
def logit_of(accuracy: float, spread: float) -> float:
    """The logit at which the accuracy is this, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy_of(middle, spread) < accuracy else (low, middle)
    return (low + high) / 2


def truth(scenario: Scenario) -> list[float]:
    """The true accuracy of every method."""
    return [scenario.accuracy + scenario.better, *[scenario.accuracy] * (scenario.methods - 1)]


def draw(scenario: Scenario, runs: int, generator: numpy.random.Generator) -> tuple[Array, Array]:
    """Cluster totals (runs, methods, seeds, clusters) and the clusters' sizes (clusters,)."""
    sizes, methods = numpy.array(DESIGNS[scenario.design]), scenario.methods
    clusters, items, starts = len(sizes), int(sizes.sum()), numpy.concatenate([[0], numpy.cumsum(sizes)[:-1]])
    deviation, of_last, shared, fixed = SEEDS[scenario.variance]
    deviations = [deviation] * (methods - 1) + [of_last]
    half = DIFFICULTY * math.sqrt(0.5)
    of_cluster = numpy.repeat(generator.normal(0, half, (runs, 1, 1, clusters)), sizes, axis=3)
    logits = of_cluster + generator.normal(0, half, (runs, 1, 1, items))
    logits = logits + generator.normal(0, scenario.interaction, (runs, methods, 1, items))
    if scenario.cluster:
        own = generator.normal(0, scenario.cluster, (runs, methods, 1, clusters))
        logits = logits + numpy.repeat(own, sizes, axis=3)
    logits = logits + _seeds(scenario, runs, generator, shared) * numpy.array(deviations)[:, None, None]
    for method, (accuracy, sd) in enumerate(zip(truth(scenario), deviations, strict=True)):
        spread = math.sqrt(DIFFICULTY**2 + scenario.interaction**2 + scenario.cluster**2 + sd**2)
        logits[:, method] += logit_of(accuracy, spread)
    # single precision and small chunks: most of a simulation's time goes into these three lines
    chances = 1 / (1 + numpy.exp(-logits.astype(numpy.float32)))
    tries = 3 if scenario.outcomes == "fractional" else 1
    right = [generator.random(chances.shape, dtype=numpy.float32) < chances for _ in range(tries)]
    values = numpy.add.reduce(right, dtype=numpy.int32) if tries > 1 else right[0]
    if fixed:
        values[:, -1] = values[:, -1, :1]
    totals = numpy.add.reduceat(values, starts, axis=3, dtype=numpy.int32)
    return totals / tries, sizes.astype(float)


def _seeds(scenario: Scenario, runs: int, generator: numpy.random.Generator, shared: float) -> Array:
    """(runs, methods, seeds, 1) of variance 1; `shared`: the correlation, between kin only where there are kin."""
    shape = (runs, scenario.methods, scenario.seeds, 1)
    if scenario.variance == "heavy-tailed":
        tailed: Array = generator.standard_t(3, shape) / math.sqrt(3)
        return tailed
    common, own = generator.normal(0, 1, (runs, 1, scenario.seeds, 1)), generator.normal(0, 1, shape)
    both: Array = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    if scenario.kin:
        both[:, scenario.kin :] = own[:, scenario.kin :]
    return both


# ---- the formula, for many matrices at once


@dataclass(frozen=True)
class Tests:
    """All pairs of many matrices: values, widths and p (runs, pairs), vectors (runs, pairs, clusters).

    vectors  an item contribution over its standard error, so that products are correlations
    error, degrees  of the half with the wider interval
    """

    values: Array
    widths: Array
    p: Array
    error: Array
    degrees: Array
    vectors: Array


def intervals(
    totals: Array, sizes: Array, scenario: Scenario, *, paired: bool = True, only: str | None = None
) -> Tests:
    """harness.stats.contrasts's formula.

    paired  whether it is told which methods share a start
    only    "own" or "pooled": that half alone
    """
    _, _, seeds, clusters = totals.shape
    count, kin = sizes.sum(), scenario.kin if paired else 0
    average = totals.sum(axis=(2, 3)) / (seeds * count)
    m, e = _squares(totals, sizes)
    ratio, degrees = _pool(m, e, seeds)
    of_kin = _kin_pool(totals[:, :kin], sizes, seeds) if kin > 2 else None
    leverage = (1 - 1 / clusters) / (1 - sizes / count)
    design = (clusters, seeds, float(count**2 / (sizes**2).sum()))
    found = []
    for a, b in scenario.pairs:
        change = totals[:, a] - totals[:, b]
        vector = leverage * _deviations(change[:, None], sizes)[:, 0].mean(axis=1)
        items = seeds * (vector**2).sum(axis=1) / (clusters - 1)
        floor = 3 * seeds * (clusters / count) ** 2 / (clusters - 1)
        items = numpy.where(
            (scenario.outcomes == "binary") | (items <= 1e-12 * floor), numpy.maximum(items, floor), items
        )
        if max(a, b) < kin:
            own, rest = (one[:, 0] for one in _squares(change[:, None], sizes))
            halves = [_half(items, own, seeds - 1.0, rest, design)]
            halves += [_half(items, of_kin[0] * rest, of_kin[1], rest, design)] if of_kin is not None else []
        else:
            rest, own, squares = e[:, a] + e[:, b], m[:, a] + m[:, b], m[:, a] ** 2 + m[:, b] ** 2
            own_degrees = numpy.where(own > 0, (seeds - 1) * own**2 / numpy.where(squares > 0, squares, 1.0), 1.0)
            halves = [_half(items, own, own_degrees, rest, design)]
            pool = _half(items, ratio * rest, degrees, rest, design)
            # without two methods to pool there is no second half
            several = degrees >= 2 * (seeds - 1)
            halves.append(tuple(numpy.where(several, one, first) for one, first in zip(pool, halves[0], strict=True)))
        halves = {"own": halves[:1], "pooled": halves[-1:], None: halves}[only]
        value = average[:, a] - average[:, b]
        width = numpy.stack([special.stdtrit(nu, 0.975) * error for error, nu in halves])
        p = numpy.stack([2 * special.stdtr(nu, -numpy.abs(value) / error) for error, nu in halves]).max(axis=0)
        wider = width.argmax(axis=0)
        error, nu = (numpy.choose(wider, [half[at] for half in halves]) for at in (0, 1))
        scaled = vector / (error * math.sqrt(clusters * (clusters - 1)))[:, None]
        if design[2] < 20:  # few effective clusters: taken as independent
            scaled = numpy.zeros_like(scaled)
        found.append((value, width.max(axis=0), numpy.where(value == 0, 1.0, numpy.minimum(p, 1.0)), error, nu, scaled))
    return Tests(*(numpy.stack(column, axis=1) for column in zip(*found, strict=True)))


def _deviations(totals: Array, sizes: Array) -> Array:
    count, clusters = sizes.sum(), len(sizes)
    average = totals.sum(axis=(2, 3), keepdims=True) / (totals.shape[2] * count)
    u: Array = clusters / count * (totals - sizes * average)
    return u


def _squares(totals: Array, sizes: Array) -> tuple[Array, Array]:
    """M and E, each (runs, methods)."""
    seeds, clusters = totals.shape[2:]
    u = _deviations(totals, sizes)
    of_seed, of_cluster = u.mean(axis=3, keepdims=True), u.mean(axis=2, keepdims=True)
    moves = (totals != totals[:, :, :1]).any(axis=(2, 3))
    m = numpy.where(moves, clusters * (of_seed**2).sum(axis=(2, 3)) / (seeds - 1), 0.0)
    rest = ((u - of_seed - of_cluster) ** 2).sum(axis=(2, 3)) / ((clusters - 1) * (seeds - 1))
    return m, numpy.where(moves & (rest > 1e-20 * (u**2).mean(axis=(2, 3))), rest, 0.0)


def _pool(m: Array, e: Array, seeds: int) -> tuple[Array, Array]:
    """Mean of M / E over those with E > 0, and its degrees of freedom, each (runs,)."""
    ratios = numpy.divide(m, e, out=numpy.zeros_like(m), where=e > 0)
    count = (e > 0).sum(axis=1)
    return ratios.sum(axis=1) / numpy.maximum(count, 1), numpy.maximum(count, 1) * (seeds - 1.0)


def _kin_pool(totals: Array, sizes: Array, seeds: int) -> tuple[Array, float]:
    """The same over the differences of all pairs of kin, with (K - 1)(S - 1) degrees of freedom."""
    pairs = numpy.stack([totals[:, a] - totals[:, b] for a, b in combinations(range(totals.shape[1]), 2)], axis=1)
    ratio, _ = _pool(*_squares(pairs, sizes), seeds)
    return ratio, (totals.shape[1] - 1) * (seeds - 1.0)


def _half(
    items: Array, between: Array, degrees: Array | float, rest: Array, design: tuple[int, int, float]
) -> tuple[Array, Array]:
    """(standard error, degrees of freedom) of one half."""
    clusters, seeds, effective = design
    variance = (items + numpy.maximum(between - rest, 0.0)) / (clusters * seeds)
    spread = items**2 / (effective - 1) + between**2 / degrees + rest**2 / ((effective - 1) * (seeds - 1))
    freedom = numpy.maximum((clusters * seeds * variance) ** 2 / spread, 1.0)
    return numpy.sqrt(variance), numpy.where(between > rest * (1 + 1e-9), freedom, effective - 1.0)


def max_t(tests: Tests, draws: Array) -> tuple[Array, Array]:
    """Adjusted p (runs, pairs) of the step-down procedure, and the level of the simultaneous intervals (runs,).

    draws  (number, pairs) of standard normal variables, the same for every matrix
    """
    number, pairs = draws.shape
    adjusted, levels = numpy.empty_like(tests.p), numpy.empty(len(tests.p))
    rank = number + 2 - math.ceil(0.05 * (number + 1))
    for run, (p, vectors) in enumerate(zip(tests.p, tests.vectors, strict=True)):
        order = numpy.argsort(p, kind="stable")
        correlation = numpy.clip(vectors[order] @ vectors[order].T, -1, 1)
        numpy.fill_diagonal(correlation, 1.0)
        values, own = numpy.linalg.eigh(correlation)
        z = numpy.abs(draws @ ((own * numpy.sqrt(numpy.maximum(values, 0.0))) @ own.T))
        later = numpy.maximum.accumulate(z[:, ::-1], axis=1)[:, ::-1]
        shares = ((later >= -special.ndtri(p[order] / 2)).sum(axis=0) + 1) / (number + 1)
        of_holm = numpy.minimum(numpy.maximum.accumulate(p[order] * numpy.arange(pairs, 0, -1)), 1.0)
        adjusted[run, order] = numpy.maximum.accumulate(numpy.maximum(numpy.minimum(shares, of_holm), p[order]))
        levels[run] = min(max(2 * special.ndtr(-numpy.partition(later[:, 0], rank)[rank]), 0.05 / pairs), 0.05)
    return adjusted, levels


def holm(p: Array) -> Array:
    """Adjusted p-values (runs, tests)."""
    order = numpy.argsort(p, axis=1)
    steps = numpy.take_along_axis(p, order, 1) * numpy.arange(p.shape[1], 0, -1)
    reached = numpy.minimum(numpy.maximum.accumulate(steps, axis=1), 1.0)
    adjusted = numpy.empty_like(p)
    numpy.put_along_axis(adjusted, order, reached, 1)
    return adjusted


def figures_of(scenario: Scenario, runs: int, seed: int = 0, chunk: int = 25, draws: int = 4000) -> Figures:
    """Simulate `runs` matrices. The same scenario, runs and seed give the same figures."""
    generator = numpy.random.default_rng([seed, *scenario.name.encode()])
    levels, pairs = truth(scenario), scenario.pairs
    true = numpy.array([levels[a] - levels[b] for a, b in pairs])
    normal = numpy.random.default_rng(1).standard_normal((draws, len(pairs)))
    held = numpy.zeros(len(pairs))
    counts = dict.fromkeys(("together", "wrong", "misplaced", "found", "unpaired"), 0)
    for start in range(0, runs, chunk):
        totals, sizes = draw(scenario, min(chunk, runs - start), generator)
        tests = intervals(totals, sizes, scenario)
        held += (numpy.abs(tests.values - true) <= tests.widths).sum(axis=0)
        adjusted, level = max_t(tests, normal)
        decided = (adjusted < 0.05) * numpy.sign(tests.values)
        counts["wrong"] += int(((decided != 0) & (decided != numpy.sign(true))).any(axis=1).sum())
        counts["together"] += int(_hold_together(tests, level, decided, true).sum())
        if scenario.methods <= 5:
            ranked = (holm(tests.p) < 0.05) * numpy.sign(tests.values)
            counts["misplaced"] += int(_misplaced(ranked, numpy.array(levels), pairs).sum())
        counts["found"] += int(((tests.p[:, 0] < 0.05) & (tests.values[:, 0] > 0)).sum())
        if scenario.kin:
            apart = intervals(totals, sizes, scenario, paired=False)
            counts["unpaired"] += int(((apart.p[:, 0] < 0.05) & (apart.values[:, 0] > 0)).sum())
    return Figures(
        scenario.name, runs, float(held.mean() / runs), float(held.min() / runs), counts["together"] / runs,
        counts["wrong"] / runs, 1 - counts["misplaced"] / runs, counts["found"] / runs,
        counts["unpaired"] / runs if scenario.kin else None,
    )  # fmt: skip


def _hold_together(tests: Tests, level: Array, decided: Array, true: Array) -> NDArray[numpy.bool_]:
    """Matrices in which every interval holds its true difference; one whose direction is decided ends at 0."""
    width = special.stdtrit(tests.degrees, 1 - level[:, None] / 2) * tests.error
    low, high = tests.values - width, tests.values + width
    low, high = (
        numpy.where(decided > 0, numpy.maximum(low, 0), low),
        numpy.where(decided < 0, numpy.minimum(high, 0), high),
    )
    return numpy.asarray(((low <= true) & (true <= high)).all(axis=1))


def _misplaced(decided: NDArray[Any], levels: Array, pairs: Sequence[tuple[int, int]]) -> NDArray[numpy.bool_]:
    """Matrices in which some method's rank interval leaves out a rank that is truly its (ties have several)."""
    runs, methods = len(decided), len(levels)
    better, worse = numpy.zeros((runs, methods)), numpy.zeros((runs, methods))
    for at, (a, b) in enumerate(pairs):
        for winner, loser, sign in ((a, b, 1), (b, a, -1)):
            better[:, loser] += decided[:, at] == sign
            worse[:, winner] += decided[:, at] == sign
    above = numpy.array([(levels > level).sum() for level in levels])
    below = numpy.array([(levels < level).sum() for level in levels])
    return numpy.asarray(((better > above) | (worse > below)).any(axis=1))


# ---- the committed results

AGAIN = 10
WIDTH, HEIGHT, LEFT, TOP, PANEL = 1160, 560, 60, 30, 210


def picture(figures: Sequence[Figures]) -> str:
    """Coverage and family-wise error of every scenario, in columns by seed variance and number of seeds."""
    columns = [(variance, seeds) for variance in SEEDS for seeds in (3, 5)]
    panels = (
        ("coverage of 95 % intervals, % (hollow: worst pair; orange: simultaneous, all together)", 90.0, 100.0, 95.0,
         (("coverage", "#4269d0", "#4269d0"), ("worst", "none", "#4269d0"), ("together", "#e0862b", "#e0862b"))),
        ("matrices with any false rejection of the step-down max-t, %", 0.0, 10.0, 5.0,
         (("error", "#4269d0", "#4269d0"),)),
    )  # fmt: skip
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    ]
    for number, (title, low, high, line, names) in enumerate(panels):
        top = TOP + number * (PANEL + 60)
        parts += _frame(title, low, high, line, top)
        for at, (variance, seeds) in enumerate(columns):
            own = [f for f in figures if f", {seeds} seeds, seed sd {variance}, " in f.scenario]
            for index, one in enumerate(own):
                x = LEFT + (at + 0.15 + 0.7 * (index + 0.5) / len(own)) * (WIDTH - LEFT - 20) / len(columns)
                for name, fill, stroke in names:
                    share = min(max(100 * float(getattr(one, name)), low), high)
                    y = top + PANEL * (high - share) / (high - low)
                    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{fill}" stroke="{stroke}"/>')
            if number == len(panels) - 1:
                x = LEFT + (at + 0.5) * (WIDTH - LEFT - 20) / len(columns)
                parts.append(f'<text x="{x:.1f}" y="{top + PANEL + 18}" text-anchor="middle">{seeds}</text>')
                if seeds == 3:
                    x += (WIDTH - LEFT - 20) / len(columns) / 2
                    parts.append(f'<text x="{x:.1f}" y="{top + PANEL + 36}" text-anchor="middle">{variance}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(title: str, low: float, high: float, line: float, top: float) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{title}</text>'
    for step in range(6):
        value = low + (high - low) * step / 5
        y = top + PANEL * (high - value) / (high - low)
        yield f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    y = top + PANEL * (high - line) / (high - low)
    yield f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#b9660c" stroke-dasharray="5 4"/>'


def shortfalls(figures: Sequence[Figures], slack: float = 0.0) -> dict[str, tuple[str, list[Figures]]]:
    """figure -> what it falls short of, and the scenarios that do, by more than `slack`, the worst first."""
    return {
        "worst": (
            "a pair whose 95 % interval covers less than 93 %",
            sorted((one for one in figures if one.worst < 0.93 - slack), key=lambda one: one.worst),
        ),
        "together": (
            "simultaneous intervals that hold all together in less than 95 %",
            sorted((one for one in figures if one.together < 0.95 - slack), key=lambda one: one.together),
        ),
        "error": (
            "a family-wise error above 5 %",
            sorted((one for one in figures if one.error > 0.05 + slack), key=lambda one: -one.error),
        ),
        "ranks": (
            "rank intervals jointly right in less than 95 %",
            sorted((one for one in figures if one.ranks < 0.95 - slack), key=lambda one: one.ranks),
        ),
    }


def readme(figures: Sequence[Figures]) -> str:
    """What was simulated and what came of it, with every scenario that falls short."""
    mean = sum(one.coverage for one in figures) / len(figures)
    runs = sorted({one.runs for one in figures}, reverse=True)
    drawn = ", ".join(f"{sum(1 for one in figures if one.runs == n)} of {n:,} matrices each" for n in runs)
    errors = " and ".join(f"{100 * math.sqrt(0.95 * 0.05 / n):.1f}" for n in runs)
    lines = [
        "# Calibration", "",
        "How far the report's intervals and tests can be trusted, by simulation of matrices whose truth is known:",
        f"{len(figures)} scenarios ({drawn}), two to fifteen methods "
        "(`python tests/calibration.py results/calibration`; the test in `make test-all` draws them again).", "",
        "![coverage and family-wise error of every scenario](coverage.svg)", "",
        "| | lowest | median | highest |", "|:--|--:|--:|--:|",
    ]  # fmt: skip
    for name, title in (
        ("coverage", "coverage of pointwise 95 % intervals, mean over pairs"),
        ("worst", "coverage of pointwise 95 % intervals, worst pair"),
        ("together", "all simultaneous intervals hold"),
        ("error", "any false rejection of the step-down max-t"),
        ("ranks", "all rank intervals right"),
    ):
        shares = sorted(100 * float(getattr(one, name)) for one in figures)
        lines.append(f"| {title}, % | {shares[0]:.1f} | {shares[len(shares) // 2]:.1f} | {shares[-1]:.1f} |")
    lines += ["", f"Mean coverage over all scenarios: {100 * mean:.1f} %. One figure's standard error is about "
              f"{errors} points of one pair."]  # fmt: skip
    for name, (title, short) in shortfalls(figures).items():
        lines += ["", f"Scenarios with {title}: {len(short) or 'none'}.", *([""] if short else [])]
        lines += [f"- {one.scenario}: {100 * float(getattr(one, name)):.1f} %" for one in short]
    lines += [
        "", f"What falls short of its bound in the first draw was drawn again, freshly and {AGAIN} times as often; its "
        "figures are those of the second draw alone.",
        "", "## Methods of one start", "",
        "Power of an uncorrected test of a true difference of 6 points, at 60 clusters of 1 to 5 items. `paired`: the "
        "statistics know that the methods are built on a common artifact.", "",
        "| scenario | paired, % | not paired, % |", "|:--|--:|--:|",
    ]  # fmt: skip
    lines += [
        f"| {one.scenario} | {100 * one.power:.1f} | {100 * one.unpaired:.1f} |"
        for one in figures
        if one.unpaired is not None and "+6" in one.scenario
    ]
    lines += [
        "", "Difficulty has a logit sd of 1.5, half of its variance shared by a cluster's items. Seed sd is on the "
        "logit scale: equal for all methods, `shared` with a correlation between methods (0.7 unless named), `unequal` "
        "0.5 for one method and 0.1 for the others, `deterministic` 0.2 but for one method that no seed changes, "
        "`heavy-tailed` 0.3 times Student's t with 3 degrees of freedom. Fractional outcomes are thirds. `of one "
        "start`: methods that share an artifact, and correlate only among themselves. Zipf sizes: the largest cluster "
        "divided by 1, 2, 3 ... Nothing is claimed for fewer than 5 effective clusters, for one seed, or for other "
        "shapes of outcomes. All figures: [figures.json](figures.json).",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args(arguments)
    figures = []
    for scenario in scenarios():
        figures.append(figures_of(scenario, given.runs))
        if any(short for _, short in shortfalls(figures[-1:]).values()):
            figures[-1] = figures_of(scenario, AGAIN * given.runs, seed=2)
        print(figures[-1], flush=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    shown = json.dumps([asdict(one) for one in figures], indent=1)
    (given.folder / "figures.json").write_text(shown + "\n", "utf-8")
    (given.folder / "coverage.svg").write_text(picture(figures), "utf-8")
    (given.folder / "README.md").write_text(readme(figures), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
