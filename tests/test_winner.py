"""The best of several methods scores too high: the correction, against simulated truth and by hand."""

from __future__ import annotations

import numpy
import pytest

from harness.stats import winner
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale
from harness.stats.winner import choice_bias, joint_covariance


def drawn(
    chance: numpy.random.Generator, methods: int, spread: float, seed_sd: float
) -> tuple[list[Scores], list[float]]:
    """200 items, three seeds, and the true means (over 2,000 further items and seeds)."""
    skill = spread * chance.standard_normal(methods)
    noise = seed_sd * chance.standard_normal((methods, 3, 1)) + 1.6 * chance.standard_normal(200)
    solved = chance.random((methods, 3, 200)) < 1 / (1 + numpy.exp(-(skill[:, None, None] + noise)))
    others = chance.standard_normal(2000) * (1.6**2 + seed_sd**2) ** 0.5
    true = [float((1 / (1 + numpy.exp(-(one + others)))).mean()) for one in skill]
    return [Scores(one.astype(float), numpy.ones(200)) for one in solved], true


@pytest.mark.parametrize(("methods", "spread"), [(10, 0.0), (10, 0.3), (4, 0.3)])
def test_most_of_what_the_choice_adds_is_removed(methods: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 matrices; without the correction the named score is 1.5 to 5 points too high."""
    monkeypatch.setattr(winner, "BOOTSTRAP_DRAWS", 1000)
    chance = numpy.random.default_rng(8)
    raw, left = [], []
    for _ in range(200):
        scores, true = drawn(chance, methods, spread, 0.3)
        best = max(range(methods), key=lambda at: scores[at].mean)
        raw.append(scores[best].mean - true[best])
        left.append(raw[-1] - (choice_bias(scores) or 0.0))
    assert numpy.mean(raw) > 0.012
    assert abs(numpy.mean(left)) < 0.3 * numpy.mean(raw) + 2 * numpy.std(left) / 200**0.5


def test_two_equal_methods_of_independent_normal_error() -> None:
    """Of two means with independent errors of variance v the larger is too high by sqrt(v / pi), as E[max(a, b)] of two
    standard normals is 1 / sqrt(pi). Items: one method solves the even ones and the other the odd ones of each pair
    of hundreds, so both means are 0.5 and the item vectors are uncorrelated by design."""
    first = numpy.tile([1.0, 1.0, 0.0, 0.0], 50)
    second = numpy.tile([1.0, 0.0, 1.0, 0.0], 50)
    methods = [Scores(one[None], numpy.ones(200)) for one in (first, second)]
    variance = 0.25 / 199  # of a mean of 200 items, half of them solved: s^2 / n with s^2 = 0.25 * 200 / 199
    assert numpy.allclose(joint_covariance(methods), [[variance, 0], [0, variance]])
    assert choice_bias(methods) == pytest.approx((variance / numpy.pi) ** 0.5, rel=0.03)


def test_the_covariance_s_diagonal_is_the_variance_of_a_mean_and_kin_share_their_seeds() -> None:
    chance = numpy.random.default_rng(4)
    shared = chance.standard_normal((3, 1)) * 0.2
    totals = [shared + chance.standard_normal((3, 60)) for _ in range(2)]
    alone = [Scores(one, numpy.ones(60)) for one in totals]
    kin = [Scores(one, numpy.ones(60), "sft") for one in totals]
    assert joint_covariance(kin)[0, 0] == joint_covariance(alone)[0, 0]
    u = [one - one.mean() for one in totals]
    between = 60 * float((u[0].mean(axis=1) * u[1].mean(axis=1)).sum()) / 2
    rest = [one - one.mean(axis=0) - one.mean(axis=1, keepdims=True) for one in u]
    product = float((rest[0] * rest[1]).sum()) / (59 * 2)
    diagonal = [one.seed_mean_squares[0] - one.seed_mean_squares[1] for one in alone]
    expected = (between - product) / 180 if min(diagonal) > 0 else 0.0
    assert joint_covariance(kin)[0, 1] - joint_covariance(alone)[0, 1] == pytest.approx(expected)
    assert expected != 0


def test_one_method_no_choice_and_a_certain_best_no_bias() -> None:
    weights = numpy.ones(100)
    low, high = Scores(numpy.tile([0.0, 0.1], 50)[None], weights), Scores(numpy.tile([0.9, 1.0], 50)[None], weights)
    assert choice_bias([low]) is None
    assert choice_bias([low, high], scale=Scale(bounds=(0.0, 1.0))) == pytest.approx(0, abs=1e-3)
    assert choice_bias([low, high], higher_is_better=False) == pytest.approx(0, abs=1e-3)
    assert choice_bias([low, Scores(numpy.ones((1, 50)), numpy.ones(50))]) is None
