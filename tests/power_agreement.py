"""Predicted chances against decisions on simulated items: the agreement that test_power.py holds.

    python tests/power_agreement.py [RUNS]

prints a line for each design. The prediction gets the components of the scenario, estimated from matrices of their
own; the decisions are those of harness.stats on matrices that tests/calibration.py draws. The last method is the
baseline.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy
from calibration import Array, Scenario, _deviations, _squares, draw

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference, seed_pool
from harness.stats.families import LEVEL, holm, max_t, non_inferiority_p
from harness.stats.power import Size, Variation, chances_of_better, drawn, family_of

CHUNK = 50


@dataclass(frozen=True)
class Agreement:
    """A share of decisions as predicted and as counted, and over how many matrices."""

    title: str
    predicted: float
    counted: float
    runs: int


def designs() -> Iterator[tuple[Scenario, float]]:
    """Scenarios, with the margin of "kept": effects at which chances are neither 0 nor 1."""
    for design, better, margin in (("60 x 1-5", 0.10, 0.10), ("250 x 1-5", 0.06, 0.06)):
        for seeds in (3, 5):
            for variance in ("none", "0.1", "0.2"):
                for methods in (4, 12):
                    yield Scenario(design, seeds, variance, 0.5, better, methods=methods), margin


def agreement(scenario: Scenario, margin: float, runs: int, learnt: int = 2000) -> list[Agreement]:
    """Of "better" where the first method is, and of "kept" where no method differs."""
    equal = replace(scenario, better=0.0)
    told = "told of their start, " if scenario.kin else ""
    title = f"{scenario.design}, {scenario.seeds} seeds, sd {scenario.variance}, {told}{scenario.methods - 1} tests"
    predicted = [_predicted(one, scenario.better, margin, learnt) for one in (scenario, equal)]
    return [
        Agreement(f"{title}: better", predicted[0][0], _counted(scenario, margin, runs)[0], runs),
        Agreement(f"{title}: kept", predicted[1][1], _counted(equal, margin, runs, kept=True)[1], runs),
    ]


def variation_of(scenario: Scenario, matrices: int) -> tuple[Variation, Size]:
    """The components of a scenario, as means over many matrices."""
    generator, found = numpy.random.default_rng(31), []
    for _ in range(max(matrices // CHUNK, 1)):
        totals, sizes = draw(scenario, CHUNK, generator)
        found.append(_statistics(totals, sizes))
    between, rest, items, together = (numpy.mean(column, axis=0) for column in zip(*found, strict=True))
    clusters, seeds = len(sizes), scenario.seeds
    component = numpy.maximum(between - rest, 0.0) / clusters
    own = numpy.maximum(items - (rest[:-1] + rest[-1]), 0.0) / seeds
    variation = Variation(tuple(own), tuple(component), tuple(rest), float(together), ("",) * scenario.methods)
    return variation, Size(float(sizes.sum()), clusters, scenario.effective_clusters, seeds)


def _statistics(totals: Array, sizes: Array) -> tuple[Array, Array, Array, float]:
    """M and E (methods,), MS_I (tests,) and the correlation of two tests' items, on average over the matrices."""
    m, e = _squares(totals, sizes)
    clusters, seeds = len(sizes), totals.shape[2]
    leverage = (1 - 1 / clusters) / (1 - sizes / sizes.sum())
    vectors = [
        leverage * _deviations((totals[:, j] - totals[:, -1])[:, None], sizes)[:, 0].mean(axis=1)
        for j in range(totals.shape[1] - 1)
    ]
    squares = numpy.stack([seeds * (one**2).sum(axis=1) / (clusters - 1) for one in vectors], axis=1)
    a, b = vectors[0], vectors[1]
    together = ((a * b).sum(axis=1) / numpy.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))).mean()
    return m.mean(axis=0), e.mean(axis=0), squares.mean(axis=0), float(together)


def _predicted(scenario: Scenario, effect: float, margin: float, learnt: int) -> tuple[float, float]:
    variation, size = variation_of(scenario, learnt)
    tests = drawn(variation, size, draws=20_000)
    assert tests is not None
    family = family_of([tests], margin, [0])
    return chances_of_better(family, 0, effect)[0], float(numpy.mean(family.kept[0]))


def _counted(scenario: Scenario, margin: float, runs: int, *, kept: bool = False) -> tuple[float, float]:
    """Shares of matrices in which the first method is "better", or of methods that are "kept"."""
    generator, won, held = numpy.random.default_rng(32), 0, 0
    for _ in range(runs // CHUNK):
        totals, sizes = draw(scenario, CHUNK, generator)
        for one in totals:
            scores = [Scores(own, sizes) for own in one]
            pool = seed_pool(scores)
            found = [difference(own, scores[-1], pool, Scale()) for own in scores[:-1]]
            if kept:
                held += sum(
                    p is not None and p <= LEVEL / 2 for p in holm([non_inferiority_p(f, margin) for f in found])
                )
            else:
                p = max_t(found, [0] * len(found)).adjusted[0]
                won += p is not None and p < LEVEL and (found[0].value or 0.0) > 0
    return won / runs, held / (runs * (scenario.methods - 1))


def main(runs: int) -> None:
    found = []
    for scenario, margin in designs():
        for one in agreement(scenario, margin, runs):
            found.append(100 * (one.predicted - one.counted))
            print(f"{one.title:50} {100 * one.predicted:5.1f} {100 * one.counted:5.1f} {found[-1]:+5.1f}", flush=True)
    print(f"mean {numpy.mean(found):+.2f}, mean size {numpy.abs(found).mean():.2f}, largest {max(found, key=abs):+.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
