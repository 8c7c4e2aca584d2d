"""Metrics on the log scale: geometric means and ratios worked by hand, what has no logarithm, and coverage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from harness.benchmark import Metric
from harness.engine.results.schema import write_rows
from harness.errors import UserError
from harness.files import write_json
from harness.report.collect import collect
from harness.report.compose import write_report
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured, build_panel, difference_of, groups_of, measure, score_of
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, mean
from harness.stats.intervals import quantile

KL = BenchmarkMetric("kl", "", benchmark="drift", higher_is_better=False, unit="nats", scale="log")
LOW_HIGH = [1.0, 4.0] * 4


def rows_of(scores: dict[str, list[float]], groups: str = "") -> pandas.DataFrame:
    return pandas.DataFrame([
        {"method": method, "seed": 0, "group": groups[item % len(groups)] if groups else "", "item": f"{item:03d}",
         "cluster": f"{item:03d}", "weight": 1.0, "value": value}
        for method, values in scores.items() for item, value in enumerate(values)
    ])  # fmt: skip


def measured(**scores: list[float]) -> Measured:
    return measure(KL, build_panel(rows_of(scores)))


def test_a_mean_is_geometric_with_the_interval_of_the_mean_logarithm() -> None:
    """1 and 4, four times each: 2, and logarithms of sd ln 2: ln 2 (1 +- t sqrt(1 / 7))."""
    found = score_of(measured(one=LOW_HIGH), "one")
    half = quantile(0.975, 7) / math.sqrt(7)
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2 ** (1 - half))
    assert found.high == pytest.approx(2 ** (1 + half))


def test_a_difference_is_the_relative_change_of_the_geometric_mean() -> None:
    """Twice as much on one half of the items: sqrt 2 in all, 41 % more; logarithms of the ratios are 0 and ln 2."""
    one = measured(one=[2.0, 4.0] * 4, two=LOW_HIGH)
    found = difference_of(one, one.panel.comparable(["one", "two"]))
    half = math.log(2) / 2 * quantile(0.975, 7) / math.sqrt(7)
    assert found.value == pytest.approx(math.sqrt(2) - 1)
    assert found.low == pytest.approx(math.sqrt(2) * math.exp(-half) - 1)
    assert found.high == pytest.approx(math.sqrt(2) * math.exp(half) - 1)
    opposite = difference_of(one, one.panel.comparable(["two", "one"]))
    assert 1 + float(opposite.value or 0) == pytest.approx(1 / math.sqrt(2))
    assert opposite.p == pytest.approx(found.p)
    assert found.turned().value == pytest.approx(opposite.value)
    assert found.turned().low == pytest.approx(opposite.low)


def test_tests_and_intervals_at_other_levels_stay_on_the_log_scale() -> None:
    one = measured(one=[2.0, 4.0] * 4, two=LOW_HIGH)
    found = difference_of(one, one.panel.comparable(["one", "two"]))
    assert found.p is not None
    low, _ = found.interval(found.p) or (None, None)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert found.p_above(0.0) == pytest.approx(found.p / 2)
    assert found.p_above(-1.0) == 0.0


def test_a_method_at_zero_throughout_is_shown_as_it_is_and_compared_with_nothing() -> None:
    one = measured(base=[0.0] * 8, two=LOW_HIGH)
    assert one.metric.unit == "nats, geometric mean"
    at_zero = score_of(one, "base")
    assert (at_zero.value, at_zero.low) == (0.0, None)
    reason = difference_of(one, one.panel.comparable(["two", "base"])).reason
    assert reason == "base scores 0 on every item, which has no logarithm"


@pytest.mark.parametrize("bad", [0.0, -0.001])
def test_scores_that_are_not_above_zero_put_the_metric_on_the_linear_scale_and_its_unit_says_so(bad: float) -> None:
    one = measured(one=[bad, *LOW_HIGH[1:]], two=LOW_HIGH)
    assert one.metric.unit == "nats, arithmetic mean, as some scores are not above 0"
    assert score_of(one, "two").value == pytest.approx(2.5)
    found = difference_of(one, one.panel.comparable(["one", "two"]))
    assert found.value == pytest.approx((bad - 1) / 8)


def test_groups_have_the_scale_of_the_whole() -> None:
    logs = measure(KL, build_panel(rows_of({"one": [1.0, 9.0, 4.0, 1.0] * 6}, "ab")))
    assert [score_of(group, "one").value for group in groups_of([logs])] == pytest.approx([2.0, 3.0])
    one_zero = measure(KL, build_panel(rows_of({"one": [1.0, 9.0, 4.0, 1.0] * 6 + [1.0, 0.0]}, "ab")))
    means = [score_of(group, "one").value for group in groups_of([one_zero])]
    assert means == pytest.approx([31 / 13, 60 / 13])


def test_scores_are_also_there_as_they_were_given() -> None:
    one = measured(base=[0.0] * 8, two=LOW_HIGH)
    assert one.panel.scores_of("two")[0] == pytest.approx(LOW_HIGH)
    assert list(one.panel.scores_of("base")[0]) == [0.0] * 8


@pytest.mark.parametrize("role", ["quality", "knowledge"])
def test_quality_and_knowledge_cannot_be_on_the_log_scale(role: Any) -> None:
    with pytest.raises(UserError, match="on the log scale"):
        Metric("perplexity", "", role=role, scale="log")
    with pytest.raises(UserError, match="the scale of perplexity is 'logit'"):
        Metric("perplexity", "", scale="logit")  # type: ignore[arg-type]


def test_the_report_names_the_scale_where_it_shows_the_numbers(tmp_path: Path) -> None:
    chance = numpy.random.default_rng(3)
    rows, cells = [], []
    for method, centre in (("plain", 1.0), ("tuned", 2.0)):
        for seed in (0, 1, 2):
            key = {
                "base": "b",
                "method": method,
                "data_quality": "",
                "data_size": 0,
                "seed": seed,
                "benchmark": "drift",
            }
            cells.append({**key, "state": "done", "why": ""})
            rows += [
                {**key, "group": "", "item": f"{item:02d}", "cluster": f"{item:02d}", "weight": 1.0, "metric": "kl",
                 "value": float(centre * chance.lognormal(0.0, 0.5))}
                for item in range(40)
            ]  # fmt: skip
    write_rows(tmp_path, rows, [])
    metric = {"name": "kl", "unit": "nats", "higher_is_better": False, "scale": "log"}
    write_json(tmp_path / "matrix.json", {
        "schema": 2, "name": "logs", "baseline": "plain", "bases": ["b"], "seeds": [0, 1, 2], "cells": cells,
        "methods": [{"label": "plain"}, {"label": "tuned"}], "benchmarks": [{"label": "drift", "metrics": [metric]}],
    })  # fmt: skip
    (block,) = collect(tmp_path).blocks
    (result,) = block.results
    change = result.comparisons["tuned"]
    values = pandas.DataFrame(rows).groupby("method")["value"].apply(lambda own: numpy.log(own).mean())
    assert change.estimate.value == pytest.approx(math.exp(values["tuned"] - values["plain"]) - 1)
    assert change.worse  # about twice as far, and lower is better
    text = write_report(tmp_path)[0].read_text()
    assert "kl, nats, geometric mean, lower is better" in text
    assert "| method | difference (relative change) |" in text
    shown = f"+{100 * float(change.estimate.value or 0):.3g} % [+"
    assert f"tuned {shown}" in text  # in the verdict
    assert "Geometric mean: that of skewed scores" in text


def test_lognormal_scores_are_covered_on_the_log_scale_and_not_on_the_linear_one() -> None:
    """60 items whose logarithms have an sd of 1.5, three seeds: 95 % intervals of the geometric and the other mean.

    The expected value of exp(N(0, v)) is exp(v / 2); v is that of items, items x seeds and seeds together.
    """
    chance = numpy.random.default_rng(11)
    held = {"log": 0, "linear": 0}
    for _ in range(1000):
        parts = [chance.normal(0, 1.4, 60), chance.normal(0, 0.5, (3, 60)), chance.normal(0, 0.1, (3, 1))]
        logs = parts[0] + parts[1] + parts[2]
        for name, totals, truth in (
            ("log", logs, 0.0),
            ("linear", numpy.exp(logs), math.exp((1.4**2 + 0.5**2 + 0.1**2) / 2)),
        ):
            unit = float(totals.max() - totals.min())
            found = mean(Scores(totals, numpy.ones(60)), scale=Scale(binary=False, unit=unit))
            held[name] += float(found.low or 0) <= truth <= float(found.high or 0)
    assert 0.93 <= held["log"] / 1000 <= 0.985
    assert held["linear"] / 1000 < 0.90
