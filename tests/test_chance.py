"""Chance levels: a model of random weights lands on them, and the report prints them beside the scores."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy
import pandas
import pytest
import torch
import transformers

from benchmarks.call_or_ask import CallOrAsk
from benchmarks.instruction_following import InstructionFollowing
from benchmarks.knowledge import Knowledge
from benchmarks.knowledge_answers import KnowledgeAnswers
from benchmarks.stories import Stories
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder
from harness.records import DataChoice
from harness.report.collect import Block
from harness.report.findings.tables import groups_tables
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, Matrix, MethodInfo
from harness.report.numbers.panel import groups_of, levels_of, panels_of
from harness.report.render.tabular import Table
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import mean
from harness.stats.intervals import Estimate

torch.set_num_threads(1)


def random_policy(seed: int) -> CausalPolicy:
    """A tiny Llama that has learned nothing, with the microworld's words for tokens."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=256, initializer_range=0.5, **shape
    )
    return CausalPolicy(transformers.LlamaForCausalLM(config).eval(), TextEncoder(tokenizer, max_length=256))


def estimate_of(runs: list[list[Any]], metric: str) -> Estimate:
    """The mean with its interval over clusters and models, as the report has it over seeds."""
    sizes = Counter(outcome.cluster for outcome in runs[0])
    totals = numpy.zeros((len(runs), len(sizes)))
    places = {cluster: at for at, cluster in enumerate(sizes)}
    for at, outcomes in enumerate(runs):
        for outcome in outcomes:
            totals[at, places[outcome.cluster]] += outcome.metrics[metric]
    return mean(Scores(totals, numpy.array([float(size) for size in sizes.values()])))


def test_the_choices_of_random_models_are_right_as_often_as_chance_says() -> None:
    """The interval over three random models holds the declared level, and is narrow enough to miss another."""
    runs = [list(Knowledge(limit=300).evaluate(random_policy(seed), seed=0)) for seed in range(3)]
    (metric,) = Knowledge().metrics()
    estimate = estimate_of(runs, "accuracy")
    assert metric.chance is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= metric.chance <= estimate.high
    assert estimate.high - estimate.low < 0.2


@pytest.mark.parametrize(
    ("benchmark", "metric"),
    [
        (InstructionFollowing(limit=3, max_new_tokens=8), "prompt_level"),
        (CallOrAsk(limit=12, max_new_tokens=8), "exact"),
        (KnowledgeAnswers(limit=12, max_new_tokens=8), "correct"),
        (Stories(limit=12, max_new_tokens=8), "solved"),
    ],
)
def test_what_a_random_model_says_follows_and_solves_nothing(benchmark: Any, metric: str) -> None:
    outcomes = list(benchmark.evaluate(random_policy(1), seed=0))
    assert len(outcomes) >= 12
    assert {outcome.metrics[metric] for outcome in outcomes} == {0.0}


METRIC = BenchmarkMetric("score", "share right", "knowledge", True, True, True, None, benchmark="tasks")
OTHER = BenchmarkMetric("other", "something else", "other", False, True, False, None, benchmark="tasks")


def rows_of_two_tasks(known: bool = True) -> pandas.DataFrame:
    """Two tasks of 30 documents: of 4 and of 5 choices; chance of the second is left out unless known."""
    rows = []
    for task, choices in (("four", 4), ("five", 5)):
        for item in range(30):
            values = {"score": float(item % choices == 0), "other": 0.5}
            if known or task == "four":
                values["chance"] = 1 / choices
            shared = {"base": "b", "method": "m", "data_quality": "", "data_size": 0, "seed": 0, "benchmark": "tasks"}
            place = {"group": task, "item": f"{task}-{item}", "cluster": f"{task}-{item}", "weight": 1.0}
            rows += [{**shared, **place, "metric": name, "value": value} for name, value in values.items()]
    return pandas.DataFrame(rows)


def test_what_the_items_say_of_chance_is_averaged_over_all_and_by_group() -> None:
    assert levels_of(rows_of_two_tasks(), "score") == pytest.approx({"": 0.225, "five": 0.2, "four": 0.25})


def test_a_level_that_some_items_lack_is_blank() -> None:
    assert levels_of(rows_of_two_tasks(known=False), "score") == pytest.approx({"four": 0.25})


def test_the_report_prints_each_groups_own_level_below_its_scores() -> None:
    table = grouped(rows_of_two_tasks())
    assert [column.head for column in table.columns] == ["method", "five", "four"]
    assert [cell.text for cell in table.rows[-1]] == ["chance", "20.0", "25.0"]
    half = grouped(rows_of_two_tasks(known=False))
    assert [cell.text for cell in half.rows[-1]] == ["chance", "", "25.0"]


def grouped(rows: pandas.DataFrame) -> Table:
    """The table by group of an experiment with one method and this benchmark."""
    method = MethodInfo("m", "m", False, {}, "", True, ())
    benchmark = BenchmarkInfo("tasks", "tasks", "1", {}, "", (METRIC, OTHER))
    matrix = Matrix("n", None, None, 0.0, ("b",), None, (0,), ("",), (0,), (method,), (benchmark,), ())
    measured = panels_of(rows, matrix, {})
    assert [one.metric.chance for one in measured if one.metric.name == "other"] == [None]
    results = tuple(Result(one.metric, one.group, one.percent, {}, {}) for one in groups_of(measured))
    block = Block("b", DataChoice(), (method,), groups=results)
    (table,) = (one for one in groups_tables(block, matrix, by_group=True) if "score" in one.caption)
    return table
