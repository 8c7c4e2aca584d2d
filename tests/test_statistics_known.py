"""Published examples: McNemar's test, the paired t-test, and what pairing is worth; Holm's by hand."""

from __future__ import annotations

import math

import numpy
import pytest
from scipy import stats

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference
from harness.stats.families import holm

GRADED = Scale(binary=False)

# Student (1908), after Cushny and Peebles: hours of sleep gained by ten patients under two drugs
DEXTRO = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
LAEVO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

# Agresti, Categorical Data Analysis (1990), page 350, and R's `mcnemar.test`: 1,600 voters, asked twice
APPROVE_TWICE, LOST, WON, NEVER = 794, 150, 86, 570


def one_seed(values: list[float] | numpy.ndarray) -> Scores:
    table = numpy.asarray(values, dtype=float)[None]
    return Scores(table, numpy.ones(table.shape[1]))


def test_the_paired_t_test_on_students_sleep_data() -> None:
    """Published (and in R's `t.test`): mean -1.58, t = -4.0621 on 9 degrees, p = 0.002833, [-2.4599, -0.7001]."""
    found = difference(one_seed(DEXTRO), one_seed(LAEVO), scale=GRADED)
    assert found.value == pytest.approx(-1.58)
    assert found.value / found.spreads[0].error == pytest.approx(-4.0621, abs=5e-5)
    assert found.spreads[0].degrees == 9
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)


def test_mcnemars_test_on_agrestis_voters() -> None:
    """Approval fell from 944 to 880 of 1,600: d = -0.04, z^2 = (86 - 150)^2 / 236 = 17.36 without correction.

    Wald's interval: -0.04 +- 1.96 sqrt((236/1600 - 0.04^2) / 1600) = [-0.0587, -0.0213].

    Our t uses the variance of the differences about their mean, McNemar's z the variance under no difference:
    sum D^2 = 236 in place of sum (D - d)^2. So z^2 = n t^2 / (n - 1 + t^2), exactly.
    """
    first = [1] * APPROVE_TWICE + [1] * LOST + [0] * WON + [0] * NEVER
    second = [1] * APPROVE_TWICE + [0] * LOST + [1] * WON + [0] * NEVER
    found = difference(one_seed(second), one_seed(first))
    assert found.value == pytest.approx(-0.04)
    assert (found.low, found.high) == pytest.approx((-0.059, -0.021), abs=5e-4)
    t = found.value / found.spreads[0].error
    assert 1600 * t**2 / (1599 + t**2) == pytest.approx((WON - LOST) ** 2 / (WON + LOST))
    assert found.p == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.3)


def test_holm_keeps_what_bonferroni_loses() -> None:
    """Three tests, p = 0.01, 0.02, 0.04 at 5 %. Bonferroni: 0.03, 0.06, 0.12, one holds.

    Holm: 3 x 0.01 = 0.03, 2 x 0.02 = 0.04, 1 x 0.04 = 0.04: all three hold.
    """
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_an_unpaired_test_finds_less_in_paired_data() -> None:
    """Items of very different difficulty (logit sd 2.5), answered by two methods 8 points apart; 300 draws.

    The unpaired z-test takes the items' difficulty for noise: it must lose at least a fifth of the power.
    """
    generator = numpy.random.default_rng(11)
    found = {"paired": 0, "unpaired": 0}
    for _ in range(300):
        difficulty = generator.normal(0, 2.5, 400)
        right = [(generator.random(400) < 1 / (1 + numpy.exp(-difficulty - skill))) * 1.0 for skill in (0.0, 0.55)]
        p = difference(one_seed(right[1]), one_seed(right[0])).p
        assert p is not None
        shares = [float(one.mean()) for one in right]
        error = math.sqrt(sum(share * (1 - share) / 400 for share in shares))
        found["paired"] += p < 0.05
        found["unpaired"] += 2 * stats.norm.sf(abs(shares[1] - shares[0]) / error) < 0.05
    assert found["paired"] > 180
    assert found["unpaired"] < 0.8 * found["paired"]
