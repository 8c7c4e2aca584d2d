"""The README is held to: its commands, its tree, its experiment, its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from conftest import ROOT

from harness.cli.main import app
from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.plan import make_plan

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.S | re.M)
    return [text for name, text in fenced if name == language]


def test_the_two_commands_of_the_readme_are_targets_that_start_from_an_empty_checkout() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [line for block in blocks("sh")[:2] for line in block.split("\n") if line]
    assert commands == ["make demo", "make test"]
    rules = dict(re.findall(r"^([a-z-]+):(.*)$", makefile, flags=re.M))
    assert "$(READY)" in rules["demo"]
    assert "lint" in rules["test"]
    assert "$(READY)" in rules["lint"]
    assert re.search(r"bakeoff run demo\.yaml", makefile)


def test_every_verb_and_option_in_the_readme_exists() -> None:
    command = typer.main.get_command(app)
    for line in "\n".join(blocks("sh")).split("\n"):
        words = line.split("#")[0].split()
        if not words or words[0] != "bakeoff":
            continue
        verb = command.commands[words[1]]  # type: ignore[attr-defined]
        if words[1] in {"microworld", "data"}:
            verb = verb.commands[words[2]]
        options = {option for parameter in verb.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_readmes_experiments_are_read_as_they_stand(tmp_path: Path) -> None:
    found = []
    for at, text in enumerate(blocks("yaml")):
        file = tmp_path / f"{at}.yaml"
        file.write_text(text)
        found.append(load_experiment(file))
    labels = [[entry.label for entry in experiment.methods] for experiment in found]
    assert labels == [["base", "prompting", "sft", "lora", "proxy"], ["base", "sft"], ["base", "sft", "lora"]]
    # the second names nothing but what ships with the project
    assert len(make_plan(found[1], tmp_path / "store").cells) == 2 * 4 * 2 * 2


def test_the_tree_names_every_module_and_nothing_that_is_not_there() -> None:
    (tree,) = blocks("")
    named, folder = set(), ""
    for line in tree.rstrip().split("\n"):
        name = line.split()[0]
        folder = "" if not line.startswith(" ") else folder
        path = f"{folder}{name}"
        assert (ROOT / path).exists(), path
        named.add(path)
        folder = path if not line.startswith(" ") and name.endswith("/") else folder
    modules = {f"harness/{path.name}" for path in (ROOT / "harness").glob("*.py")} - {"harness/__init__.py"}
    assert modules <= named, modules - named


@pytest.mark.parametrize("kind", ["methods", "benchmarks"])
def test_every_plugin_stands_in_the_readmes_table(kind: str) -> None:
    for path in (ROOT / kind).glob("[!_]*.py"):
        assert f"| `{path.stem}` |" in README


@pytest.mark.parametrize("kind", ["methods", "benchmarks"])
def test_every_plugin_opens_with_a_docstring_and_explains_each_field(kind: str) -> None:
    import dataclasses

    for path in (ROOT / kind).glob("[!_]*.py"):
        assert registry.summary(kind, path.stem)  # type: ignore[arg-type]
        for item in dataclasses.fields(registry.plugin_class(kind, path.stem)):  # type: ignore[arg-type]
            assert item.metadata.get("help"), f"{path.stem}.{item.name}"


def test_the_guide_to_the_data_folder_names_every_file_of_it() -> None:
    guide = (ROOT / "harness" / "data" / "README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "harness" / "data").glob("[!_]*.py")}
    assert files - set(re.findall(r"`(\w+\.py)`", guide)) == set()
