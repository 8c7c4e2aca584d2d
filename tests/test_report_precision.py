"""The same model in two precisions: each method against itself, and nothing where the models are not the same."""

from __future__ import annotations

from typing import Any

import numpy
import pandas
import pytest

from harness.report.findings.precision import precision_parts, precisions_of
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, Matrix, MethodInfo

MODELS = {"full": {"digest": "d", "dtype": "float32"}, "half": {"digest": "d", "dtype": "bfloat16"}}


def matrix() -> Matrix:
    metric = BenchmarkMetric("accuracy", "", "quality", True, True, False, None, benchmark="tasks")
    methods = tuple(MethodInfo(label, label, False, {}, "", False, ()) for label in ("plain", "tuned"))
    return Matrix(
        name="fake", baseline="plain", reference=None, margin=0.0, bases=("full", "half"), small_base=None,
        seeds=(0, 1, 2), data_qualities=("",), data_sizes=(0,), methods=methods,
        benchmarks=(BenchmarkInfo("tasks", "tasks", "1", {}, "", (metric,)),), cells=(),
    )  # fmt: skip


def rows(lost: dict[str, int]) -> pandas.DataFrame:
    """100 items a seed, right at every other one; in half precision a method loses so many of the right ones."""
    found: list[dict[str, Any]] = []
    for base in ("full", "half"):
        for method in ("plain", "tuned"):
            for seed in range(3):
                values = numpy.tile([1.0, 0.0], 50)
                values[: 2 * lost[method] : 2] = 0.0 if base == "half" else 1.0
                found += [
                    {
                        "base": base, "method": method, "data_quality": "", "data_size": 0, "seed": seed,
                        "benchmark": "tasks", "metric": "accuracy", "group": "", "item": f"i{at:02d}",
                        "cluster": f"i{at:02d}", "value": value, "weight": 1.0,
                    }
                    for at, value in enumerate(values)
                ]  # fmt: skip
    return pandas.DataFrame(found)


def test_each_method_is_compared_with_itself_the_second_base_less_the_first() -> None:
    (found,) = precisions_of(rows({"plain": 0, "tuned": 10}), matrix(), MODELS)
    assert (found.bases, found.dtypes, found.percent) == (("full", "half"), ("float32", "bfloat16"), True)
    values = {method: difference.value for method, difference in found.differences.items()}
    assert values == {"plain": pytest.approx(0.0), "tuned": pytest.approx(-0.10)}
    tuned = found.differences["tuned"]
    assert tuned.low is not None
    assert tuned.low < -0.10 < (tuned.high or 0.0) < 0.0
    words, table = precision_parts([found])
    assert "another precision" in words.text
    assert [cell.text for cell in table.rows[1]][:2] == ["tuned", "−10.0"]
    assert table.columns[1].head == "bfloat16 minus float32"


@pytest.mark.parametrize(
    "half",
    [{"digest": "other"}, {"dtype": "float32"}, {"digest": ""}, {"device": "cuda"}, {"chat_template": "mine.jinja"}],
)
def test_other_models_devices_or_templates_or_one_precision_are_no_such_pair(half: dict[str, str]) -> None:
    models = {"full": {**MODELS["full"], "digest": half.get("digest", "d") and "d"}, "half": MODELS["half"] | half}
    assert precisions_of(rows({"plain": 0, "tuned": 0}), matrix(), models) == ()
    assert precisions_of(rows({"plain": 0, "tuned": 0}), matrix(), {}) == ()
