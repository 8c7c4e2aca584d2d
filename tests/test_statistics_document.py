"""docs/statistics.md implemented again, from its text alone, and held to `harness.stats` on random matrices.

The numbers in the comments are the document's sections. scipy.stats is used here, scipy.special there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference, seed_pool
from harness.stats.families import gap_closed, holm, independent_sum, max_t, non_inferiority_p, rank_intervals
from harness.stats.intervals import Estimate
from harness.stats.resolution import minimum_detectable_effect, needed, noise_floor

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


def groups_of(
    parts: Sequence[Array], k: Sequence[float], kin: Sequence[str], m: Array
) -> list[tuple[str, float, float]]:
    """3: (pool that applies, M_g, E_g) of each seed group; "" for a method of its own and what does not cancel"""
    members: dict[str, list[int]] = {}
    for at, name in enumerate(kin):
        members.setdefault(name or f"own {at}", []).append(at)
    found = []
    for name, own in members.items():
        between, rest = squares(sum((k[at] * parts[at] for at in own), numpy.zeros_like(parts[0])), m)
        cancels = len(own) > 1 and abs(sum(k[at] for at in own)) < 1e-9
        found.append((name if cancels else "", between, rest))
    return found


def pool_of(methods: Sequence[Array], m: Array) -> tuple[float, int] | None:
    """3: mean of M / E over those with E > 0, and how many they are"""
    varying = [(between, rest) for between, rest in (squares(one, m) for one in methods) if rest > 0]
    return (float(numpy.mean([between / rest for between, rest in varying])), len(varying)) if varying else None


def contrast(
    parts: Sequence[Array],
    k: Sequence[float],
    m: Array,
    panel: Sequence[Array],
    binary: bool,
    kin: Sequence[str] = (),
    panel_kin: Sequence[str] = (),
) -> Found | None:
    """2 to 4, on scores of unit 1; kin: the seed groups of the parts and of the panel's methods"""
    seeds, clusters = parts[0].shape
    n, effective = m.sum(), float(m.sum() ** 2 / (m**2).sum())
    if effective < 5:
        return None
    kin, panel_kin = kin or [""] * len(parts), panel_kin or [""] * len(panel)
    together = sum((c * part for c, part in zip(k, parts, strict=True)), numpy.zeros_like(parts[0]))
    value = float(together.sum() / (seeds * n))
    leverage = (1 - 1 / clusters) / (1 - m / n)
    items = float(seeds * ((leverage * deviations(together, m).mean(axis=0)) ** 2).sum() / (clusters - 1))
    floor = float(3 * seeds * (clusters / n) ** 2 / (clusters - 1))
    if binary or items <= 1e-12 * floor:
        items = max(items, floor)
    groups = groups_of(parts, k, kin, m)
    e = sum(rest for *_, rest in groups)
    halves = [[(between, seeds - 1.0) for _, between, _ in groups]]
    pool = pool_of(panel, m)
    if seeds > 1 and pool is not None and pool[1] > 1:
        second = [(pool[0] * sum(rest for name, _, rest in groups if not name), pool[1] * (seeds - 1.0))]
        for name, between, rest in groups:
            if name:
                own = [one for one, its in zip(panel, panel_kin, strict=True) if its == name and squares(one, m)[1] > 0]
                pairs = pool_of([a - b for a, b in itertools.combinations(own, 2)], m) if len(own) > 2 else None
                of_kin = (pairs[0] * rest, (len(own) - 1) * (seeds - 1.0)) if pairs else (between, seeds - 1.0)
                second.append(of_kin)
        halves.append(second)
    found = []
    for terms in halves:
        w = sum(term for term, _ in terms)
        v = (items + max(w - e, 0)) / (clusters * seeds)
        degrees = effective - 1
        if w > e * (1 + 1e-9):
            uncertain = items**2 / (effective - 1) + sum(term**2 / nu for term, nu in terms)
            uncertain += e**2 / ((effective - 1) * (seeds - 1))
            degrees = max(1.0, (clusters * seeds * v) ** 2 / uncertain)
        found.append((math.sqrt(v), degrees, w))
    width = max(stats.t.ppf(0.975, nu) * error for error, nu, _ in found)
    p = max(2 * stats.t.sf(abs(value) / error, nu) for error, nu, _ in found) if value else 1.0
    low, high = value - width, value + width
    fixed = all((part == part[0]).all() for part in parts)
    if fixed and binary and (m == 1).all() and list(k) == [1, -1]:
        won, lost = int((parts[0] > parts[1])[0].sum()), int((parts[0] < parts[1])[0].sum())
        if won + lost:
            p = max(p, min(1.0, 2 * stats.binom.cdf(min(won, lost), won + lost, 0.5)))
            q = stats.binomtest(won, won + lost).proportion_ci(0.95, "exact")
            low = min(low, (2 * q.low - 1) * (won + lost) / n)
            high = max(high, (2 * q.high - 1) * (won + lost) / n)
    return Found(value, low, high, p, found, items, e)


def drawn(seed: int, *, single: bool = False) -> tuple[list[Array], Array]:
    """Totals of four methods, the first the same at every seed, and the weights of the clusters."""
    chance = numpy.random.default_rng(seed)
    clusters, seeds = int(chance.integers(3, 40)), int(chance.integers(1, 6))
    m = numpy.ones(clusters) if single else chance.integers(1, 4, clusters).astype(float)
    difficulty, found = chance.normal(0, 1, clusters), []
    for spread in (0.0, 0.1, 0.3, 0.6):
        logit = chance.normal(0, 1) + difficulty + chance.normal(0, spread, (seeds, 1))
        right = chance.binomial(m.astype(int), 1 / (1 + numpy.exp(-logit))).astype(float)
        found.append(right if spread else numpy.repeat(right[:1], seeds, axis=0))
    return found, m


def close(first: object, second: object) -> bool:
    return bool(numpy.allclose(numpy.array(first, float), numpy.array(second, float), rtol=1e-7, atol=1e-10))


def is_thin(totals: Sequence[Array], a: int, b: int, kin: Sequence[str]) -> bool:
    """15: two seeds, and one degree of freedom: the only method that varies, or two of one start without a third"""
    moving = [at for at, one in enumerate(totals) if (one != one[0]).any()]
    of_kin = [at for at in moving if kin[at] and kin[at] == kin[b]]
    together = {a, b} <= set(of_kin) and len(of_kin) < 3
    return totals[0].shape[0] == 2 and (len(moving) < 2 or together)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_the_text_and_the_code_agree(seed: int, binary: bool) -> None:
    totals, m = drawn(seed, single=seed % 3 == 0)
    kin = [["", "", "", ""], ["", "a", "a", "a"], ["", "a", "a", ""]][seed % 3 if seed % 2 else 0]
    scores = [Scores(one, m, name) for one, name in zip(totals, kin, strict=True)]
    pool, scale = seed_pool(scores), Scale(binary)
    for a, b in ((1, 0), (2, 1), (3, 2)):
        theirs = difference(scores[a], scores[b], pool, scale)
        ours = contrast([totals[a], totals[b]], (1, -1), m, totals, binary, [kin[a], kin[b]], kin)
        if ours is None or theirs.low is None:
            assert ours is None or theirs.reason == "no score differs from any other" or is_thin(totals, a, b, kin)
            assert theirs.low is None
            continue
        assert close(
            [theirs.value, theirs.low, theirs.high, theirs.p], [ours.value, ours.low, ours.high, ours.p]
        )  # fmt: skip
        # 8
        margin = max(stats.t.sf((ours.value + 0.02) / error, nu) for error, nu, _ in ours.halves)
        assert close(non_inferiority_p(theirs, 0.02), margin)
        effects_agree(theirs, ours, m, totals[a].shape[0])
    gap_agrees(scores, totals, m, binary, kin)


@pytest.mark.parametrize("seed", [5, 6, 13])
def test_simultaneous_intervals_and_step_down_tests_follow_section_6(seed: int) -> None:
    """Draws of our own, ten times as many: adjusted p and level agree within the Monte Carlo error of both."""
    totals, m = drawn(seed)
    scores = [Scores(one, m) for one in totals]
    pool = seed_pool(scores)
    tests = [difference(scores[a], scores[0], pool) for a in (1, 2, 3)]
    other = [difference(Scores(one + m * 0.1, m), Scores(totals[0], m), None) for one in totals[1:3]]
    panels = [0, 0, 0, 1, 1]
    found = max_t([*tests, *other, None], [*panels, 1])
    p = [one.p or 1.0 for one in (*tests, *other)]
    vectors = []
    for one in (*tests, *other):
        assert one.of_items is not None
        error = max(one.spreads, key=lambda half: stats.t.ppf(0.975, half.degrees) * half.error).error
        vectors.append(one.of_items / (error * math.sqrt(len(m) * (len(m) - 1))))
    few = m.sum() ** 2 / (m**2).sum() < 20
    r = numpy.array([[float(a @ b) if panels[i] == panels[j] and not few else 0.0 for j, b in enumerate(vectors)]
                     for i, a in enumerate(vectors)])  # fmt: skip
    numpy.fill_diagonal(r, 1.0)
    z = numpy.abs(numpy.random.default_rng(3).multivariate_normal(numpy.zeros(5), r, 200_000))
    z = numpy.column_stack([z, numpy.abs(numpy.random.default_rng(4).standard_normal(200_000))])
    order, reached = sorted(range(5), key=lambda at: p[at]), 0.0
    for step, at in enumerate(order):
        rest = [*order[step:], 5]
        share = float((z[:, rest].max(axis=1) >= -stats.norm.ppf(p[at] / 2)).mean())
        holms = max(min(1.0, (6 - one) * p[order[one]]) for one in range(step + 1))
        reached = max(reached, p[at], min(share, holms))
        assert found.adjusted[at] == pytest.approx(reached, abs=0.012)
    assert found.adjusted[5] is None
    level = max(2 * stats.norm.sf(numpy.quantile(z.max(axis=1), 0.95)), 0.05 / 6)
    assert found.level == pytest.approx(level, rel=0.06)


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_leaves_out_zero_only_where_its_test_is_decided(seed: int) -> None:
    """Section 6: intervals at the family's level and step-down decisions never contradict each other."""
    chance = numpy.random.default_rng(seed)
    m = numpy.ones(40)
    base = chance.binomial(1, 0.5, (3, 40)).astype(float)
    tests = [
        difference(Scores(chance.binomial(1, rate, (3, 40)).astype(float), m), Scores(base, m))
        for rate in chance.choice([0.5, 0.7, 0.85], 8)
    ]
    found = max_t(tests, [0] * 8)
    for one, p in zip(tests, found.adjusted, strict=True):
        low, high = one.interval(found.level) or (0.0, 0.0)
        assert not (low > 0 or high < 0) or (p is not None and p < 0.05)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_no_corrected_p_is_below_the_p_itself(size: int) -> None:
    """Section 6: the draws only estimate a share; with them alone about half of the last steps were below their p."""
    for seed in range(60 // size):
        chance = numpy.random.default_rng(seed)
        m = numpy.ones(40)
        base = chance.binomial(1, 0.5, (3, 40)).astype(float)
        rates = chance.uniform(0.4, 0.8, size)
        tests = [difference(Scores(chance.binomial(1, r, (3, 40)).astype(float), m), Scores(base, m)) for r in rates]
        found = max_t(tests, [0] * size)
        assert found.level <= 0.05
        for one, adjusted in zip(tests, found.adjusted, strict=True):
            assert one.p is not None
            assert adjusted is not None
            assert adjusted >= one.p
            if size == 1:
                assert adjusted == one.p


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


def gap_agrees(scores: Sequence[Scores], totals: Sequence[Array], m: Array, binary: bool, kin: Sequence[str]) -> None:
    """9: a share is in the interval exactly where its contrast is not rejected"""
    gap = gap_closed(scores[3], scores[1], scores[0], seed_pool(scores), Scale(binary))
    if gap.low is None or gap.high is None:
        return
    for share, inside in ((gap.low, 1), (gap.high, -1)):
        for step, accepted in ((1e-4 * inside, True), (-1e-4 * inside, False)):
            r = share + step
            parts, names = [totals[3], totals[1], totals[0]], [kin[3], kin[1], kin[0]]
            found = contrast(parts, (1, -r, r - 1), m, totals, binary, names, kin)
            assert found is not None
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
