"""Simulated matrices whose truth is known: how often intervals hold it, and how often tests are wrong.

    python tests/calibration.py results/calibration [--runs 2000]

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

import numpy
from numpy.typing import NDArray
from scipy import special

Array = NDArray[numpy.float64]

METHODS = 4
PAIRS = list(combinations(range(METHODS), 2))
DIFFICULTY = 1.5
DESIGNS = {"100 x 1": (100, 1, 1), "20 x 5": (20, 5, 5), "60 x 1-5": (60, 1, 5), "250 x 1-5": (250, 1, 5)}
# name -> (sd of each method's seeds, correlation between methods, whether the last one is deterministic)
SEEDS: dict[str, tuple[tuple[float, ...], float, bool]] = {
    "none": ((0.0,) * 4, 0.0, False),
    "0.1": ((0.1,) * 4, 0.0, False),
    "0.2": ((0.2,) * 4, 0.0, False),
    "0.5": ((0.5,) * 4, 0.0, False),
    "0.5 shared": ((0.5,) * 4, 0.7, False),
    "unequal": ((0.1, 0.1, 0.1, 0.5), 0.0, False),
    "deterministic": ((0.2, 0.2, 0.2, 0.0), 0.0, True),
}


@dataclass(frozen=True)
class Scenario:
    """design and variance are names of DESIGNS and SEEDS; better: how much the first method is better, in points."""

    design: str
    seeds: int
    variance: str
    accuracy: float
    better: float
    outcomes: str = "binary"
    interaction: float = 0.6

    @property
    def name(self) -> str:
        effect = f"+{100 * self.better:g}" if self.better else "equal"
        return (
            f"{self.design}, {self.seeds} seeds, seed sd {self.variance}, accuracy {self.accuracy}, {effect}, "
            f"{self.outcomes}, method x item {self.interaction}"
        )


def scenarios() -> list[Scenario]:
    """The grid, then what varies one thing more at a time."""
    both = [(seeds, variance) for seeds in (3, 5) for variance in SEEDS]
    levels = ((0.5, 0.06), (0.95, 0.02))
    found = [
        Scenario(design, s, v, a, b) for design in ("100 x 1", "20 x 5", "60 x 1-5") for s, v in both for a, b in levels
    ]
    found += [Scenario("60 x 1-5", s, v, a, 0.0) for s, v in both for a, _ in levels]
    found += [Scenario("60 x 1-5", s, v, a, b, "fractional") for s, v in both for a, b in levels]
    found += [Scenario("60 x 1-5", s, v, 0.5, 0.06, interaction=i) for s, v in both for i in (0.0, 1.5)]
    found += [Scenario("250 x 1-5", s, v, 0.5, 0.06) for s, v in both]
    return found


@dataclass(frozen=True)
class Figures:
    """What became of a scenario, as shares of its runs.

    coverage  intervals that hold the true difference: mean over pairs, and the worst pair
    error     matrices with any false rejection after Holm (of a true null, or in the wrong direction)
    ranks     matrices in which all rank intervals hold the true ranks
    """

    scenario: str
    runs: int
    coverage: float
    worst: float
    error: float
    ranks: float


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
    return [scenario.accuracy + scenario.better, *[scenario.accuracy] * (METHODS - 1)]


def draw(scenario: Scenario, runs: int, generator: numpy.random.Generator) -> tuple[Array, Array]:
    """Cluster totals (runs, methods, seeds, clusters) and the clusters' sizes (clusters,)."""
    clusters, fewest, most = DESIGNS[scenario.design]
    sizes = numpy.resize(numpy.arange(fewest, most + 1), clusters)
    items, starts = int(sizes.sum()), numpy.concatenate([[0], numpy.cumsum(sizes)[:-1]])
    deviations, shared, fixed = SEEDS[scenario.variance]
    of_cluster = numpy.repeat(generator.normal(0, DIFFICULTY * math.sqrt(0.5), (runs, 1, 1, clusters)), sizes, axis=3)
    logits = of_cluster + generator.normal(0, DIFFICULTY * math.sqrt(0.5), (runs, 1, 1, items))
    logits = logits + generator.normal(0, scenario.interaction, (runs, METHODS, 1, items))
    common = generator.normal(0, 1, (runs, 1, scenario.seeds, 1))
    own = generator.normal(0, 1, (runs, METHODS, scenario.seeds, 1))
    seeds = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    logits = logits + seeds * numpy.array(deviations)[:, None, None]
    for method, (accuracy, sd) in enumerate(zip(truth(scenario), deviations, strict=True)):
        logits[:, method] += logit_of(accuracy, math.sqrt(DIFFICULTY**2 + scenario.interaction**2 + sd**2))
    # single precision and small chunks: most of a simulation's time goes into these three lines
    chances = 1 / (1 + numpy.exp(-logits.astype(numpy.float32)))
    tries = 3 if scenario.outcomes == "fractional" else 1
    right = [generator.random(chances.shape, dtype=numpy.float32) < chances for _ in range(tries)]
    values = numpy.add.reduce(right, dtype=numpy.int32) if tries > 1 else right[0]
    if fixed:
        values[:, -1] = values[:, -1, :1]
    totals = numpy.add.reduceat(values, starts, axis=3, dtype=numpy.int32)
    return totals / tries, sizes.astype(float)


# ---- the formula, for many matrices at once


def intervals(totals: Array, sizes: Array, binary: bool) -> tuple[Array, Array, Array]:
    """(difference, half width, p), each (runs, pairs), of all pairs of methods; harness.stats.contrasts's formula."""
    runs, _, seeds, clusters = totals.shape
    count = sizes.sum()
    average = totals.sum(axis=(2, 3), keepdims=True) / (seeds * count)
    u = clusters / count * (totals - sizes * average)
    of_seed, of_cluster = u.mean(axis=3, keepdims=True), u.mean(axis=2, keepdims=True)
    moves = (totals != totals[:, :, :1]).any(axis=(2, 3))
    m = numpy.where(moves, clusters * (of_seed**2).sum(axis=(2, 3)) / (seeds - 1), 0.0)
    rest = ((u - of_seed - of_cluster) ** 2).sum(axis=(2, 3)) / ((clusters - 1) * (seeds - 1))
    e = numpy.where(moves & (rest > 1e-20 * (u**2).mean(axis=(2, 3))), rest, 0.0)
    ratios = numpy.divide(m, e, out=numpy.zeros_like(m), where=e > 0)
    pooled = (e > 0).sum(axis=1)
    ratio = ratios.sum(axis=1) / numpy.maximum(pooled, 1)
    values, widths, chances = (numpy.zeros((runs, len(PAIRS))) for _ in range(3))
    for at, (a, b) in enumerate(PAIRS):
        items = seeds * ((of_cluster[:, a] - of_cluster[:, b]) ** 2).sum(axis=(1, 2)) / (clusters - 1)
        floor = 3 * seeds * (clusters / count) ** 2 / (clusters - 1)
        items = numpy.where(binary | (items <= 1e-12 * floor), numpy.maximum(items, floor), items)
        both, own = e[:, a] + e[:, b], m[:, a] + m[:, b]
        squares = m[:, a] ** 2 + m[:, b] ** 2
        own_degrees = (seeds - 1) * own**2 / numpy.where(squares > 0, squares, 1.0)
        halves = [_half(items, own, numpy.where(own > 0, own_degrees, 1.0), both, clusters, seeds)]
        pool = _half(items, ratio * both, numpy.maximum(pooled, 1) * (seeds - 1), both, clusters, seeds)
        # without two methods to pool there is no second half
        halves.append(tuple(numpy.where(pooled > 1, one, first) for one, first in zip(pool, halves[0], strict=True)))
        values[:, at] = (average[:, a] - average[:, b])[:, 0, 0]
        widths[:, at] = numpy.maximum(*(special.stdtrit(nu, 0.975) * error for error, nu in halves))
        p = [2 * special.stdtr(nu, -numpy.abs(values[:, at]) / error) for error, nu in halves]
        chances[:, at] = numpy.where(values[:, at] == 0, 1.0, numpy.minimum(numpy.maximum(*p), 1.0))
    return values, widths, chances


def _half(items: Array, between: Array, degrees: Array, rest: Array, clusters: int, seeds: int) -> tuple[Array, Array]:
    """(standard error, degrees of freedom) of one half."""
    variance = (items + numpy.maximum(between - rest, 0.0)) / (clusters * seeds)
    spread = items**2 / (clusters - 1) + between**2 / degrees + rest**2 / ((clusters - 1) * (seeds - 1))
    freedom = numpy.maximum((clusters * seeds * variance) ** 2 / spread, 1.0)
    return numpy.sqrt(variance), numpy.where(between > rest, freedom, clusters - 1.0)


def holm(p: Array) -> Array:
    """Adjusted p-values (runs, tests)."""
    order = numpy.argsort(p, axis=1)
    steps = numpy.take_along_axis(p, order, 1) * numpy.arange(p.shape[1], 0, -1)
    reached = numpy.minimum(numpy.maximum.accumulate(steps, axis=1), 1.0)
    adjusted = numpy.empty_like(p)
    numpy.put_along_axis(adjusted, order, reached, 1)
    return adjusted


def figures_of(scenario: Scenario, runs: int, seed: int = 0, chunk: int = 25) -> Figures:
    """Simulate `runs` matrices. The same scenario, runs and seed give the same figures."""
    generator = numpy.random.default_rng([seed, *scenario.name.encode()])
    levels = truth(scenario)
    true = numpy.array([levels[a] - levels[b] for a, b in PAIRS])
    held, wrong, misplaced = numpy.zeros(len(PAIRS)), 0, 0
    for start in range(0, runs, chunk):
        totals, sizes = draw(scenario, min(chunk, runs - start), generator)
        values, widths, p = intervals(totals, sizes, scenario.outcomes == "binary")
        held += (numpy.abs(values - true) <= widths).sum(axis=0)
        decided = (holm(p) < 0.05) * numpy.sign(values)
        wrong += int(((decided != 0) & (decided != numpy.sign(true))).any(axis=1).sum())
        misplaced += int(_misplaced(decided, numpy.array(levels)).sum())
    return Figures(
        scenario.name, runs, float(held.mean() / runs), float(held.min() / runs), wrong / runs, 1 - misplaced / runs
    )


def _misplaced(decided: Array, levels: Array) -> NDArray[numpy.bool_]:
    """Matrices in which some method's rank interval leaves out a rank that is truly its (ties have several)."""
    runs = len(decided)
    better, worse = numpy.zeros((runs, METHODS)), numpy.zeros((runs, METHODS))
    for at, (a, b) in enumerate(PAIRS):
        for winner, loser, sign in ((a, b, 1), (b, a, -1)):
            better[:, loser] += decided[:, at] == sign
            worse[:, winner] += decided[:, at] == sign
    above = numpy.array([(levels > level).sum() for level in levels])
    below = numpy.array([(levels < level).sum() for level in levels])
    found: NDArray[numpy.bool_] = ((better > above) | (worse > below)).any(axis=1)
    return found


# ---- the committed results

WIDTH, HEIGHT, LEFT, TOP, PANEL = 860, 560, 60, 30, 210


def picture(figures: Sequence[Figures]) -> str:
    """Coverage and family-wise error of every scenario, in columns by seed variance and number of seeds."""
    columns = [(variance, seeds) for variance in SEEDS for seeds in (3, 5)]
    panels = (
        ("coverage of 95 % intervals, % (hollow: worst pair)", 90.0, 100.0, 95.0, ("coverage", "worst")),
        ("matrices with any false rejection after Holm, %", 0.0, 10.0, 5.0, ("error",)),
    )
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
                for name in names:
                    share = min(max(100 * float(getattr(one, name)), low), high)
                    y = top + PANEL * (high - share) / (high - low)
                    fill = "none" if name == "worst" else "#4269d0"
                    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{fill}" stroke="#4269d0"/>')
            if number == len(panels) - 1:
                x = LEFT + (at + 0.5) * (WIDTH - LEFT - 20) / len(columns)
                parts.append(f'<text x="{x:.1f}" y="{top + PANEL + 18}" text-anchor="middle">{seeds} seeds</text>')
                if seeds == 3:
                    x += (WIDTH - LEFT - 20) / len(columns) / 2
                    parts.append(f'<text x="{x:.1f}" y="{top + PANEL + 36}" text-anchor="middle">sd {variance}</text>')
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
        f"{len(figures)} scenarios ({drawn}), four methods, six pairs "
        "(`python tests/calibration.py results/calibration`; the test in `make test-all` draws them again).", "",
        "![coverage and family-wise error of every scenario](coverage.svg)", "",
        "| | lowest | median | highest |", "|:--|--:|--:|--:|",
    ]  # fmt: skip
    for name, title in (
        ("coverage", "coverage of 95 % intervals, mean over pairs"),
        ("worst", "coverage of 95 % intervals, worst pair"),
        ("error", "any false rejection after Holm over six tests"),
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
        "", "Difficulty has a logit sd of 1.5, half of its variance shared by a cluster's items. Seed sd is on the "
        "logit scale: equal for all methods, `shared` with a correlation of 0.7 between methods, `unequal` 0.5 for one "
        "method and 0.1 for the others, `deterministic` 0.2 but for one method that no seed changes. Fractional "
        "outcomes are thirds. Nothing is claimed for fewer than 20 clusters, for one seed, or for other shapes of "
        "outcomes. All figures: [figures.json](figures.json).",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=2000)
    given = parser.parse_args(arguments)
    figures = []
    for scenario in scenarios():
        figures.append(figures_of(scenario, given.runs))
        print(figures[-1], flush=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    shown = json.dumps([asdict(one) for one in figures], indent=1)
    (given.folder / "figures.json").write_text(shown + "\n", "utf-8")
    (given.folder / "coverage.svg").write_text(picture(figures), "utf-8")
    (given.folder / "README.md").write_text(readme(figures), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
