"""The report's advice on the next hour: the rows are their own pilot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from conftest import ROOT

from harness.report.collect import ReportModel, collect
from harness.report.findings.next_hour import next_hour_parts, planned_again
from harness.report.numbers.planning import outlook, price_of
from harness.report.render.document import Paragraph
from harness.report.render.tabular import Table


@cache
def model() -> ReportModel:
    return collect(ROOT / "results" / "microworld")


def test_the_advice_is_about_the_tests_of_the_block_and_its_variances() -> None:
    (block,) = model().blocks
    run = planned_again(block, model().matrix, model().ledger)
    assert run is not None
    assert run.tests == block.tests == 14
    assert (run.baseline, run.seeds, run.margin) == ("base", 3, 0.02)
    knowledge = next(one for one in run.metrics if one.metric.role == "knowledge")
    result = next(one for one in block.results if one.metric.title == knowledge.metric.title)
    # the planned size is that of the rows
    assert knowledge.size.clusters == result.comparisons["sft"].estimate.clusters
    assert 0 < float(outlook(run, draws=200).mean_kept() or 0) < 1


def test_the_price_is_the_mean_of_the_ledger_over_seeds() -> None:
    ledger = [
        {"method": "sft", "fit_seconds": 10.0, "evaluate_seconds": {"b": 2.0}},
        {"method": "sft", "fit_seconds": 20.0, "evaluate_seconds": {"b": 4.0, "c": None}},
        {"method": "base", "fit_seconds": None},
    ]
    price = price_of(ledger)
    assert price.fit == {"sft": 15.0}
    assert price.score == {("sft", "b"): 3.0}


def test_the_advice_names_one_change_and_shows_three() -> None:
    (block,) = model().blocks
    said, table = next_hour_parts(block, model().matrix, model().ledger)
    assert isinstance(said, Paragraph)
    assert isinstance(table, Table)
    assert [row[0].text for row in table.rows] == ["twice the items", "two more seeds", "half the methods"]
    assert any(f"per extra hour, {row[0].text} would raise" in said.text for row in table.rows)


def test_with_one_seed_the_advice_is_more_seeds() -> None:
    (block,) = model().blocks
    (said,) = next_hour_parts(block, replace(model().matrix, seeds=(0,)), model().ledger)
    assert isinstance(said, Paragraph)
    assert said.text.startswith("Where the next hour helps: more seeds.")


@pytest.mark.parametrize("baseline", [None, "unknown"])
def test_without_a_baseline_there_is_no_advice(baseline: str | None) -> None:
    (block,) = model().blocks
    assert list(next_hour_parts(block, replace(model().matrix, baseline=baseline), model().ledger)) == []
