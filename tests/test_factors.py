"""Shares of variance by factor: a planted table is found, shares add up, and intervals hold."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray
from test_report import Fake

from harness.report.collect import collect
from harness.report.findings.what_matters import factors_of, mattering_parts, matterings
from harness.stats.factors import SEEDS, VarianceShare, variance_shares

ROWS, COLUMNS = numpy.array([-0.3, 0.0, 0.3]), numpy.array([-0.1, 0.1])


def table(seeds: int, clusters: int, sd: float, seed: int) -> NDArray[numpy.float64]:
    """0.5 + row + column at every seed and cluster: variances 0.06 and 0.01, plus a seed's sd in every cell."""
    chance = numpy.random.default_rng([11, seed])
    cells = 0.5 + ROWS[:, None] + COLUMNS[None, :]
    whole = cells[..., None, None] + chance.normal(0, sd, (3, 2, seeds, 1))
    return numpy.broadcast_to(whole, (3, 2, seeds, clusters)).copy()


def by_effect(shares: tuple[VarianceShare, ...]) -> dict[tuple[str, ...], VarianceShare]:
    return {share.effect: share for share in shares}


def test_a_planted_additive_table_has_the_shares_that_it_was_given() -> None:
    found = by_effect(variance_shares(table(3, 10, 0, 0), numpy.ones(10), ("row", "column"), 20))
    # 0.06 / 0.07 and 0.01 / 0.07; no interaction, and seeds that change nothing
    assert found["row",].value == pytest.approx(6 / 7)
    assert found["column",].value == pytest.approx(1 / 7)
    assert found["row", "column"].value == pytest.approx(0, abs=1e-12)
    assert found[SEEDS].value == pytest.approx(0, abs=1e-12)


def test_an_interaction_is_apart_from_both_factors() -> None:
    crossed = numpy.array([[1.0, -1.0], [-1.0, 1.0]])[..., None, None] * numpy.ones((2, 2, 1, 6))
    found = by_effect(variance_shares(crossed, numpy.ones(6), ("a", "b"), 20))
    assert found["a", "b"].value == pytest.approx(1)
    assert found["a",].value == found["b",].value == pytest.approx(0, abs=1e-12)
    assert SEEDS not in found


def test_shares_add_up_to_one_and_lie_in_their_intervals() -> None:
    found = variance_shares(table(3, 10, 0.2, 1), numpy.ones(10), ("row", "column"))
    assert sum(share.value for share in found) == pytest.approx(1)
    assert all(0 <= share.low <= share.high <= 1 for share in found)


def test_a_factor_without_effect_has_a_share_of_about_zero_on_average() -> None:
    noise = [numpy.random.default_rng([5, seed]).normal(size=(4, 2, 3, 1)) for seed in range(200)]
    shares = [by_effect(variance_shares(one, numpy.ones(1), ("a", "b"), 1))["a",].value for one in noise]
    assert numpy.mean(shares) < 0.08  # a ratio of sums would be 3 / 23 = 0.13


def test_one_score_everywhere_has_no_shares() -> None:
    assert variance_shares(numpy.ones((2, 2, 3, 5)), numpy.ones(5), ("a", "b")) == ()


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "sd"), [(3, 0.05), (5, 0.1)])
def test_intervals_of_shares_hold_in_about_95_percent_of_simulations(seeds: int, sd: float) -> None:
    """100 items whose effect differs from cell to cell with an sd of 0.5; 200 draws, a standard error of 1.5 points."""
    held = []
    for seed in range(200):
        chance = numpy.random.default_rng([13, seed])
        scores = table(seeds, 100, sd, seed) + chance.normal(0, 0.5, (3, 2, 1, 100))
        found = by_effect(variance_shares(scores, numpy.ones(100), ("row", "column"), 150, seed))
        truth = {("row",): 0.06 / (0.07 + sd**2), ("column",): 0.01 / (0.07 + sd**2)}
        held.append([found[name].low <= value <= found[name].high for name, value in truth.items()])
    assert numpy.mean(held, axis=0).min() >= 0.88


def test_a_study_of_one_axis_has_no_such_section_and_one_of_two_has(tmp_path: Path) -> None:
    one = collect(Fake().write(tmp_path / "one"))
    assert list(factors_of(one.matrix)) == ["method"]
    assert list(mattering_parts(one)) == []
    two = collect(Fake(data_sizes=(100, 300)).write(tmp_path / "two"))
    found = matterings(two)
    assert {mattering.metric.title for mattering in found} == {"tasks: accuracy", "facts: accuracy"}
    for mattering in found:
        shares = by_effect(mattering.shares)
        assert shares["method",].value > 0.5  # the fake's methods differ by up to 50 points, its sizes by chance


def test_a_cell_that_failed_takes_its_method_out_of_all_blocks(tmp_path: Path) -> None:
    broken = {("harsh", seed, "tasks"): "failed: no memory" for seed in (0, 1, 2)}
    model = collect(Fake(data_sizes=(100, 300), broken=broken).write(tmp_path))
    methods = {mattering.metric.title: mattering.methods for mattering in matterings(model)}
    assert methods["tasks: accuracy"] == ("plain", "tuned", "weak")
    assert methods["facts: accuracy"] == ("plain", "tuned", "harsh", "weak")
