"""Does the verdict travel: signs, tau and regret worked by hand, and the largest base left out."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray
from scipy import stats
from test_report import Fake
from test_scaling import of_sizes

from harness.report.collect import collect
from harness.report.findings.does_it_travel import forecasted, travel_parts
from harness.stats.travel import travels


def scores(*means: float, clusters: int = 50) -> NDArray[numpy.float64]:
    """Methods whose score is the same on every item, at two seeds."""
    return numpy.repeat(numpy.array(means)[:, None, None], clusters, axis=2).repeat(2, axis=1)


def test_signs_tau_and_regret_are_those_worked_by_hand() -> None:
    # baseline 0.5; on the second base the first and third method swap places, and the fourth falls below the baseline
    first, second = scores(0.5, 0.9, 0.8, 0.7, 0.6), scores(0.5, 0.7, 0.8, 0.9, 0.4)
    found = travels(first, second, numpy.ones(50), 0, 20)
    assert found.agreement.value == pytest.approx(3 / 4)
    # of ten pairs these four are turned: (0.9, 0.8), (0.9, 0.7), (0.8, 0.7) and (0.5, 0.6)
    assert found.tau.value == pytest.approx((6 - 4) / 10)
    assert found.regret.value == pytest.approx(0.9 - 0.7)
    assert (found.chosen, found.best) == (1, 3)


def test_tau_is_that_of_scipy_with_ties_too() -> None:
    chance = numpy.random.default_rng(4)
    for _ in range(20):
        first, second = chance.integers(0, 5, (2, 8)) / 4
        found = travels(scores(*first), scores(*second), numpy.ones(50), 0, 1)
        assert found.tau.value == pytest.approx(stats.kendalltau(first, second).statistic)


def test_the_same_order_forecasts_and_the_opposite_does_not() -> None:
    order = scores(0.5, 0.6, 0.7, 0.8, 0.9)
    same = travels(order, order - 0.1, numpy.ones(50), 0, 20)
    assert (same.tau.value, same.regret.value, same.cannot_forecast) == (pytest.approx(1), 0, "")
    opposite = travels(order, order[::-1], numpy.ones(50), 0, 20)
    assert opposite.tau.value == pytest.approx(-1)
    assert opposite.cannot_forecast
    assert travels(order[:3], order[:3], numpy.ones(50), 0, 20).cannot_forecast.startswith("2 methods")


def test_methods_that_differ_by_chance_alone_cannot_be_forecast() -> None:
    chance = numpy.random.default_rng(2)
    said = [
        bool(travels(*chance.binomial(1, 0.5, (2, 6, 3, 40)), numpy.ones(40), 0, 100).cannot_forecast)
        for _ in range(40)
    ]
    assert numpy.mean(said) >= 0.85


def test_the_largest_base_is_left_out(tmp_path: Path) -> None:
    model = of_sizes(tmp_path, {"one/a": 4_000_000, "two/b": 1_000_000, "three/c": 2_000_000}, (0,))
    found = forecasted(model)
    assert {one.target for one in found} == {"one/a"}
    assert [one.source for one in found[:3]] == ["two/b", "three/c", "mean of 2 smaller bases"]
    # the fake's scores are the same on all bases, so that the choice costs nothing; three methods are too few
    assert all(one.found and one.found.regret.value == 0 and one.found.cannot_forecast for one in found)
    assert list(travel_parts(model))


def test_without_a_largest_base_nothing_is_said(tmp_path: Path) -> None:
    assert list(travel_parts(collect(Fake().write(tmp_path / "one")))) == []
    same = collect(Fake(bases=("one/a", "two/b")).write(tmp_path / "same"))
    assert list(travel_parts(same)) == []
