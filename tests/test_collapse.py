"""A method that collapses at some seeds: what is detected, what it refuses, and how often the rule is wrong."""

from __future__ import annotations

import numpy
import pandas
import pytest
from numpy.typing import NDArray

from harness.report.numbers.panel import build_panel
from harness.stats.cluster_totals import Scores
from harness.stats.collapse import collapsed_seeds
from harness.stats.contrasts import Scale, difference, mean, seed_pool
from harness.stats.families import gap_closed, max_t

SHARES = Scale(bounds=(0.0, 1.0))


def of_means(*means: float, items: int = 100) -> Scores:
    """Binary scores: the first items are solved, so that every seed has exactly its mean."""
    solved = [[float(at < round(mean * items)) for at in range(items)] for mean in means]
    return Scores(numpy.array(solved), numpy.ones(items))


def test_a_collapse_is_seen_at_the_seeds_that_have_it() -> None:
    """0.81 0.79 0.02: the gap of 0.77 is above 0.3, and 0.02 is less than a tenth of 0.79."""
    steady = of_means(0.80, 0.78, 0.82)
    assert collapsed_seeds([of_means(0.81, 0.79, 0.02), steady], SHARES) == [1, 0]
    assert collapsed_seeds([of_means(0.02, 0.81, 0.01, 0.79, 0.80)], SHARES) == [2]
    assert collapsed_seeds([of_means(0.01, 0.02, 0.80)], SHARES) == [2]


def test_a_gap_that_is_small_or_usual_is_not_a_collapse() -> None:
    assert collapsed_seeds([of_means(0.30, 0.29, 0.01)], SHARES) == [0]  # a gap of 0.28
    assert collapsed_seeds([of_means(0.80, 0.63, 0.31)], SHARES) == [0]  # 0.32 is not twice 0.17
    assert collapsed_seeds([of_means(0.80, 0.02)], SHARES) == [0]  # two seeds
    wide = [of_means(*means, items=2000) for means in ((0.9, 0.5, 0.3), (0.7, 0.4, 0.2), (0.8, 0.6, 0.3))]
    calm = [of_means(0.80, 0.81, 0.79)] * 3
    odd = of_means(0.90, 0.89, 0.26, items=2000)
    assert collapsed_seeds([odd, *calm], SHARES)[0] == 1
    # the others' deviations are 0.31, 0.25 and 0.25: four of them are above the gap of 0.63
    assert collapsed_seeds([odd, *wide], SHARES) == [0, 0, 0, 0]


def test_nothing_is_inferred_from_a_method_that_collapses() -> None:
    """No interval, no p, no share of a gap, no part in the pool; in its family it counts as a test not made."""
    lost = Scores(of_means(0.8, 0.8, 0.0).totals, numpy.ones(100), collapse="sft collapses at 1 of 3 seeds")
    chance = numpy.random.default_rng(1)
    base, better = (Scores((chance.random((3, 100)) < p).astype(float), numpy.ones(100)) for p in (0.2, 0.9))
    for found in (mean(lost), difference(lost, base), difference(base, lost)):
        assert (found.low, found.p, found.reason) == (None, None, "sft collapses at 1 of 3 seeds")
        assert found.value is not None
    assert gap_closed(lost, better, base).value is None
    pool, without = seed_pool([lost, base, better]), seed_pool([base, better])
    assert pool == without
    single, double = max_t([difference(better, base)], [0]), max_t([difference(better, base), None], [0, 0])
    assert (single.adjusted[0] or 0) <= (double.adjusted[0] or 0)
    assert double.adjusted[1] is None


def test_the_panel_names_the_method_and_its_seeds() -> None:
    """Means of 0.8, 0.7 and 0 over ten items; the others have no collapse."""
    rows = [
        ("sft", seed, f"i{item}", float(item < solved)) for seed, solved in enumerate((8, 7, 0)) for item in range(10)
    ]
    rows += [("base", seed, f"i{item}", float(item < 5)) for seed in range(3) for item in range(10)]
    frame = pandas.DataFrame(rows, columns=["method", "seed", "item", "value"])
    panel = build_panel(frame.assign(group="", cluster=frame["item"], weight=1.0))
    assert panel.collapsed == {"sft": "sft collapses at 1 of 3 seeds: 80 70 0 %"}
    assert panel.comparable(["base", "sft"]).scores[1].collapse == panel.collapsed["sft"]


def test_a_mean_of_few_skewed_items_is_flagged() -> None:
    """99 items of 0 and one of 1: p = 0.01 has the skewness (1 - 2p) / sqrt(p (1 - p)) = 9.85, and 25 times its square
    is 2,425 > 100. Half of them 1: skewness 0."""
    rare, even = numpy.zeros((1, 100)), numpy.tile([0.0, 1.0], 50)[None]
    rare[0, 0] = 1.0
    assert mean(Scores(rare, numpy.ones(100))).skewed
    assert not mean(Scores(even, numpy.ones(100))).skewed


# ---- calibration


def drawn(
    chance: numpy.random.Generator, sds: list[float], seeds: int, skill: float, sizes: list[int], fails: float
) -> tuple[list[Scores], NDArray[numpy.bool_]]:
    """Binary scores from logits: difficulty of items and clusters (sd 1.5), method x item 0.6, seeds of the given sds;
    the first method solves 2 % at each seed with probability `fails`."""
    cluster = numpy.repeat(numpy.arange(len(sizes)), sizes)
    hard = 1.5 * (0.6 * chance.standard_normal(len(sizes))[cluster] + 0.8 * chance.standard_normal(len(cluster)))
    own = 0.6 * chance.standard_normal((len(sds), 1, len(cluster)))
    luck = numpy.array(sds)[:, None] * chance.standard_normal((len(sds), seeds))
    share = 1 / (1 + numpy.exp(-(skill + luck[:, :, None] + hard + own)))
    lost = chance.random(seeds) < fails
    share[0, lost] = 0.02
    solved = chance.random(share.shape) < share
    totals = [numpy.stack([numpy.bincount(cluster, weights=line) for line in method]) for method in solved]
    return [Scores(one, numpy.array(sizes, dtype=float)) for one in totals], lost


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sizes", [[1 + at % 5 for at in range(60)], [12] * 8], ids=["60 x 1-5", "8 x 12"])
@pytest.mark.parametrize("sds", [[0.5] * 15, [0.5, 0.1, 0.1, 0.1], [0.2] * 3], ids=["15 of 0.5", "unequal", "0.2"])
def test_false_alarms_are_rare_and_a_collapse_to_nearly_0_is_found(
    seeds: int, sizes: list[int], sds: list[float]
) -> None:
    """400 matrices: at most 1 % of methods flagged; of collapses from 0.8 to 0.02 at some seeds at least 97 % found."""
    chance = numpy.random.default_rng(5)
    false, found = [], []
    for _ in range(400):
        for skill in (0.0, 2.0):
            false += [count > 0 for count in collapsed_seeds(drawn(chance, sds, seeds, skill, sizes, 0.0)[0], SHARES)]
        scores, lost = drawn(chance, sds, seeds, 2.0, sizes, 0.3)
        if 0 < lost.sum() < seeds:
            found.append(collapsed_seeds(scores, SHARES)[0] == lost.sum())
    assert numpy.mean(false) <= 0.01
    assert numpy.mean(found) >= 0.97
