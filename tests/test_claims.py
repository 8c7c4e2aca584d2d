"""Claims on made-up rows: each verdict, what is missing, and what the shipped file promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import yaml

from harness.engine.claims_file import SHIPPED_CLAIMS, Claim, MetricChoice, TermChoice, read_claims
from harness.errors import UserError
from harness.records import DataChoice
from harness.report.findings.claim_terms import ClaimBench
from harness.report.findings.claims import Claimed, claims_of
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


def difference_of_means(rows: pandas.DataFrame, one: dict[str, Any], other: dict[str, Any]) -> float:
    means = [rows[(rows[list(chosen)] == pandas.Series(chosen)).all(axis=1)]["value"].mean() for chosen in (one, other)]
    return float(means[0] - means[1])


def one_estimate(rows: pandas.DataFrame, matrix: Matrix, file: Path, ledger: Sequence[Any] = ()) -> tuple[str, float]:
    """The words of a file's only contrast, and its value."""
    (found,) = claims_of(rows, matrix, list(ledger), file)
    assert found.estimate is not None, found.missing
    assert found.estimate.value is not None
    return found.contrast, found.estimate.value


def two_terms(tmp_path: Path, first: dict[str, Any], second: dict[str, Any], **fields: Any) -> Path:
    terms = [{"weight": 1, **first}, {"weight": -1, **second}]
    return claim(tmp_path, **{"where": {"role": "quality"}, "expects": {"above": 0}, "terms": terms, **fields})


def test_a_term_chooses_a_method_by_label_or_by_the_settings_recorded_for_it(tmp_path: Path) -> None:
    thin, thick = (MethodInfo(f"rank {rank}", "lora", False, {"rank": rank, "learning_rate": 5e-4}) for rank in (1, 64))
    matrix = matrix_of((METHODS[0], thin, thick), METRICS[:1])
    rows = rows_of(matrix, lambda method, *_: {"base": 0.2, "rank 1": 0.5, "rank 64": 0.8}[method])
    expected = difference_of_means(rows, {"method": "rank 64"}, {"method": "rank 1"})
    by_label = two_terms(tmp_path, {"label": "rank 64"}, {"label": "rank 1"})
    assert one_estimate(rows, matrix, by_label) == ("rank 64 − rank 1", pytest.approx(expected))
    setting = {"method": "lora", "with": {"rank": 64, "learning_rate": 0.0005}}
    by_setting = two_terms(tmp_path, setting, {"method": "lora", "with": {"rank": 1}})
    assert one_estimate(rows, matrix, by_setting) == ("rank 64 − rank 1", pytest.approx(expected))
    absent = two_terms(tmp_path, {"method": "lora", "with": {"rank": 2}}, {"label": "rank 1"})
    assert claims_of(rows, matrix, [], absent)[0].missing == "no lora with rank: 2 in the experiment"
    assert (
        claims_of(rows, matrix, [], two_terms(tmp_path, {"label": "hot"}, {"label": "rank 1"}))[0].missing
        == "no method labelled hot in the experiment"
    )


def test_a_term_chooses_sizes_by_number_and_training_sets_by_name_so_that_they_can_be_crossed(tmp_path: Path) -> None:
    matrix = matrix_of(METHODS[:2], METRICS[:1], sizes=(100, 1000), qualities=("neat", "raw"))
    rows = rows_of(matrix, lambda m, b, size, g, quality: 0.8 if quality == "neat" else 0.5)
    first, second = {"method": "sft", "size": 100, "quality": "neat"}, {"method": "sft", "size": 1000, "quality": "raw"}
    words, value = one_estimate(rows, matrix, two_terms(tmp_path, first, second))
    assert words == "sft, 100 examples, neat − sft, 1,000 examples, raw"
    few, many = ({"method": "sft", "data_size": n, "data_quality": q} for n, q in ((100, "neat"), (1000, "raw")))
    assert value == pytest.approx(difference_of_means(rows, few, many))

    def missing(**changed: Any) -> str:
        return claims_of(rows, matrix, [], two_terms(tmp_path, {**first, **changed}, second))[0].missing

    assert missing(size=300) == "no training on 300 examples in the experiment"
    assert missing(quality="clean") == "no training data called clean in the experiment"


def test_the_better_and_the_worse_data_exist_only_where_the_experiment_declares_an_order(tmp_path: Path) -> None:
    file = two_terms(tmp_path, {"method": "sft", "quality": "better"}, {"method": "sft", "quality": "worse"})
    matrix = matrix_of(METHODS[:2], METRICS[:1], qualities=("a", "b", "c"))
    rows = rows_of(matrix, lambda m, b, n, g, quality: {"a": 0.2, "b": 0.9, "c": 0.5}[quality])
    (found,) = claims_of(rows, matrix, [], file)
    assert (found.verdict, found.missing) == ("not testable", "the experiment declares no order of quality")
    ordered = replace(matrix, quality_order={"better": "a", "worse": "c"})
    words, value = one_estimate(rows, ordered, file)
    assert words == "sft, a − sft, c"
    chosen = ({"method": "sft", "data_quality": quality} for quality in "ac")
    assert value == pytest.approx(difference_of_means(rows, *chosen))
    single = matrix_of(METHODS[:2], METRICS[:1])
    assert claims_of(rows[:0], single, [], file)[0].missing == "one quality of training data only"


def test_a_term_chooses_a_base_model_by_name_and_a_group_of_items(tmp_path: Path) -> None:
    methods = (METHODS[0], method_info("base_small", "base", small=True))
    matrix = matrix_of(methods, METRICS[1:], small="tiny")
    rows = rows_of(matrix, lambda method, *_: 0.3 if method == "base_small" else 0.9)
    first, second = ({"method": "base", "model": model, "group": "rare"} for model in ("big", "tiny"))
    file = two_terms(tmp_path, first, second, where={"role": "knowledge"})
    words, value = one_estimate(rows, matrix, file)
    assert words == "base, big (rare) − base_small, tiny (rare)"
    chosen = ({"method": method, "group": "rare"} for method in ("base", "base_small"))
    assert value == pytest.approx(difference_of_means(rows, *chosen))
    file = two_terms(tmp_path, {**first, "model": "huge"}, second, where={"role": "knowledge"})
    assert claims_of(rows, matrix, [], file)[0].missing == "no model huge in the experiment"


def test_a_slope_is_the_least_squares_line_over_the_logarithm_of_sizes(tmp_path: Path) -> None:
    """Sizes 100, 200, 800: log2 is 0, 1, 3 above 100, mean 4/3, squares 14/3; weights -2/7, -1/14, 5/14."""
    matrix = matrix_of(METHODS[:2], METRICS[:1], sizes=(100, 200, 800))
    rows = rows_of(matrix, lambda m, b, size, *_: {0: 0.5, 100: 0.3, 200: 0.5, 800: 0.8}[size])
    terms = [{"method": "sft", "slope": "size"}]
    file = claim(tmp_path, where={"role": "quality"}, terms=terms, expects={"above": 0})
    (found,) = claims_of(rows, matrix, [], file)
    means = rows[rows["method"] == "sft"].groupby("data_size")["value"].mean()
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(-2 / 7 * means[100] - 1 / 14 * means[200] + 5 / 14 * means[800])
    assert found.verdict == "supported"
    assert found.contrast == "slope of sft per doubling of size (100, 200, 800)"


def test_a_slope_over_a_setting_runs_over_the_methods_that_differ_in_it(tmp_path: Path) -> None:
    ranks = tuple(MethodInfo(f"rank {rank}", "lora", False, {"rank": rank}) for rank in (16, 1))
    matrix = matrix_of((METHODS[0], *ranks), METRICS[:1])
    rows = rows_of(matrix, lambda method, *_: {"base": 0.2, "rank 1": 0.5, "rank 16": 0.9}[method])
    terms = [{"method": "lora", "slope": "rank"}]
    file = claim(tmp_path, where={"role": "quality"}, terms=terms, expects={"above": 0})
    words, value = one_estimate(rows, matrix, file)
    assert words == "slope of lora per doubling of rank (1, 16)"
    assert value == pytest.approx(difference_of_means(rows, {"method": "rank 16"}, {"method": "rank 1"}) / 4)
    terms[0]["slope"] = "epochs"
    file = claim(tmp_path, where={"role": "quality"}, terms=terms, expects={"above": 0})
    assert "fewer than two values of epochs" in claims_of(rows, matrix, [], file)[0].missing


@pytest.mark.parametrize(
    ("line", "wrong", "said", "example"),
    [
        (8, "    expects: {over: 0}", "unknown key 'over'", "above"),
        (8, "    expects: {above: 0, below: 1}", "must name one bound", "{above: 0}"),
        (8, "    expects: {above: some}", "must be", "Example"),
        (8, "    expects: {within: 0}", "more than 0", "within: margin"),
        (7, "    terms: {weight: 1, method: sft}", "must be a list of terms", "terms: ["),
        (7, "    terms: [{weight: 1, methd: sft}]", "unknown key 'methd'", "method"),
        (7, "    terms: [{weight: 1}]", "either a `method`", "method: lora"),
        (7, "    terms: [{weight: 1, method: sft, label: hot}]", "either a `method`", "method: lora"),
        (7, "    terms: [{weight: 0, method: sft}]", "the weight is 0", "weight: 1"),
        (7, "    terms: [{weight: true, method: sft}]", "must be a number", ""),
        (7, "    terms: [{weight: 1, method: sft, with: rank}]", "`with` must be a mapping", "rank: 64"),
        (7, "    terms: [{weight: 1, method: sft, size: many}]", "must be", "largest"),
        (7, "    terms: [{weight: 1, label: sft, slope: rank}]", "names a single one", "slope: rank"),
        (6, "    where: {role: quality, metric: exact}", "either a role or metrics", "role: quality"),
        (6, "    where: {role: good}", "must be", "quality"),
        (5, "    statment: so", "unknown key 'statment'", "statement"),
        (4, "    source: 7", "must be text", "text"),
        (2, "claims: []", "a list `claims`", "claims: ["),
        (1, "tune: [sft]", "unknown key 'tune'", "tuned"),
    ],
)
def test_a_mistake_in_a_claims_file_is_one_error_with_its_line_and_an_example(
    tmp_path: Path, line: int, wrong: str, said: str, example: str
) -> None:
    lines = [
        "tuned: [sft]",
        "claims:",
        "  - name: it",
        "    source: we",
        "    statement: so",
        "    where: {role: quality}",
        "    terms: [{weight: 1, method: dpo}, {weight: -1, method: sft}]",
        "    expects: {above: 0}",
    ]
    file = tmp_path / "claims.yaml"
    file.write_text("\n".join(lines))
    assert [one.name for one in read_claims(file).claims] == ["it"]
    lines[line - 1] = wrong
    file.write_text("\n".join(lines[:2] if line == 2 else lines))
    with pytest.raises(UserError) as caught:
        read_claims(file)
    assert caught.value.where == f"{file}:{line}"
    assert said in caught.value.what
    assert example in caught.value.fix


def test_a_claim_without_a_metric_or_with_the_name_of_another_is_refused(tmp_path: Path) -> None:
    bare = {name: value for name, value in KEEPS.items() if name != "where"}
    with pytest.raises(UserError, match="on which metric"):
        read_claims(claim(tmp_path, **bare))
    with pytest.raises(UserError, match="a claim needs `expects`"):
        read_claims(claim(tmp_path, **{name: value for name, value in KEEPS.items() if name != "expects"}))
    document = yaml.safe_load(claim(tmp_path, **KEEPS).read_text())
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": document["claims"] * 2}))
    with pytest.raises(UserError, match="two claims are called 'it'"):
        read_claims(tmp_path / "claims.yaml")
    with pytest.raises(UserError, match="no such claims file"):
        read_claims(tmp_path / "nothing.yaml")


def test_two_metrics_on_the_same_items_are_not_added_up_as_if_they_were_independent(tmp_path: Path) -> None:
    metrics = (metric_info("tasks", "right", "quality"), metric_info("tasks", "short", "other"))
    matrix = matrix_of(METHODS[:2], metrics)
    terms = [
        {"weight": 1, "method": "sft", "where": {"metric": "right"}},
        {"weight": -1, "method": "sft", "where": {"metric": "short"}},
    ]
    own = rows_of(matrix, lambda *_: 0.5, 30)
    rows = pandas.concat([own, own.assign(metric="short")])
    (found,) = claims_of(rows, matrix, [], claim(tmp_path, terms=terms, expects={"above": 0}))
    assert found.missing == "right and short of tasks have items in common, and such contrasts are not paired"


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


def test_a_claim_that_compares_bases_names_none_of_them_beside_its_metric(tmp_path: Path) -> None:
    matrix = replace(matrix_of(METHODS[:1], METRICS[1:]), bases=("big", "middle"))
    others = rows_of(matrix, lambda *_: 0.3).assign(base="middle")
    rows = pandas.concat([rows_of(matrix, lambda *_: 0.9), others])
    ledger = [{"base": "big", "total_parameters": 1000}, {"base": "middle", "total_parameters": 100}]
    terms = [{"weight": 1, "method": "base", "model": "larger"}, {"weight": -1, "method": "base", "model": "smaller"}]
    (found,) = claims_of(
        rows, matrix, ledger, claim(tmp_path, where={"role": "knowledge"}, terms=terms, expects={"above": 0})
    )
    assert (found.missing, found.contrast, found.where) == ("", "base, big − base, middle", "facts: known")


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
    own = document["claims"][0]
    asked = [{**own, "name": f"asked {at}"} for at in range(5)]
    untried = [{**own, "name": f"untried {at}", "where": {"role": "other"}} for at in range(5)]
    file.write_text(yaml.safe_dump({**document, "claims": asked + untried}))
    several = claims_of(rows, matrix, [], file)
    assert alone.p is not None
    assert several[0].p == pytest.approx(min(1.0, 5 * alone.p))
    assert [one.verdict for one in several[5:]] == ["not testable"] * 5


def test_claims_of_different_families_do_not_share_their_error_rate(tmp_path: Path) -> None:
    """Two of five claims named `other`: p is twice the single one there, three times among those without a name."""
    matrix = matrix_of()
    chances = {"proxy": 0.72, "sft": 0.64, "base": 0.7}
    rows = rows_of(matrix, lambda method, *_: chances[method])
    file = claim(tmp_path, **KEEPS)
    (alone,) = claims_of(rows, matrix, [], file)
    document = yaml.safe_load(file.read_text())
    own = document["claims"][0]
    asked = [{**own, "name": str(at), **({"family": "other"} if at < 2 else {})} for at in range(5)]
    file.write_text(yaml.safe_dump({**document, "claims": asked}))
    found = claims_of(rows, matrix, [], file)
    assert alone.p is not None
    assert [one.p for one in found] == pytest.approx([min(1.0, k * alone.p) for k in (2, 2, 3, 3, 3)])
    assert [one.family for one in found] == ["other", "other", "", "", ""]


def test_the_shipped_claims_share_one_error_rate() -> None:
    """Their results have been seen: families that are named now could have been chosen after them."""
    assert {one.family for one in read_claims(SHIPPED_CLAIMS).claims} == {""}


def test_the_shipped_claims_are_complete_and_can_all_be_read() -> None:
    claims = read_claims(SHIPPED_CLAIMS).claims
    assert len(claims) >= 10
    matrix = matrix_of()
    found = claims_of(rows_of(matrix, lambda *_: 0.5, 30), matrix, [])
    assert {one.name for one in found} == {one.name for one in claims}
    assert {one.verdict for one in found} >= {"not testable"}


def interaction() -> list[dict[str, Any]]:
    """What tuning changes on rare facts, less what it changes on common ones."""
    return [
        {"weight": weight * sign, "method": method, "where": {"role": "knowledge", "group": group}}
        for group, sign in (("rare", 1), ("common", -1))
        for method, weight in (("tuned", 1), ("baseline", -1))
    ]


Levels = dict[tuple[str, str], float]


def interaction_at(tmp_path: Path, levels: Levels) -> tuple[Claimed, pandas.DataFrame]:
    matrix = matrix_of(METHODS[:2])
    rows = rows_of(matrix, lambda method, benchmark, size, group, quality: levels[method, group], 2000)
    (found,) = claims_of(rows, matrix, [], claim(tmp_path, terms=interaction(), expects={"below": 0}))
    return found, rows


def test_an_interaction_that_the_two_scales_judge_differently_is_undecided(tmp_path: Path) -> None:
    """Rare facts lose 20 points and common ones 10; in odds the common ones lose more: 3.9 - 2.0 against 0.8."""
    levels = {("base", "rare"): 0.5, ("sft", "rare"): 0.3, ("base", "common"): 0.98, ("sft", "common"): 0.88}
    found, rows = interaction_at(tmp_path, levels)
    assert found.estimate is not None
    assert found.estimate.high is not None
    assert found.estimate.high < 0  # supported on the scale of the scores alone
    assert found.verdict == "undecided"
    means = rows[rows["benchmark"] == "facts"].groupby(["method", "group"])["value"].mean()
    logit = {place: numpy.log(mean / (1 - mean)) for place, mean in means.items()}
    change = {group: logit["sft", group] - logit["base", group] for group in ("rare", "common")}
    assert change["rare"] - change["common"] > 0.5
    assert found.logits.startswith(f"in logits +{change['rare'] - change['common']:.2f}"[:-1])


def test_an_interaction_is_supported_where_both_scales_agree(tmp_path: Path) -> None:
    levels = {("base", "rare"): 0.9, ("sft", "rare"): 0.4, ("base", "common"): 0.9, ("sft", "common"): 0.85}
    found, _ = interaction_at(tmp_path, levels)
    assert found.verdict == "supported"
    assert found.logits.startswith("in logits −")


def test_an_interaction_with_a_side_at_a_hundred_per_cent_decides_nothing(tmp_path: Path) -> None:
    levels = {("base", "rare"): 0.9, ("sft", "rare"): 0.4, ("base", "common"): 1.0, ("sft", "common"): 0.95}
    found, _ = interaction_at(tmp_path, levels)
    assert (found.verdict, found.p) == ("undecided", None)
    assert found.missing == "base (common) is at 100 %, where logits have no value"
    assert found.logits == "in logits: no value"


def test_the_standard_error_of_a_contrast_of_logits_is_that_of_the_jackknife_over_items(tmp_path: Path) -> None:
    """One seed: the jackknife leaves out one item at a time and computes the logits again."""
    matrix = matrix_of(METHODS[:2], METRICS[:1], seeds=(0,))
    rows = rows_of(matrix, lambda method, *_: 0.6 if method == "sft" else 0.3, 400)
    terms = (TermChoice(method="sft"), TermChoice(weight=-1, method="base"))
    claimed = Claim("it", "we", "so", terms, ("above", 0.0), MetricChoice(role="quality"))
    bench = ClaimBench(rows, matrix, [], ())
    ((_, found, _),) = bench.contrasts(claimed)
    estimate = bench.on_logits(found, 1.0)
    table = rows.pivot(index="item", columns="method", values="value")
    left = (table.sum() - table) / (len(table) - 1)
    contrasts = numpy.log(left["sft"] / (1 - left["sft"])) - numpy.log(left["base"] / (1 - left["base"]))
    error = numpy.sqrt((len(table) - 1) * ((contrasts - contrasts.mean()) ** 2).mean())
    assert estimate.spreads[0].error == pytest.approx(error, rel=0.01)


def test_a_claim_that_rests_on_an_incompetent_expert_is_not_testable_and_makes_no_other_test_easier(
    tmp_path: Path,
) -> None:
    expert = {"learning_rate": 1.0}
    small = MethodInfo("sft_small", "sft", True, expert, seed_group="sft_small")
    proxy = MethodInfo("proxy", "proxy_tuning", False, {"expert": {"sft": expert}}, seed_group="sft_small")
    matrix = matrix_of((*METHODS[:2], small, proxy), METRICS[:1], small="tiny")
    right = {"base": 0.3, "sft": 0.64, "proxy": 0.72}
    competence = {"competence": [{"method": "proxy_tuning", "part": "expert"}]}
    file = two_terms(tmp_path, {"method": "proxy_tuning"}, {"method": "sft"}, requires=competence)
    rows = rows_of(matrix, lambda method, *_: {**right, "sft_small": 0.01}[method])
    (found,) = claims_of(rows, matrix, [], file)
    assert found.verdict == "not testable"
    share = rows[rows["method"] == "sft_small"]["value"].mean()
    said = f"sft_small scores {100 * share:.1f} on tasks: right, and random answers 0.0: the claim needs 5 points more"
    assert found.missing == said
    (own,) = yaml.safe_load(file.read_text())["claims"]
    free = {name: value for name, value in own.items() if name != "requires"}
    file.write_text(yaml.safe_dump({"claims": [own, {**free, "name": "another"}]}))
    beside = claims_of(rows, matrix, [], file)[1]
    file.write_text(yaml.safe_dump({"claims": [free]}))
    (alone,) = claims_of(rows, matrix, [], file)
    assert alone.p is not None
    assert beside.p == pytest.approx(min(1.0, 2 * alone.p))
    file = two_terms(tmp_path, {"method": "proxy_tuning"}, {"method": "sft"}, requires=competence)
    rows = rows_of(matrix, lambda method, *_: {**right, "sft_small": 0.5}[method])
    assert claims_of(rows, matrix, [], file)[0].verdict != "not testable"
