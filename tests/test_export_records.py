"""`bakeoff export --format`: records for other tools, of which judging gives the report of the original again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import bakeoff
from test_report import Fake

from harness.engine.interchange.cells import cells_of, methods_of
from harness.engine.interchange.every_eval_ever_files import SCHEMA_FILE
from harness.engine.interchange.inspect_logs import inspect_logs
from harness.engine.interchange.judged import write_judged
from harness.engine.interchange.paths import read_scores
from harness.engine.interchange.scored import Scored
from harness.engine.results.schema import SAMPLE_COLUMNS, SAMPLE_KEY, read_table, write_rows, write_table
from harness.errors import UserError
from harness.report.collect import ReportModel, collect
from harness.report.exported_cells import exported_blocks

FORMATS = ["eee", "lm-eval", "inspect"]
BROKEN = {("harsh", 1, "tasks"): "failed:boom"}
KEY = ["method", "seed", "benchmark", "metric", "group", "item"]


def needs_inspect() -> Any:
    return pytest.importorskip("inspect_ai", reason="logs of Inspect are read by the extra `inspect`")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods at three seeds; one cell failed, items lack scores, clusters are shared and weights differ."""
    lose = lambda method, seed, item: method == "tuned" and item == 7  # noqa: E731
    fake = Fake(skills={"plain": (0.3, 0.7), "tuned": (0.8, 0.69), "harsh": (0.6, 0.3)}, items=40, broken=BROKEN,
                lose=lose, answer='say "ja"\nё')  # fmt: skip
    folder = fake.write(tmp_path_factory.mktemp("study"))
    rows = collect(folder).rows.astype({"cluster": str})
    rows["cluster"] = "c" + (rows["item"].astype(str).str[1:].astype(int) // 2).astype(str)
    rows.loc[(rows["metric"] == "length") & (rows["item"] == "i0003"), "weight"] = 2.5
    samples = read_table(folder, "samples")
    samples["completions"] = samples["completions"].map(list)
    samples["flags"] = samples["flags"].map(list)
    write_rows(folder, rows.to_dict("records"), samples.to_dict("records"))
    return folder


def exported(folder: Path, kind: str, out: Path) -> Path:
    done = bakeoff("export", folder, "--format", kind, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def judged(out: Path, *words: object) -> ReportModel:
    found = [one for one in read_scores(map(str, words)) if isinstance(one, Scored)]
    write_judged(out, cells_of(found), [], methods_of(found, ""))
    return collect(out)


@pytest.mark.parametrize("kind", FORMATS)
def test_judging_an_export_gives_the_scores_differences_and_p_values_of_the_original(
    kind: str, study: Path, tmp_path: Path
) -> None:
    if kind == "inspect":
        needs_inspect()
    ours, theirs = collect(study), judged(tmp_path / "out", exported(study, kind, tmp_path / "records"))
    columns = [*KEY, "cluster", "value", "weight"]
    first, second = (model.rows.sort_values(KEY)[columns].astype(str).to_numpy() for model in (ours, theirs))
    assert (first == second).all()
    assert theirs.matrix.baseline == "plain"
    assert (theirs.matrix.reference, theirs.matrix.margin) == ("tuned", 0.1)
    known = {(one.metric.title, one.group): one for one in (*theirs.blocks[0].results, *theirs.blocks[0].groups)}
    expected = (*ours.blocks[0].results, *ours.blocks[0].groups)
    assert len(known) == len(expected) == 9
    for result in expected:
        same = known[result.metric.title, result.group]
        assert {label: one.estimate for label, one in same.scores.items()} == {
            label: one.estimate for label, one in result.scores.items()
        }
        assert {label: (one.estimate, one.adjusted) for label, one in same.comparisons.items()} == {
            label: (one.estimate, one.adjusted) for label, one in result.comparisons.items()
        }
    place = (slice(None), 0, "tasks", "i0004")
    said = [
        model.blocks[0].samples.set_index(["method", "seed", "benchmark", "item"])[
            ["prompt", "reference"]].loc[place].to_numpy().tolist()
        for model in (ours, theirs)
    ]  # fmt: skip
    assert sorted(said[0]) == sorted(said[1])
    assert said[0][0][0].startswith("Question 4: say")


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_results_are_exported_as_equal_bytes_and_a_date_is_what_the_user_says(
    kind: str, study: Path, tmp_path: Path
) -> None:
    first, second = (exported(study, kind, tmp_path / name) for name in ("first", "second"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) >= 17
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)
    dated = tmp_path / "dated"
    assert bakeoff("export", study, "--format", kind, "--date", "2026-11-28", "--out", dated).returncode == 0
    whole = "".join(path.name + path.read_text() for path in dated.rglob("*.json"))
    assert "2026-11-28T00" in whole or '"1795824000"' in whole  # 20,785 days after the start of 1970
    assert "1970" not in whole


def schema(part: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="the schema of Every Eval Ever is checked by jsonschema")
    told = json.loads(SCHEMA_FILE.read_text())
    return jsonschema.Draft7Validator({**told, "$ref": f"#/definitions/{part}"})


def test_records_of_every_eval_ever_follow_its_schema(study: Path, tmp_path: Path) -> None:
    aggregate, sample = schema("aggregate"), schema("sample")
    out = exported(study, "eee", tmp_path / "eee")
    for file in out.rglob("*.json"):
        told = json.loads(file.read_text())
        aggregate.validate(told)
        written = told["detailed_evaluation_results"]
        assert out / written["file_path"] == file.with_name(f"{file.stem}_samples.jsonl")
        lines = (out / written["file_path"]).read_text().splitlines()
        assert len(lines) == written["total_rows"]
        for line in lines:
            sample.validate(json.loads(line))
    broken = {**json.loads(lines[0]), "evaluation": {"score": "C", "is_correct": True}}
    assert [error.message for error in sample.iter_errors(broken)] == ["'C' is not of type 'number'"]
    told["model_info"]["additional_details"].pop("model_availability")
    assert len(list(aggregate.iter_errors(told))) == 1


def test_lm_evals_own_functions_find_the_exported_files(study: Path, tmp_path: Path) -> None:
    from lm_eval.utils import get_file_datetime, get_file_task_name, get_results_filenames, get_sample_results_filenames

    out = exported(study, "lm-eval", tmp_path / "logs")
    names = [str(path) for path in (out / "tuned.seed1").rglob("*") if path.is_file()]
    (results,), samples = get_results_filenames(names), get_sample_results_filenames(names)
    assert {get_file_task_name(Path(name).name) for name in samples} == {"tasks", "facts"}
    assert {get_file_datetime(Path(name).name) for name in samples} == {"1970-01-01T00-00-00.000000"}
    told = json.loads(Path(results).read_text())
    (facts,) = (Path(name) for name in samples if "facts" in name)
    rows = [json.loads(line) for line in facts.read_text().splitlines()]
    assert told["results"]["facts"]["accuracy,none"] == sum(row["accuracy"] for row in rows) / 39
    assert told["n-samples"]["facts"]["effective"] == len(rows) == 39  # one item of `tuned` has no score


def test_results_without_texts_are_exported_without_texts(study: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("rows.parquet", "matrix.json"):
        (bare / name).write_bytes((study / name).read_bytes())
    samples = read_table(study, "samples").to_dict("records")
    empty = ({**one, "prompt": "", "completions": [], "reference": "", "flags": []} for one in samples)
    write_table(bare / "samples.parquet", empty, SAMPLE_COLUMNS, SAMPLE_KEY)
    for kind in FORMATS:
        whole = "".join(path.read_text() for path in exported(bare, kind, tmp_path / kind).rglob("*.json*"))
        assert "Question" not in whole
        assert "ja" not in whole
        assert "i0004" in whole


def test_each_block_of_a_study_is_exported_apart(tmp_path: Path) -> None:
    folder = Fake(skills={"plain": (0.3, 0.7), "tuned": (0.8, 0.69)}, items=8, bases=("a/large", "b/large")).write(
        tmp_path / "two"
    )
    out = exported(folder, "lm-eval", tmp_path / "logs")
    assert sorted(path.name for path in out.iterdir()) == ["a_large", "b_large"]
    assert [(one.name, len(list(one.cells()))) for one in exported_blocks(folder)] == [("a/large", 12), ("b/large", 12)]


def test_results_for_a_model_card_are_the_reports_means_under_the_data_set_that_is_named(
    study: Path, tmp_path: Path
) -> None:
    from huggingface_hub import parse_eval_result_entries
    from ruamel.yaml import YAML

    done = bakeoff("export", study, "--format", "hf-eval-results", "--dataset", "facts=lab/facts#main", "--out",
                   tmp_path / "hub")  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = sorted(path.relative_to(tmp_path / "hub") for path in (tmp_path / "hub").rglob("*.yaml"))
    assert files == [Path(name, ".eval_results", "facts.yaml") for name in ("harsh", "plain", "tuned")]
    (entry,) = parse_eval_result_entries(YAML(typ="safe").load((tmp_path / "hub" / files[2]).read_text()))
    (result,) = (one for one in collect(study).blocks[0].results if one.metric.benchmark == "facts")
    assert (entry.dataset_id, entry.task_id) == ("lab/facts", "main")
    assert entry.value == result.scores["tuned"].estimate.value
    assert entry.notes is not None
    assert entry.notes.startswith("accuracy, mean of 3 seeds, 95 % interval 0.")


@pytest.mark.parametrize(("kind", "names"), [
    ("csv", {"scores.csv", "differences.csv"}), ("parquet", {"scores.parquet", "differences.parquet"}),
    ("latex", {"matrix.tex"}), ("markdown", {"matrix.md"}),
])  # fmt: skip
def test_one_kind_of_table_is_written_where_it_is_asked_for(
    kind: str, names: set[str], study: Path, tmp_path: Path
) -> None:
    assert {path.name for path in exported(study, kind, tmp_path / kind).iterdir()} == names


@pytest.mark.parametrize(("words", "said"), [
    (["--format", "lm_eval"], "--format is 'lm_eval'\n  Did you mean 'lm-eval'?"),
    (["--format", "eee", "--date", "soon"], "--date is 'soon', which is not a date"),
    (["--format", "hf-eval-results"], "none was named\n  Add --dataset tasks=OWNER/NAME#TASK"),
    (["--format", "hf-eval-results", "--dataset", "fact=a/b"], "the benchmark 'fact', which these results do not have"),
    (["--format", "hf-eval-results", "--dataset", "facts=b"], "--dataset facts=b names no data set of the hub"),
    (["--format", "eee", "--dataset", "facts=a/b"], "--dataset belongs to --format hf-eval-results"),
])  # fmt: skip
def test_a_wrong_request_is_refused_and_nothing_is_written(
    words: list[str], said: str, study: Path, tmp_path: Path
) -> None:
    done = bakeoff("export", study, *words, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def inspect_log(file: Path, change: Callable[[dict[str, Any]], Any], items: int = 20) -> Path:
    """A log as inspect_ai 0.3 writes it in JSON, of a task that `bakeoff` did not run; `change` alters it."""
    samples = [
        {"id": at, "epoch": 1, "input": f"q{at}?", "target": "yes", "messages": [],
         "scores": {"match": {"value": grade}},
         "output": {"model": "lab/m", "choices": [{"message": {"role": "assistant", "content": "no"},
                                                   "stop_reason": "stop"}], "completion": "no"}}
        for at, grade in enumerate("CI" * (items // 2))
    ]  # fmt: skip
    told = {
        "version": 2, "status": "success",
        "eval": {"created": "2026-01-02T03:04:05+00:00", "task": "quiz", "dataset": {"name": "quiz"}, "model": "lab/m",
                 "config": {}, "packages": {"inspect_ai": "0.3.285"}},
        "results": {"total_samples": items, "completed_samples": items,
                    "scores": [{"name": "match", "scorer": "match", "metrics": {}}]},
        "plan": {}, "stats": {},
        "samples": samples,
    }  # fmt: skip
    change(told)
    file.write_text(json.dumps(told))
    return file


def test_a_log_of_inspect_is_judged_by_its_first_scorer_with_letters_as_inspect_counts_them(tmp_path: Path) -> None:
    needs_inspect()

    def second(told: dict[str, Any]) -> None:
        told["eval"]["model"] = "lab/n"
        told["samples"][1]["scores"]["match"]["value"] = "P"
        told["samples"][2]["scores"]["other"] = {"value": {"a": 3, "b": True}}

    logs = [inspect_log(tmp_path / "one.json", lambda told: None), inspect_log(tmp_path / "two.json", second)]
    model = judged(tmp_path / "out", *logs)
    assert [one.metric.title for one in model.blocks[0].measured] == ["quiz: match", "quiz: other/a", "quiz: other/b"]
    # of 20 samples every second is right; the second model has half a point more
    assert {label: one.estimate.value for label, one in model.blocks[0].results[0].scores.items()} == {
        "lab/m": 0.5, "lab/n": 10.5 / 20}  # fmt: skip
    samples = model.blocks[0].samples
    assert samples is not None
    shown = samples[(samples["method"] == "lab/m") & (samples["item"] == "3")].iloc[0]
    assert (shown["prompt"], list(shown["completions"]), shown["reference"]) == ("q3?", ["no"], "yes")


BAD_LOGS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "text": (lambda told: told["samples"][2]["scores"]["match"].update(value="maybe"),
             "sample 3: the score of match is 'maybe', which is text"),
    "not a number": (lambda told: told["samples"][2]["scores"]["match"].update(value=float("nan")),
                     "sample 3: the score of match is nan"),
    "twice": (lambda told: told["samples"][4].update(id=0), "sample 5: the item '0' comes twice"),
    "cut off": (lambda told: told["samples"].pop(), "it holds 19 samples of 20 that it records"),
    "stopped": (lambda told: told.update(status="cancelled"), "its status is 'cancelled'"),
    "another version": (lambda told: told["eval"].pop("created"), "it cannot be read by inspect_ai"),
    "no scores": (lambda told: [one.pop("scores") for one in told["samples"]], "its samples have no scores"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LOGS)
def test_a_bad_log_of_inspect_is_refused_with_its_sample(case: str, tmp_path: Path) -> None:
    needs_inspect()
    change, said = BAD_LOGS[case]
    done = bakeoff("judge", inspect_log(tmp_path / "it.json", change), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert str(tmp_path / "it.json") in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_eval_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    needs_inspect()
    (tmp_path / "it.eval").write_bytes(b"PK\x03\x04 and no more")
    done = bakeoff("judge", tmp_path / "it.eval", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "it.eval: it cannot be read by inspect_ai" in done.stderr


def test_an_eval_file_that_inspect_wrote_is_judged_by_the_mean_of_its_epochs(tmp_path: Path) -> None:
    """Two epochs of 6 samples: `base` is right on odd numbers in both, `sft` on even ones in the first alone."""
    needs_inspect()
    from inspect_ai import log as inspect
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    for name, right in (("base", lambda at, epoch: at % 2 == 1), ("sft", lambda at, epoch: at % 2 == 0 and epoch == 1)):
        samples = [
            inspect.EvalSample(
                id=at, epoch=epoch, input=f"q{at}?", target="yes", output=ModelOutput.from_content("lab/m", "no"),
                scores={"match": Score(value="C" if right(at, epoch) else "I")},
            )
            for at in range(6) for epoch in (1, 2)
        ]  # fmt: skip
        spec = inspect.EvalSpec(
            created="2026-01-02T03:04:05+00:00", task="quiz", dataset=inspect.EvalDataset(name="quiz"), model="lab/m",
            config=inspect.EvalConfig(epochs=2),
        )  # fmt: skip
        results = inspect.EvalResults(
            total_samples=12, completed_samples=12,
            scores=[inspect.EvalScore(name="match", scorer="match", metrics={})],
        )  # fmt: skip
        inspect.write_eval_log(
            inspect.EvalLog(status="success", eval=spec, results=results, samples=samples),
            str(tmp_path / f"{name}.eval"),
        )
    assert inspect_logs(tmp_path) == [tmp_path / "base.eval", tmp_path / "sft.eval"]
    model = judged(tmp_path / "out", f"base={tmp_path / 'base.eval'}", f"sft={tmp_path / 'sft.eval'}")
    rows = model.rows.set_index(["method", "item"])["value"]
    assert {at: (rows["base", str(at)], rows["sft", str(at)]) for at in (1, 2)} == {1: (1.0, 0.0), 2: (0.0, 0.5)}
    assert model.matrix.cells[0].protocol["epochs"] == "2"
    samples_of = model.blocks[0].samples
    assert samples_of is not None
    assert list(samples_of[samples_of["method"] == "sft"].iloc[0]["completions"]) == ["no"]


def test_without_the_package_a_log_of_inspect_is_refused_by_the_name_of_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    file = inspect_log(tmp_path / "it.json", lambda told: None)
    with pytest.raises(UserError, match=r"read by the package inspect-ai") as refused:
        list(read_scores([str(file)]))
    assert refused.value.fix == "Run `pip install 'bakeoff[inspect]'`."


@pytest.mark.parametrize("kind", ["eee", "lm-eval"])
def test_an_export_whose_record_was_damaged_is_refused(kind: str, study: Path, tmp_path: Path) -> None:
    out = exported(study, kind, tmp_path / "records")
    file = next(path for path in sorted(out.rglob("*.json")) if "tasks" in path.read_text())
    file.write_text(file.read_text().replace("deterministic", "determined"))
    done = bakeoff("judge", out, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "its record 'bakeoff' of `bakeoff export` is damaged: 'deterministic'" in done.stderr
