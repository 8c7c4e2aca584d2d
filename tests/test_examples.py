"""The examples of studies in results/examples: each plans offline, says that it was not run, and is in the table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan

EXAMPLES = sorted((ROOT / "results" / "examples").glob("*.yaml"))
STAND_INS = {
    "demonstrations": "microworld/curated-1k",
    "preferences": "microworld/function-calls",
    "judged": "microworld/function-calls",
    "problems": "microworld/stories",
}


def is_real(file: Path) -> bool:
    return "microworld/" not in file.read_text("utf-8")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_an_experiment_that_says_that_it_was_not_run(file: Path) -> None:
    text = file.read_text("utf-8")
    assert text.startswith("# NOT RUN")
    assert "Fair control" in text or "control" in text.split("name:")[0]
    if is_real(file):
        assert re.search(r"# Memory: \d+ GB", text)
        assert "GPU-hours" in text
    assert load_experiment(file).methods


@pytest.mark.parametrize("file", [file for file in EXAMPLES if not is_real(file)], ids=lambda file: file.stem)
def test_an_example_of_the_microworld_plans_as_it_is(file: Path, tmp_path: Path) -> None:
    experiment = load_experiment(file)
    cells = make_plan(experiment, tmp_path / "store").cells
    assert len(cells) == len(experiment.methods) * len(experiment.benchmarks) * len(experiment.seeds) > 0


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in EXAMPLES if is_real(file)], ids=lambda file: file.stem)
def test_an_example_of_real_models_plans_offline_with_stand_ins(file: Path, tmp_path: Path) -> None:
    """Its models and sets are not on this machine: the embedded ones take their places, the rest is as written."""
    yaml = YAML()
    told: dict[str, Any] = yaml.load(file.read_text("utf-8"))
    told["bases"] = [{"name": "microworld/large", "as": name.split("/")[-1]} for name in told["bases"]]
    if "small_base" in told:
        told["small_base"] = "microworld/small"
    for kind in told.get("data", {}):
        told["data"][kind] = STAND_INS[kind]
    for entry in told["benchmarks"]:
        if "diversity" in entry:
            entry["diversity"] = {"samples": entry["diversity"]["samples"]}
    stood_in = tmp_path / file.name
    yaml.dump(told, stood_in)
    plan = make_plan(load_experiment(stood_in), tmp_path / "store")
    labels = {cell.node.base.spec.label for cell in plan.cells}
    small = {"microworld/small"} if "small_base" in told else set()
    assert labels == {entry["as"] for entry in told["bases"]} | small
    # two reasons why a cell may not be runnable: a prompting method has no bare text to precede, and one that draws
    # among answers of its own has no chances of a given answer
    reasons = ("acts on conversations alone, and the benchmark asks in bare text", "verbalized gives no score")
    assert all(cell.why.endswith(reasons) for cell in plan.cells if cell.why)


def test_every_example_is_in_the_table_of_the_readme() -> None:
    table = (ROOT / "results" / "examples" / "README.md").read_text("utf-8")
    assert sorted(set(re.findall(r"\]\((\w+\.yaml)\)", table))) == [file.name for file in EXAMPLES]
