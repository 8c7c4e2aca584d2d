"""Knowledge at equal quality: values and variances worked by hand, what is refused, and simulated coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
import pytest

from harness.stats import matched
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, seed_pool
from harness.stats.matched import Metrics, Setting, matched_difference, round_levels

SHARES = Scale(binary=False, unit=1.0, bounds=(0.0, 1.0))


def share(solved: int, seeds: int = 3, items: int = 100) -> Scores:
    """The first `solved` of the items are right, at every seed."""
    return Scores(numpy.tile((numpy.arange(items) < solved).astype(float), (seeds, 1)), numpy.ones(items))


def sweep(*settings: tuple[int, int], seeds: int = 3) -> list[Setting]:
    """(quality, knowledge) of each setting, in per cent."""
    return [Setting(share(quality, seeds), share(knowledge, seeds)) for quality, knowledge in settings]


def test_knowledge_is_read_off_between_the_settings_around_the_level() -> None:
    """At 50 %: three quarters of the way from 80 to 70 are 72.5; a quarter of the way from 80 to 40 is 70."""
    found = matched_difference(sweep((20, 80), (60, 70), (95, 10)), sweep((10, 90), (40, 80), (80, 40)), 0.5)
    assert found.first == pytest.approx(0.725)
    assert found.second == pytest.approx(0.70)
    assert found.estimate.value == pytest.approx(0.025)
    assert found.estimate.low is not None
    assert found.estimate.low < 0.025


def test_a_sweep_may_lower_quality_as_its_setting_rises() -> None:
    found = matched_difference(sweep((60, 70), (20, 80)), sweep((40, 80), (80, 40)), 0.5)
    assert found.estimate.value == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ([(20, 80), (45, 70)], "first: does not reach it"),
        ([(20, 80), (60, 70), (30, 60), (90, 50)], "first: reaches it at more than one place"),
        ([(47, 80), (53, 70)], "first: the settings around it differ too little in quality"),
        ([(20, 80), (90, 70), (53, 60)], "first: may reach it at more than one place"),
    ],
)
def test_a_level_without_one_place_on_a_sweep_is_left_blank_with_the_reason(
    first: list[tuple[int, int]], why: str
) -> None:
    found = matched_difference(sweep(*first), sweep((40, 80), (80, 40)), 0.5)
    assert found.first is None
    assert found.second == pytest.approx(0.70)
    assert found.estimate.value is None
    assert found.estimate.low is None
    assert found.estimate.reason == why


def test_settings_that_are_close_together_are_passed_over_for_the_next_ones() -> None:
    """47 and 53 % are not apart; from 20 to 53 % knowledge goes from 90 to 70: 71.8 at 50 %."""
    found = matched_difference(sweep((20, 90), (47, 50), (53, 70), (90, 60)), sweep((40, 80), (80, 40)), 0.5)
    assert found.first == pytest.approx(0.9 - 0.2 * 30 / 33)


@pytest.mark.parametrize(("seeds", "why"), [(1, "one seed: an interval"), (2, "2 seeds: an interval")])
def test_too_few_seeds_have_a_difference_and_no_interval(seeds: int, why: str) -> None:
    found = matched_difference(sweep((20, 80), (60, 70), seeds=seeds), sweep((40, 80), (80, 40), seeds=seeds), 0.5)
    assert found.estimate.value == pytest.approx(0.025)
    assert found.estimate.low is None
    assert found.estimate.reason.startswith(why)


def test_a_collapsed_setting_leaves_the_interval_blank() -> None:
    own = sweep((20, 80), (60, 70))
    own[1] = replace(own[1], quality=replace(own[1].quality, collapse="collapses at 1 of 3 seeds"))
    found = matched_difference(own, sweep((40, 80), (80, 40)), 0.5)
    assert found.estimate.low is None
    assert found.estimate.reason


def read_off(settings: Sequence[tuple[float, float]], level: float) -> float:
    return float(numpy.interp(level, *zip(*settings, strict=True)))


def test_the_item_part_is_the_jackknife_over_the_items_of_both_metrics() -> None:
    """Leaving out one item at a time, first of knowledge and then of quality, and reading everything off again."""
    chance = numpy.random.default_rng(5)
    quality = [chance.beta(3 * q, 3 * (1 - q), 150) for q in (0.3, 0.7, 0.35, 0.8)]
    knowledge = [chance.beta(3 * k, 3 * (1 - k), 130) for k in (0.8, 0.5, 0.8, 0.65)]

    def scores(values: numpy.ndarray) -> Scores:
        return Scores(numpy.tile(values, (3, 1)), numpy.ones(values.size))

    settings = [Setting(scores(q), scores(k)) for q, k in zip(quality, knowledge, strict=True)]
    found = matched_difference(settings[:2], settings[2:], 0.55, Metrics(SHARES, SHARES)).estimate

    def at(without_quality: int | None, without_knowledge: int | None) -> float:
        left = [
            [float((numpy.delete(v, gone) if gone is not None else v).mean()) for v in values]
            for values, gone in ((quality, without_quality), (knowledge, without_knowledge))
        ]
        points = list(zip(*left, strict=True))
        return read_off(points[:2], 0.55) - read_off(points[2:], 0.55)

    of_quality = numpy.array([at(item, None) for item in range(150)])
    of_knowledge = numpy.array([at(None, item) for item in range(130)])
    variance = sum(values.var() * (values.size - 1) for values in (of_quality, of_knowledge))
    assert found.spreads[0].error == pytest.approx(variance**0.5, rel=0.02)


def test_the_seed_part_moves_quality_and_knowledge_of_a_setting_together() -> None:
    """Runs with 10 items alike: per seed 0.5 K - b 0.5 Q of each setting, their variances over three seeds added up.

    First sweep: Q 0.2 and 0.6, K 0.8 and 0.4, slope -1. Second: Q 0.3 and 0.7, K flat at 0.5, slope 0. At 0.4 and 0.5
    the shares of the way are a half. Seeds move the upper setting of the first sweep alone: Q by +-0.1, K by -+0.1,
    which cancels in K + Q; with K by +-0.1 they add up to +-0.1, variance 0.01, over three seeds 1/300.
    """

    def runs(values: Sequence[float]) -> Scores:
        return Scores(numpy.repeat(numpy.array(values)[:, None], 10, axis=1), numpy.ones(10))

    still = Metrics(Scale(False, 1e-9), Scale(False, 1e-9))

    def error(quality: Sequence[float], knowledge: Sequence[float], level: float = 0.4) -> float:
        first = [Setting(runs([0.2] * 3), runs([0.8] * 3)), Setting(runs(quality), runs(knowledge))]
        second = [Setting(runs([0.3] * 3), runs([0.5] * 3)), Setting(runs([0.7] * 3), runs([0.5] * 3))]
        return matched_difference(first, second, level, still).estimate.spreads[0].error

    clear, matched.CLEAR = matched.CLEAR, 1.0
    try:
        assert error([0.5, 0.6, 0.7], [0.5, 0.4, 0.3]) == pytest.approx(0.0, abs=1e-6)
        assert error([0.5, 0.6, 0.7], [0.3, 0.4, 0.5]) == pytest.approx((0.1**2 / 3) ** 0.5, rel=1e-6)
    finally:
        matched.CLEAR = clear


def test_metrics_of_the_same_items_are_paired() -> None:
    """Knowledge that is one less than quality on every item: K + Q is 1 everywhere, and only the floor is left."""
    items = numpy.random.default_rng(2).random((4, 200)) * 0.2

    def setting(level: float, noise: numpy.ndarray) -> Setting:
        quality = numpy.tile(level + noise - noise.mean(), (3, 1))
        return Setting(Scores(quality, numpy.ones(200)), Scores(1 - quality, numpy.ones(200)))

    first = [setting(0.2, items[0]), setting(0.6, items[1])]
    second = [setting(0.3, items[2]), setting(0.8, items[3])]
    apart = matched_difference(first, second, 0.5, Metrics(SHARES, SHARES)).estimate
    paired = matched_difference(first, second, 0.5, Metrics(SHARES, SHARES, same_items=True)).estimate
    assert paired.value == pytest.approx(0.0, abs=1e-12)
    assert apart.spreads[0].error > 0.003
    # three discordant items of 200, the degenerate case of section 4, with coefficients of 0.75 at most
    assert paired.spreads[0].error == pytest.approx(0.75 * (3 / (200 * 199)) ** 0.5, rel=1e-6)


def test_levels_are_round_numbers_inside_the_range() -> None:
    assert round_levels(0.23, 0.87) == [0.4, 0.6, 0.8]
    assert round_levels(0.1, 0.3) == [0.15, 0.2, 0.25]
    assert round_levels(12.0, 61.0) == [20.0, 40.0, 60.0]
    assert round_levels(0.5, 0.5) == round_levels(0.6, 0.2) == []


# ---- coverage


@dataclass(frozen=True)
class World:
    """Two sweeps: logits of quality and knowledge of each setting; a seed moves both, with this correlation."""

    quality: tuple[tuple[float, ...], tuple[float, ...]] = ((-2.0, 0.0, 1.5, 3.5), (-1.5, 0.7, 2.2, 4.0))
    knowledge: tuple[tuple[float, ...], tuple[float, ...]] = ((1.5, 1.2, 0.7, 0.0), (1.5, 1.4, 1.1, 0.8))
    seeds: int = 5
    items: int = 120
    deviation: float = 0.3
    correlation: float = 0.5
    unequal: float = 1.0

    def setting(
        self, chance: numpy.random.Generator, at: tuple[int, int], difficulty: Sequence[numpy.ndarray]
    ) -> Setting:
        deviation = self.deviation * (self.unequal if at[0] else 1.0)
        moved = chance.standard_normal((2, self.seeds, 1))
        moved[1] = self.correlation * moved[0] + (1 - self.correlation**2) ** 0.5 * moved[1]
        drawn = []
        for logits, hard, seed in zip((self.quality, self.knowledge), difficulty, moved, strict=True):
            own = logits[at[0]][at[1]] + hard + 0.6 * chance.standard_normal(self.items) + deviation * seed
            right = chance.random((self.seeds, self.items)) < 1 / (1 + numpy.exp(-own))
            drawn.append(Scores(right.astype(float), numpy.ones(self.items)))
        return Setting(*drawn)

    def matrix(self, chance: numpy.random.Generator) -> tuple[list[Setting], list[Setting]]:
        difficulty = 1.5 * chance.standard_normal((2, self.items))
        first, second = (
            [self.setting(chance, (own, at), difficulty) for at in range(len(self.quality[own]))] for own in (0, 1)
        )
        return first, second

    def truth(self, level: float) -> float:
        """From the expected scores: a normal logit, integrated over 20,001 quantiles."""
        from scipy.special import ndtri

        normal = ndtri((numpy.arange(20_001) + 0.5) / 20_001)

        def expected(logit: float, own: int) -> float:
            spread = (1.5**2 + 0.6**2 + (self.deviation * (self.unequal if own else 1.0)) ** 2) ** 0.5
            return float((1 / (1 + numpy.exp(-(logit + spread * normal)))).mean())

        def read(own: int) -> float:
            both = zip(self.quality[own], self.knowledge[own], strict=True)
            return read_off([(expected(q, own), expected(k, own)) for q, k in both], level)

        return read(0) - read(1)

    def coverage(self, matrices: int, level: float) -> tuple[float, float]:
        """Shares of intervals that hold the truth, and of matrices without an interval."""
        chance = numpy.random.default_rng(int(1000 * level))
        truth, held, blank = self.truth(level), 0, 0
        scale = Scale(True, 1.0, (0.0, 1.0))
        for _ in range(matrices):
            first, second = self.matrix(chance)
            pools = [seed_pool([getattr(s, name) for s in (*first, *second)]) for name in ("quality", "knowledge")]
            found = matched_difference(first, second, level, Metrics(scale, scale, *pools)).estimate
            if found.low is None or found.high is None:
                blank += 1
            else:
                held += found.low <= truth <= found.high
        return held / (matrices - blank), blank / matrices


STEEP = ((2.5, 1.0, -1.0, -2.5), (1.5, 1.4, 1.1, 0.8))
FINE = World(
    quality=((-2.0, -1.2, -0.4, 0.4, 1.2, 2.0), (-1.8, -1.0, -0.2, 0.6, 1.4, 2.2)),
    knowledge=((1.5, 1.3, 1.1, 0.9, 0.6, 0.2), (1.5, 1.4, 1.3, 1.2, 1.0, 0.8)),
)
WORLDS = {
    "no seed variance": World(deviation=0.0),
    "correlated seeds": World(correlation=0.9),
    "opposed seeds": World(correlation=-0.9),
    "unequal seeds": World(deviation=0.15, unequal=4.0, correlation=0.9),
    "steep": World(knowledge=STEEP, correlation=0.8),
    "near the ceiling": World(knowledge=((4.5, 4.2, 3.8, 3.0), (4.5, 4.4, 4.3, 4.2))),
    "fine steps": FINE,
    "three seeds": World(seeds=3),
    "three seeds, steep": World(seeds=3, knowledge=STEEP, correlation=0.8),
}


def test_intervals_hold_the_truth_in_a_small_simulation() -> None:
    held, blank = World().coverage(200, 0.6)
    assert held >= 0.92  # the standard error of 200 matrices is 1.5 points
    assert blank <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_the_truth_in_93_per_cent_or_more(name: str) -> None:
    """Over three levels of 700 matrices each; a single level has a standard error of 1 point."""
    covered = [WORLDS[name].coverage(700, level)[0] for level in (0.4, 0.6, 0.75)]
    assert numpy.mean(covered) >= 0.93
    assert min(covered) >= 0.91
