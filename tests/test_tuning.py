"""Equal-budget tuning: the draws, the rule, and a whole search on plugins of another package."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import outside
import pytest
from rich.console import Console

from harness.engine.choice import best_trial, error_of
from harness.engine.config import load_experiment
from harness.engine.plan import Plan
from harness.engine.progress import Progress
from harness.engine.results.write import write_results
from harness.engine.run import run_plan
from harness.engine.search import Trial, draws, searchable
from harness.engine.states import state_of
from harness.engine.store.store import Store
from harness.engine.tuning import plans, scored_on, unfilled
from harness.errors import UserError
from harness.report.compose import write_report
from methods.best_of_n import BestOfN
from methods.lora import Lora
from methods.loreft import Loreft
from methods.prompting import Prompting

TUNE = "tune: {trials: 6}\nbaseline: outside\nseeds: [0, 1]\n"


@pytest.fixture
def folder(outside_folder: Path) -> Path:
    return outside_folder


def filled(folder: Path, **options: str) -> tuple[list[Plan], Store]:
    store = Store(folder / "store")
    found = []
    for plan in plans(load_experiment(outside.experiment(folder, **options)), store.root):
        with Progress(Console(file=StringIO())) as progress:
            run_plan(plan, store, progress)
        found.append(plan)
    return found, store


# ---- drawing


def test_draws_lie_in_the_declared_ranges_and_are_all_different() -> None:
    method = Lora()
    drawn = draws(method, searchable(method), 200, "a")
    assert len({json.dumps(vars(one), default=str, sort_keys=True) for one in [method, *drawn]}) == 201
    assert all(1e-5 <= one.learning_rate <= 2e-2 and 1 <= one.rank <= 64 for one in drawn)
    assert {one.schedule for one in drawn} == {"linear", "cosine"}
    assert {one.batch_size for one in drawn} == {8, 16, 32, 64}
    assert all(isinstance(one.rank, int) and isinstance(one.learning_rate, float) for one in drawn)


def test_a_range_on_a_log_scale_gives_each_power_of_ten_its_share() -> None:
    """From 1e-5 to 2e-2 there are 3.30 powers of ten, so 1 / 3.30 = 30.3 % of the draws lie below 1e-4: of 2,000 that
    is 606, with a standard deviation of 20.6."""
    drawn = draws(Lora(), ["learning_rate"], 2000, "b")
    # three figures leave 2,970 values, so a repetition is drawn again; that shifts the share by less than a percent
    below = sum(one.learning_rate < 1e-4 for one in drawn)
    assert len(drawn) == 2000
    assert abs(below - 606) < 5 * 20.6


def test_a_field_more_leaves_the_draws_of_the_others() -> None:
    alone = draws(Lora(), ["learning_rate"], 5, "c")
    together = draws(Lora(), ["rank", "learning_rate"], 5, "c")
    assert [one.learning_rate for one in alone] == [one.learning_rate for one in together]
    assert [one.learning_rate for one in draws(Lora(), ["learning_rate"], 5, "d")] != [
        one.learning_rate for one in alone
    ]


def test_a_range_that_holds_fewer_settings_gives_what_it_holds() -> None:
    drawn = draws(Prompting(demonstrations=4), ["demonstrations"], 50, "e")
    assert sorted(one.demonstrations for one in drawn) == [n for n in range(17) if n != 4]
    assert [one.choose for one in draws(BestOfN(Lora()), ["choose"], 8, "f")] == []  # the other needs a model: refused


def test_settings_that_the_method_refuses_are_drawn_again() -> None:
    drawn = draws(Loreft(), ["prefix", "suffix"], 120, "g")
    assert all(one.prefix or one.suffix for one in drawn)
    assert len(drawn) == 120


# ---- the rule


def trial(number: int, quality: float | None, knowledge: float | None = None) -> Trial:
    return Trial(number, Lora(), quality, knowledge)


def test_the_rule_takes_the_best_of_those_that_keep_their_knowledge() -> None:
    trials = [trial(0, 0.5, 0.0), trial(1, 0.7, -0.019), trial(2, 0.9, -0.021), trial(3, None)]
    assert best_trial(trials, margin=0.02) == 1
    assert best_trial(trials, margin=0.03) == 2


def test_of_equal_trials_the_first_is_taken_and_none_beats_the_settings_as_written_by_luck() -> None:
    assert best_trial([trial(0, 0.5), trial(1, 0.5), trial(2, 0.5)], margin=0.02) == 0
    assert best_trial([trial(0, 0.5), trial(1, 0.6), trial(2, 0.6)], margin=0.02) == 1


def test_where_all_lose_more_the_least_loss_is_taken_and_where_all_fail_nothing_is_chosen() -> None:
    assert best_trial([trial(0, 0.9, -0.3), trial(1, 0.2, -0.1), trial(2, 0.95, -0.4)], margin=0.02) == 1
    assert best_trial([trial(0, None), trial(1, None)], margin=0.02) == 0


def test_a_quality_of_which_less_is_better_counts_negatively() -> None:
    assert best_trial([trial(0, -3.0), trial(1, -2.0)], margin=0.02) == 1


def scored(number: int, solved: str, knowledge: str = "", **cost: float) -> Trial:
    """A trial with a 0 or 1 for each item of a quality benchmark, and of a knowledge benchmark if it is given."""
    parts = {}
    for role, said in (("quality", solved), ("knowledge", knowledge)):
        values = [int(character) for character in said]
        mean = sum(values) / max(len(values), 1)
        parts[role] = {"bench": {f"c{at}": (value - mean) / len(values) for at, value in enumerate(values)}}
    share = (sum(map(int, solved)) / len(solved), sum(map(int, knowledge)) / len(knowledge) if knowledge else None)
    return Trial(number, Lora(), *share, cost=cost, parts=parts)  # type: ignore[arg-type]


def test_the_error_of_two_trials_is_paired_over_items() -> None:
    """Ten items, of which two differ, both won by the first: differences of sum 2 and sum of squares 2 have variance
    (2 - 4/10) / 9 = 0.1778, and their mean the standard error sqrt(0.1778 / 10) = 0.1333."""
    first, second = scored(0, "1111111111"), scored(1, "1111111100")
    assert error_of(first, second, "quality") == pytest.approx(0.13333, abs=1e-5)
    assert error_of(first, first, "quality") == 0


def test_one_item_more_at_the_ceiling_does_not_decide_and_two_do() -> None:
    """One discordant item of n: difference and standard error are both 1/n, so they tie, and fewer parameters win. Two
    of ten: the difference is 0.2 and the standard error 0.133."""
    big, small = {"trained_parameters": 900.0}, {"trained_parameters": 30.0}
    assert best_trial([scored(0, "1111111111", **big), scored(1, "1111111110", **small)], margin=0.02) == 1
    assert best_trial([scored(0, "1111111111", **big), scored(1, "1111111100", **small)], margin=0.02) == 0


def test_ties_go_to_more_knowledge_then_to_fewer_parameters_then_to_fewer_tokens_then_to_the_first() -> None:
    solved, kept, lost = "1111111111", "1111111111", "1111111100"
    costly, cheap = {"trained_parameters": 900.0}, {"trained_parameters": 30.0}
    more = [scored(0, solved, lost, **cheap), scored(1, "1111111110", kept, **costly)]
    assert best_trial(more, margin=0.02) == 1
    near = [scored(0, solved, kept, **costly), scored(1, solved, "1111111110", **cheap)]
    assert best_trial(near, margin=0.02) == 1  # one item of knowledge is within a standard error
    tokens = [scored(0, solved, kept, training_tokens=9.0), scored(1, solved, kept, training_tokens=8.0)]
    assert best_trial(tokens, margin=0.02) == 1
    assert best_trial([scored(0, solved, kept), scored(1, solved, kept)], margin=0.02) == 0


# ---- a whole search


def test_the_setting_with_the_best_validation_score_joins_the_matrix_beside_the_one_as_written(folder: Path) -> None:
    """The score is strength plus noise of the seed alone, so the strongest of the six trials must be chosen."""
    (trials, plan), store = filled(folder, extra=TUNE)
    assert [cell.entry.label for cell in trials.cells] == ["outside", *(f"outside~{n}" for n in range(1, 6))]
    assert {cell.seed for cell in trials.cells} == {100}
    assert {cell.column.benchmark.split for cell in trials.cells} == {"validation"}  # type: ignore[attr-defined]
    strengths = [trial.method.strength for trial in plan.searches[0].trials]  # type: ignore[attr-defined]
    assert strengths[0] == 1.0
    assert max(strengths) > 1.0
    tuned = plan.experiment.methods[1]
    assert (tuned.label, tuned.method.strength) == ("outside_tuned", max(strengths))  # type: ignore[attr-defined]
    assert {(cell.entry.label, cell.seed) for cell in plan.cells} == {
        (label, seed) for label in ("outside", "outside_tuned") for seed in (0, 1)
    }
    assert {str(state_of(cell, store)) for cell in plan.cells} == {"done"}


def test_what_was_searched_for_is_in_the_results_and_in_the_report(folder: Path) -> None:
    (_, plan), store = filled(folder, extra=TUNE)
    write_results(plan, store, folder / "out")
    tuning = json.loads((folder / "out/tuning.json").read_text())
    assert (tuning["rule"], tuning["split"], tuning["benchmarks"]) == (
        "quality_within_one_standard_error", "validation", ["outside_bench"],
    )  # fmt: skip
    assert len(tuning["searches"][0]["trials"]) == 6
    matrix = json.loads((folder / "out/matrix.json").read_text())
    assert {one["label"]: one["badges"] for one in matrix["methods"]} == {
        "outside": ["untuned"], "outside_tuned": ["tuned"],
    }  # fmt: skip
    costs = json.loads((folder / "out/costs.json").read_text())["artifacts"]
    assert {(one["method"], one["tuning_trials"]) for one in costs} == {("outside", None), ("outside_tuned", 6)}
    report = write_report(folder / "out")[0].read_text()
    assert "## Search for settings" in report
    # both stand on the same noise, so tuned less as written is the difference of the strengths to the last figure
    gain = max(one["fields"]["strength"] for one in tuning["searches"][0]["trials"]) - 1.0
    section = report.split("## Search for settings")[1].split("\n## ")[0]
    assert f"+{gain:.3g}"[:5] in section


def test_a_plan_says_which_benchmarks_have_no_split_to_score_trials_on(folder: Path) -> None:
    file = outside.experiment(folder, extra=TUNE)
    plain = file.read_text("utf-8")
    assert scored_on(load_experiment(file)) == "Trials are scored on the split 'validation' of outside_bench."
    file.write_text(plain.replace("[outside_bench]", "[outside_bench, function_calling]"), "utf-8")
    said = scored_on(load_experiment(file))
    assert said.endswith("Without a split, so no trial is scored on them: function_calling.")
    file.write_text(plain.replace("[outside_bench]", "[function_calling]"), "utf-8")
    with pytest.raises(UserError, match=r"nothing to tune on: .* \(without any split: function_calling\)"):
        next(plans(load_experiment(file), folder / "store"))
    assert scored_on(load_experiment(outside.experiment(folder))) == ""


def test_a_second_search_finds_every_trial_done_and_chooses_the_same(folder: Path) -> None:
    first, _ = filled(folder, extra=TUNE)
    store = Store(folder / "store")
    again = list(plans(load_experiment(folder / "experiment.yaml"), store.root))
    assert [cell.key for plan in again for cell in plan.cells] == [cell.key for plan in first for cell in plan.cells]
    assert not unfilled(again[0], store)


def test_a_failed_trial_is_recorded_and_the_others_go_on(folder: Path) -> None:
    methods = "[{outside: {}}, {outside: {fails: 'no luck'}, as: unlucky}]"
    (_, plan), _ = filled(folder, methods=methods, extra=TUNE)
    searches = {search.entry.label: search for search in plan.searches}
    assert searches["outside"].chosen > 0
    assert searches["unlucky"].chosen == 0
    assert all("no luck" in trial.why for trial in searches["unlucky"].trials)
    assert [entry.label for entry in plan.experiment.methods] == ["outside", "outside_tuned", "unlucky"]


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ("{trials: 1}", "tune.trials must be 2 or more, got 1"),
        ("{seed: 0}", "`tune` has the seed 0"),
        ("{trails: 4}", "unknown key 'trails'"),
        ("{benchmarks: [outside_bank]}", "the benchmark 'outside_bank'"),
        ("{fields: {outsid: [strength]}}", "the method 'outsid'"),
        ("{fields: {outside: [seconds]}}", "no field 'seconds' with a search range"),
        ("{on: shared}", "is also item 'i0' of outside_bench"),
        ("{on: exam}", "split must be one of 'test', 'validation' or 'shared', got 'exam'"),
    ],
)
def test_a_search_that_cannot_be_fair_is_refused_before_anything_runs(folder: Path, tune: str, message: str) -> None:
    file = outside.experiment(folder, extra=f"tune: {tune}\nseeds: [0, 1]\n")
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        next(plans(load_experiment(file), folder / "store"))
