"""Claims on made-up rows: each verdict, what is missing, and what the shipped file promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import yaml

from harness.records import DataChoice
from harness.report.findings.claims import SHIPPED, Claimed, claims_of
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, CellState, Matrix, MethodInfo

ITEMS = 200
Place = tuple[str, str, str, int]  # base, method, quality, size


def method_info(label: str, plugin: str, *, small: bool = False) -> MethodInfo:
    return MethodInfo(label, plugin, small, {}, "", deterministic=plugin == "base", badges=())


def metric_info(benchmark: str, name: str, role: str, *, higher: bool = True) -> BenchmarkMetric:
    return BenchmarkMetric(name, "", role, True, higher, False, None, benchmark=benchmark)


METHODS = (method_info("base", "base"), method_info("sft", "sft"), method_info("proxy", "proxy_tuning"))
METRICS = (metric_info("tasks", "right", "quality"), metric_info("facts", "known", "knowledge"))


def matrix_of(
    methods: Sequence[MethodInfo] = METHODS,
    metrics: Sequence[BenchmarkMetric] = METRICS,
    sizes: tuple[int, ...] = (0,),
    qualities: tuple[str, ...] = ("",),
    seeds: tuple[int, ...] = (0, 1, 2),
    small: str | None = None,
) -> Matrix:
    """One base, 'big'; every cell done."""
    benchmarks = tuple(
        BenchmarkInfo(name, name, "1", {}, "", tuple(m for m in metrics if m.benchmark == name))
        for name in dict.fromkeys(m.benchmark for m in metrics)
    )
    cells = tuple(
        CellState(str(small) if m.on_small_base else "big", m.label, DataChoice(q, n), seed, b.label, "done", "")
        for m in methods for b in benchmarks for q in qualities for n in sizes for seed in seeds
    )  # fmt: skip
    return Matrix(
        "made up", "base", "sft", 0.1, ("big",), small, seeds, qualities, sizes, tuple(methods), benchmarks, cells
    )


def rows_of(matrix: Matrix, chance: Callable[[str, str, int, str, str], float], items: int = ITEMS) -> pandas.DataFrame:
    """0/1 rows; chance(method, benchmark, size, group, quality) of being right. Base repeats itself."""
    rows: list[dict[str, Any]] = []
    for cell in matrix.cells:
        seed = 0 if cell.method.startswith("base") else 1 + cell.seed
        key = f"{cell.method}{cell.data.size}{cell.data.quality}{cell.benchmark}".encode()
        draws = numpy.random.default_rng([seed, *key]).random(items)
        metric = next(m for b in matrix.benchmarks for m in b.metrics if b.label == cell.benchmark)
        for item in range(items):
            group = "rare" if item % 2 else "common"
            likely = chance(cell.method, cell.benchmark, cell.data.size, group, cell.data.quality)
            rows.append({
                "base": cell.base, "method": cell.method, "data_quality": cell.data.quality,
                "data_size": cell.data.size, "seed": cell.seed, "benchmark": cell.benchmark, "metric": metric.name,
                "group": group, "item": f"{item:03d}", "cluster": f"{item:03d}", "value": float(draws[item] < likely),
                "weight": 1.0,
            })  # fmt: skip
    return pandas.DataFrame(rows)


def claim(tmp_path: Path, **fields: Any) -> Path:
    document = {"tuned": ["sft"], "claims": [{"name": "it", "source": "we", "statement": "so", **fields}]}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "claims.yaml"


KEEPS = {
    "where": {"role": "knowledge"},
    "terms": [{"weight": 1, "method": "proxy_tuning"}, {"weight": -1, "method": "tuned"}],
    "expects": {"above": 0},
}


@pytest.mark.parametrize(
    ("proxy", "sft", "verdict"), [(0.8, 0.5, "supported"), (0.5, 0.8, "contradicted"), (0.65, 0.65, "undecided")]
)
def test_a_claim_is_supported_contradicted_or_undecided(tmp_path: Path, proxy: float, sft: float, verdict: str) -> None:
    chances = {"proxy": proxy, "sft": sft, "base": 0.7}
    matrix = matrix_of()
    rows = rows_of(matrix, lambda method, *_: chances[method])
    (found,) = claims_of(rows, matrix, [], claim(tmp_path, **KEEPS))
    assert found.verdict == verdict
    assert found.contrast == "proxy − sft"
    assert found.where == "facts: known"
    assert found.estimate is not None
    means = rows[rows["benchmark"] == "facts"].groupby("method")["value"].mean()
    assert found.estimate.value == pytest.approx(means["proxy"] - means["sft"])


def test_a_claim_without_its_method_metric_or_axis_says_what_is_missing(tmp_path: Path) -> None:
    matrix = matrix_of(METHODS[:2])
    rows = rows_of(matrix, lambda *_: 0.5, 30)

    def missing(**fields: Any) -> str:
        (found,) = claims_of(rows, matrix, [], claim(tmp_path, **{**KEEPS, **fields}))
        assert found.verdict == "not testable"
        assert found.estimate is None
        return found.missing

    own = [{"weight": 1, "method": "tuned"}, {"weight": -1, "method": "baseline"}]
    assert missing() == "no proxy_tuning in the experiment"
    assert missing(where={"role": "other"}, terms=own) == "no primary other metric in the experiment"
    assert missing(terms=[{**own[0], "size": "smallest"}]) == "one size of training data only"
    assert missing(terms=[{**own[0], "quality": "second"}]) == "one quality of training data only"
    assert missing(terms=[{**own[0], "model": "larger"}]) == "one model only"
    assert missing(where={"role": "quality", "group": "odd"}, terms=own) == "no group odd in tasks: right"


def test_a_method_is_not_compared_with_itself(tmp_path: Path) -> None:
    matrix = matrix_of()
    terms = [{"weight": 1, "method": "sft"}, {"weight": -1, "method": "tuned"}]
    (found,) = claims_of(rows_of(matrix, lambda *_: 0.5, 30), matrix, [], claim(tmp_path, **{**KEEPS, "terms": terms}))
    assert (found.verdict, found.missing) == ("not testable", "it would compare sft with itself")


def test_one_seed_or_few_clusters_decide_nothing(tmp_path: Path) -> None:
    chances = {"proxy": 0.95, "sft": 0.05, "base": 0.5}
    once = matrix_of(seeds=(0,))
    (found,) = claims_of(rows_of(once, lambda m, *_: chances[m]), once, [], claim(tmp_path, **KEEPS))
    assert (found.verdict, found.p) == ("undecided", None)
    assert "one seed" in found.missing
    few = matrix_of()
    (found,) = claims_of(rows_of(few, lambda m, *_: chances[m], 4), few, [], claim(tmp_path, **KEEPS))
    assert (found.verdict, found.missing) == ("undecided", "4 effective clusters: fewer than 5")
    (found,) = claims_of(rows_of(few, lambda m, *_: chances[m], 19), few, [], claim(tmp_path, **KEEPS))
    assert found.missing == "fewer than 20 effective clusters"


@pytest.mark.parametrize(
    ("full", "expects", "verdict"),
    [
        (0.70, {"within": "margin"}, "supported"),
        (0.95, {"within": "margin"}, "contradicted"),
        (0.70, {"above": "-margin"}, "supported"),
        (0.40, {"above": "-margin"}, "contradicted"),
        (0.40, {"below": 0}, "supported"),
    ],
)
def test_bounds_are_held_to_the_experiments_margin(
    tmp_path: Path, full: float, expects: dict[str, Any], verdict: str
) -> None:
    """All examples against 30 of them, where 30 answer 70 % of 1,000 items; the margin is 10 points."""
    matrix = matrix_of(METHODS[:2], METRICS[:1], sizes=(30, 0))
    rows = rows_of(matrix, lambda method, benchmark, size, *_: 0.7 if size else full, 1000)
    terms = [{"weight": 1, "method": "tuned"}, {"weight": -1, "method": "tuned", "size": "smallest"}]
    file = claim(tmp_path, where={"role": "quality"}, terms=terms, expects=expects)
    (found,) = claims_of(rows, matrix, [], file)
    assert found.verdict == verdict
    assert found.contrast == "sft, all examples − sft, 30 examples"


def test_groups_without_a_common_item_are_added_up(tmp_path: Path) -> None:
    """Rare facts fall from 0.9 to 0.4, common ones stay at 0.9: the contrast is -0.5."""
    matrix = matrix_of(METHODS[:2])
    rows = rows_of(matrix, lambda m, b, n, group, q: 0.4 if m == "sft" and group == "rare" else 0.9, 400)
    terms = [
        {"weight": weight * sign, "method": method, "where": {"role": "knowledge", "group": group}}
        for group, sign in (("rare", 1), ("common", -1))
        for method, weight in (("tuned", 1), ("baseline", -1))
    ]
    (found,) = claims_of(rows, matrix, [], claim(tmp_path, terms=terms, expects={"below": 0}))
    assert found.verdict == "supported"
    assert found.estimate is not None
    facts = rows[rows["benchmark"] == "facts"].groupby(["method", "group"])["value"].mean()
    change = {group: facts["sft", group] - facts["base", group] for group in ("rare", "common")}
    assert found.estimate.value == pytest.approx(change["rare"] - change["common"])


def test_a_metric_that_is_better_when_lower_is_turned_for_a_role_and_not_by_name(tmp_path: Path) -> None:
    matrix = matrix_of(METHODS[:2], (metric_info("tasks", "errors", "quality", higher=False),))
    rows = rows_of(matrix, lambda method, *_: 0.2 if method == "sft" else 0.8)
    terms = [{"weight": 1, "method": "tuned"}, {"weight": -1, "method": "baseline"}]
    verdicts = [
        claims_of(rows, matrix, [], claim(tmp_path, where=where, terms=terms, expects={"above": 0}))[0].verdict
        for where in ({"role": "quality"}, {"metric": "errors"})
    ]
    assert verdicts == ["supported", "contradicted"]


def test_models_are_ordered_by_their_parameters(tmp_path: Path) -> None:
    methods = (METHODS[0], method_info("base_small", "base", small=True))
    matrix = matrix_of(methods, METRICS[1:], small="tiny")
    rows = rows_of(matrix, lambda method, *_: 0.3 if method == "base_small" else 0.9)
    ledger = [{"base": "big", "total_parameters": 1000}, {"base": "tiny", "total_parameters": 100}]
    terms = [{"weight": 1, "method": "base", "model": "larger"}, {"weight": -1, "method": "base", "model": "smaller"}]
    file = claim(tmp_path, where={"role": "knowledge"}, terms=terms, expects={"above": 0})
    (found,) = claims_of(rows, matrix, ledger, file)
    assert found.verdict == "supported"
    assert found.contrast == "base, big − base_small, tiny"


def test_a_claim_about_parameters_is_not_tried_where_there_are_more(tmp_path: Path) -> None:
    methods = (METHODS[0], method_info("sft", "sft"), method_info("thin", "lora"))
    matrix = matrix_of(methods)
    rows = rows_of(matrix, lambda *_: 0.9, 1000)
    terms = [{"weight": 1, "method": "lora"}, {"weight": -1, "method": "sft"}]
    file = claim(
        tmp_path, where={"role": "quality"}, terms=terms, expects={"above": "-margin"},
        requires={"parameters": ["lora", "sft"], "at_most": 0.1},
    )  # fmt: skip

    def tried(trained: int) -> Claimed:
        ledger = [{"method": "thin", "trained_parameters": trained}, {"method": "sft", "trained_parameters": 1000}]
        return claims_of(rows, matrix, ledger, file)[0]

    assert tried(50).verdict == "supported"
    assert "trains 40 % of the parameters" in tried(400).missing


def test_the_more_claims_are_tried_the_more_each_has_to_show(tmp_path: Path) -> None:
    """Holm: the same claim five times has five times its p; five it cannot try cost nothing."""
    matrix = matrix_of()
    chances = {"proxy": 0.72, "sft": 0.64, "base": 0.7}
    rows = rows_of(matrix, lambda method, *_: chances[method])
    file = claim(tmp_path, **KEEPS)
    (alone,) = claims_of(rows, matrix, [], file)
    document = yaml.safe_load(file.read_text())
    untried = {**document["claims"][0], "where": {"role": "other"}}
    file.write_text(yaml.safe_dump({**document, "claims": document["claims"] * 5 + [untried] * 5}))
    several = claims_of(rows, matrix, [], file)
    assert alone.p is not None
    assert several[0].p == pytest.approx(min(1.0, 5 * alone.p))
    assert [one.verdict for one in several[5:]] == ["not testable"] * 5


def test_the_shipped_claims_are_complete_and_can_all_be_read() -> None:
    claims = yaml.safe_load(SHIPPED.read_text("utf-8"))["claims"]
    assert len(claims) >= 10
    assert len({one["name"] for one in claims}) == len(claims)
    for one in claims:
        assert one["source"]
        assert one["statement"]
        assert set(one) <= {"name", "source", "statement", "where", "terms", "expects", "requires"}
        for term in one["terms"]:
            assert set(term) <= {"weight", "method", "where", "size", "quality", "model"}
            assert "where" in one or "where" in term
        (kind,) = one["expects"]
        assert kind in {"above", "below", "within"}
    matrix = matrix_of()
    found = claims_of(rows_of(matrix, lambda *_: 0.5, 30), matrix, [])
    assert {one.name for one in found} == {one["name"] for one in claims}
    assert {one.verdict for one in found} >= {"not testable"}
