"""Killed at random moments and started again, a run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

KILLS = 20
SETTINGS = ["methods=[base, {sft: {learning_rate: 5e-4, epochs: 1}}, {lora: {rank: 2, epochs: 1}}]",
            "bases=[microworld/small]", "data_sizes=[200]", "reference=sft", "knowledge.limit=60",
            "instruction_following.limit=12"]  # fmt: skip


def command(folder: Path) -> list[str]:
    code = "from harness.cli import main; main()"
    words = ["run", "demo.yaml", "--store", str(folder / "store"), "--out", str(folder / "results")]
    return [sys.executable, "-c", code, *words, *[word for setting in SETTINGS for word in ("--set", setting)]]


def finished(folder: Path) -> dict[Path, int]:
    """Every done marker with the time it was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "store").glob("*/*/done")}


@pytest.mark.slow
def test_killed_at_20_random_moments_the_rows_are_byte_identical_and_no_finished_cell_is_redone(tmp_path: Path) -> None:
    """The moments are drawn over the time that an undisturbed run takes, start-up included."""
    started = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, cwd=ROOT, capture_output=True)
    whole = time.monotonic() - started
    draw = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        before = finished(tmp_path / "killed")
        process = subprocess.Popen(
            command(tmp_path / "killed"),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=draw.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        after = finished(tmp_path / "killed")
        assert {path: after.get(path) for path in before} == before, "a finished cell was made again"
    subprocess.run(command(tmp_path / "killed"), check=True, cwd=ROOT, capture_output=True)
    print(f"{killed} of {KILLS} runs were killed before their end; an undisturbed run takes {whole:.0f} s")
    assert killed >= 3
    for name in ("rows.parquet", "samples.parquet"):
        one, two = (tmp_path / which / "results" / name for which in ("whole", "killed"))
        assert one.read_bytes() == two.read_bytes(), name
