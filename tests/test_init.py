"""`bakeoff init`: four answers become an experiment that plans and runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import bakeoff

from harness.cli import init
from harness.engine.config import load_experiment
from harness.report.render.opening_text import sentence_in

TINY = ("knowledge.limit=6", "instruction_following.limit=1")


def test_init_plan_and_run_are_three_commands_to_a_report(tmp_path: Path) -> None:
    rows = [{"prompt": f"Reply in upper case. Number {at}.", "completion": "YES."} for at in range(8)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("--base", "microworld/small", "--data", "own.jsonl", "--methods", "sft", "--budget", "quick")
    done = bakeoff("init", "mine.yaml", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next: bakeoff plan mine.yaml, then: bakeoff run mine.yaml" in done.stdout
    smaller = ["--store", tmp_path / "store", *(word for one in TINY for word in ("--set", one))]
    planned = bakeoff("plan", "mine.yaml", *smaller, folder=tmp_path)
    assert "4 cells: 4 to run" in planned.stdout, planned.stderr
    ran = bakeoff("run", "mine.yaml", *smaller, folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answer = sentence_in((tmp_path / "mine" / "report.md").read_text("utf-8"))
    assert answer
    assert answer in " ".join(ran.stdout.split())


def test_on_a_terminal_it_asks_four_questions_and_asks_again_for_a_wrong_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[str] = iter(["microworld/large", "microworld/stories", "stf", "lora", "thorough"])
    asked = []

    def prompt(question: str, *, default: Any, value_proc: Any) -> str:
        while True:
            asked.append(question)
            try:
                return str(value_proc(next(answers)))
            except typer.BadParameter:
                continue

    monkeypatch.setattr(init, "on_terminal", lambda: True)
    monkeypatch.setattr(typer, "prompt", prompt)
    assert bakeoff("init", folder=tmp_path).returncode == 0
    assert [question.split()[0] for question in asked] == ["Base", "Training", "Methods", "Methods", "Budget"]
    found = load_experiment(tmp_path / "mine.yaml", [])
    assert found.seeds == (0, 1, 2, 3, 4)
    assert [entry.label for entry in found.methods] == ["base", "lora"]


def test_data_are_given_by_kind_and_paths_start_at_the_file_that_is_written(tmp_path: Path) -> None:
    """A bare name is what the only need is; a base in a folder is written as a path."""
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    (tmp_path / "model").mkdir()
    words = ("--base", "model", "--data", "pairs.jsonl", "--methods", "steering")
    done = bakeoff("init", "own/study.yaml", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "own" / "study.yaml").read_text("utf-8")
    assert "bases: [../model]" in text
    assert "  preferences: ../pairs.jsonl" in text
    assert "demonstrations" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no base model is named"),
        (("--base", "microworld/large", "--methods", "stf"), "Did you mean 'sft'?"),
        (("--base", "microworld/large", "--budget", "big"), "Known: quick, standard, thorough."),
        (("--base", "some/model", "--methods", "dpo", "--data", "demonstrations=a/b"), "--data preferences=FILE.jsonl"),
        (("--base", "some/model", "--data", "a/b", "--methods", "proxy_tuning"), "--small-base"),
        (("--base", "some/model", "--data", "pairs=a/b"), "is not a kind of training data"),
    ],
)
def test_a_missing_or_wrong_answer_is_one_message_and_no_file(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = bakeoff("init", *words, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_proposed_for_the_embedded_models_names_fields_that_exist(tmp_path: Path) -> None:
    names = list(init._proposals("microworld/large")["settings"])
    done = bakeoff("init", "--base", "microworld/large", "--methods", ",".join(names), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(load_experiment(tmp_path / "mine.yaml", []).methods) == len(names) + 1


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: precious\n")
    done = bakeoff("init", "--base", "microworld/large", folder=tmp_path)
    assert done.returncode == 2
    assert "it exists already" in done.stderr
    assert (tmp_path / "mine.yaml").read_text() == "name: precious\n"
