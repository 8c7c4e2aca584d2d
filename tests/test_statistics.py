"""The one formula: worked by hand, against an item-by-item transcription, and calibrated by simulation."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, SeedPool, contrast, difference, mean, seed_pool
from harness.stats.intervals import Components
from harness.stats.resolution import minimum_detectable_effect

GRADED = Scale(binary=False)
Array = NDArray[numpy.float64]


def singletons(values: Sequence[Sequence[float]] | Array) -> Scores:
    table = numpy.asarray(values, dtype=float)
    return Scores(table, numpy.ones(table.shape[1]))


def binary_methods(
    generator: numpy.random.Generator, logits: Sequence[float], seeds: int, items: int, seed_sd: float
) -> list[Scores]:
    """The study's model: difficulty sd 1.5, method x item sd 0.6, method x seed sd `seed_sd`, 0/1 outcomes."""
    difficulty = generator.normal(0, 1.5, items)
    made = []
    for logit in logits:
        own = generator.normal(0, 0.6, items) + difficulty + logit
        shifted = own + generator.normal(0, seed_sd, (seeds, 1))
        made.append(singletons((generator.random((seeds, items)) < 1 / (1 + numpy.exp(-shifted))) * 1.0))
    return made


def true_accuracy(logit: float, seed_sd: float) -> float:
    """E[sigmoid] over items and seeds, by Gauss-Hermite quadrature."""
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(60)
    spread = math.sqrt(1.5**2 + 0.6**2 + seed_sd**2)
    return float((weights / (1 + numpy.exp(-(logit + spread * nodes)))).sum() / weights.sum())


def transcription(a: Array, b: Array, clusters: Array, weights: Array) -> tuple[float, float, float, float]:
    """(d, V, nu, p) of the own half from the notes' formulas, in loops over clusters and seeds."""
    names = sorted(set(clusters.tolist()))
    seeds, count, n = a.shape[0], len(names), float(weights.sum())

    def deviations(values: Array) -> Array:
        average = sum(float((line * weights).sum()) for line in values) / (seeds * n)
        u = numpy.zeros((seeds, count))
        for s in range(seeds):
            for c, name in enumerate(names):
                inside = clusters == name
                total = float((values[s] * weights)[inside].sum())
                u[s, c] = count / n * (total - float(weights[inside].sum()) * average)
        return u

    both = deviations(a - b)
    sizes = [float(weights[clusters == name].sum()) for name in names]
    leverage = [(1 - 1 / count) / (1 - size / n) for size in sizes]
    effective = n**2 / sum(size**2 for size in sizes)
    items = seeds * sum((leverage[c] * float(both[:, c].mean())) ** 2 for c in range(count)) / (count - 1)
    between, rest = [], []
    for u in (deviations(a), deviations(b)):
        between.append(count * sum(float(u[s].mean()) ** 2 for s in range(seeds)) / (seeds - 1))
        squares = [(u[s, c] - u[:, c].mean() - u[s].mean()) ** 2 for s in range(seeds) for c in range(count)]
        rest.append(float(sum(squares)) / ((count - 1) * (seeds - 1)))
    w, e = sum(between), sum(rest)
    nu_w = (seeds - 1) * w**2 / (between[0] ** 2 + between[1] ** 2)
    variance = (items + max(w - e, 0)) / (count * seeds)
    nu = effective - 1
    if w > e:
        parts = items**2 / (effective - 1) + w**2 / nu_w + e**2 / ((effective - 1) * (seeds - 1))
        nu = max((count * seeds * variance) ** 2 / parts, 1.0)
    d = float(((a - b) * weights).sum() / (seeds * n))
    return d, variance, nu, float(2 * stats.t.sf(abs(d) / math.sqrt(variance), nu))


def test_a_difference_worked_by_hand() -> None:
    """A = [1 0 1 1 0 1; 1 1 1 1 1 1], B = [0 0 1 0 0 1] at both seeds (S = 2, C = 6, all clusters equal).

    D = [1 0 0 1 0 0; 1 1 0 1 1 0], d = 6/12. Cluster means of D: 1, 1/2, 0 twice, so MS_I = 2 * 4 (1/4) / 5 = 2/5.
    A alone: seed means 2/3 and 1, M = 6 (1/36 + 1/36) / 1 = 1/3; residuals (1/6, -1/3, 1/6) twice and their negatives,
    E = (4 * 6/36) / 5 = 2/15. B repeats: M = E = 0. V = (2/5 + 1/3 - 2/15) / 12 = 1/20, t = sqrt(5) with
    (3/5)^2 / ((2/5)^2 / 5 + (1/3)^2 + (2/15)^2 / 5) = 27/11 degrees of freedom. The pool's W is the same,
    (5/2) E = 1/3, on two degrees of freedom: its interval is narrower.
    """
    a, b = [[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]], [[0, 0, 1, 0, 0, 1]] * 2
    found = difference(singletons(a), singletons(b), SeedPool(5 / 2, 2), scale=GRADED)
    assert found.value == pytest.approx(0.5)
    assert (found.spreads[0].items, found.spreads[0].seeds, found.spreads[0].interaction) == pytest.approx(
        (2 / 5, 1 / 3, 2 / 15)
    )
    assert found.spreads[0].degrees == pytest.approx(27 / 11)
    assert found.p == pytest.approx(2 * stats.t.sf(math.sqrt(5), 27 / 11))
    assert found.high == pytest.approx(0.5 + stats.t.ppf(0.975, 27 / 11) * math.sqrt(1 / 20))
    assert found.stochastic == 1


def test_methods_of_one_start_are_paired_by_seed() -> None:
    """Both methods move with their common start: the seed variance of each is large, that of the difference 0.

    B is A but for the first item, at both seeds: D = [1 0 0 0 0 0 0] twice, so that W = E = 0.
    """
    a = [[1, 1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0]]
    b = [[0, 1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]]
    apart = difference(singletons(a), singletons(b), scale=GRADED)
    kin = [replace(singletons(values), kin="start") for values in (a, b)]
    paired = difference(*kin, scale=GRADED)
    assert apart.spreads[0].seeds > 0
    assert (paired.spreads[0].seeds, paired.spreads[0].interaction, paired.stochastic) == (0, 0, 0)
    assert paired.value == apart.value
    assert (paired.p or 0) < (apart.p or 0)
    strangers = [replace(singletons(a), kin="start"), replace(singletons(b), kin="another")]
    assert difference(*strangers, scale=GRADED) == apart


def test_kin_pool_their_differences_with_a_degree_of_freedom_for_each_further_method() -> None:
    generator = numpy.random.default_rng(7)
    start = generator.normal(0, 0.5, (3, 1))
    methods = []
    for _ in range(4):
        logits = generator.normal(0, 1.5, 80) + start
        methods.append(replace(singletons((generator.random((3, 80)) < 1 / (1 + numpy.exp(-logits))) * 1.0), kin="a"))
    pool = seed_pool(methods)
    assert pool is not None
    assert pool.kin["a"].degrees == (4 - 1) * (3 - 1)
    squares = [replace(a, totals=a.totals - b.totals).seed_mean_squares for a, b in itertools.combinations(methods, 2)]
    assert pool.kin["a"].ratio == pytest.approx(numpy.mean([m / e for m, e in squares]))
    found = difference(methods[0], methods[1], pool)
    own = replace(methods[0], totals=methods[0].totals - methods[1].totals).seed_mean_squares
    assert found.spreads[0].seeds == pytest.approx(own[0])
    assert found.spreads[1].seeds == pytest.approx(pool.kin["a"].ratio * own[1])


def test_one_dominant_cluster_leaves_no_interval_and_zipf_sizes_widen_it() -> None:
    """25 clusters, one with 68 % of the items: 2.1 effective clusters. Equal clusters have as many as there are."""
    generator = numpy.random.default_rng(8)
    heavy = numpy.array([204.0] + [4.0] * 24)
    totals = [generator.binomial(heavy.astype(int), 0.5, (3, 25)).astype(float) for _ in range(2)]
    found = difference(Scores(totals[0], heavy), Scores(totals[1], heavy))
    assert (found.low, found.p) == (None, None)
    assert found.reason == "2.1 effective clusters: fewer than 5"
    equal = singletons(totals[0])
    assert equal.effective_clusters == pytest.approx(25)
    # the jackknife over clusters, leaving one out at a time: V = (C - 1) / C * sum (mean without c - mean)^2
    zipf = numpy.array([float(max(1, round(200 / (c + 1)))) for c in range(30)])
    one, other = (Scores(generator.binomial(zipf.astype(int), 0.5, (1, 30)).astype(float), zipf) for _ in range(2))
    change = (one.totals - other.totals)[0]
    left_out = (change.sum() - change) / (zipf.sum() - zipf) - change.sum() / zipf.sum()
    estimate = difference(one, other, scale=GRADED)
    assert estimate.spreads[0].error ** 2 == pytest.approx(29 / 30 * float((left_out**2).sum()))
    assert estimate.spreads[0].degrees == pytest.approx(zipf.sum() ** 2 / float((zipf**2).sum()) - 1)
    assert estimate.few_clusters


def test_few_discordant_items_at_one_seed_are_tested_exactly() -> None:
    """Five items that only the first solves, none the other way: p = 2 / 2^5.

    Clopper and Pearson's share won is at least 0.025^(1/5), the difference at least (2 * 0.025^(1/5) - 1) * 5 / 100.
    """
    first, second = numpy.zeros((1, 100)), numpy.zeros((1, 100))
    first[0, :5] = 1
    found = difference(singletons(first), singletons(second))
    assert found.p == pytest.approx(2 / 2**5)
    assert found.low == pytest.approx(
        min((2 * 0.025 ** (1 / 5) - 1) * 0.05, 0.05 - stats.t.ppf(0.975, 99) * found.spreads[0].error)
    )
    assert (found.p < 0.05) == ((found.low or 0) > 0)


def test_no_interval_reaches_beyond_what_the_metric_allows() -> None:
    first, second = numpy.ones((1, 12)), numpy.zeros((1, 12))
    second[0, 0] = 1
    found = difference(singletons(first), singletons(second), scale=Scale(bounds=(0.0, 1.0)))
    assert found.high == 1
    free = difference(singletons(first), singletons(second))
    assert (free.high or 0) > 1
    assert (found.low, found.p) == (free.low, free.p)


def test_clustered_weighted_differences_follow_the_notes_to_the_letter() -> None:
    generator = numpy.random.default_rng(3)
    for seeds, seed_sd in ((2, 0.0), (3, 0.3), (5, 1.0)):
        clusters = numpy.sort(generator.integers(0, 12, 60))
        weights = generator.integers(1, 4, 60).astype(float)
        a, b = generator.normal(0, 1, (2, seeds, 60)) + generator.normal(0, seed_sd, (2, seeds, 1))
        _, codes = numpy.unique(clusters, return_inverse=True)
        per_cluster = numpy.bincount(codes, weights)
        first, second = (
            Scores(numpy.stack([numpy.bincount(codes, line * weights) for line in values]), per_cluster)
            for values in (a, b)
        )
        d, variance, nu, p = transcription(a, b, clusters, weights)
        found = difference(first, second, scale=GRADED)
        assert found.value == pytest.approx(d)
        assert (found.spreads[0].error ** 2, found.spreads[0].degrees) == pytest.approx((variance, nu))
        assert found.p == pytest.approx(p)


def test_one_seed_with_single_items_is_the_paired_t_test() -> None:
    generator = numpy.random.default_rng(0)
    a, b = generator.normal(size=(2, 1, 40))
    found = difference(singletons(a), singletons(b), scale=GRADED)
    reference = stats.ttest_rel(a[0], b[0])
    assert found.items_only
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_two_deterministic_methods_get_the_same_answer_at_one_and_at_many_seeds() -> None:
    generator = numpy.random.default_rng(1)
    a, b = (generator.random((2, 1, 80)) < 0.5) * 1.0
    once = difference(singletons(a), singletons(b))
    often = difference(singletons(numpy.repeat(a, 4, 0)), singletons(numpy.repeat(b, 4, 0)))
    assert (often.low, often.high, often.p) == pytest.approx((once.low, once.high, once.p))
    assert not often.items_only
    assert often.stochastic == 0


def test_the_wider_interval_and_the_larger_p_of_both_halves_are_reported() -> None:
    generator = numpy.random.default_rng(5)
    sided = set()
    for _ in range(40):
        methods = binary_methods(generator, [0, 0.3, 0, 0], 3, 60, 0.4)
        pool = seed_pool(methods)
        own, both = difference(*methods[:2]), difference(*methods[:2], pool)
        halves = [
            2 * stats.t.sf(abs(both.value or 0) / half.error, half.degrees) if both.value else 1.0
            for half in both.spreads
        ]
        assert len(both.spreads) == 2
        assert both.p == pytest.approx(max(halves))
        assert (both.high or 0) >= (own.high or 0)
        sided.add(halves[0] < halves[1])
    assert sided == {True, False}


def test_the_pool_leaves_out_methods_that_no_seed_changes() -> None:
    generator = numpy.random.default_rng(2)
    moving = binary_methods(generator, [0, 0], 3, 50, 0.2)
    fixed = singletons(numpy.ones((3, 50)))
    pool = seed_pool([*moving, fixed])
    assert pool is not None
    assert pool.degrees == 2 * 2
    assert seed_pool([moving[0], fixed]) is None


def test_equal_answers_give_p_one_and_an_interval_of_three_discordant_items() -> None:
    """100 single items, one seed: floor MS_I = 3 * 1 / 99, V = MS_I / 100."""
    same = singletons(numpy.ones((1, 100)))
    found = difference(same, same)
    assert found.value == 0
    assert found.p == 1
    assert found.high == pytest.approx(stats.t.ppf(0.975, 99) * math.sqrt(3 / 99 / 100))


def test_scores_that_never_differ_and_have_no_range_are_blank() -> None:
    same = singletons(numpy.full((3, 30), 7.0))
    found = difference(same, same, scale=Scale(binary=False, unit=0.0))
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.reason


def test_one_cluster_is_blank_and_few_are_flagged() -> None:
    one = Scores(numpy.array([[3.0], [4.0]]), numpy.array([5.0]))
    assert mean(one).value == pytest.approx(0.7)
    assert mean(one).low is None
    assert "one cluster" in mean(one).reason
    assert mean(singletons(numpy.eye(3, 19))).few_clusters
    assert not mean(singletons(numpy.eye(3, 20))).few_clusters


def test_seed_variance_on_one_degree_of_freedom_is_refused_and_on_two_flagged() -> None:
    """One method moves with its seeds: S - 1 degrees of its own, more only from a pool. A fixed pair needs none."""
    fixed = singletons([[1, 0, 0, 1, 0, 1, 1]] * 3)
    moving = singletons([[1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0, 1], [0, 1, 1, 1, 0, 0, 1]])
    two = [Scores(one.totals[:2], one.weights) for one in (moving, fixed)]
    refused = difference(*two)
    assert (refused.low, refused.p) == (None, None)
    assert "two seeds" in refused.reason
    assert difference(*two, SeedPool(1.0, 3)).p is not None
    assert not difference(*two, SeedPool(1.0, 3)).thin_seeds
    assert difference(moving, fixed).thin_seeds
    assert difference(fixed, moving).p is not None
    assert not difference(moving, fixed, SeedPool(1.0, 4)).thin_seeds
    assert not difference(fixed, singletons([[1, 1, 1, 1, 0, 1, 0]] * 3)).thin_seeds
    assert not difference(singletons(moving.totals[:1]), singletons(fixed.totals[:1])).thin_seeds


def test_a_ratio_metric_is_the_sum_of_weighted_values_over_the_sum_of_weights() -> None:
    """Cluster totals 2 of 3 and 1 of 1 instructions: 3 / 4, not the mean of 2/3 and 1."""
    assert mean(Scores(numpy.array([[2.0, 1.0]]), numpy.array([3.0, 1.0]))).value == pytest.approx(0.75)


def test_methods_that_share_no_items_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        difference(singletons([[1, 0, 1]]), singletons([[1, 0]]))
    with pytest.raises(ValueError, match="coefficients"):
        contrast([singletons([[1, 0]])], [1, -1])


def test_variance_shares_add_up_to_one_and_name_the_seed() -> None:
    generator = numpy.random.default_rng(4)
    unstable = difference(*binary_methods(generator, [0, 0], 5, 400, 1.5))
    assert unstable.components is not None
    shares = unstable.components.shares(400, 5)
    assert sum(shares) == pytest.approx(1)
    assert shares[1] > 0.8


def test_minimum_detectable_effect_agrees_with_the_studys_example() -> None:
    """Seed sd 0.1, accuracy 0.5: 787 items 8.0 points at 3 seeds, 5.0 at 5; 197 items 12.2 and 8.2."""
    generator = numpy.random.default_rng(8)
    pilots = []
    for _ in range(60):
        found = difference(*binary_methods(generator, [0, 0], 5, 787, 0.1))
        own = found.spreads[0]
        pilots.append(((own.items - own.interaction) / 5, (own.seeds - own.interaction) / 787, own.interaction))
    average = Components(*(float(part) for part in numpy.mean(pilots, axis=0)))
    for items, seeds, expected in ((787, 3, 0.080), (787, 5, 0.050), (197, 3, 0.122), (197, 5, 0.082)):
        assert minimum_detectable_effect(average, items, seeds, 2) == pytest.approx(expected, rel=0.12)
    assert minimum_detectable_effect(average, 787, 5, 2, comparisons=15) > 0.055


def coverage(runs: int, seeds: int, items: int, seed_sd: float, logits: Sequence[float]) -> tuple[float, float]:
    """(share of intervals that hold the true difference of the first two, share for the first's mean)."""
    generator = numpy.random.default_rng([seeds, items])
    levels = [true_accuracy(logit, seed_sd) for logit in logits]
    held, mean_held = 0, 0
    for _ in range(runs):
        methods = binary_methods(generator, logits, seeds, items, seed_sd)
        pool = seed_pool(methods)
        pair, alone = difference(methods[0], methods[1], pool), mean(methods[0], pool)
        assert pair.low is not None
        assert pair.high is not None
        assert alone.low is not None
        assert alone.high is not None
        held += pair.low <= levels[0] - levels[1] <= pair.high
        mean_held += alone.low <= levels[0] <= alone.high
    return held / runs, mean_held / runs


def test_intervals_hold_the_true_difference_about_95_times_in_100() -> None:
    """400 runs: the standard error of a coverage of 95 % is 1.1 points."""
    pair, alone = coverage(400, 3, 100, 0.2, (0.4, 0.0, 0.0, 0.0))
    assert 0.92 <= pair <= 0.995
    assert 0.91 <= alone <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("items", [100, 250])
@pytest.mark.parametrize("seed_sd", [0.0, 0.1, 0.5])
def test_coverage_over_the_studys_scenarios(seeds: int, items: int, seed_sd: float) -> None:
    pair, alone = coverage(1500, seeds, items, seed_sd, (0.4, 0.0, 0.0, 0.2))
    assert 0.93 <= pair <= 0.995
    assert 0.91 <= alone <= 0.995


def test_importing_the_statistics_and_the_report_loads_neither_torch_nor_pandas() -> None:
    script = (
        "import sys, harness.stats.contrasts, harness.stats.families, harness.report, harness.report.compose, "
        "harness.report.collect; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'pyarrow', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
