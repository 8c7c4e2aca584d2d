"""Limits of memory and time: a batch that does not fit is halved, and what takes too long fails by name."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
from command_line import bakeoff
from test_sampling import tiny_llama, word_tokenizer

from harness.engine.limits import TimeOverError, failure_reason, time_limit
from harness.policy.batching import out_of_memory
from harness.policy.causal import CausalPolicy
from harness.policy.divergence import divergences
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.types import Prompt, Sampling

PROMPTS = [Prompt(text=" ".join(f"w{(7 * at + step) % 40}" for step in range(3 + at % 4))) for at in range(20)]
KEYS = [str(at) for at in range(20)]
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                   "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)")  # fmt: skip


class Cramped(CausalPolicy):
    """It runs out of memory above a number of rows, and records the rows of every batch that it read or tried."""

    most = 1000
    error: Exception = CPU

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.held: list[int] = []
        self.tried: list[int] = []

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        self.tried.append(len(prompts))
        if len(prompts) > self.most:
            raise self.error
        self.held.append(len(prompts))
        return super().prefill(prompts)

    def select(self, state: Any, rows: torch.Tensor) -> Any:
        if len(rows) > self.most:
            raise self.error
        return super().select(state, rows)


def policy(most: int = 1000, rows: int = 8, error: Exception = CPU) -> Cramped:
    tokenizer = word_tokenizer()
    made = Cramped(tiny_llama(), TextEncoder(tokenizer, max_length=64))
    made.most, made.max_rows, made.error = most, rows, error
    return made


@pytest.mark.parametrize("samples", [1, 3, 12])
def test_drawn_texts_are_those_of_a_machine_with_enough_memory(samples: int) -> None:
    """With 12 samples the answers of one prompt alone are more rows than fit."""
    sampling = Sampling(max_new_tokens=6, temperature=1.0, samples=samples)
    whole = policy().sample(PROMPTS, sampling, KEYS)
    cramped = policy(most=3)
    assert cramped.sample(PROMPTS, sampling, KEYS) == whole
    assert cramped.max_rows == 2 if samples == 1 else cramped.max_rows <= 3
    assert max(cramped.held) <= 3


def test_a_batch_that_was_read_is_not_read_again() -> None:
    """8 rows are tried and fail, then 4, then 2 fit: 20 prompts take 10 batches and 2 failed attempts."""
    cramped = policy(most=3)
    cramped.sample(PROMPTS, Sampling(max_new_tokens=1), KEYS)
    assert cramped.tried == [8, 4, *[2] * 10]
    late = policy(rows=4)
    late.sample(PROMPTS[:8], Sampling(max_new_tokens=1), KEYS[:8])
    late.most = 2
    late.score(PROMPTS[:8], ["w1"] * 8)
    assert late.tried == [4, 4, 4, 2, 2, 2, 2]


def test_scores_and_divergences_are_those_of_a_machine_with_enough_memory() -> None:
    answers = [f"w{at} w{at + 1}" for at in range(20)]
    whole, cramped = policy(), policy(most=3)
    for one, other in zip(whole.score(PROMPTS, answers), cramped.score(PROMPTS, answers), strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)
    drawn = [one[0] for one in whole.sample(PROMPTS, Sampling(max_new_tokens=4), KEYS)]
    other = policy(most=3)
    for one, two in zip(
        divergences(whole, policy(), PROMPTS, drawn), divergences(other, policy(), PROMPTS, drawn), strict=True
    ):
        assert one == pytest.approx(two, abs=1e-6)
    assert other.max_rows == 2


def test_one_row_that_does_not_fit_and_any_other_error_are_raised() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        policy(most=0).sample(PROMPTS, Sampling(max_new_tokens=1), KEYS)
    other = policy(most=3, error=RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        other.sample(PROMPTS, Sampling(max_new_tokens=1), KEYS)
    assert other.tried == [8]


def test_what_torch_raises_where_a_cpu_has_no_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(raised.value)
    assert failure_reason(raised.value) == "out of memory even with one row at a time"
    assert out_of_memory(MemoryError())
    assert out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not out_of_memory(ValueError("the item ran out of memory"))


@pytest.mark.parametrize(("fit", "score"), [(60, 0), (0, 60)])
def test_a_cell_that_reaches_the_time_limit_fails_by_name_and_the_others_go_on(
    fit: int, score: int, outside_folder: Path
) -> None:
    methods = f"[{{outside: {{seconds: {fit}}}, as: slow}}, outside]" if fit else "[outside]"
    benchmarks = f"[outside_bench, {{outside_bench: {{seconds: {score}}}, as: slow}}]" if score else "[outside_bench]"
    words = ("--store", outside_folder / "store", "--out", outside_folder / "out")
    file = outside.experiment(outside_folder, methods=methods, benchmarks=benchmarks, extra="time_limit: 0.3\n")
    done = bakeoff("run", file, *words)
    place = "slow/outside_bench/0" if fit else "outside/slow/0"
    assert f"failed  {place}: the time limit of 0.3 seconds is reached (time_limit)" in done.stdout
    assert "done    outside/outside_bench/0" in done.stdout
    assert done.returncode == 1
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_the_time_limit_is_in_no_content_key(outside_folder: Path) -> None:
    words = ("--store", outside_folder / "store", "--out", outside_folder / "out")
    bakeoff("run", outside.experiment(outside_folder), *words)
    again = bakeoff("run", outside.experiment(outside_folder), *words, "--set", "time_limit=100")
    assert "No cell to run" in again.stdout


@pytest.mark.parametrize("wrong", ["0", "-1", ".nan", ".inf", "soon"])
def test_a_time_limit_that_is_no_time_is_refused(wrong: str, outside_folder: Path) -> None:
    done = bakeoff("plan", outside.experiment(outside_folder, extra=f"time_limit: {wrong}\n"))
    assert done.returncode == 2
    assert "time_limit" in done.stderr


def sleep_whatever_happens() -> None:
    while True:
        try:
            time.sleep(30)
        except Exception:
            continue


def test_the_time_limit_ends_what_swallows_errors_and_leaves_other_work_alone() -> None:
    with pytest.raises(TimeOverError), time_limit(0.2):
        sleep_whatever_happens()
    with time_limit(0.05):
        pass
    time.sleep(0.2)
