"""docs/statistics.md implemented again, from its text alone, and held to `harness.stats` on random matrices.

The numbers in the comments are the document's sections. scipy.stats is used here, scipy.special there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.stats.contrasts import Estimate, Scale, Scores, difference, minimum_detectable_effect, seed_pool
from harness.stats.families import gap_closed, holm, independent_sum, non_inferiority_p, rank_intervals
from harness.stats.resolution import needed, noise_floor

Array = NDArray[numpy.float64]


@dataclass
class Found:
    """A contrast as sections 2 to 4 define it; halves: (SE, degrees of freedom, W) of each."""

    value: float
    low: float
    high: float
    p: float
    halves: list[tuple[float, float, float]]
    items: float
    interaction: float


def deviations(totals: Array, m: Array) -> Array:
    """3: u (S, C)"""
    n, seeds = m.sum(), len(totals)
    scaled: Array = len(m) / n * (totals - m * totals.sum() / (seeds * n))
    return scaled


def squares(totals: Array, m: Array) -> tuple[float, float]:
    """3: (M, E) of one method"""
    seeds, clusters = totals.shape
    if seeds == 1 or (totals == totals[0]).all():
        return 0.0, 0.0
    u = deviations(totals, m)
    rest = u - u.mean(axis=0) - u.mean(axis=1, keepdims=True)
    e = float((rest**2).sum() / ((clusters - 1) * (seeds - 1)))
    between = float(clusters * (u.mean(axis=1) ** 2).sum() / (seeds - 1))
    return between, e if e > 1e-20 * float((u**2).mean()) else 0.0


def contrast(parts: Sequence[Array], k: Sequence[float], m: Array, panel: Sequence[Array], binary: bool) -> Found:
    """2 to 4, on scores of unit 1"""
    seeds, clusters = parts[0].shape
    n = m.sum()
    together = sum((c * part for c, part in zip(k, parts, strict=True)), numpy.zeros_like(parts[0]))
    value = float(together.sum() / (seeds * n))
    items = float(seeds * (deviations(together, m).mean(axis=0) ** 2).sum() / (clusters - 1))
    floor = float(3 * seeds * (clusters / n) ** 2 / (clusters - 1))
    if binary or items <= 1e-12 * floor:
        items = max(items, floor)
    own = [(c**2 * squares(part, m)[0], c**2 * squares(part, m)[1]) for c, part in zip(k, parts, strict=True)]
    e, w = sum(rest for _, rest in own), sum(between for between, _ in own)
    halves = [(w, (seeds - 1) * w**2 / sum(between**2 for between, _ in own) if w > 0 else 1.0)]
    varying = [(between, rest) for between, rest in (squares(one, m) for one in panel) if rest > 0]
    if len(varying) > 1:
        ratio = float(numpy.mean([between / rest for between, rest in varying]))
        halves.append((ratio * e, len(varying) * (seeds - 1)))
    found = []
    for w, w_degrees in halves:
        v = (items + max(w - e, 0)) / (clusters * seeds)
        degrees = float(clusters - 1)
        if w > e:
            uncertain = items**2 / (clusters - 1) + w**2 / w_degrees + e**2 / ((clusters - 1) * (seeds - 1))
            degrees = max(1.0, (clusters * seeds * v) ** 2 / uncertain)
        found.append((math.sqrt(v), degrees, w))
    width = max(stats.t.ppf(0.975, nu) * error for error, nu, _ in found)
    p = max(2 * stats.t.sf(abs(value) / error, nu) for error, nu, _ in found) if value else 1.0
    return Found(value, value - width, value + width, p, found, items, e)


def drawn(seed: int) -> tuple[list[Array], Array]:
    """Totals of four methods, the first the same at every seed, and the weights of the clusters."""
    chance = numpy.random.default_rng(seed)
    clusters, seeds = int(chance.integers(3, 40)), int(chance.integers(1, 6))
    m = chance.integers(1, 4, clusters).astype(float)
    difficulty, found = chance.normal(0, 1, clusters), []
    for spread in (0.0, 0.1, 0.3, 0.6):
        logit = chance.normal(0, 1) + difficulty + chance.normal(0, spread, (seeds, 1))
        right = chance.binomial(m.astype(int), 1 / (1 + numpy.exp(-logit))).astype(float)
        found.append(right if spread else numpy.repeat(right[:1], seeds, axis=0))
    return found, m


def close(first: object, second: object) -> bool:
    return bool(numpy.allclose(numpy.array(first, float), numpy.array(second, float), rtol=1e-7, atol=1e-10))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_the_text_and_the_code_agree(seed: int, binary: bool) -> None:
    totals, m = drawn(seed)
    scores = [Scores(one, m) for one in totals]
    pool, scale = seed_pool(scores), Scale(binary)
    for a, b in ((1, 0), (2, 1), (3, 2)):
        theirs = difference(scores[a], scores[b], pool, scale)
        if theirs.low is None:
            continue
        ours = contrast([totals[a], totals[b]], (1, -1), m, totals, binary)
        assert close(
            [theirs.value, theirs.low, theirs.high, theirs.p], [ours.value, ours.low, ours.high, ours.p]
        )  # fmt: skip
        # 8
        margin = max(stats.t.sf((ours.value + 0.02) / error, nu) for error, nu, _ in ours.halves)
        assert close(non_inferiority_p(theirs, 0.02), margin)
        effects_agree(theirs, ours, m, totals[a].shape[0])
    gap_agrees(scores, totals, m, binary)


def effects_agree(theirs: Estimate, ours: Found, m: Array, seeds: int) -> None:
    """3 (shares), 11 and 12"""
    _, _, w = max(ours.halves, key=lambda half: stats.t.ppf(0.975, half[1]) * half[0])
    items = max(ours.items - ours.interaction, 0) / seeds
    between = max(w - ours.interaction, 0) / len(m)
    assert theirs.components is not None
    assert close(
        [theirs.components.items, theirs.components.seeds, theirs.components.interaction],
        [items, between, ours.interaction],
    )
    k = theirs.stochastic

    def effect(clusters: int, seeds: int, tests: int) -> float:
        e = ours.interaction
        square, w = e + seeds * items, e + clusters * between
        v = (square + max(w - e, 0.3 * e)) / (clusters * seeds)
        uncertain = square**2 / (clusters - 1) + (w**2 / (k * (seeds - 1)) if k and seeds > 1 else 0)
        nu = max(1.0, (clusters * seeds * v) ** 2 / uncertain)
        few = 1.15 if k and seeds < 5 else 1.0
        return float(few * (stats.t.ppf(1 - 0.025 / tests, nu) + stats.t.ppf(0.80, nu)) * math.sqrt(v))

    for tests in (1, 7):
        assert close(
            minimum_detectable_effect(theirs.components, len(m), seeds, k, tests), effect(len(m), seeds, tests)
        )
    wanted = needed(theirs, 0.1)
    if wanted is not None and wanted.seeds is not None:
        assert effect(len(m), wanted.seeds, 1) <= 0.1
        assert wanted.seeds == 2 or effect(len(m), wanted.seeds - 1, 1) > 0.1


def gap_agrees(scores: Sequence[Scores], totals: Sequence[Array], m: Array, binary: bool) -> None:
    """9: a share is in the interval exactly where its contrast is not rejected"""
    gap = gap_closed(scores[3], scores[1], scores[0], seed_pool(scores), Scale(binary))
    if gap.low is None or gap.high is None:
        return
    for share, inside in ((gap.low, 1), (gap.high, -1)):
        for step, accepted in ((1e-4 * inside, True), (-1e-4 * inside, False)):
            r = share + step
            found = contrast([totals[3], totals[1], totals[0]], (1, -r, r - 1), m, totals, binary)
            assert (found.p >= 0.05) == accepted


def test_holm_and_the_rank_intervals_follow_sections_6_and_7() -> None:
    chance = numpy.random.default_rng(0)
    for _ in range(50):
        p = chance.random(6) ** 4
        ordered = sorted(p)
        adjusted = [max(min(1.0, (6 - at) * ordered[at]) for at in range(list(ordered).index(one) + 1)) for one in p]
        assert close(holm(list(p)), adjusted)
        pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        signs = chance.choice([-1.0, 1.0], 6)
        won = [
            (a, b) if sign > 0 else (b, a) for (a, b), sign, q in zip(pairs, signs, adjusted, strict=True) if q < 0.05
        ]
        expected = [(1 + sum(b == j for _, b in won), 4 - sum(a == j for a, _ in won)) for j in range(4)]
        tests = [(a, b, sign, one) for (a, b), sign, one in zip(pairs, signs, p, strict=True)]
        assert rank_intervals(4, tests) == expected


def test_sums_and_the_noise_floor_follow_sections_10_and_13() -> None:
    totals, m = drawn(4)
    scores = [Scores(one, m) for one in totals]
    parts = [difference(scores[a], scores[0], seed_pool(scores)) for a in (1, 2)]
    both = independent_sum([(1.0, parts[0]), (-1.0, parts[1])])
    for at, spread in enumerate(both.spreads):
        variances = [part.spreads[at].error ** 2 for part in parts]
        nu = sum(variances) ** 2 / sum(v**2 / p.spreads[at].degrees for v, p in zip(variances, parts, strict=True))
        assert close([spread.error, spread.degrees], [math.sqrt(sum(variances)), nu])
    floor = noise_floor(scores)
    assert floor is not None
    runs = [one.sum(axis=1) / m.sum() for one in totals]
    f = sum(len(x) - 1 for x in runs)
    s = math.sqrt(sum(float(((x - x.mean()) ** 2).sum()) for x in runs) / f)
    limits = [s * math.sqrt(f / stats.chi2.ppf(tail, f)) for tail in (0.975, 0.025)]
    single = stats.t.ppf(0.975, f) * s * math.sqrt(2)
    assert close([floor.deviation, floor.low, floor.high, floor.single], [s, *limits, single])
    assert close(floor.means, single / math.sqrt(len(runs[0])))
