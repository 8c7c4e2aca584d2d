"""What a run can decide, predicted before it: held to decisions on simulated items, and to cases worked by hand."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy
import pytest
from calibration import Scenario
from command_line import bakeoff
from conftest import ROOT
from power_agreement import Agreement, agreement, designs
from scipy import stats

from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.planning import (
    Change,
    PlannedMetric,
    PlannedRow,
    PlannedRun,
    RunPrice,
    best_change,
    outlook,
    prior_variation,
)
from harness.stats.power import Size, Variation, chances_of_better, drawn, family_of, step_levels


def close(one: Agreement, errors: int = 0) -> bool:
    """Within 3 points, and so many standard errors of the count."""
    error = math.sqrt(max(one.counted * (1 - one.counted), 0.01) / one.runs)
    return abs(one.predicted - one.counted) <= 0.03 + errors * error


@pytest.mark.slow
def test_predicted_chances_agree_with_four_thousand_simulated_runs_of_each_design() -> None:
    """24 designs: 3 and 5 seeds, 60 and 250 clusters of 1 to 5 items, seed sd 0, .1 and .2, 3 and 11 tests."""
    found = [one for scenario, margin in designs() for one in agreement(scenario, margin, 4000)]
    assert [one for one in found if not close(one)] == []
    assert abs(numpy.mean([one.predicted - one.counted for one in found])) < 0.01


def test_predicted_chances_agree_with_a_few_simulated_runs() -> None:
    found = agreement(Scenario("60 x 1-5", 5, "0.1", 0.5, 0.10, methods=4), 0.08, 300, 600)
    assert [one for one in found if not close(one, errors=2)] == []


def test_one_test_without_seed_variance_has_the_power_of_the_t_test() -> None:
    """sd of the mean difference 0.02 with 99 degrees of freedom: the noncentral t with 0.05 / 0.02."""
    variation = Variation((0.04,), (0.0, 0.0), (0.0, 0.0), binary=False)
    tests = drawn(variation, Size(100, 100, 100, 1), draws=40_000)
    assert tests is not None
    limit = stats.t.ppf(0.975, 99)
    expected = stats.nct.sf(limit, 99, 2.5)
    assert chances_of_better(family_of([tests]), 0, 0.05)[0] == pytest.approx(expected, abs=0.01)
    kept = family_of([tests], 0.05, [0]).kept[0][0]
    assert kept == pytest.approx(expected, abs=0.01)


def test_without_correlation_the_first_step_is_sidaks_and_with_it_dunnetts() -> None:
    """1 - 0.95^(1/3); two-sided Dunnett of 3 tests that correlate at 0.5 has the quantile 2.35 (Dunnett 1964)."""
    assert step_levels(((3, 0.0),))[0] == pytest.approx(1 - 0.95 ** (1 / 3), rel=1e-3)
    assert step_levels(((3, 0.5),))[0] == pytest.approx(2 * stats.norm.sf(2.35), rel=0.01)
    assert list(step_levels(((2, 0.0), (1, 0.0)))) == pytest.approx(list(step_levels(((3, 0.0),))))
    assert step_levels(((3, 0.5),))[-1] == pytest.approx(0.05)


def test_a_design_with_too_few_clusters_is_not_simulated() -> None:
    assert drawn(Variation((0.04,), (0.0, 0.0), (0.0, 0.0)), Size(40, 8, 4.9, 3)) is None


def test_a_start_in_common_with_the_baseline_raises_the_chance() -> None:
    apart = Variation((0.05,) * 3, (0.0004,) * 4, (0.05,) * 4)
    kin = Variation((0.05,) * 3, (0.0004,) * 4, (0.05,) * 4, kin=("a",) * 4, alike=(0.9, 0.5))
    size = Size(300, 300, 300, 5)
    chances = [chances_of_better(family_of([drawn(one, size)]), 0, 0.06)[0] for one in (apart, kin)]  # type: ignore[list-item]
    assert chances[1] > chances[0] + 0.1


def planned(seeds: int = 3, price: RunPrice | None = None) -> PlannedRun:
    rows = (PlannedRow("base", fixed=True), *(PlannedRow(name) for name in "abcd"))
    size = Size(300, 300, 300, seeds)
    variation = prior_variation(rows[1:], rows[0], size, sampled=False)
    metric = BenchmarkMetric("accuracy", "", role="knowledge", benchmark="facts")
    one = PlannedMetric(metric, rows[1:], size, variation, source="priors")
    return PlannedRun((one,), rows, "base", seeds, 0.02, price or RunPrice())


def test_more_items_and_fewer_methods_raise_the_chance_and_equal_calls_give_equal_numbers() -> None:
    run = planned()
    now, more, half = outlook(run), outlook(run, 4.0), outlook(run.halved())
    assert now == outlook(run)
    assert run.halved().tests == 2
    for mean in (lambda one: one.mean_better(0.05), lambda one: one.mean_kept()):
        assert mean(more) > mean(now) + 0.02
        assert mean(half) > mean(now) + 0.01


def test_the_cost_is_that_of_the_cells_or_of_the_pilots_seconds() -> None:
    """Four methods at three seeds and the baseline once; with a ledger 10 s a fit and 2 s a cell."""
    assert planned().cost() == 4 * 3 + 1
    assert planned().cost(2.0) == 2 * (4 * 3 + 1)
    assert planned().cost(1.0, 5) == 4 * 5 + 1
    price = RunPrice(dict.fromkeys("abcd", 10.0), {(name, "facts"): 2.0 for name in ("base", *"abcd")})
    assert planned(price=price).cost(2.0) == 4 * 3 * (10 + 2 * 2) + 2 * 2


def test_what_buys_most_is_the_gain_per_extra_cost_and_a_gain_below_a_point_is_none() -> None:
    cheap = Change("cheap", (0.30, 0.34), None, 10)
    dear = Change("large", (0.30, 0.60), None, 100)
    assert best_change([cheap, dear]) is cheap
    assert best_change([Change("nothing", (0.30, 0.305), None, 1), Change("less", (0.3, 0.4), None, -5)]) is None


def test_plan_power_says_what_is_assumed_and_how_rarely_knowledge_is_shown_to_be_kept(tmp_path: Path) -> None:
    done = bakeoff("plan", "demo.yaml", "--power", "--set", "seeds=[0,1,2]", "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "6 tests against base: 3 methods on 2 metrics" in done.stdout
    assert "Priors, not measurements" in done.stdout
    # no cell is done: the benchmark itself is asked how many people and facts it has
    assert "knowledge: accuracy: 700 items, 140 clusters; from priors; items are the benchmark's own" in done.stdout
    assert 'a method without any loss is shown "kept" in' in done.stdout
    assert "Nothing was written. Next:" in done.stdout
    assert (
        done.stdout
        == bakeoff("plan", "demo.yaml", "--power", "--set", "seeds=[0,1,2]", "--store", tmp_path / "store").stdout
    )


def test_plan_power_takes_a_pilots_variances_and_seconds(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    shutil.copy(ROOT / "results" / "microworld" / "experiment.yaml", file)
    words = ("plan", file, "--from", ROOT / "results" / "microworld", "--store", tmp_path / "store")
    done = bakeoff(*words)
    assert done.returncode == 0, done.stderr
    assert "knowledge: accuracy: 700 items, 140 clusters; from the pilot's rows" in done.stdout
    assert "Priors" not in done.stdout
    assert "Per extra second" in done.stdout
    wrong = bakeoff("plan", file, "--power", "--from", tmp_path, "--store", tmp_path / "store")
    assert wrong.returncode == 2
    assert "not a results folder" in wrong.stderr


def test_an_experiment_without_a_baseline_is_told_what_to_name(tmp_path: Path) -> None:
    done = bakeoff("plan", "demo.yaml", "--power", "--set", "baseline=null", "--store", tmp_path / "store")
    assert done.returncode == 2
    assert "Name a `baseline:`" in done.stderr
