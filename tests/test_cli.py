"""The command line: what a user types, what is said, and the exit codes."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import outside
import pytest
from command_line import bakeoff, in_a_process_of_its_own


def test_help_names_every_verb() -> None:
    done = in_a_process_of_its_own("--help")
    assert done.returncode == 0
    verbs = ("list", "show", "check", "plan", "run", "report", "explain", "microworld", "verify", "compare", "export")
    assert all(verb in done.stdout for verb in verbs)


def test_list_and_show_tell_what_a_plugin_needs_and_takes() -> None:
    listed = bakeoff("list").stdout
    assert all(
        name in listed for name in ("sft", "proxy_tuning", "knowledge", "microworld/large", "microworld/curated-1k")
    )
    shown = bakeoff("show", "sft").stdout
    assert "2305.11206" in shown
    assert "  learning_rate = 1e-05             peak value; tuned from 1e-06 to 0.003, log\n" in shown
    assert "needs   demonstrations\n" in shown


def test_plan_shows_states_and_changes_nothing(tmp_path: Path) -> None:
    file = outside.experiment(outside.install(tmp_path))
    done = in_a_process_of_its_own("plan", file, "--store", tmp_path / "store", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "outside/outside_bench/0" in done.stdout
    assert "1 cell: 1 to run" in done.stdout
    assert not (tmp_path / "store" / "artifacts").exists()


def test_the_version_is_printed() -> None:
    done = bakeoff("--version")
    assert (done.returncode, done.stdout) == (0, f"bakeoff {version('bakeoff')}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "stf"], ["no method, benchmark, model or training set is called 'stf'", "Did you mean 'sft'?"]),
        (["run", "nowhere.yaml"], ["nowhere.yaml", "no such experiment file"]),
        (["list", "method"], ["Did you mean 'methods'?"]),
        (["report", "nowhere"], ["no such results file"]),
        (["verify", "tests"], ["tests", "it is not a results folder"]),
        (["run", "demo.yaml", "--set", "bases=[microworld/larg]"], ["microworld/larg", "microworld/large"]),
        (["run", "demo.yaml", "--set", "bases=[./nowhere]"], ["'./nowhere' does not exist"]),
        (["run", "demo.yaml", "--set", "bases=[nobody/nothing-at-all]"], ["nobody/nothing-at-all", "HF_HUB_OFFLINE"]),
        (["run", "demo.yaml", "--set", "small_base=null"], ["needs a small base", "small_base: NAME"]),
        (["run", "demo.yaml", "--set", "data={}"], ["needs demonstrations", "data:"]),
        (["run", "demo.yaml", "--set", "data={demonstrations: microworld/curated-1000}"], ["microworld/curated-1k"]),
    ],
)
def test_a_users_mistake_is_one_message_exit_code_2_and_no_traceback(
    words: list[str], said: list[str], tmp_path: Path
) -> None:
    store = ["--store", tmp_path / "store"] if words[0] == "run" else []
    done = bakeoff(*words, *store)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert all(word in done.stderr for word in said), done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"prompt": "a", "completion": "b"}\n{"prompt": "a", "completion": " "}\n',
            ["rows.jsonl:2", "`completion` is empty"],
        ),
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a"\n', ["rows.jsonl:2", "broken JSON"]),
        ('{"prompt": "a", "completion": "b"}\n\n{"question": "a"}\n', ["rows.jsonl:3", "its columns are question"]),
        ('{"messages": [{"role": "robot", "content": "b"}]}\n', ["rows.jsonl:1, message 1", "the role is 'robot'"]),
        ('{"prompt": 3, "completion": "b"}\n', ["rows.jsonl:1"]),
        ("", ["it has no rows"]),
    ],
)
def test_a_malformed_data_row_is_named_by_file_and_row(text: str, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    data = f"data={{demonstrations: {tmp_path / 'rows.jsonl'}}}"
    done = bakeoff("plan", "demo.yaml", "--set", data, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert all(word in done.stderr for word in said), done.stderr


def test_a_microworld_run_ends_by_saying_where_the_report_is_and_does_nothing_again(tmp_path: Path) -> None:
    words = [
        "run",
        "demo.yaml",
        "--store",
        tmp_path / "store",
        "--out",
        tmp_path / "results",
        "--set",
        "methods=[base]",
        "--set",
        "reference=null",
        "--set",
        "knowledge.limit=30",
        "--set",
        "instruction_following.limit=5",
    ]
    first = bakeoff(*words)
    assert first.returncode == 0, first.stderr + first.stdout
    assert f"The report is {tmp_path / 'results' / 'report.html'}" in first.stdout
    before = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert {
        "rows.parquet",
        "samples.parquet",
        "matrix.json",
        "costs.json",
        "provenance.json",
        "report.md",
        "report.html",
        "experiment.yaml",
    } <= set(before)
    assert "Nothing is compared: the experiment has no method but base." in first.stdout
    again = bakeoff(*words)
    assert "Nothing to do: 2 cells: 2 done" in again.stdout
    assert "Nothing is compared: the experiment has no method but base." in again.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == before
    verified = bakeoff("verify", tmp_path / "results")
    assert (verified.returncode, verified.stdout.count("unchecked")) == (0, 0), verified.stdout
    assert "matrix.json: its digest is that of its experiment, keys and states" in verified.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == before


def test_failed_cells_give_exit_code_1_and_stand_in_the_report(tmp_path: Path) -> None:
    """The NaN comes from a learning rate no training survives; the base's cells are done all the same."""
    words = [
        "run",
        "demo.yaml",
        "--store",
        tmp_path / "store",
        "--out",
        tmp_path / "results",
        "--set",
        "methods=[base, {sft: {learning_rate: 1e30, epochs: 1}}]",
        "--set",
        "benchmarks=[knowledge]",
        "--set",
        "bases=[microworld/small]",
        "--set",
        "knowledge.limit=20",
    ]
    done = bakeoff(*words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed  sft/knowledge/0: " in done.stdout
    assert "at step" in done.stdout
    states = {
        cell["method"]: cell["state"]
        for cell in json.loads((tmp_path / "results" / "matrix.json").read_text())["cells"]
    }
    assert states == {"base": "done", "sft": "failed"}
    assert "at step" in (tmp_path / "results" / "report.html").read_text()
    explained = bakeoff("explain", "demo.yaml", "sft/knowledge", *words[2:4], *words[6:])
    assert "state     failed" in explained.stdout
    assert "--retry-failed" in explained.stdout


def test_nothing_that_a_user_names_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    """An escape sequence, a line that runs backwards, and a second line, in a file's name and in an argument."""
    name = "\x1b[31mred\u202e\x07\nsecond.yaml"
    file = tmp_path / name
    file.write_text("bases: [microworld/small]\nmethods: [base]\nbenchmarks: [knowledge]\n")
    planned = bakeoff("plan", file, "--store", tmp_path / "store")
    assert planned.returncode == 0, planned.stderr
    for words in (
        ["plan", f"{file}\x1b"],
        ["explain", file, "\x1b[31m"],
        ["show", "\u202e"],
        ["report", f"{file}\x9b"],
    ):
        done = bakeoff(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert not set("\x1b\u202e\x07\x9b") & set(planned.stdout + planned.stderr + done.stdout + done.stderr)
        assert len(done.stderr.splitlines()) <= 2


def test_a_long_value_in_a_message_is_cut_once_and_its_own_length_is_said() -> None:
    from harness.engine.showable import message
    from harness.errors import UserError

    said = message(UserError("x" * 5000, where="file.yaml:3", fix="Write y."))
    assert said.startswith("file.yaml:3: xxx")
    assert "xxx... (5,000 characters)\n  Write y." in said
    assert "[cut:" not in said
