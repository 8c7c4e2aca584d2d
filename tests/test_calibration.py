"""The statistics on matrices whose truth is known: the scenarios of tests/calibration.py."""

from __future__ import annotations

import json
import statistics

import numpy
import pytest
from calibration import PAIRS, Scenario, draw, figures_of, holm, intervals, scenarios
from conftest import ROOT

from harness import comparison
from harness.statistics import Scale, Scores, difference, seed_pool

COMMITTED = ROOT / "results" / "calibration" / "figures.json"


@pytest.mark.parametrize("variance", ["none", "0.5", "unequal", "deterministic"])
@pytest.mark.parametrize("outcomes", ["binary", "fractional"])
def test_many_matrices_at_once_are_computed_as_one_by_one(variance: str, outcomes: str) -> None:
    scenario = Scenario("60 x 1-5", 3, variance, 0.95, 0.02, outcomes)
    totals, sizes = draw(scenario, 5, numpy.random.default_rng(1))
    values, widths, p = intervals(totals, sizes, outcomes == "binary")
    adjusted = holm(p)
    for run in range(5):
        methods = [Scores(one, sizes) for one in totals[run]]
        pool = seed_pool(methods)
        found = [difference(methods[a], methods[b], pool, Scale(outcomes == "binary")) for a, b in PAIRS]
        assert [one.value for one in found] == pytest.approx(list(values[run]))
        half = [(one.high or 0) - (one.value or 0) for one in found]
        assert half == pytest.approx(list(widths[run]))
        assert [one.p for one in found] == pytest.approx(list(p[run]))
        assert comparison.holm([one.p for one in found]) == pytest.approx(list(adjusted[run]))


def test_a_scenario_has_the_accuracy_that_it_names() -> None:
    scenario = Scenario("100 x 1", 3, "0.5", 0.5, 0.06)
    totals, _ = draw(scenario, 300, numpy.random.default_rng(2))
    assert totals.mean(axis=(0, 2, 3)) == pytest.approx([0.56, 0.5, 0.5, 0.5], abs=0.015)


def test_a_few_matrices_are_covered_as_they_should_be() -> None:
    """400 matrices of six pairs: a standard error of about one point."""
    found = figures_of(Scenario("100 x 1", 5, "0.2", 0.5, 0.06), 400)
    assert 0.92 <= found.coverage <= 0.995
    assert found.error <= 0.08
    assert found.ranks >= 0.92


def test_the_committed_figures_are_of_these_scenarios() -> None:
    figures = json.loads(COMMITTED.read_text("utf-8"))
    assert [one["scenario"] for one in figures] == [one.name for one in scenarios()]
    assert len({one["runs"] for one in figures}) == 1
    again = figures_of(scenarios()[0], figures[0]["runs"])
    assert again.coverage == pytest.approx(figures[0]["coverage"])


@pytest.mark.slow
def test_intervals_tests_and_ranks_hold_over_all_scenarios() -> None:
    """2,000 matrices a scenario, on fresh draws; four standard errors are 2 points of coverage and of error.

    The mean over pairs holds 93 % everywhere; pairs with one seed-unstable method may fall below, and are named in
    results/calibration/README.md.
    """
    found = [figures_of(scenario, 2000, seed=1) for scenario in scenarios()]
    short = [one for one in found if one.coverage < 0.93]
    assert not short, short
    assert statistics.mean(one.coverage for one in found) <= 0.985
    wrong = [one for one in found if one.error > 0.05 + 0.02]
    assert not wrong, wrong
    assert statistics.mean(one.error for one in found) <= 0.05
    assert [one for one in found if one.ranks < 0.93] == []
    named = {one["scenario"] for one in json.loads(COMMITTED.read_text("utf-8")) if one["worst"] < 0.94}
    assert {one.scenario for one in found if one.worst < 0.93} <= named
