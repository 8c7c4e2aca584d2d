"""`run --until decided`: looks, parts of the items, releases, and error rates under stopping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import outside
import pandas
import pytest
import stopping_calibration as calibration
from command_line import bakeoff
from conftest import ROOT
from test_hostile_answers import Repeater, benchmarks
from test_joint import add_meeting

from harness.benchmark import Benchmark
from harness.engine.config import load_experiment
from harness.engine.experiment import Stop
from harness.engine.plan import Plan, make_plan
from harness.engine.results.looked import Look, Looked
from harness.engine.results.schema import read_rows
from harness.engine.stopping import due, look_of, looks_of, marked
from harness.files import read_json
from harness.records import DataChoice
from harness.report.numbers.looks import stopped_results
from harness.report.numbers.matrix import BenchmarkInfo, BenchmarkMetric, CellState, Matrix, MethodInfo

METHODS = "[{outside: {strength: 1.0}, as: base}, {outside: {strength: 1.0}, as: equal}, {outside: {strength: 2.0}}]"
STOP = "baseline: base\nseeds: [0, 1, 2]\nstop: {items: [0.25, 1], seeds: [2, 3]}\n"


@pytest.fixture
def folder(outside_folder: Path) -> Path:
    return outside_folder


def experiment(folder: Path, *, items: int = 80, extra: str = STOP) -> Path:
    bench = f"[{{outside_bench: {{items: {items}}}}}]"
    return outside.experiment(folder, methods=METHODS, benchmarks=bench, extra=extra)


def planned(folder: Path) -> Plan:
    return make_plan(load_experiment(experiment(folder)), folder / "store")


def run(file: Path, *words: str) -> str:
    done = bakeoff("run", file, "--store", file.parent / "store", "--out", file.parent / "out", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- the looks


def test_looks_take_shares_of_the_items_first_and_then_more_seeds_and_share_the_error_rate() -> None:
    # evaluations up to each look: .25 x 2/3, 1 x 2/3, 1
    looks = looks_of(Stop((0.25, 1.0), (2, 3)), 3)
    assert [(look.items, look.seeds) for look in looks] == [(0.25, 2), (1.0, 2), (1.0, 3)]
    assert [look.spent for look in looks] == pytest.approx([1 / 6, 1 / 2, 1 / 3])
    assert [(look.items, look.seeds) for look in looks_of(Stop((0.5, 1.0)), 3)] == [(0.5, 3), (1.0, 3)]


def test_the_parts_of_a_benchmark_adjoin_keep_clusters_whole_and_make_up_all_items(tmp_path: Path) -> None:
    policy = Repeater("total 5 .")
    for name, benchmark in benchmarks(tmp_path).items():
        whole = list(benchmark.evaluate(policy, 0)) if benchmark.divisible else []
        parts = [list(benchmark.within(low, high).evaluate(policy, 0)) for low, high in ((0, 0.3), (0.3, 1))]
        if not benchmark.divisible:
            continue
        assert sorted((one for part in parts for one in part), key=_place) == sorted(whole, key=_place), name
        assert not {one.cluster for one in parts[0]} & {one.cluster for one in parts[1]}, name


def _place(outcome: object) -> str:
    return repr(outcome)


class Numbered(Benchmark):
    version, needs, divisible = 1, frozenset(), True

    def metrics(self) -> tuple[()]:
        return ()

    def evaluate(self, policy: object, seed: int) -> list[int]:  # type: ignore[override]
        return self.chosen(range(1000), lambda item: str(item // 2))


def test_the_first_part_is_a_sample_of_the_items_and_not_their_beginning() -> None:
    part = Numbered().within(0.0, 0.2).evaluate(None, 0)
    assert len(part) == 200
    assert 430 < sum(part) / 200 < 570  # the mean of all is 499.5, its standard error with 100 clusters of 500 is 26
    assert Numbered().evaluate(None, 0) == list(range(1000))


# ---- the plan


def test_each_part_is_a_cell_whose_key_does_not_depend_on_stopping(folder: Path) -> None:
    plan = planned(folder)
    parts = [
        (cell.seed, cell.part, look_of(cell, plan.experiment)) for cell in plan.cells if cell.entry.label == "base"
    ]
    assert parts == [
        (0, (0.0, 0.25), 1), (0, (0.25, 1.0), 2), (1, (0.0, 0.25), 1), (1, (0.25, 1.0), 2),
        (2, (0.0, 0.25), 3), (2, (0.25, 1.0), 3),
    ]  # fmt: skip
    whole = make_plan(load_experiment(experiment(folder, extra=STOP.split("stop")[0])), folder / "store")
    assert not {cell.key for cell in plan.cells} & {cell.key for cell in whole.cells}
    assert {cell.node.key for cell in plan.cells} == {cell.node.key for cell in whole.cells}


def test_what_a_look_released_is_not_due_at_later_looks(folder: Path) -> None:
    plan = planned(folder)
    releases = {("model", DataChoice(), "outside", "outside_bench"): 1}
    base = plan.cells[0].node.base.spec.label
    releases = {(base, *place[1:]): look for place, look in releases.items()}
    counts = [len([c for c in due(plan, look, releases).cells if not c.why]) for look in (1, 2, 3)]
    assert counts == [6, 10, 14]  # of 3 x 2 and 3 x 4 and 3 x 6 cells, less those of one method after look 1
    stopped = [cell for cell in marked(plan, releases).cells if cell.why]
    assert {(cell.entry.label, cell.state) for cell in stopped} == {("outside", "stopped")}
    assert stopped[0].why == "decided at look 1, so it was not needed"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stop: {items: [0.5, 0.25, 1]}", "items must rise to 1, all items, got [0.5, 0.25, 1.0]"),
        ("stop: {items: [0.5]}", "items must rise to 1, all items, got [0.5]"),
        ("stop: {items: []}", "items must rise to 1, all items, got []"),
        ("stop: {items: [0, 1]}", "stop.items must be 0.001 or more, got 0"),
        ("stop: {seeds: [2]}", "seeds must rise to 3, all seeds of the experiment, got [2]"),
        (
            "stop: {seeds: [1, 3]}",
            "a look at one seed would decide about these trained runs, and not about the methods",
        ),
        ("stop: {share: 3}", "unknown key 'share'"),
        ("contrasts: [equal - base]\nstop: {}", "`contrasts` declares others"),
    ],
)
def test_a_mistake_in_the_block_is_told_at_its_line(folder: Path, line: str, said: str) -> None:
    file = experiment(folder, extra=f"baseline: base\nseeds: [0, 1, 2]\n{line}\n")
    done = bakeoff("plan", file, "--store", folder / "store")
    assert done.returncode == 2
    assert said in done.stderr
    assert f"experiment.yaml:{7 + line.count(chr(10))}" in done.stderr


def test_until_decided_needs_the_looks_and_a_baseline(folder: Path) -> None:
    done = bakeoff("run", experiment(folder, extra="baseline: base\n"), "--until", "decided", "--store", folder / "s")
    assert done.returncode == 2
    assert "--until needs a block `stop`" in done.stderr
    done = bakeoff("plan", experiment(folder, extra="stop: {}\n"), "--store", folder / "store")
    assert "`stop` decides comparisons with the baseline, and none is named" in done.stderr


# ---- a run


def test_a_run_releases_what_a_look_decides_and_goes_on_with_the_rest(folder: Path) -> None:
    file = experiment(folder)
    said = run(file, "--until", "decided")
    assert "decided at look 1: outside on outside_bench" in said
    assert "decided at look 1: equal" not in said
    matrix, rows = read_json(folder / "out" / "matrix.json"), read_rows(folder / "out")
    assert matrix["stop"]["reached"] == 3
    assert [(one["method"], one["look"]) for one in matrix["stop"]["released"]] == [("outside", 1)]
    answered = rows.groupby("method", observed=True).size().to_dict()
    assert answered == {"base": 240, "equal": 240, "outside": 40}
    report = (folder / "out" / "report.md").read_text()
    assert "| 1 | outside | outside bench: points | better: +1 " in report
    assert "| 3 | equal | outside bench: points | not decided: 0 " in report
    assert "About 72 % of the whole matrix was evaluated: 520 of 720 answers." in report
    assert bakeoff("verify", folder / "out").returncode == 0
    again = run(file, "--until", "decided")
    assert "Nothing to do" in again


def test_a_whole_run_after_one_that_released_nothing_is_reported_as_a_whole_run(folder: Path) -> None:
    file = experiment(folder)
    file.write_text(file.read_text().replace(", {outside: {strength: 2.0}}", ""))
    run(file, "--until", "decided")
    assert read_json(folder / "out" / "matrix.json")["stop"]["released"] == []
    run(file)
    assert "stop" not in read_json(folder / "out" / "matrix.json")
    assert "## Looks" not in (folder / "out" / "report.md").read_text()


def test_policies_are_compared_with_one_another_however_early_a_run_stops(folder: Path) -> None:
    add_meeting(folder)
    file = experiment(folder)
    text = (
        file.read_text()
        .replace("{outside: {strength: 1.0}, as: equal}, ", "")
        .replace("80}}]", "80}}, {meeting: {items: 80}}]")
    )
    file.write_text(text)
    said = run(file, "--until", "decided")
    matrix = read_json(folder / "out" / "matrix.json")
    assert matrix["stop"]["reached"] < len(matrix["stop"]["looks"])
    assert [joint["state"] for joint in matrix["joint"]] == ["done"], said
    assert "Nothing to do" in run(file, "--until", "decided")


def test_where_everything_is_decided_early_the_baseline_is_released_too(folder: Path) -> None:
    file = experiment(folder)
    file.write_text(file.read_text().replace("{outside: {strength: 1.0}, as: equal}, ", ""))
    assert "decided at look 1: base on outside_bench" in run(file, "--until", "decided")
    matrix = read_json(folder / "out" / "matrix.json")
    assert matrix["stop"]["reached"] == 1
    assert len(read_rows(folder / "out")) == 2 * 2 * 20
    assert {cell["state"] for cell in matrix["cells"]} == {"done", "stopped"}


def test_a_whole_run_finds_what_a_stopped_run_did_and_has_its_rows_among_its_own(folder: Path) -> None:
    file = experiment(folder)
    run(file, "--until", "decided")
    stopped = read_rows(folder / "out")
    said = run(file)
    assert "3 cells: 9 done" not in said
    assert "cells: 18 done (0 artifacts fitted" not in said  # the third seed of one method was not fitted
    whole = read_rows(folder / "out")
    assert "stop" not in read_json(folder / "out" / "matrix.json")
    assert not (folder / "out" / "parts.parquet").exists()
    keys = ["method", "seed", "item", "value"]
    found = (
        stopped[keys]
        .astype({"method": str, "item": str})
        .merge(whole[keys].astype({"method": str, "item": str}), on=keys)
    )
    assert len(found) == len(stopped) < len(whole) == 720


def test_a_stopped_run_with_workers_has_the_same_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside.show_to_processes(folder, monkeypatch)
    file = experiment(folder)
    run(file, "--until", "decided")
    alone = read_rows(folder / "out")
    matrix = read_json(folder / "out" / "matrix.json")
    words = ("--store", folder / "other", "--out", folder / "shared", "--until", "decided", "--workers", "2")
    assert bakeoff("run", file, *words).returncode in (0, 1)
    logs = [log.read_text() for log in sorted((folder / "other" / "logs").glob("worker-*.log"))]
    assert any("done  " in log for log in logs), logs  # which of the two did what is a matter of speed
    assert read_json(folder / "shared" / "matrix.json")["stop"] == matrix["stop"]
    pandas.testing.assert_frame_equal(read_rows(folder / "shared"), alone)


def test_claims_and_pairs_are_not_tested_in_a_stopped_run(folder: Path) -> None:
    file = experiment(folder)
    run(file, "--until", "decided")
    report = (folder / "out" / "report.md").read_text()
    assert "## Claims" not in report
    for words in (("claims", folder / "out"), ("compare", folder / "out", "outside", "equal")):
        done = bakeoff(*words)
        assert (done.returncode, "this run stops by its results" in done.stderr) == (2, True)
    assert "Ranks, claims, groups and pairs of methods are not tested" in report


# ---- the statistics


def rows_of(answers: calibration.Answers, items: float, seeds: int) -> pandas.DataFrame:
    methods, _, count = answers.values.shape
    names = [*(f"m{at}" for at in range(methods - 1)), "base"]
    upto = numpy.where(answers.clusters < numpy.ceil(0.2 * (answers.clusters[-1] + 1)), 0.2, 1.0)
    frames = [
        pandas.DataFrame({
            "base": "x", "method": name, "data_quality": "", "data_size": 0, "seed": seed, "benchmark": "b",
            "metric": "right", "group": "", "item": [f"i{at:05}" for at in range(count)],
            "cluster": [f"c{code:05}" for code in answers.clusters],
            "value": answers.values[method, seed], "weight": 1.0, "upto": upto,
        })
        for method, name in enumerate(names) for seed in range(answers.values.shape[1])
    ]  # fmt: skip
    rows = pandas.concat(frames, ignore_index=True)
    return rows[(rows["upto"] <= items) & (rows["seed"] < seeds)]


def matrix_of(methods: int, looked: Looked) -> Matrix:
    metric = BenchmarkMetric("right", "", role="quality", benchmark="b")
    names = [*(f"m{at}" for at in range(methods)), "base"]
    return Matrix(
        name="", baseline="base", reference=None, margin=0.02, bases=("x",), small_base=None, seeds=(0, 1, 2),
        data_qualities=("",), data_sizes=(0,), methods=tuple(MethodInfo(name, name, False) for name in names),
        benchmarks=(BenchmarkInfo("b", "b", "1", {}, "", (metric,)),),
        cells=tuple(CellState("x", name, DataChoice(), s, "b", "done", "") for name in names for s in range(3)),
        stop=looked,
    )  # fmt: skip


@pytest.mark.parametrize("run_number", range(3))
def test_the_simulation_decides_as_the_report_does_from_rows(run_number: int) -> None:
    world = calibration.World(
        "", 400, 3, (0.0, 0.06, 0.15, -0.1), 0.1, 4, sizes=(1, 2, 3), stop=Stop((0.2, 1.0), (2, 3))
    )
    answers = calibration.drawn(world, numpy.random.default_rng([7, run_number]))
    looks = looks_of(world.stop, 3)
    found, _ = calibration.stopped(answers, looks, knowledge=False)
    looked = Looked(looks)
    states = {(f"m{at}", "b"): (CellState("x", f"m{at}", DataChoice(), 0, "b", "done", ""),) for at in range(4)}
    rows = rows_of(answers, 1.0, 3)
    for number in (1, 2, 3):
        looked = replace(looked, reached=number)
        _, (result,) = stopped_results(rows, matrix_of(4, looked), states, ("x", DataChoice()))
        for at in range(4):
            place = ("x", DataChoice(), f"m{at}", "b")
            comparison = result.comparisons[f"m{at}"]
            if place not in looked.releases and (comparison.better or comparison.worse):
                looked = replace(looked, releases={**looked.releases, place: number})
    for at, decision in enumerate(found):
        comparison = result.comparisons[f"m{at}"]
        assert (comparison.better, comparison.worse) == (decision.sign == 1, decision.sign == -1)
        assert comparison.estimate.low == pytest.approx(decision.estimate.low, abs=1e-12)
        assert comparison.estimate.high == pytest.approx(decision.estimate.high, abs=1e-12)


def test_a_look_divides_every_p_by_its_share_of_the_error_rate() -> None:
    world = calibration.World("", 300, 1, (0.02, 0.08, -0.03), 0.0, 3)
    answers = calibration.drawn(world, numpy.random.default_rng(3))
    whole = calibration.look_at(answers, range(3), Look(1.0, 1, 1.0), knowledge=False)
    tenth = calibration.look_at(answers, range(3), Look(1.0, 1, 0.1), knowledge=False)
    for (one, _), (other, _) in zip(whole, tenth, strict=True):
        assert other.interval() == one.interval()  # the pointwise ones
        assert float(other.high or 0) - float(other.low or 0) > float(one.high or 0) - float(one.low or 0)
        assert one.value == other.value


def test_the_committed_figures_hold_what_stopping_promises() -> None:
    figures = read_json(ROOT / "results" / "calibration" / "stopping.json")
    assert set(figures) == {world.title for world in calibration.worlds()}
    for title, one in figures.items():
        assert one["runs"] >= 1000, title
        # 5 % and three standard errors of 1,000 runs
        assert one["error"] <= 0.05 + 3 * (0.05 * 0.95 / one["runs"]) ** 0.5, title
        assert one["together"] >= 0.95 - 3 * (0.05 * 0.95 / one["runs"]) ** 0.5, title
        if title.startswith("effects"):
            assert one["agreed"] >= 0.95, title
    seen = figures["effects of results/methods, 5,000 items"]
    assert seen["spent"] <= 1 / 3
    assert seen["agreed"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("title", ["equal, 1,000 items, seed sd 0.2", "a loss of the margin, accuracy 95 %"])
def test_stopping_keeps_the_error_rate(title: str) -> None:
    world = next(world for world in calibration.worlds() if world.title == title)
    assert calibration.simulate(world, 200).error <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
