"""The report's curves: how many examples are needed, and does it matter which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy
import pandas
import pytest

from harness.records import DataChoice
from harness.report.findings.curves import Curve, curve_parts, curves_of
from harness.report.findings.rounds import rounds_of, rounds_parts
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, Matrix, MethodInfo
from harness.report.render.document import Bullets, Drawn, Picture
from harness.report.render.tabular import Table

SIZES, QUALITIES = (30, 300), ("good", "raw")
Skill = Callable[[str, DataChoice], float]


def matrix(seeds: int = 3, sizes: tuple[int, ...] = SIZES, qualities: tuple[str, ...] = QUALITIES) -> Matrix:
    metric = BenchmarkMetric("accuracy", "", "quality", True, True, False, None, benchmark="tasks")
    methods = tuple(MethodInfo(label, label, False, {}, "", label == "plain", ()) for label in ("plain", "tuned"))
    return Matrix(
        name="fake", baseline="plain", reference=None, margin=0.0, bases=("world",), small_base=None,
        seeds=tuple(range(seeds)), data_qualities=qualities, data_sizes=sizes, methods=methods,
        benchmarks=(BenchmarkInfo("tasks", "tasks", "1", {}, "", (metric,)),), cells=(),
    )  # fmt: skip


def rows_of(axes: Matrix, skill: Skill, items: int = 200, draw: int = 0) -> pandas.DataFrame:
    """0/1 scores; the plain method answers alike whatever the data and the seed."""
    rows: list[dict[str, Any]] = []
    for method in axes.methods:
        for data in axes.data:
            for seed in axes.seeds:
                stream = [draw, 0, 0, 0] if method.label == "plain" else [draw, 1 + seed, data.size, len(data.quality)]
                values = numpy.random.default_rng(stream).random(items) < skill(method.label, data)
                rows += [
                    {
                        "base": "world", "method": method.label, "data_quality": data.quality, "data_size": data.size,
                        "seed": seed, "benchmark": "tasks", "metric": "accuracy", "group": "", "item": f"i{item}",
                        "cluster": f"i{item}", "value": float(value), "weight": 1.0,
                    }
                    for item, value in enumerate(values)
                ]  # fmt: skip
    return pandas.DataFrame(rows)


def learns(method: str, data: DataChoice) -> float:
    """Only tuning on good rows gains by their number."""
    return 0.3 if method == "plain" else 0.9 if data == DataChoice("good", 300) else 0.5


def the_curve(skill: Skill = learns, **axes: Any) -> tuple[Curve, Matrix]:
    (curve,) = curves_of(rows_of(matrix(**axes), skill), matrix(**axes))
    return curve, matrix(**axes)


def test_a_method_that_takes_no_data_is_flat_and_compared_with_nothing() -> None:
    curve, _ = the_curve()
    assert curve.flat == ("plain",)
    assert {contrast.method for contrast in curve.contrasts} == {"tuned"}


def test_sizes_are_compared_with_the_largest_and_qualities_with_the_first() -> None:
    """Two qualities at one smaller size, and one other quality at two sizes: two tests in each family."""
    curve, _ = the_curve()
    pairs = {(c.kind, c.data, c.against) for c in curve.contrasts}
    good, raw = (lambda size: DataChoice("good", size)), (lambda size: DataChoice("raw", size))
    assert pairs == {
        ("size", good(30), good(300)), ("size", raw(30), raw(300)),
        ("quality", raw(30), good(30)), ("quality", raw(300), good(300)),
    }  # fmt: skip
    assert curve.families == {"size": 2, "quality": 2}


def test_only_the_differences_that_are_there_are_established() -> None:
    curve, _ = the_curve()
    signs = {(c.kind, c.data.quality, c.data.size): c.sign for c in curve.contrasts}
    assert signs == {
        ("size", "good", 30): -1, ("size", "raw", 30): 0,
        ("quality", "raw", 30): 0, ("quality", "raw", 300): -1,
    }  # fmt: skip


def test_a_difference_is_that_of_the_means_over_the_same_items_and_seeds() -> None:
    axes = matrix()
    rows = rows_of(axes, learns)
    (curve,) = curves_of(rows, axes)
    means = rows[rows["method"] == "tuned"].groupby(["data_quality", "data_size"])["value"].mean()
    contrast = curve.contrasts_of("quality", "tuned", DataChoice("raw", 300))
    assert contrast is not None
    assert contrast.estimate.value == pytest.approx(means["raw", 300] - means["good", 300])


def test_all_rows_count_as_the_largest_size() -> None:
    curve, _ = the_curve(sizes=(0, 30), qualities=("",))
    assert [(c.data.size, c.against.size) for c in curve.contrasts] == [(30, 0)]


def test_without_an_axis_of_data_there_is_no_curve() -> None:
    axes = matrix(sizes=(0,), qualities=("",))
    assert curves_of(rows_of(axes, learns), axes) == ()


def test_the_words_say_what_is_established_and_what_is_not() -> None:
    curve, axes = the_curve()
    (bullets,) = [part for part in curve_parts([curve], axes) if isinstance(part, Bullets)]
    said = {f"{one.finding}: {one.names.split(' (')[0]}" for _, statements in bullets.items for one in statements}
    assert said == {
        "tuned, good: 300 examples better than 30",
        "tuned, raw: 300 examples not established against 30",
        "tuned: raw worse than good at 300",
        "tuned: raw not established against good at 30",
    }


def test_at_one_size_the_words_are_one_line_for_each_finding_whatever_the_number_of_methods() -> None:
    """Five methods: only `a` loses by the raw rows; of the four others the three largest differences are named."""
    labels = ("plain", "a", "b", "c", "d", "e")
    methods = tuple(MethodInfo(label, label, False, {}, "", label == "plain", ()) for label in labels)
    axes = replace(matrix(sizes=(0,)), methods=methods)
    rows = rows_of(axes, lambda method, data: 0.2 if (method, data.quality) == ("a", "raw") else 0.6, draw=3)
    curves = curves_of(rows, axes)
    (bullets,) = [part for part in curve_parts(curves, axes) if isinstance(part, Bullets)]
    ((_, (worse, unsure)),) = bullets.items
    assert worse.finding == "raw worse than good"
    assert worse.names.startswith("a (−")
    assert unsure.finding == "raw not established against good"
    assert unsure.names.count("[") == 3
    assert unsure.names.endswith(" and 1 more")


def test_the_picture_is_well_formed_and_has_a_line_for_each_quality_and_a_dashed_one_for_the_flat_method() -> None:
    curve, axes = the_curve()
    (picture,) = [part for part in curve_parts([curve], axes) if isinstance(part, Picture)]
    root = ElementTree.fromstring(picture.svg)
    kinds = [(element.tag.split("}")[-1], element.get("class", "").split(" ")[0]) for element in root.iter()]
    assert kinds.count(("polyline", "curve")) == 2
    assert kinds.count(("line", "margin")) == 1
    assert kinds.count(("line", "bar")) == 4


def test_qualities_at_one_size_are_drawn_as_differences_with_what_is_established() -> None:
    axes = matrix(sizes=(0,))
    (curve,) = curves_of(
        rows_of(axes, lambda method, data: 0.2 if (method, data.quality) == ("tuned", "raw") else 0.6), axes
    )
    (drawn,) = [part for part in curve_parts([curve], axes) if isinstance(part, Drawn)]
    assert drawn.caption.endswith(": raw minus good")
    groups = [element.get("class") for element in ElementTree.fromstring(drawn.svg).iter() if element.tag == "g"]
    assert groups == ["worse"]


def test_many_lines_are_drawn_in_a_picture_for_each_method_on_one_axis() -> None:
    labels = ("plain", "a", "b", "c", "d")
    methods = tuple(MethodInfo(label, label, False, {}, "", label == "plain", ()) for label in labels)
    axes = replace(matrix(), methods=methods)
    (curve,) = curves_of(rows_of(axes, learns), axes)
    pictures = [part for part in curve_parts([curve], axes) if isinstance(part, Picture)]
    trees = [ElementTree.fromstring(picture.svg) for picture in pictures]
    assert [sum(one.tag == "polyline" for one in tree.iter()) for tree in trees] == [2, 2, 2, 2]
    ticks = [{one.text for one in tree.iter() if one.get("class") == "tick end"} for tree in trees]
    assert ticks[1:] == ticks[:1] * 3


def test_a_hostile_name_is_inert_in_the_picture() -> None:
    axes = matrix(qualities=("<script>", "b"))
    (curve,) = curves_of(rows_of(axes, lambda method, data: 0.5), axes)
    pictures = [part for part in curve_parts([curve], axes) if isinstance(part, Picture)]
    assert pictures
    assert not any("<script" in picture.svg for picture in pictures)


def test_the_table_has_a_row_for_each_quality_and_the_flat_method_and_a_column_for_each_size() -> None:
    curve, axes = the_curve()
    (table,) = [part for part in curve_parts([curve], axes) if isinstance(part, Table)]
    assert [row[0].text for row in table.rows] == ["tuned", "tuned", "plain"]
    assert len(table.columns) == 4
    assert table.rows[0][2].mood == "bad"
    assert table.rows[0][3].mood == ""


@pytest.mark.slow
def test_where_data_makes_no_difference_one_is_rarely_established() -> None:
    """Two families at 5 % each: 10 % by the union bound; 300 draws, so at most 10 % + 4 standard errors (17 %)."""
    axes = matrix()
    wrong = 0
    for draw in range(300):
        (curve,) = curves_of(rows_of(axes, lambda method, data: 0.5, items=60, draw=draw + 1), axes)
        wrong += any(contrast.sign for contrast in curve.contrasts)
    print(f"\nsome difference was established in {wrong} of 300 experiments without one")
    assert wrong <= 0.17 * 300


def test_rounds_of_training_are_a_curve_of_the_samples_that_verify_over_seeds() -> None:
    """Of 8 samples 2 and 4 verify with the two seeds in round 1, and 6 each in round 2."""

    def entry(seed: int, first: int) -> dict[str, Any]:
        tokens = {"training_tokens": 100, "contaminated": 0, "loss": 0.5}
        figures = [
            {"round": 1, "drawn": 8, "verified": first, "trained_on": 3, **tokens},
            {"round": 2, "drawn": 8, "verified": 6, "trained_on": 5, **tokens},
        ]
        return {"base": "world", "method": "rft", "seed": seed, "notes": {"rounds": figures}}

    once = {"base": "world", "method": "sft", "seed": 0, "notes": {}}
    ledger = (entry(0, 2), entry(1, 4), once)
    (found,) = rounds_of(ledger)
    assert [found.share(at) for at in range(2)] == [37.5, 75.0]
    _, picture, table = rounds_parts(SimpleNamespace(ledger=ledger))  # type: ignore[arg-type]
    assert isinstance(picture, Picture)
    assert "rft: 37.5 in round 1, 75.0 in round 2" in picture.alternative
    assert isinstance(table, Table)
    assert [[cell.text for cell in row][:5] for row in table.rows] == [
        ["rft", "1", "8", "3", "3"],
        ["rft", "2", "8", "6", "5"],
    ]
    assert not list(rounds_parts(SimpleNamespace(ledger=(once,))))  # type: ignore[arg-type]
