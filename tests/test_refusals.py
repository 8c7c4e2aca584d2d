"""Rows that no fit could use and items that no answer could get right: refused, or skipped and counted, at `plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, bakeoff

from harness.engine.config import load_experiment
from harness.engine.plan import Plan
from harness.engine.store.store import Store
from harness.engine.tuning import plans
from harness.policy.base_model import BaseModel

LONG = "the cat sat on the mat . " * 100
GOOD, ALSO = ("who has the cat ?", "nora"), ("who has the dog ?", "ivo")
TOO_LONG = (LONG, "nora")


def row(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def experiment(
    folder: Path, rows: Sequence[Any], methods: str = "[base, {sft: {max_length: 20}}]", kind: str = "demonstrations",
    more: str = "", benchmarks: str = "[{knowledge: {limit: 4}}]",
) -> Path:  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
    file = folder / "experiment.yaml"
    file.write_text(
        f"bases: [microworld/small]\ndata: {{{kind}: {{name: rows.jsonl{more}}}}}\nmethods: {methods}\n"
        f"benchmarks: {benchmarks}\nthreads: 1\n"
    )
    return file


def planned(file: Path) -> Done:
    return bakeoff("plan", file, "--store", file.parent / "store")


def plan_of(file: Path) -> Plan:
    return next(iter(plans(load_experiment(file), file.parent / "store")))


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def load(self: BaseModel) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(BaseModel, "load", load)


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_row_without_a_trained_token_is_refused_with_its_file_and_line(tmp_path: Path, verb: str) -> None:
    file = experiment(tmp_path, [row(*GOOD), row(*TOO_LONG), row(*ALSO)])
    done = bakeoff(verb, file, "--store", tmp_path / "store")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "sft cannot train microworld/small on 1 of 3 rows of demonstrations: no trained token within 20" in said
    assert "rows.jsonl:2" in said
    assert "on_error: skip" in said
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("without_models")
def test_with_skip_the_row_is_left_out_for_every_method_and_counted(tmp_path: Path) -> None:
    methods = "[{sft: {max_length: 20}}, {sft: {}, as: roomy}]"
    both = experiment(tmp_path, [row(*GOOD), row(*TOO_LONG), row(*ALSO)], methods, more=", on_error: skip")
    done = planned(both)
    assert done.returncode == 0
    assert "1 rows are skipped (" in done.stdout
    assert "no trained token within 20 tokens" in done.stdout
    (loaded,) = plan_of(both).sets
    assert [one.id for one in loaded.records] == ["rows.jsonl:1", "rows.jsonl:3"]
    assert (loaded.manifest["rows"], loaded.manifest["skipped"]) == (2, 1)
    keys = {cell.node.key for cell in plan_of(both).cells}
    (tmp_path / "less").mkdir()
    # the ids hold the number of the row in its file, so that the same rows need the same places
    other = experiment(tmp_path / "less", [{**row(*GOOD), "id": "rows.jsonl:1"}, {**row(*ALSO), "id": "rows.jsonl:3"}],
                       methods)  # fmt: skip
    assert {cell.node.key for cell in plan_of(other).cells} == keys, (
        "the content keys are those of the rows that are left"
    )


def test_the_report_of_a_run_that_skipped_says_how_many(tmp_path: Path) -> None:
    methods = "[base, {sft: {max_length: 20, epochs: 1}}]"
    file = experiment(tmp_path, [row(*GOOD), row(*TOO_LONG), row(*ALSO)], methods, more=", on_error: skip")
    done = bakeoff("run", file, "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rows are skipped" in done.stdout
    assert "1 skipped" in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["data"]["demonstrations"]["skipped"] == 1


def test_a_malformed_row_is_skipped_and_counted_likewise(tmp_path: Path) -> None:
    rows = [row(*GOOD), "{not json", {"messages": "no list"}, row(*ALSO)]
    assert planned(experiment(tmp_path, rows)).returncode == 2
    file = experiment(tmp_path, rows, more=", on_error: skip")
    done = planned(file)
    assert done.returncode == 0, done.stderr
    assert "2 rows are skipped (" in done.stdout
    assert len(plan_of(file).sets[0].records) == 2


def test_skipping_every_row_is_refused(tmp_path: Path) -> None:
    done = planned(experiment(tmp_path, [row(*TOO_LONG)], more=", on_error: skip"))
    assert done.returncode == 2
    assert "every row is skipped" in done.stderr


def test_an_unknown_word_for_on_error_is_refused_at_its_line(tmp_path: Path) -> None:
    done = planned(experiment(tmp_path, [row(*GOOD)], more=", on_error: ignore"))
    assert done.returncode == 2
    assert "experiment.yaml:2" in done.stderr


PAIR = {"prompt": "who has the cat ?", "chosen": "red", "rejected": "blue"}
PROBLEM = {"prompt": "what is two and two ?", "reference": "4", "verifier": "number"}


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize(
    ("method", "kind", "good", "bad", "reason"),
    [
        ("{lora: {max_length: 20}}", "demonstrations", row(*GOOD), row(*TOO_LONG), "no trained token within 20"),
        ("{loreft: {max_length: 20}}", "demonstrations", row(*GOOD), row(*TOO_LONG), "no trained token within 20"),
        ("{peft: {max_length: 20}}", "demonstrations", row(*GOOD), row(*TOO_LONG), "no trained token within 20"),
        ("{dpo: {max_length: 20, start: base}}", "preferences", PAIR, {**PAIR, "prompt": LONG}, "no token of an"),
        ("{sft_on_chosen: {max_length: 20, start: base}}", "preferences", PAIR, {**PAIR, "prompt": LONG},
         "no trained token within 20"),
        ("{grpo: {max_new_tokens: 9, start: base}}", "problems", PROBLEM, {**PROBLEM, "prompt": LONG},
         "an answer of 9 exceed the context"),
    ],
)  # fmt: skip
def test_each_method_names_what_it_cannot_use(
    tmp_path: Path, method: str, kind: str, good: Any, bad: Any, reason: str
) -> None:
    fine = planned(experiment(tmp_path, [good], f"[{method}]", kind))
    assert fine.returncode == 0, fine.stderr
    done = planned(experiment(tmp_path, [good, bad], f"[{method}]", kind))
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())
    assert "rows.jsonl:2" in done.stderr


def test_what_a_method_refuses_is_found_once_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.sft import Sft

    file, asked = experiment(tmp_path, [row(*GOOD)]), []
    (tmp_path / "store").mkdir()
    refused = Sft.refused
    monkeypatch.setattr(Sft, "refused", lambda *given: (asked.append(1), refused(*given))[1])
    for _ in range(2):
        assert planned(file).returncode == 0
    assert asked == [1]
    assert Store(tmp_path / "store").root.joinpath("refusals").is_dir()


def task_file(folder: Path, answer: int) -> Path:
    (folder / "documents.jsonl").write_text(
        json.dumps({"q": "one", "a": 0}) + "\n" + json.dumps({"q": "two", "a": answer}) + "\n"
    )
    file = folder / "asked.yaml"
    file.write_text(
        "task: asked\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {folder / 'documents.jsonl'}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: a\n"
        "doc_to_choice: ['yes', 'no']\nmetric_list: [{metric: acc}]\n"
    )
    return file


@pytest.mark.usefixtures("without_models")
def test_a_right_answer_outside_the_choices_is_refused_at_plan(tmp_path: Path) -> None:
    for answer, code in ((1, 0), (7, 2)):
        folder = tmp_path / str(answer)
        folder.mkdir()
        asked = f"[{{lm_eval: {{tasks: [{task_file(folder, answer)}]}}}}]"
        done = planned(experiment(folder, [row(*GOOD)], "[base]", benchmarks=asked))
        assert done.returncode == code, done.stderr
    assert "its right answer '7' is not among its 2 choices" in " ".join(done.stderr.split())
    assert "asked, document 1" in done.stderr


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("benchmark", ["math_problems: {data: gone.jsonl}", "perplexity: {data: ./gone}"])
def test_a_benchmark_whose_local_file_is_missing_is_refused_at_its_line(tmp_path: Path, benchmark: str) -> None:
    named = benchmark.split(": ")[2].rstrip("}")
    done = planned(experiment(tmp_path, [row(*GOOD)], benchmarks=f"[knowledge, {{{benchmark}}}]"))
    assert done.returncode == 2
    assert f"experiment.yaml:4: data is '{named}', and there is no such file or folder" in done.stderr


@pytest.mark.usefixtures("without_models")
def test_a_missing_file_may_be_skipped_and_a_set_of_the_hub_is_no_missing_file(tmp_path: Path) -> None:
    skipped = "{math_problems: {data: gone.jsonl}, on_error: skip}"
    hub = "{math_problems: {data: 'someone/problems:main'}, as: hub}"
    done = planned(
        experiment(tmp_path, [row(*GOOD)], "[base]", benchmarks=f"[{{knowledge: {{limit: 4}}}}, {skipped}, {hub}]")
    )
    assert done.returncode == 0
    assert "n/a: gone.jsonl: no such file" in done.stdout
    assert "3 cells: 1 to run, 2 n/a" in done.stdout
