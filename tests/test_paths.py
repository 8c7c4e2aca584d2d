"""Paths in an experiment start at its file, wherever the command is run, and stay out of the content keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.method import LocalPath

EXPERIMENT = """
name: paths
bases: [microworld/small]
methods: [base]
benchmarks:
  - {perplexity: {data: texts/held_out.jsonl}}
  - {divergence: {prompts: ./prompts.jsonl}}
  - {lm_eval: {tasks: [tasks/capitals.yaml, lambada], include_path: ./tasks}, as: capitals}
seeds: [0]
"""


def written(folder: Path, text: str = "A town by the sea.") -> Path:
    for name in ("texts", "tasks", "lambada", "microworld"):  # the last two: names, not the folders
        (folder / name).mkdir(parents=True)
    (folder / "texts" / "held_out.jsonl").write_text(json.dumps({"text": text}) + "\n", "utf-8")
    (folder / "prompts.jsonl").write_text(json.dumps({"prompt": "Name a town."}) + "\n", "utf-8")
    (folder / "tasks" / "capitals.yaml").write_text("task: capitals\n", "utf-8")
    (folder / "experiment.yaml").write_text(EXPERIMENT, "utf-8")
    return folder / "experiment.yaml"


def test_paths_of_benchmarks_start_at_the_experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "study")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    texts, prompts, tasks = (entry.benchmark for entry in load_experiment(file).benchmarks)
    assert texts.data == str(file.parent / "texts" / "held_out.jsonl")  # type: ignore[attr-defined]
    assert prompts.prompts == str(file.parent / "prompts.jsonl")  # type: ignore[attr-defined]
    assert tasks.tasks == (str(file.parent / "tasks" / "capitals.yaml"), "lambada")  # type: ignore[attr-defined]
    assert tasks.include_path == str(file.parent / "tasks")  # type: ignore[attr-defined]
    assert texts.unavailable() == ""


def test_a_key_holds_the_path_as_it_is_written_and_the_content(tmp_path: Path) -> None:
    """The same study in two folders has one key; other text under the same name has another."""
    keys = []
    for name, text in (("a", "A town."), ("b", "A town."), ("c", "A hill.")):
        file = written(tmp_path / name, text)
        plan = make_plan(load_experiment(file), tmp_path / "store")
        keys.append([cell.key for cell in plan.cells if cell.column.label == "perplexity"])
    assert keys[0]
    assert keys[0] == keys[1] != keys[2]


def test_a_path_in_a_folder_with_a_configuration_keeps_it(tmp_path: Path) -> None:
    file = written(tmp_path / "study")
    file.write_text(file.read_text("utf-8").replace("./prompts.jsonl", "texts/:main"), "utf-8")
    found = load_experiment(file).benchmarks[1].benchmark.prompts  # type: ignore[attr-defined]
    assert found == f"{file.parent / 'texts'}:main"
    assert isinstance(found, LocalPath)
    assert found.written == "texts/:main"


@pytest.mark.parametrize("name", ["openai/gsm8k:main", "x" * 5000 + "/y", "a\0/b", os.devnull])
def test_a_name_of_nothing_below_the_experiment_stays_as_it_is(tmp_path: Path, name: str) -> None:
    from harness.engine.plugin_fields import _located_paths

    assert _located_paths(name, tmp_path) == name
