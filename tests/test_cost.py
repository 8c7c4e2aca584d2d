"""What the ledger measures: memory of a block alone, and decoding beside the base's, whatever the machine does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from saying import Sayer

from harness.engine import cost
from harness.engine.results.provenance import gpus
from harness.policy.stepwise import StepwisePolicy
from methods.best_of_n import ChoosingPolicy

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone forgets a peak")
MB = 2**20


@linux
def test_the_peak_of_a_block_is_not_that_of_what_ran_before_it() -> None:
    held = len(b"x" * (300 * MB))
    with cost.PeakMemory("cpu") as small:
        len(b"x" * (20 * MB))
    with cost.PeakMemory("cpu") as large:
        len(b"x" * (200 * MB))
    assert held == 300 * MB
    assert 100 < large.mb - small.mb < 250
    assert cost.peak_memory_mb("cpu") == pytest.approx(large.mb, abs=20)


@linux
def test_a_program_does_not_report_the_peak_of_the_one_that_started_it() -> None:
    """`ru_maxrss` of the child is 600 MB here: it is handed on at fork and kept at exec."""
    held = b"x" * (600 * MB)
    script = "from harness.engine.cost import peak_memory_mb; print(peak_memory_mb('cpu'))"
    root = Path(cost.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert float(done.stdout) < 400 < len(held) / MB


def test_provenance_names_the_gpus_that_the_driver_tells_of(tmp_path: Path) -> None:
    assert gpus(tmp_path / "none") == []
    for number in (1, 0):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
        text = f"Model: \t\t NVIDIA H{number}00\nIRQ:   \t\t 4\n"
        (tmp_path / f"0000:0{number}:00.0" / "information").write_text(text)
    assert gpus(tmp_path) == ["NVIDIA H000", "NVIDIA H100"]


def test_a_stalled_machine_does_not_make_a_policy_costlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s and 2 s; in two rounds of twenty the machine stands still for a minute while the policy decodes."""
    rounds = iter(range(1000))

    def seconds(policy: Any) -> Iterator[float]:
        for at in rounds:
            yield 2.0 if policy is base else 63.0 if at in (4, 10) else 3.0

    monkeypatch.setattr(cost, "_decode_seconds", seconds)
    own, base = (create_autospec(StepwisePolicy, instance=True) for _ in range(2))
    own.decoded_by.return_value = (own, 1)
    assert cost.decoding_cost(own, base, 60.0) == {"seconds_per_token": 3.0, "overhead_per_token": 1.5}


@pytest.mark.parametrize(("scoring", "rounds"), [(0.0, 3), (300.0, 3), (1000.0, 5), (1e6, 20)])
def test_the_probe_takes_two_percent_of_scoring_but_for_three_rounds(
    scoring: float, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round takes 2 s of either policy: of 20 s five rounds fit, of 6 s not two."""
    now, begun = [0.0], []

    def seconds(policy: Any) -> Iterator[float]:
        while True:
            now[0] += 2
            begun.append(policy)
            yield 2.0

    monkeypatch.setattr(cost, "_decode_seconds", seconds)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    own, base = (create_autospec(StepwisePolicy, instance=True) for _ in range(2))
    own.decoded_by.return_value = (own, 1)
    cost.decoding_cost(own, base, scoring)
    assert begun == [own, base] * rounds


def test_an_answer_chosen_among_n_costs_n_and_those_of_a_choice_among_choices_multiply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = create_autospec(StepwisePolicy, instance=True)
    inner.decoded_by.return_value, inner.encoder = (inner, 1), None
    monkeypatch.setattr(cost, "_decode_seconds", lambda policy: repeat(2.0))
    eight = ChoosingPolicy(inner, 8, 0.7, lambda prompt, candidates: candidates[0])
    assert cost.decoding_cost(eight, inner, 60.0) == {"seconds_per_token": 16.0, "overhead_per_token": 8.0}
    assert ChoosingPolicy(eight, 3, 0.7, lambda prompt, candidates: candidates[0]).decoded_by() == (inner, 24)


def test_what_cannot_be_stepped_has_no_speed() -> None:
    said = Sayer(lambda prompt, key: "")
    assert cost.decoding_cost(said, said, 60.0) == {"seconds_per_token": None, "overhead_per_token": None}
