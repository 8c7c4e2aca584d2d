"""`bakeoff judge`: scores that others measured, compared as our own are; what their files do not say stays blank."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest
from command_line import Done, bakeoff
from conftest import ROOT

from harness.engine.interchange.cells import cells_of, methods_of
from harness.engine.interchange.judged import write_judged
from harness.engine.interchange.paths import read_scores
from harness.engine.interchange.scored import Scored
from harness.report.collect import ReportModel, collect
from harness.report.findings.audit import warning

DATE = "2026-01-02T03-04-05.678901"


def table(path: Path, rows: Sequence[Sequence[object]], head: str = "method,seed,item,score") -> Path:
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def two_methods(seeds: Sequence[object] = (0,), items: int = 40) -> list[tuple[object, ...]]:
    """`base` is right on every third item, `sft` on every second."""
    return [
        (method, seed, f"q{at}", int(at % every == 0))
        for method, every in (("base", 3), ("sft", 2))
        for seed in seeds
        for at in range(items)
    ]


def row(at: int, right: bool, **more: Any) -> dict[str, Any]:
    """A document as lm-eval 0.4.13 logs it: texts in `resps`, requests under `gen_args_N`."""
    scores = ("-1.0", "-2.0") if right else ("-2.0", "-1.0")
    return {
        "doc_id": at, "doc": {"q": f"q{at}"}, "target": "0",
        "arguments": {f"gen_args_{n}": {"arg_0": f"q{at}?", "arg_1": f" {word}"} for n, word in enumerate(("a", "b"))},
        "resps": [[[score, "False"]] for score in scores], "filtered_resps": [[score, "False"] for score in scores],
        "filter": "none", "metrics": ["acc", "acc_norm"], "doc_hash": f"{at:064x}", "prompt_hash": f"p{at}",
        "target_hash": "t", "acc": float(right), "acc_norm": float(not right), **more,
    }  # fmt: skip


def log(
    folder: Path, right: Callable[[int], bool], tasks: Sequence[str] = ("quiz",), items: int = 40,
    rows: Sequence[Mapping[str, Any]] = (), **results: Any,
) -> Path:  # fmt: skip
    """A folder as `lm_eval --log_samples --output_path` leaves it, for a model with the folder's name."""
    inside = folder / folder.name
    inside.mkdir(parents=True)
    for task in tasks:
        lines = [json.dumps(one) for one in rows or [row(at, right(at)) for at in range(items)]]
        (inside / f"samples_{task}_{DATE}.jsonl").write_text("\n".join(lines) + "\n")
    told = {
        "configs": {task: {"output_type": "multiple_choice", "num_fewshot": 0} for task in tasks},
        "versions": dict.fromkeys(tasks, 1.0), "n-shot": dict.fromkeys(tasks, 0), "model_name": folder.name,
        "higher_is_better": {task: {"acc": True, "acc_norm": True} for task in tasks},
        "lm_eval_version": "0.4.13", "chat_template_sha": None, **results,
    }  # fmt: skip
    (inside / f"results_{DATE}.json").write_text(json.dumps(told))
    return folder


def record(
    folder: Path, right: Callable[[int], bool], lower: bool = False, rows: int = 40, **sample: Any
) -> tuple[Path, Path]:  # fmt: skip
    """An aggregate of Every Eval Ever and its samples, schema 0.2.1."""
    folder.mkdir()
    told = {
        "schema_version": "0.2.1", "evaluation_id": f"quiz/{folder.name}/1", "retrieved_timestamp": "1",
        "source_metadata": {}, "model_info": {"name": folder.name, "id": f"lab/{folder.name}"},
        "eval_library": {"name": "inspect_ai", "version": "0.3"},
        "evaluation_results": [{"evaluation_name": "quiz", "metric_config": {"lower_is_better": lower}}],
        "detailed_evaluation_results": {"format": "jsonl", "file_path": "far/away/it.jsonl", "total_rows": rows},
    }  # fmt: skip
    lines = [
        {"schema_version": "instance_level_eval_0.2.1", "evaluation_id": told["evaluation_id"], "model_id": "m",
         "evaluation_name": "quiz", "sample_id": f"s{at}", "interaction_type": "single_turn",
         "input": {"raw": f"q{at}?", "reference": ["yes"]}, "output": {"raw": ["no"]}, "answer_attribution": [],
         "evaluation": {"score": float(right(at)), "is_correct": right(at)}, **sample}
        for at in range(40)
    ]  # fmt: skip
    aggregate, samples = folder / "it.json", folder / "it.jsonl"
    aggregate.write_text(json.dumps(told))
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return aggregate, samples


def judged(tmp_path: Path, *words: object, baseline: str = "") -> ReportModel:
    """The numbers of the report, which is not written."""
    found = list(read_scores(map(str, words)))
    scored = [one for one in found if isinstance(one, Scored)]
    write_judged(tmp_path / "out", cells_of(scored), [], methods_of(scored, baseline))
    return collect(tmp_path / "out")


def refused(tmp_path: Path, *words: object) -> str:
    """The complaint; nothing was written."""
    done: Done = bakeoff("judge", *words, "--out", tmp_path / "out")
    assert done.returncode == 2, done.stdout
    assert not (tmp_path / "out").exists()
    return done.stderr


def test_a_table_is_compared_item_by_item(tmp_path: Path) -> None:
    """40 items: `base` is right on 14, `sft` on 20, so the difference is 6 of 40."""
    model = judged(tmp_path, table(tmp_path / "quiz.csv", two_methods()))
    (result,) = model.blocks[0].results
    assert (model.matrix.baseline, result.metric.title, result.metric.role) == ("base", "quiz: score", "quality")
    assert result.scores["base"].estimate.value == 14 / 40
    assert result.comparisons["sft"].estimate.value == pytest.approx(6 / 40)
    assert result.comparisons["sft"].items == 40


def test_parquet_csv_and_the_order_of_the_rows_give_the_same_rows(tmp_path: Path) -> None:
    rows = two_methods(seeds=(1, 0))
    first = judged(tmp_path / "a", table(tmp_path / "quiz.csv", rows)).rows
    frame = pandas.DataFrame(rows[::-1], columns=["method", "seed", "item", "score"])
    frame["score"] = frame["score"] == 1
    frame.to_parquet(tmp_path / "quiz.parquet")
    second = judged(tmp_path / "b", tmp_path / "quiz.parquet").rows
    pandas.testing.assert_frame_equal(first, second)
    assert sorted(set(first["seed"])) == [0, 1]


def test_clusters_groups_and_several_benchmarks_come_from_their_columns(tmp_path: Path) -> None:
    rows = [
        (*one, f"s{at % 10}", "hard" if at % 2 else "easy", f"b{at % 3}")
        for at, one in enumerate(two_methods(items=60))
    ]
    head = "method,seed,item,score,cluster,group,benchmark"
    model = judged(tmp_path, table(tmp_path / "t.csv", rows, head))
    assert [benchmark.label for benchmark in model.matrix.benchmarks] == ["b0", "b1", "b2"]
    assert model.blocks[0].results[0].scores["base"].estimate.clusters == 10
    assert {result.group for result in model.blocks[0].groups} == {"easy", "hard"}


def test_facts_that_are_not_in_the_files_are_blank_and_named(tmp_path: Path) -> None:
    rows = [(method, item, score) for method, _, item, score in two_methods()]
    done = bakeoff("judge", table(tmp_path / "t.csv", rows, "method,item,score"), "--out", tmp_path / "out")
    assert "Not stated in these files: training seeds" in " ".join(done.stdout.split())
    model = collect(tmp_path / "out")
    cost = model.blocks[0].costs["sft"]
    assert (cost.seconds, cost.trained, cost.tokens) == (None, None, None)
    assert model.blocks[0].one_seed
    fields = {field.name: set(field.values.values()) for field in model.blocks[0].audit.fields}
    assert fields["chat template"] == {None}
    assert "base model" not in fields
    report = (tmp_path / "out" / "report.md").read_text()
    assert "training seeds (every model counts as one training run" in report
    assert "The files of others hold no prompts and answers." in report


def test_items_that_only_some_methods_have_are_counted(tmp_path: Path) -> None:
    rows = [one for one in two_methods(items=60) if one[:3] != ("sft", 0, "q7")]
    done = bakeoff("judge", table(tmp_path / "quiz.csv", rows), "--out", tmp_path / "out")
    assert "1 of 60 items of quiz have scores of only some methods" in " ".join(done.stdout.split())
    assert "| quiz | 60 | 59 | 0 | 1 |" in (tmp_path / "out" / "report.md").read_text()
    comparison = collect(tmp_path / "out").blocks[0].results[0].comparisons["sft"]
    assert (comparison.items, comparison.dropped) == (59, 1)


def test_verify_finds_the_folder_whole_and_says_what_it_cannot_check(tmp_path: Path) -> None:
    assert bakeoff("judge", table(tmp_path / "quiz.csv", two_methods()), "--out", tmp_path / "out").returncode == 0
    done = bakeoff("verify", tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert "judged.json: it names the 1 file that the scores were read from" in done.stdout
    assert "unchecked  judged.json: others measured these scores" in done.stdout
    assert "its rows reproduce it byte for byte" in done.stdout
    told = tmp_path / "out" / "judged.json"
    told.write_text(told.read_text().replace("quiz", "quit"))
    done = bakeoff("verify", tmp_path / "out")
    assert done.returncode == 1
    assert "NOT ok     judged.json: it differs from the record" in done.stdout


def test_a_log_of_lm_eval_gives_its_accuracy_its_secondary_metrics_and_the_level_of_chance(tmp_path: Path) -> None:
    paths = [
        log(tmp_path / name, right) for name, right in (("base", lambda at: at % 4 == 0), ("sft", lambda at: True))
    ]
    model = judged(tmp_path, *paths)
    first, second = (measured.metric for measured in model.blocks[0].measured)
    assert (first.title, first.primary, first.chance) == ("quiz: acc", True, 0.5)
    assert (second.title, second.primary) == ("quiz: acc_norm", False)
    assert model.blocks[0].results[0].comparisons["sft"].estimate.value == 0.75
    samples = model.blocks[0].samples
    assert samples is not None
    wrong = samples[(samples["method"] == "base") & (samples["item"].str.startswith("quiz/1/"))].iloc[0]
    assert (wrong["prompt"], list(wrong["completions"]), wrong["reference"]) == ("q1?", ["b"], "a")
    assert set(model.rows["item"]) == {f"quiz/{at}/00000000" for at in range(40)}


@pytest.mark.parametrize("lower", [False, True])
def test_records_of_every_eval_ever_keep_every_score_text_and_direction(lower: bool, tmp_path: Path) -> None:
    first, _ = record(tmp_path / "base", lambda at: at % 4 == 0, lower)
    record(tmp_path / "sft", lambda at: at % 4 != 1, lower)
    model = judged(tmp_path, first, tmp_path / "sft")
    assert [method.label for method in model.matrix.methods] == ["lab/base", "lab/sft"]
    (result,) = model.blocks[0].results
    assert (result.metric.benchmark, result.metric.higher_is_better) == ("quiz", not lower)
    assert result.comparisons["lab/sft"].estimate.value == 0.5
    rows = model.rows[model.rows["method"] == "lab/base"].set_index("item")["value"]
    assert dict(rows.items()) == {f"s{at}": float(at % 4 == 0) for at in range(40)}
    samples = model.blocks[0].samples
    assert samples is not None
    shown = samples[samples["item"] == "s7"].iloc[0]
    assert (shown["prompt"], list(shown["completions"]), shown["reference"]) == ("q7?", ["no"], "yes")


BAD_RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "fewer samples": ({"rows": 41}, "it holds 40 samples of 41 that its aggregate records"),
    "text": ({"evaluation": {"score": "C"}}, "row 1: the score is 'C', which is text"),
    "twice": ({"sample_id": "s"}, "row 2: the item 's' comes twice"),
    "of another": ({"evaluation_id": "x"}, "row 1: it is of the evaluation 'x'"),
    "no score": ({"evaluation": {}}, "row 1: it lacks 'score'"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record_of_every_eval_ever_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    given, said = BAD_RECORDS[case]
    assert said in refused(tmp_path, record(tmp_path / "base", lambda at: True, **given)[0])


def test_a_record_without_its_samples_is_refused(tmp_path: Path) -> None:
    aggregate, samples = record(tmp_path / "base", lambda at: True)
    samples.unlink()
    assert "its samples, it.jsonl, are not next to it" in refused(tmp_path, aggregate)


def test_the_tasks_of_a_group_are_one_benchmark_with_a_group_each(tmp_path: Path) -> None:
    groups = {"mmlu": ["stem", "arts"], "stem": ["physics", "maths"], "arts": ["music"], "quiz": []}
    paths = [
        log(tmp_path / name, right, ("physics", "maths", "music", "quiz"), group_subtasks=groups)
        for name, right in (("base", lambda at: at % 4 == 0), ("sft", lambda at: True))
    ]
    model = judged(tmp_path, *paths)
    assert {r.metric.benchmark: r.scores["base"].items for r in model.blocks[0].results if r.metric.primary} == {
        "mmlu": 120, "quiz": 40}  # fmt: skip
    assert {result.group for result in model.blocks[0].groups} == {"physics", "maths", "music"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"versions": {"quiz": 2.0}}, "task version of quiz"),
        ({"n-shot": {"quiz": 5}}, "few-shot examples of quiz"),
        ({"chat_template_sha": "abc"}, "chat template of quiz"),
        ({"configs": {"quiz": {"output_type": "multiple_choice", "doc_to_text": "Q: {{q}}"}}}, "task template of quiz"),
        ({"lm_eval_version": "0.4.9"}, "scored by of quiz"),
        ({"system_instruction_sha": "abc"}, "system instruction of quiz"),
    ],
)
def test_a_benchmark_that_was_asked_in_two_ways_is_flagged(change: dict[str, Any], field: str, tmp_path: Path) -> None:
    first, second = log(tmp_path / "base", lambda at: at % 4 == 0), log(tmp_path / "sft", lambda at: True, **change)
    (block,) = judged(tmp_path, first, second).blocks
    assert field in block.audit.between("base", "sft")
    assert f"Different from most methods in {field}: sft" in warning(block)


def test_the_same_model_twice_is_told_apart_by_the_names_given(tmp_path: Path) -> None:
    first, second = log(tmp_path / "one" / "m", lambda at: at % 4 == 0), log(tmp_path / "two" / "m", lambda at: True)
    assert "two files give scores of 'm' on 'quiz'" in refused(tmp_path, first, second)
    model = judged(tmp_path, f"plain={first}", f"chat={second}")
    assert [method.label for method in model.matrix.methods] == ["plain", "chat"]
    model = judged(tmp_path, f"m/3={first}", f"m/4={second}")
    assert model.matrix.seeds == (3, 4)


def test_the_baseline_is_the_first_method_or_the_one_named(tmp_path: Path) -> None:
    path = table(tmp_path / "quiz.csv", two_methods())
    assert judged(tmp_path, path, baseline="sft").matrix.baseline == "sft"
    assert "Did you mean 'sft'" in refused(tmp_path / "x", path, "--baseline", "stf")


BAD_TABLES = {
    "text": ([("base", 0, "q0", 1), ("base", 0, "q1", "right")], "row 2: the score is 'right', which is text"),
    "not finite": ([("base", 0, "q0", 1), ("base", 0, "q1", "nan")], "row 2: the score is nan"),
    "empty": ([("base", 0, "q0", "")], "row 1: the score is ''"),
    "twice": ([("base", 0, "q0", 1), ("base", 0, "q1", 1), ("base", 0, "q0", 0)], "row 3: the item 'q0' comes twice"),
    "seed": ([("base", "one", "q0", 1)], "row 1: its seed is 'one'"),
    "no item": ([("base", 0, "q0", 1), ("base", 0, "", 1)], "row 2: its item is empty"),
    "nothing": ([], "it has no rows"),
    "some seeds": ([("base", 0, "q0", 1), ("sft", "", "q0", 1)], "no training seed is stated for 'sft'"),
    "short": ([("base", 0, "q0", 1), ("base", 0)], "row 2: it has 2 values, and the first line names 4"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    rows, said = BAD_TABLES[case]
    complaint = refused(tmp_path, table(tmp_path / "t.csv", rows))
    assert said in complaint
    assert str(tmp_path / "t.csv") in complaint


def test_a_table_without_its_columns_and_a_path_that_holds_no_scores_are_refused(tmp_path: Path) -> None:
    assert "it has no column item, score" in refused(tmp_path, table(tmp_path / "t.csv", [("a", 1)], "method,seed"))
    (tmp_path / "empty").mkdir()
    assert "neither a log of lm-eval or Inspect nor a record of Every Eval Ever is below it" in refused(
        tmp_path, tmp_path / "empty"
    )
    assert "no such file or folder" in refused(tmp_path, "sft=nowhere")
    (tmp_path / "t.txt").write_text("")
    assert "files that end in .txt are not read" in refused(tmp_path, tmp_path / "t.txt")


BAD_LOGS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda file: file.write_text(file.read_text()[:-30]), "row 40: it is not a whole JSON object"),
    "documents missing": (
        lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1])),
        "it holds 39 documents of 40 that lm-eval scored",
    ),
    "twice": (
        lambda file: file.write_text(file.read_text() + json.dumps(row(3, True)) + "\n"), "row 41: the item '3' comes"),
    "text": (lambda file: file.write_text(json.dumps(row(0, True, acc="x")) + "\n"), "row 1: its acc is 'x', which is"),
    "nan": (lambda file: file.write_text(json.dumps(row(0, True, acc=float("nan"))) + "\n"), "row 1: its acc is nan"),
    "empty": (lambda file: file.write_text(""), "it is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LOGS)
def test_a_bad_log_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    damage, said = BAD_LOGS[case]
    path = log(tmp_path / "base", lambda at: True, **{"n-samples": {"quiz": {"original": 40, "effective": 40}}})
    damage(next(path.rglob("samples_*")))
    assert said in refused(tmp_path, path, log(tmp_path / "sft", lambda at: True))


def test_a_log_without_samples_and_a_damaged_results_file_are_refused(tmp_path: Path) -> None:
    path = log(tmp_path / "base", lambda at: True)
    results = next(path.rglob("results_*"))
    results.write_text(results.read_text()[:50])
    assert f"{results}: it is not whole" in refused(tmp_path, path)
    next(path.rglob("samples_*")).unlink()
    assert "without --log_samples" in refused(tmp_path, path)


def test_a_task_whose_metric_has_no_value_per_document_is_left_out_and_named(tmp_path: Path) -> None:
    bleu = [row(at, True, metrics=["bleu"], bleu=["a", "b"]) for at in range(3)]
    path = log(tmp_path / "base", lambda at: True)
    log(path / "more", lambda at: True, ("translation",), rows=bleu, model_name="base")
    done = bakeoff("judge", path, log(tmp_path / "sft", lambda at: at > 3), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "translation: the task translation has no metric with a value per document, only bleu" in done.stdout
    assert "Left out of samples_translation" in (tmp_path / "out" / "report.md").read_text()


def test_the_results_of_an_experiment_are_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "matrix.json").write_text('{"cells": []}')
    done = bakeoff("judge", table(tmp_path / "quiz.csv", two_methods()), "--out", out)
    assert done.returncode == 2
    assert "it holds the results of an experiment" in done.stderr


def test_judging_and_its_report_load_neither_torch_nor_lm_eval(tmp_path: Path) -> None:
    table(tmp_path / "other.csv", two_methods(seeds=("",)))
    log(tmp_path / "base", lambda at: True)
    code = (
        "import sys; sys.argv = ['bakeoff', 'judge', *sys.argv[1:]]\nfrom harness.cli.main import app\n"
        "try: app()\nexcept SystemExit as end: assert not end.code\n"
        "print(*[name for name in ('torch', 'transformers', 'lm_eval', 'datasets') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, tmp_path / "other.csv", tmp_path / "base", "--out", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == ""
