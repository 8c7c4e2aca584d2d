"""Policies that meet: who is compared with whom, that it is done once, and what is left out with its reason."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import outside
import pytest
from command_line import bakeoff
from rich.console import Console

from harness.engine import registry, run
from harness.engine.config import load_experiment
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.results.schema import read_table
from harness.engine.results.write import write_results
from harness.engine.run import Tally, forgive, run_plan
from harness.engine.store.store import Store
from harness.files import read_json
from harness.report.compose import write_report
from harness.report.verify import check_files

BENCHMARK = '''"""Compares policies."""

from dataclasses import dataclass

from harness.benchmark import Excerpt, JointOutcome, Metric
from harness.method import setting
from outside_bench import OutsideBench


@dataclass(frozen=True)
class Meeting(OutsideBench):
    """The difference of two policies' points, and the sum of all."""

    stochastic = True
    unlucky: str = setting("", "raise this instead of comparing")

    def joint_metrics(self):
        return (Metric("sum", "of their points"),)

    def compare(self, answered, sets):
        if self.unlucky:
            raise RuntimeError(self.unlucky)
        for rows in zip(*(one() for one in answered.values()), strict=True):
            points = {name: row.metrics["points"] for name, row in zip(answered, rows, strict=True)}
            for names in sets:
                told = Excerpt("first", points[names[0]], names[:1], ("<b>text</b>",))
                yield JointOutcome(names, rows[0].item, rows[0].cluster, {"sum": sum(map(points.get, names))},
                                   excerpts=(told,))
'''
STRENGTHS = {"one": 1.0, "two": 2.0, "four": 4.0}
METHODS = f"[{', '.join(f'{{outside: {{strength: {size}}}, as: {name}}}' for name, size in STRENGTHS.items())}]"


def add_meeting(folder: Path) -> None:
    """Add the second benchmark to an outside package."""
    (folder / "outside_meeting.py").write_text(BENCHMARK)
    with (folder / "outside-1.0.dist-info" / "entry_points.txt").open("a") as points:
        points.write("meeting = outside_meeting:Meeting\n")
    registry._outside.cache_clear()
    sys.modules.pop("outside_meeting", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The outside package with a second benchmark, on the path."""
    add_meeting(outside.install(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        run.cost, "decoding_cost", lambda *given: {"seconds_per_token": None, "overhead_per_token": None}
    )
    monkeypatch.setattr("harness.policy.base_model.BaseModel.policy", lambda self: None)
    registry._outside.cache_clear()
    yield tmp_path
    registry._outside.cache_clear()
    for name in ("outside_method", "outside_bench", "outside_meeting"):
        with contextlib.suppress(KeyError):
            del importlib.sys.modules[name]  # type: ignore[attr-defined]


def planned(
    folder: Path, methods: str = METHODS, benchmarks: str = "[meeting]", extra: str = "", bases: str = "[./model]"
) -> tuple[Plan, Store]:
    file = outside.experiment(folder, methods=methods, benchmarks=benchmarks, extra=extra)
    file.write_text(file.read_text().replace("bases: [./model]", f"bases: {bases}"))
    return make_plan(load_experiment(file), folder / "store"), Store(folder / "store")


def go(plan: Plan, store: Store, **options: bool) -> Tally:
    with Progress(Console(file=StringIO())) as progress:
        return run_plan(plan, store, progress, **options)


def test_methods_bases_and_seeds_meet_and_everybody_once(folder: Path) -> None:
    """Three methods, two bases, two seeds: 3 pairs x 2 bases x 2 seeds of methods, 3 x 2 of bases, 6 x 2 of both
    (15 pairs of six policies at a seed, less 6 and 3), 6 twins, and everybody once for each base and seed.
    """
    (folder / "other").mkdir()
    (folder / "other" / "config.json").write_text('{"other": 1}')
    (folder / "other" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    plan, store = planned(folder, extra="seeds: [0, 1]", bases="[./model, ./other]")
    (joint,) = joint_cells(plan, store)
    assert str(joint.state(store)) == "to run: when its cells are done"
    go(plan, store)
    (joint,) = joint_cells(plan, store)
    kinds = [meeting.kind for meeting in joint.groups]
    assert {kind: kinds.count(kind) for kind in kinds} == {"methods": 12, "bases": 6, "both": 12, "seeds": 6, "all": 4}
    assert list(joint.left_out()) == []
    write_results(plan, store, folder / "out")
    rows = read_table(folder / "out", "joint")
    assert len(rows) == (12 + 6 + 12 + 6 + 4) * 8
    everybody = rows[rows["kind"] == "all"]
    assert set(everybody["policies"]) == {3}
    assert set(everybody["method"]) == {""}
    # the strengths of one and two are 1 and 2, and the noise depends on the seed and item alone
    pair = rows[(rows["method"] == "one") & (rows["other_method"] == "two") & (rows["kind"] == "methods")]
    assert pair["value"].between(3, 5).all()
    checks = list(check_files(folder / "out"))
    assert {check.file for check in checks if check.word == "NOT ok"} == {"report.md", "report.html"}  # none is written
    said = [check.said for check in checks if check.word == "ok" and check.file in ("joint.parquet", "matrix.json")]
    assert "its digest is that of its experiment, keys and states" in said
    assert f"schema 2, {len(rows)} rows, sorted, no key twice" in said
    excerpts = read_table(folder / "out", "excerpts")
    assert set(excerpts["kind"]) == {"all"}
    assert all(len(methods) == 1 and methods[0] in ("one", "two", "four") for methods in excerpts["methods"])


def test_a_second_run_compares_nothing_and_one_more_method_compares_again(folder: Path) -> None:
    plan, store = planned(folder)
    assert go(plan, store) == Tally(fitted=3, evaluated=3, compared=1)
    assert go(plan, store) == Tally(found=3)
    assert joint_cells(plan, store)[0].state(store).name == "done"
    more, _ = planned(folder, methods=METHODS[:-1] + ", {outside: {strength: 8.0}, as: eight}]")
    assert go(more, store) == Tally(fitted=1, evaluated=1, found=3, compared=1)


def test_other_labels_are_the_same_comparison_under_other_labels(folder: Path) -> None:
    plan, store = planned(folder)
    go(plan, store)
    write_results(plan, store, folder / "out")
    swapped, _ = planned(folder, methods=METHODS.replace("one", "x").replace("two", "one").replace("x", "two"))
    assert go(swapped, store).compared == 0
    write_results(swapped, store, folder / "swapped")
    one, other = read_table(folder / "out", "joint"), read_table(folder / "swapped", "joint")
    turned = other.assign(
        method=other["method"].replace({"one": "two", "two": "one"}),
        other_method=other["other_method"].replace({"one": "two", "two": "one"}),
    )
    key = ["kind", "item", "value"]
    pairs = [frozenset(pair) for pair in zip(one["method"], one["other_method"], strict=True)]
    turned_pairs = [frozenset(pair) for pair in zip(turned["method"], turned["other_method"], strict=True)]
    assert sorted(zip(map(sorted, pairs), *(one[name] for name in key), strict=True)) == sorted(
        zip(map(sorted, turned_pairs), *(turned[name] for name in key), strict=True)
    )


def test_a_failed_cell_is_left_out_with_its_reason_and_the_others_meet(folder: Path) -> None:
    plan, store = planned(folder, methods=METHODS[:-1] + ", {outside: {fails: out of luck}, as: bad}]")
    go(plan, store)
    write_results(plan, store, folder / "out")
    (told,) = read_json(folder / "out" / "matrix.json")["joint"]
    assert (told["state"], told["policies"]) == ("done", 3)
    assert told["left_out"] == [{"who": "bad/meeting/0 on model", "why": "failed: RuntimeError: out of luck"}]


def test_one_policy_under_two_labels_does_not_meet_itself(folder: Path) -> None:
    plan, store = planned(folder, methods="[{outside: {}, as: one}, {outside: {}, as: same}]")
    assert go(plan, store).compared == 0
    (joint,) = joint_cells(plan, store)
    assert str(joint.state(store)) == "n/a: fewer than two policies have answered"
    assert [why for _, why in joint.left_out()] == ["they are one policy with one set of answers"]
    write_results(plan, store, folder / "out")
    assert read_table(folder / "out", "joint").empty


def test_a_comparison_that_fails_is_kept_until_it_is_asked_to_be_tried_again(folder: Path) -> None:
    plan, store = planned(folder, benchmarks="[{meeting: {unlucky: no}}]")
    (failed,) = go(plan, store).failed
    assert failed[1] == "RuntimeError: no"
    assert str(joint_cells(plan, store)[0].state(store)) == "failed: RuntimeError: no"
    assert go(plan, store).compared == 0
    plan.cells[0].column.benchmark.__dict__["unlucky"] = ""
    forgive(plan, store)  # as for workers, which try nothing again by themselves
    assert str(joint_cells(plan, store)[0].state(store)) == "to run"
    store.fail(joint_cells(plan, store)[0].key, "RuntimeError: no", "")
    assert go(plan, store, retry_failed=True).compared == 1


def test_the_command_line_finishes_what_was_killed_between_the_last_cell_and_the_comparison(folder: Path) -> None:
    plan, store = planned(folder)
    go(plan, store)
    (store.folder("joint", joint_cells(plan, store)[0].key) / "done").unlink()
    file = folder / "experiment.yaml"
    words = (file, "--store", folder / "store")
    assert "meeting between policies" in bakeoff("plan", *words).stdout
    assert "done    meeting between policies" in bakeoff("run", *words).stdout
    assert read_table(folder, "joint")["value"].notna().all()
    assert "Nothing to do" in bakeoff("run", *words).stdout


def test_results_without_texts_hold_every_score_and_no_prompt_or_answer(folder: Path) -> None:
    plan, store = planned(folder)
    go(plan, store)
    write_results(plan, store, folder / "with")
    silent, _ = planned(folder, extra="keep_texts: false\n")
    assert [cell.key for cell in silent.cells] == [cell.key for cell in plan.cells]
    write_results(silent, store, folder / "without")
    for name in ("rows.parquet", "joint.parquet"):
        assert (folder / "without" / name).read_bytes() == (folder / "with" / name).read_bytes()
    full, bare = (read_table(folder / name, "samples") for name in ("with", "without"))
    assert len(bare) == len(full)
    assert set(bare["prompt"]) == {""}
    assert full["prompt"].str.startswith("prompt ").all()
    assert [len(read_table(folder / name, "excerpts")) > 0 for name in ("with", "without")] == [True, False]
    write_report(folder / "without")
    assert all(check.word == "ok" for check in check_files(folder / "without") if check.file.endswith(".parquet"))
    assert "left prompts and answers out of this folder" in (folder / "without" / "report.md").read_text()
    for file in (folder / "without").iterdir():
        assert not any(text in file.read_bytes() for text in (b"prompt 3", b"<b>text</b>"))
