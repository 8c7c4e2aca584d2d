"""The demo's matrix with one worker and with two: seconds on the clock, from the command to the written report.

    pytest -m slow -s tests/performance/test_two_workers.py

Rounds of alternating order, each on an empty store, on one thread per worker; the ratio of each round is printed when
it is done. It is a ratio of wall seconds, so it holds only where two cores have nothing else to do: the load is printed
next to it. The goal is 0.6: two workers cannot halve what each process does for itself (imports, the plan) and what the
run does alone (checks, the report). Here with the default values:

    ROUNDS=2 SEEDS=3 pytest -m slow -s tests/performance/test_two_workers.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS, SEEDS = (int(os.environ.get(name, count)) for name, count in (("ROUNDS", 2), ("SEEDS", 3)))
GOAL, QUIET = 0.6, 1.5


def seconds(folder: Path, workers: int) -> float:
    """The wall seconds of one run of the demo's methods on so many seeds."""
    words = [
        "run",
        "demo.yaml",
        "--store",
        str(folder / "store"),
        "--out",
        str(folder / "out"),
        "--workers",
        str(workers),
    ]
    code = "from harness.cli.main import main; main()"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--set", f"seeds={list(range(SEEDS))}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core cannot run two workers at a time")
def test_two_workers_take_about_half_the_time_of_one(tmp_path: Path) -> None:
    load = os.getloadavg()[0]
    print(f"\nload {load:.1f} before")
    ratios, rows = [], set()
    for number in range(ROUNDS):
        took = {}
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            folder = tmp_path / f"{number}-{workers}"
            folder.mkdir()
            took[workers] = seconds(folder, workers)
            rows.add((folder / "out" / "rows.parquet").read_bytes())
        ratios.append(took[2] / took[1])
        print(
            f"round {number + 1}: {took[2]:.0f} s with two workers, {took[1]:.0f} s with one: {ratios[-1]:.2f}",
            flush=True,
        )
    print(
        f"two workers take {statistics.median(ratios):.2f} x the time of one (goal {GOAL}); {SEEDS} seeds of the demo"
    )
    assert len(rows) == 1
    if load < QUIET:
        assert statistics.median(ratios) < 0.8
