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
    code = "from harness.cli.main import main; main()"
    words = ["run", "demo.yaml", "--store", str(folder / "store"), "--out", str(folder / "results")]
    return [sys.executable, "-c", code, *words, *[word for setting in SETTINGS for word in ("--set", setting)]]


def finished(folder: Path) -> dict[Path, int]:
    """Every done marker with the time it was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "store").glob("*/*/done")}


def run_for(folder: Path, seconds: float) -> bool:
    """Run, kill after so many seconds; whether it was killed. What was finished before must be untouched."""
    before = finished(folder)
    process = subprocess.Popen(
        command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.wait(timeout=seconds) == 0
        killed = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed = True
    after = finished(folder)
    assert {path: after.get(path) for path in before} == before, "a finished cell was made again"
    return killed


def check_equal(one: Path, other: Path) -> None:
    for name in ("rows.parquet", "samples.parquet"):
        assert (one / "results" / name).read_bytes() == (other / "results" / name).read_bytes(), name


@pytest.mark.slow
def test_killed_at_20_random_moments_the_rows_are_byte_identical_and_no_finished_cell_is_redone(tmp_path: Path) -> None:
    """A store is run again after each kill until it is complete and checked; then the next one begins empty.

    Moments are drawn over the time of a whole run, start-up included. That time shrinks where runs end unkilled,
    since a busy machine may have slowed the first one down.
    """
    started = time.monotonic()
    assert not run_for(tmp_path / "whole", 3600)
    longest = time.monotonic() - started
    draw, kills, stores, restarted = random.Random(0), 0, 0, 0
    while kills < KILLS:
        folder, started = tmp_path / f"killed-{stores}", time.monotonic()
        restarted += bool(finished(folder))
        if run_for(folder, draw.uniform(0.05, 1.0) * longest):
            kills += 1
            continue
        check_equal(tmp_path / "whole", folder)
        longest = max(0.6 * longest, time.monotonic() - started)
        stores += 1
    assert not run_for(folder, 3600)
    check_equal(tmp_path / "whole", folder)
    print(f"\n{kills} runs were killed, {stores + 1} stores completed; {restarted} runs found finished work")
    assert restarted > 3
