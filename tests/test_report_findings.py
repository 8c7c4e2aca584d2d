"""Findings beside the matrix: audit, prices, shifts, noise floor, what would be needed; worked by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy
import pandas
import pytest
from scipy import stats

from harness.engine.results.provenance import composition
from harness.records import DataChoice, Problem
from harness.report.collect import Block
from harness.report.findings.audit import audit_parts, incompetent, warning
from harness.report.findings.finish import finish_parts, finish_warning, flagged_shares
from harness.report.findings.harm import harm_parts
from harness.report.findings.prices import price, shifts_of
from harness.report.findings.turnover import Lengths, lengths_of, turnovers_of
from harness.report.numbers.comparisons import Comparison, Result, results_of
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, Matrix, MethodInfo
from harness.report.numbers.panel import build_panel, measure, score_of
from harness.report.numbers.protocol import Audit, ProtocolField, audit_of
from harness.report.render.document import Paragraph
from harness.report.render.tabular import Table
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference
from harness.stats.families import independent_sum
from harness.stats.intervals import Components, Estimate, Spread
from harness.stats.resolution import minimum_detectable_effect, needed, noise_floor

GRADED = Scale(binary=False)


def singletons(values: numpy.ndarray) -> Scores:
    return Scores(values, numpy.ones(values.shape[1]))


# ---- the audit

MODEL = {"chat_template": "chatml", "dtype": "float32", "device": "cpu"}


def entry(method: str, base: str = "world", **changed: Any) -> dict[str, Any]:
    notes = {"labelled_tokens": 400, "rows": 100, "rows_truncated": 0, **changed.pop("notes", {})}
    ledger = {"training_tokens": 1000, "shared_training_tokens": 0, "tuning_trials": 0, "notes": notes, **changed}
    return {"base": base, "method": method, "data_quality": "", "data_size": 0, "seed": 0, **ledger}


def audited(
    second: Mapping[str, Any], fields: Mapping[str, Any] | None = None, models: Mapping[str, Any] | None = None
) -> Audit:
    """`first` trains on 1,000 tokens, 400 of them labelled, as `second` does but for what is given."""
    other = {"max_length": None, **(fields or {})}
    small = second.get("base", "world") == "little"
    methods = (
        MethodInfo("first", "sft", False, {"max_length": None, "learning_rate": 1e-4}, "", False, ()),
        MethodInfo("second", "lora", small, other, "", False, ()),
        MethodInfo("third", "peft", False, {"max_length": None}, "", False, ()),
    )
    matrix = Matrix("m", "first", None, 0.02, ("world",), "little", (0,), ("",), (0,), methods, (), ())
    artifacts = [entry("first"), {**entry("second"), **second}, entry("third")]
    return audit_of(artifacts, matrix, {"world": MODEL, "little": MODEL, **(models or {})}, "world", DataChoice())


def flags(audit: Audit) -> list[str]:
    assert audit.apart("first") == audit.apart("third") == []
    assert audit.between("first", "third") == []
    assert audit.between("first", "second") == audit.apart("second")
    return audit.apart("second")


def test_the_warning_names_each_field_once_with_all_who_differ_in_it() -> None:
    audit = Audit((
        ProtocolField("base model", {"a": "x", "b": "x", "c": "x", "d": "y"}),
        ProtocolField("training tokens", {"a": "1", "b": "1", "c": "2", "d": "3"}),
    ))  # fmt: skip
    methods = tuple(MethodInfo(label, "sft", False, {}, "", False, ()) for label in "abcd")
    block = Block("world", DataChoice(), methods, audit=audit)
    assert warning(block).endswith("Different from most methods in training tokens: c and d; base model: d.")


def test_an_expert_that_does_not_score_above_the_baseline_is_named() -> None:
    """The expert is at -2 points on `quiz` and at +5 on `task`; the sampler is above on both."""
    methods = (
        MethodInfo("base", "base", False),
        MethodInfo("expert", "sft", False),
        MethodInfo("sampler", "sft", False),
        MethodInfo("proxy", "proxy_tuning", False, inputs=("expert",)),
        MethodInfo("vote", "best_of_n", False, seed_group="sampler"),
    )
    results = []
    for name, change in (("quiz", -0.02), ("task", 0.05)):
        metric = BenchmarkMetric("exact", "", role="quality", benchmark=name)
        pairs = {"expert": Comparison(Estimate(change)), "sampler": Comparison(Estimate(0.1))}
        results.append(Result(metric, "", True, {}, pairs))
    block = Block("world", DataChoice(), methods, results=tuple(results))
    matrix = Matrix("m", "base", None, 0.02, ("world",), None, (0,), ("",), (0,), methods, (), ())
    assert list(incompetent(block, matrix)) == [
        "expert, on which proxy is built, does not score above base itself on quiz: exact."
    ]


def test_the_audit_shows_where_settings_were_tuned_and_what_the_data_is_made_of() -> None:
    methods = (MethodInfo("base", "base", False), MethodInfo("rft", "rft", False, needs=("problems",)))
    matrix = Matrix("m", "base", None, 0.02, ("world",), None, (0,), ("",), (0,), methods, (), ())
    provenance = {
        "data": {"problems": {"name": "stories", "composition": {"2 steps": 300, "3 steps": 180}}},
        "tuned_in": {"folder": "sweep", "name": "rates", "digest": "abc", "trials": {"sft": 8}},
    }
    shown = str(list(audit_parts(Block("world", DataChoice(), methods), matrix, provenance)))
    assert "rates (folder sweep, digest abc); trials of each method there: sft 8." in shown
    assert "problems stories: 2 steps 300, 3 steps 180" in shown
    assert "names no other one" in str(list(audit_parts(Block("world", DataChoice(), methods), matrix, {})))


def test_rows_are_counted_by_source_or_by_the_kind_in_their_ids() -> None:
    def row(id: str, source: str = "") -> Problem:
        return Problem((), "", "", id, source)

    assert composition([row("a", "x"), row("b", "y"), row("c", "y")]) == {"y": 2, "x": 1}
    assert composition([row("s/train/0000-story"), row("s/train/0001-call"), row("s/train/0002-call")]) == {
        "call": 2, "story": 1,
    }  # fmt: skip
    assert composition([row("a"), row("s/0001-call")]) == {"not stated": 2}
    many = composition([row(str(at), f"s{at}") for at in range(20)])
    assert (len(many), many["others"]) == (13, 8)


def test_methods_with_one_protocol_are_not_flagged() -> None:
    assert flags(audited({})) == []


def test_another_learning_rate_is_no_fault() -> None:
    assert flags(audited({}, fields={"learning_rate": 5e-3, "rank": 8})) == []


def test_another_base_model_is_flagged_by_name() -> None:
    assert flags(audited({"base": "little"})) == ["base model"]


def test_another_chat_template_is_flagged_by_name() -> None:
    models = {"little": {**MODEL, "chat_template": "plain"}}
    assert flags(audited({"base": "little"}, models=models)) == ["base model", "chat template"]


def test_another_precision_is_flagged_by_name() -> None:
    assert "precision" in flags(audited({"base": "little"}, models={"little": {**MODEL, "dtype": "bfloat16"}}))


def test_another_device_is_flagged_by_name() -> None:
    assert "device" in flags(audited({"base": "little"}, models={"little": {**MODEL, "device": "cuda"}}))


def test_the_precision_of_trained_weights_is_a_field_where_a_fit_notes_it() -> None:
    assert "trained weights" not in [field.name for field in audited({}).fields]
    kept = audited(entry("second", notes={"merged_in": "float32"}))
    found = next(field for field in kept.fields if field.name == "trained weights")
    assert found.values == {"first": None, "second": "float32", "third": None}
    assert not found.differs
    both = audit_with({"saved_in": "bfloat16"}, {"merged_in": "float32"})
    assert both.between("first", "second") == ["trained weights"]


def audit_with(first: Mapping[str, Any], second: Mapping[str, Any]) -> Audit:
    """The audit of two methods whose fits note these facts."""
    methods = (MethodInfo("first", "sft", False), MethodInfo("second", "lora", False))
    matrix = Matrix("m", "first", None, 0.02, ("world",), None, (0,), ("",), (0,), methods, (), ())
    artifacts = [entry("first", notes=dict(first)), entry("second", notes=dict(second))]
    return audit_of(artifacts, matrix, {"world": MODEL}, "world", DataChoice())


def test_another_loss_mask_is_flagged_by_name() -> None:
    assert flags(audited(entry("second", notes={"labelled_tokens": 1000}))) == ["loss mask"]


def test_another_length_to_cut_to_is_flagged_by_name() -> None:
    assert flags(audited({}, fields={"max_length": 128})) == ["truncation length"]


def test_a_length_inside_another_method_counts() -> None:
    inner = {"expert": {"sft": {"max_length": 128}}}
    assert flags(audited({}, fields=inner)) == ["truncation length"]


def test_more_rows_cut_are_flagged_by_name() -> None:
    assert flags(audited(entry("second", notes={"rows_truncated": 7}))) == ["truncated rows"]


def test_more_tokens_seen_are_flagged_by_name_and_one_per_cent_is_not() -> None:
    twice = {"notes": {"labelled_tokens": 800}}
    assert flags(audited(entry("second", training_tokens=2000, **twice))) == ["training tokens"]
    assert flags(audited(entry("second", training_tokens=1009))) == []


def test_tokens_of_what_a_method_stands_on_count() -> None:
    stands = entry("second", training_tokens=0, shared_training_tokens=1500, notes={"labelled_tokens": None})
    assert "training tokens" in flags(audited(stands))


def test_another_tuning_budget_is_flagged_by_name() -> None:
    assert flags(audited(entry("second", tuning_trials=8))) == ["tuning trials"]


def test_what_trains_nothing_is_not_compared_in_training() -> None:
    untrained = entry("second", training_tokens=0)
    assert flags(audited(untrained, fields={"max_length": 5})) == []


def test_what_is_not_recorded_is_unknown_and_not_equal() -> None:
    audit = audited({"shared_training_tokens": None, "shared_fit_seconds": 9.0})
    field = next(one for one in audit.fields if one.name == "training tokens")
    assert field.values["second"] is None
    assert flags(audit) == []


# ---- the price of a point


def gained(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.01, 100, 3)


def test_a_price_is_the_cost_over_the_gain_and_so_are_its_ends() -> None:
    """600 s for 20 points, [10, 30]: 30 s a point, [20, 60]."""
    found = price(600, gained(0.10, 0.20, 0.30))
    assert (found.value, found.low, found.high) == pytest.approx((30, 20, 60))


def test_a_gain_that_may_be_none_has_no_price() -> None:
    assert price(600, gained(-0.01, 0.20, 0.30)).value is None
    assert price(600, gained(-0.30, -0.20, -0.10)).value is None
    assert price(600, gained(-0.30, -0.20, -0.10), higher_is_better=False).value == pytest.approx(30)
    assert price(None, gained(0.1, 0.2, 0.3)).reason == "not recorded"
    assert price(600, Estimate(None, reason="no item in common")).reason == "no item in common"


# ---- contrasts on different items


def test_contrasts_on_different_items_add_their_variances() -> None:
    """Two one-seed means: V = V1 + V2, degrees by Welch and Satterthwaite; that is Welch's t-test."""
    generator = numpy.random.default_rng(1)
    a, b = generator.normal(0.3, 1, (1, 40)), generator.normal(0, 2, (1, 90))
    zero = [singletons(numpy.zeros_like(one)) for one in (a, b)]
    gains = [difference(singletons(one), none, scale=GRADED) for one, none in zip((a, b), zero, strict=True)]
    found = independent_sum([(1.0, gains[0]), (-1.0, gains[1])])
    reference = stats.ttest_ind(a[0], b[0], equal_var=False)
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()))
    assert (found.clusters, found.items_only) == (40, True)
    assert found.components is None


def test_a_sum_with_a_blank_part_is_blank_and_says_why() -> None:
    known, unknown = gained(0, 0.1, 0.2), Estimate(None, reason="no item in common")
    assert independent_sum([(1.0, known), (1.0, unknown)]).reason == "no item in common"
    half = independent_sum([(1.0, known), (1.0, Estimate(0.5, reason="one cluster"))])
    assert (half.value, half.low, half.reason) == (pytest.approx(0.6), None, "one cluster")


def test_a_sum_of_shares_has_no_interval_beyond_what_shares_allow() -> None:
    """One set is solved by nearly all, the other by nearly none: the difference cannot exceed 1."""
    spread = Spread(0.04, 30.0, 0.0, 0.0, 0.0)
    sides = [
        Estimate(value, clusters=40, seeds=3, effective=40.0, low=0.0, high=1.0, spreads=(spread,), limits=(0.0, 1.0))
        for value in (0.98, 0.01)
    ]
    apart = independent_sum([(1.0, sides[0]), (-1.0, sides[1])])
    assert apart.limits == (-1.0, 1.0)
    assert apart.high == 1.0
    assert apart.low is not None
    assert 0.8 < apart.low < 0.97
    unbounded = independent_sum([(1.0, sides[0]), (-1.0, replace(sides[1], limits=None))])
    assert unbounded.high is not None
    assert unbounded.high > 1.0


# ---- noise floor


def test_the_noise_floor_worked_by_hand() -> None:
    """Runs at .50 .52 .54 and .60 .60 .63: squares .0008 and .0006 on 4 degrees, s = sqrt(.00035) = .01871.

    t(.975, 4) = 2.776: one run against one 2.776 * .01871 * sqrt 2 = .0735; means of three sqrt 3 times less.
    """
    runs = [(0.50, 0.52, 0.54), (0.60, 0.60, 0.63)]
    found = noise_floor([singletons(numpy.array(levels)[:, None] * numpy.ones(50)) for levels in runs])
    assert found is not None
    assert found.deviation == pytest.approx(math.sqrt(0.00035))
    assert found.single == pytest.approx(0.07345, abs=5e-5)
    assert found.means == pytest.approx(found.single / math.sqrt(3))
    assert found.widest == pytest.approx(0.04)
    bounds = [found.deviation * math.sqrt(4 / stats.chi2.ppf(tail, 4)) for tail in (0.975, 0.025)]
    assert (found.low, found.high) == pytest.approx(bounds)


def test_one_run_has_no_noise_floor() -> None:
    assert noise_floor([singletons(numpy.ones((1, 30)))]) is None
    assert noise_floor([]) is None


def test_two_runs_of_one_thing_exceed_the_floor_once_in_twenty() -> None:
    """2,000 draws of 3 methods x 4 seeds and a fresh pair: 5 % with a standard error of half a point."""
    generator = numpy.random.default_rng(2)
    beyond = 0
    for _ in range(2000):
        levels = generator.normal(0, 1, (3, 4, 1))
        found = noise_floor([singletons(one * numpy.ones(2)) for one in levels])
        pair = generator.normal(0, 1, 2)
        assert found is not None
        beyond += abs(pair[0] - pair[1]) > found.single
    assert 0.035 < beyond / 2000 < 0.065


# ---- what would be needed


def pilot(seed_sd: float) -> Estimate:
    generator = numpy.random.default_rng(3)
    difficulty = generator.normal(0, 1, 200)
    made = [difficulty + generator.normal(0, 1, (3, 200)) + generator.normal(0, seed_sd, (3, 1)) for _ in range(2)]
    return difference(*(singletons(one) for one in made), scale=GRADED)


def test_what_is_needed_is_the_first_number_that_detects_the_target() -> None:
    found = pilot(0.0)
    assert found.components is not None
    for tests in (1, 6):
        plan = needed(found, 0.15, tests)
        assert plan is not None
        assert plan.clusters is not None
        numbers = (plan.clusters - 1, plan.clusters)
        around = [minimum_detectable_effect(found.components, number, 3, 2, tests) for number in numbers]
        assert around[1] <= 0.15 < around[0]


def test_a_number_is_found_where_more_items_are_worse_again() -> None:
    """Three seeds, Holm over 14: 20.4 points at 150 clusters, 19.7 at 300, 21.0 at a million; 20 is reached."""
    components = Components(items=0.05, seeds=0.002, interaction=0.1)
    around = [minimum_detectable_effect(components, clusters, 3, 2, 14) for clusters in (150, 300, 1_000_000)]
    assert around[1] < 0.2 < min(around[0], around[2])
    # of one contrast at three seeds and 100 clusters: MS_I = 0.1 + 3 x 0.05, W = 0.1 + 100 x 0.002
    spread = Spread(0.05, 2.0, 0.25, 0.3, 0.1)
    plan = needed(Estimate(0.1, 0.0, 0.2, 0.1, 100, 3, stochastic=2, spreads=(spread,)), 0.2, 14)
    assert plan is not None
    assert plan.clusters is not None
    assert 150 < plan.clusters < 300


def test_no_number_of_items_makes_up_for_seeds_that_differ() -> None:
    plan = needed(pilot(2.0), 0.1)
    assert plan is not None
    assert plan.clusters is None
    assert plan.seeds is None or plan.seeds > 20


def test_one_seed_cannot_say_how_many_seeds_are_needed() -> None:
    generator = numpy.random.default_rng(4)
    once = difference(*(singletons(generator.normal(0, 1, (1, 100))) for _ in range(2)), scale=GRADED)
    plan = needed(once, 0.1)
    assert plan is not None
    assert plan.seeds is None
    assert plan.clusters is not None
    assert needed(Estimate(0.1), 0.1) is None
    with pytest.raises(ValueError, match="above 0"):
        needed(once, 0.0)


# ---- scores and gains out of distribution


def test_the_gap_is_of_scores_and_the_drop_is_of_gains() -> None:
    """Of 20 items `weak` gets 8 and `good` 18 right inside, and 4 and 9 outside.

    Gaps of scores: .40 - .20 = .20 and .90 - .45 = .45. Gains of `good`: .50 inside and .25 outside, so a drop of .25:
    .20 of its gap is that the test outside is harder for the baseline, too.
    """
    methods = tuple(MethodInfo(label, label, False, {}, "", False, ()) for label in ("weak", "good"))
    matrix = Matrix(
        "m", "weak", None, 0.02, ("world",), None, (0, 1, 2), ("",), (0,), methods, (), (),
        out_of_distribution={"outside": "inside"},
    )  # fmt: skip
    right = {("weak", "inside"): 8, ("good", "inside"): 18, ("weak", "outside"): 4, ("good", "outside"): 9}
    measured = []
    for benchmark in ("inside", "outside"):
        metric = BenchmarkMetric("right", "", "quality", True, True, False, None, benchmark=benchmark)
        rows = [
            {"method": label, "seed": seed, "item": f"i{at}", "cluster": f"i{at}", "group": "", "weight": 1.0,
             "value": float((at + seed) % 20 < right[label, benchmark])}
            for label in ("weak", "good") for seed in range(3) for at in range(20)
        ]  # fmt: skip
        measured.append(measure(metric, build_panel(pandas.DataFrame(rows))))
    weak, good = shifts_of(measured, matrix)
    assert (weak.method, weak.inside.value, weak.drop.value) == ("weak", None, None)
    assert weak.inside.reason == "the baseline"
    assert weak.gap.value == pytest.approx(0.20)
    assert [one.value for one in (good.gap, good.inside, good.outside, good.drop)] == pytest.approx(
        [0.45, 0.50, 0.25, 0.25]
    )
    assert good.drop.low is not None
    # errors of the two sides add up: the drop's interval is wider than either gain's
    assert good.drop.high - good.drop.low > max(  # type: ignore[operator]
        one.high - one.low  # type: ignore[operator]
        for one in (good.inside, good.outside)
    )


def test_variants_of_the_same_items_are_paired_family_by_family() -> None:
    """Every family is right as a whole or wrong as a whole: inside less outside is 0 in each, and so is its spread."""
    methods = tuple(MethodInfo(label, label, False, {}, "", False, ()) for label in ("weak", "good"))
    matrix = Matrix(
        "m", "weak", None, 0.02, ("world",), None, (0, 1, 2), ("",), (0,), methods, (), (),
        out_of_distribution={"tasks/reworded": "tasks/original"},
    )  # fmt: skip
    metric = BenchmarkMetric("right", "", "quality", True, True, False, None, benchmark="tasks")
    rows = [
        {"method": label, "seed": seed, "item": f"{group}{at}", "cluster": f"family{at}", "group": group, "weight": 1.0,
         "value": float(at % 10 < (2 if label == "weak" else 7)) if at else float(group == "original")}
        for label in ("weak", "good") for seed in range(3) for group in ("original", "reworded") for at in range(40)
    ]  # fmt: skip
    panel = build_panel(pandas.DataFrame(rows))
    _, good = shifts_of([measure(metric, panel)], matrix)
    # one family of forty lost its point, for both methods: a gap of 1/40, and no drop
    assert (good.gap.value, good.drop.value) == (pytest.approx(1 / 40), pytest.approx(0.0))
    sides = [score_of(measure(metric, panel.only(group)), "good") for group in ("original", "reworded")]
    apart = independent_sum([(1.0, sides[0]), (-1.0, sides[1])])
    widths = [one.high - one.low for one in (good.gap, apart)]  # type: ignore[operator]
    assert widths[0] < widths[1] / 2


def test_a_side_that_is_no_share_is_not_told_in_points() -> None:
    methods = tuple(MethodInfo(label, label, False, {}, "", False, ()) for label in ("weak", "good"))
    matrix = Matrix(
        "m", "weak", None, 0.02, ("world",), None, (0,), ("",), (0,), methods, (), (),
        out_of_distribution={"text/b": "text/a"},
    )  # fmt: skip
    metric = BenchmarkMetric("bits_per_byte", "", "other", True, False, True, None, "bits", benchmark="text")
    rows = [
        {"method": label, "seed": 0, "item": f"{group}{at}", "cluster": f"{group}{at}", "group": group, "weight": 1.0,
         "value": 0.4 + 0.01 * at + 0.2 * (group == "b")}
        for label in ("weak", "good") for group in ("a", "b") for at in range(30)
    ]  # fmt: skip
    measured = measure(metric, build_panel(pandas.DataFrame(rows)))
    assert not measured.percent, "values between 0 and 1 are no share where the metric has a unit"
    shift = shifts_of([measured], matrix)[0]
    assert (shift.percent, shift.unit) == (False, "bits")
    # less is better, so the side with more bits is the worse one
    assert shift.gap.value == pytest.approx(0.2)


def test_what_is_a_difference_already_is_not_tested_against_the_baseline_nor_ranked() -> None:
    """The base lies at 0 from itself: that anybody else lies further is no harm, and 0 needs no interval."""
    matrix = two_methods()
    metric = BenchmarkMetric("kl", "", "other", True, False, False, None, "nats", False, benchmark="far")
    chance = numpy.random.default_rng(0)
    rows = [
        {"method": label, "seed": seed, "item": f"i{at}", "cluster": f"i{at}", "group": "", "weight": 1.0,
         "value": 0.0 if label == "weak" else float(chance.gamma(2.0))}
        for label in ("weak", "good") for seed in range(3) for at in range(40)
    ]  # fmt: skip
    measured = measure(metric, build_panel(pandas.DataFrame(rows)))
    (found,) = results_of([measured], matrix, lambda one: True, lambda method, benchmark: True)
    assert (found.comparisons, found.family) == ({}, 0)
    assert {score.rank for score in found.scores.values()} == {None}
    weak, good = found.scores["weak"].estimate, found.scores["good"].estimate
    assert (weak.value, weak.low) == (0.0, None)
    assert good.low is not None
    assert good.low < 2.0 < (good.high or 0.0)
    (tested,) = results_of(
        [replace(measured, metric=replace(metric, against_baseline=True))], matrix, lambda one: True, lambda m, b: True
    )
    assert tested.family == 1


# ---- items gained and lost, harm, length


def rights(label: str, right: range, seeds: int = 3) -> list[dict[str, Any]]:
    return [
        {"method": label, "seed": seed, "item": f"i{at:02d}", "cluster": f"i{at:02d}", "group": "", "weight": 1.0,
         "value": float(at in right)}
        for seed in range(seeds) for at in range(20)
    ]  # fmt: skip


def method_info(label: str) -> MethodInfo:
    return MethodInfo(label, label, False, {}, "", False, ())


def two_methods() -> Matrix:
    methods = (method_info("weak"), method_info("good"))
    return Matrix("m", "weak", None, 0.02, ("world",), None, (0, 1, 2), ("",), (0,), methods, (), ())


@pytest.mark.parametrize("more_is_better", [True, False])
def test_items_gained_and_lost_are_counted_apart_and_their_difference_is_the_net(more_is_better: bool) -> None:
    """Of 20 items `weak` gets 0-9 and `good` 5-16: 10-16 are gained (7) and 0-4 lost (5), a net of 2."""
    metric = BenchmarkMetric("right", "", "quality", True, more_is_better, False, None, benchmark="tasks")
    rows = pandas.DataFrame([*rights("weak", range(10)), *rights("good", range(5, 17))])
    (found,) = turnovers_of([measure(metric, build_panel(rows))], two_methods())
    gained, lost = (found.gained, found.lost) if more_is_better else (found.lost, found.gained)
    assert (gained.value, lost.value) == pytest.approx((7 / 20, 5 / 20))
    assert 0 <= lost.low < 5 / 20 < lost.high  # type: ignore[operator]


def test_methods_without_a_seed_in_common_have_no_turnover_and_no_zero() -> None:
    metric = BenchmarkMetric("right", "", "quality", True, True, False, None, benchmark="tasks")
    late = [{**row, "seed": 7} for row in rights("good", range(5), seeds=1)]
    rows = pandas.DataFrame([*rights("weak", range(10)), *late])
    (found,) = turnovers_of([measure(metric, build_panel(rows))], two_methods())
    assert (found.gained.value, found.lost.value) == (None, None)
    assert found.gained.reason == "no seed in common"


def compared_result(name: str, value: float, *, worse: bool = False, more_is_better: bool = True) -> Result:
    metric = BenchmarkMetric(name, "", "quality", True, more_is_better, False, None, benchmark="tasks")
    return Result(metric, "", True, {}, {"good": Comparison(Estimate(value), worse=worse)})


def harm_of(*results: Result, groups: tuple[Result, ...] = ()) -> list[Any]:
    block = Block("world", DataChoice(), two_methods().methods, results, groups)
    return list(harm_parts(block, two_methods()))


def test_the_harm_list_holds_what_is_worse_and_what_is_lower_and_turns_with_the_metric() -> None:
    (table,) = harm_of(
        compared_result("right", -0.05, worse=True),
        compared_result("surprise", 0.30, more_is_better=False),
        compared_result("fluent", 0.10),
    )
    assert isinstance(table, Table)
    ((label, worse, lower),) = table.rows
    assert (label.text, worse.text, lower.text) == ("good", "tasks: right −5.0", "tasks: surprise +30.0")


def test_groups_of_what_is_worse_as_a_whole_say_nothing_new_and_long_lists_are_cut() -> None:
    right, fluent = compared_result("right", -0.05, worse=True), compared_result("fluent", 0.01)
    others = [replace(compared_result("fluent", -0.01 * at), group=f"g{at}") for at in range(9)]
    groups = (replace(right, group="rare"), *others)
    (table,) = harm_of(right, fluent, groups=groups)
    ((_, worse, lower),) = table.rows
    assert worse.text == "tasks: right −5.0"
    assert lower.text.startswith("tasks: fluent, g8 −8.0; tasks: fluent, g7 −7.0")
    assert lower.text.endswith("; 2 more")


def test_a_method_that_could_not_be_compared_is_not_said_to_be_unharmed() -> None:
    nothing = replace(compared_result("right", 0.0), comparisons={"good": Comparison(Estimate(None, reason="failed"))})
    assert harm_of(nothing) == []


def test_a_method_that_is_lower_nowhere_is_named_as_such() -> None:
    (said,) = harm_of(compared_result("right", 0.05))
    assert isinstance(said, Paragraph)
    assert said.text == "Not below weak on any metric: good."


def test_lengths_count_words_empty_answers_and_cut_prompts() -> None:
    samples = pandas.DataFrame({
        "method": ["good", "good", "weak"], "benchmark": ["tasks"] * 3,
        "completions": [["one two three", ""], ["four"], []], "flags": [["truncated"], [], []],
    })  # fmt: skip
    found = lengths_of(samples)
    assert found == {("good", "tasks"): Lengths(3, pytest.approx(4 / 3), pytest.approx(1 / 3), 0.5)}


# ---- unfinished answers and thoughts


def block_of(unfinished: Mapping[str, int], items: int = 20, seeds: int = 1) -> tuple[Block, Matrix]:
    """Each method's answers to the first so many items are unfinished, at every seed."""
    methods = tuple(MethodInfo(label, "sft", False) for label in unfinished)
    metric = BenchmarkMetric("accuracy", "share right", benchmark="tasks")
    info = BenchmarkInfo("tasks", "tasks", "1", {}, "", (metric,))
    matrix = Matrix("m", "base", None, 0.02, ("w",), None, tuple(range(seeds)), ("",), (0,), methods, (info,), ())
    rows = pandas.DataFrame(
        {"method": label, "seed": seed, "benchmark": "tasks", "metric": "accuracy", "group": "", "item": f"i{item:02}",
         "cluster": f"c{item:02}", "value": 1.0, "weight": 1.0, "completions": ["text"],
         "flags": ["unfinished"] if item < count else []}
        for label, count in unfinished.items() for seed in range(seeds) for item in range(items)
    )  # fmt: skip
    measured = (measure(metric, build_panel(rows)),)
    return Block("w", DataChoice(), methods, measured=measured, samples=rows), matrix


def test_a_share_of_unfinished_answers_is_marked_where_chance_over_items_does_not_explain_it() -> None:
    """1 of 20 and 2 of 20 could be chance, 20 of 20 against 1 could not: the floor is three discordant items.

    By hand, for one item: d = .05, and MS_I = 3 (20 / 20)^2 / 19, so the half-width is t(.975, 19) sqrt(3 / 19 / 20)
    = 2.093 x .0889 = .186.
    """
    block, matrix = block_of({"base": 1, "two": 2, "equal": 1, "long": 20})
    shares = {one.method: one for one in flagged_shares(block, matrix)}
    assert {label: one.share.value for label, one in shares.items()} == {
        "base": 0.05,
        "two": 0.1,
        "equal": 0.05,
        "long": 1,
    }
    assert shares["base"].difference is None
    two = shares["two"].difference
    assert two is not None
    assert two.value == pytest.approx(0.05)
    assert two.high == pytest.approx(0.05 + 2.093 * math.sqrt(3 / 19 / 20), abs=1e-4)
    assert [label for label, one in shares.items() if one.differs] == ["long"]
    assert "tasks: long. A larger limit" in finish_warning(block, matrix)
    _, table = finish_parts(block, matrix)
    assert isinstance(table, Table)
    assert {row[0].text: row[1].text for row in table.rows} == {
        "base": "5.0",
        "two": "10.0",
        "equal": "5.0",
        "long": "100.0",
    }
    assert [row[1].small for row in table.rows] == ["", "", "", "¶ +95.0"]


def test_without_a_flag_nothing_is_said_of_answers_ends() -> None:
    block, matrix = block_of({"base": 0, "other": 0})
    assert flagged_shares(block, matrix) == ()
    assert finish_warning(block, matrix) == ""
    assert list(finish_parts(block, matrix)) == []
