"""The wide gaps that the microworld shows, on the committed rows; `make test-all` also makes the rows anew.

Only these are asserted. Everything else in results/microworld is reported as it was found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from conftest import ROOT

from harness.engine.results.schema import read_rows

COMMITTED = ROOT / "results" / "microworld"


def means(folder: Path, benchmark: str, metric: str, group: str | None = None) -> pandas.Series:
    """Mean score of every method over items and seeds."""
    rows = read_rows(folder)
    rows = rows[(rows["benchmark"] == benchmark) & (rows["metric"] == metric)]
    if group is not None:
        rows = rows[rows["group"] == group]
    assert not rows.empty
    return rows.groupby("method")["value"].mean()


def check_gaps(folder: Path) -> None:
    following = means(folder, "instruction_following", "prompt_level")
    common, middle, rare = (means(folder, "knowledge", "accuracy", group) for group in ("common", "middle", "rare"))
    assert following["sft"] - following["base"] > 0.5
    assert "prompting" in following.index, "the base with demonstrations in its context stands beside it"
    assert common["base"] - common["sft"] <= 0.02
    assert rare["sft"] - rare["sft_hot"] > 0.1
    assert middle["proxy"] - middle["sft_small"] > 0.15
    assert abs(following["lora"] - following["sft"]) <= 0.05
    costs = json.loads((folder / "costs.json").read_text())["artifacts"]
    lora = next(entry for entry in costs if entry["method"] == "lora")
    assert lora["trained_parameters"] <= 0.05 * lora["total_parameters"]


def test_the_committed_results_show_the_wide_gaps_over_three_seeds() -> None:
    assert set(read_rows(COMMITTED)["seed"]) == {0, 1, 2}
    check_gaps(COMMITTED)


@pytest.mark.slow
def test_the_wide_gaps_come_again_when_everything_is_trained_anew(tmp_path: Path) -> None:
    code = "from harness.cli.main import main; main()"
    words = [
        "run",
        str(COMMITTED / "experiment.yaml"),
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "results"),
    ]
    subprocess.run([sys.executable, "-c", code, *words], check=True, cwd=ROOT)
    check_gaps(tmp_path / "results")
