"""The measurements of the cost ledger: time, memory and size of an artifact, and the speed of its policy."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.lazy import torch
from harness.policy.policy import Policy
from harness.policy.stepwise import StepwisePolicy
from harness.policy.types import Prompt
from harness.records import Message

PROBE_TOKENS, PROBE_SECONDS = 8, 0.02
"""A round of the probe of decoding speed has so many tokens at most, and fewer where they would take longer."""
PROBE_ROUNDS, FEWEST_ROUNDS = 20, 3
PROBE_SHARE, PROBE_LEAST = 0.02, 0.5
"""The probe may take this share of the time that scoring took, and this many seconds in any case."""
UNKNOWN_SPEED: dict[str, float | None] = {"seconds_per_token": None, "overhead_per_token": None}


class Stopwatch:
    """Seconds of a block, on the wall clock."""

    def __enter__(self) -> Stopwatch:
        self.started = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self.started


class PeakMemory:
    """Peak memory during a block, in MB: of the GPU, or of this process including what it held before."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __enter__(self) -> PeakMemory:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # not Linux: the peak is that of the process so far
                Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *error: object) -> None:
        self.mb = peak_memory_mb(self.device)


def peak_memory_mb(device: str) -> float:
    """Peak memory so far, in MB: of the GPU, or of this process.

    On Linux `ru_maxrss` includes the peak of the parent process, even of another program; VmHWM does not.
    """
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated()) / 2**20
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 2**10
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def stored_bytes(folder: Path) -> int:
    """Bytes of all files of an artifact."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def decoding_cost(policy: Policy, base: Policy, scoring: float) -> dict[str, float | None]:
    """Seconds per decoded token of a policy, and their ratio to the base's, measured in this process.

    One prompt; medians over rounds that time both policies in turn, so that a moment in which the machine is slow
    affects both or few rounds. An answer chosen among n counts n times. None for a policy that cannot be stepped.

    scoring  the seconds that scoring the policy took, which bound those of the probe
    """
    most = max(PROBE_LEAST, PROBE_SHARE * scoring)
    policy, times = policy.decoded_by()
    if not (isinstance(policy, StepwisePolicy) and isinstance(base, StepwisePolicy)):
        return UNKNOWN_SPEED
    own: list[float] = []
    other: list[float] = []
    started = time.perf_counter()
    with torch.inference_mode():
        mine, bases = _decode_seconds(policy), _decode_seconds(base)
        while len(own) < PROBE_ROUNDS and (len(own) < FEWEST_ROUNDS or time.perf_counter() - started < most):
            own.append(next(mine))
            other.append(own[-1] if policy is base else next(bases))
    ratios = [one / base_one for one, base_one in zip(own, other, strict=True)]
    return {
        "seconds_per_token": times * statistics.median(own),
        "overhead_per_token": times * statistics.median(ratios),
    }


def _decode_seconds(policy: StepwisePolicy) -> Iterator[float]:
    """Without end, seconds per token of greedy decoding after a short prompt that is read before the first round."""
    prompt = policy.encode(Prompt(messages=(Message("user", "hello"),)))
    room = max(1, min(PROBE_TOKENS * (PROBE_ROUNDS + 1), policy.encoder.max_length - len(prompt.prompt) - 1))
    while True:
        logits, state = policy.prefill([prompt.fitted(policy.encoder.max_length, room)])
        read, steps = 0, 1  # one token first: it also warms up what the first step of a state needs
        while read + steps <= room:
            wait_for(policy.device)
            started = time.perf_counter()
            logits, state = _decoded(policy, logits, state, steps)
            seconds = (time.perf_counter() - started) / steps
            if read or room == 1:
                yield seconds
            read += steps
            steps = max(1, min(PROBE_TOKENS, room - 1, int(PROBE_SECONDS / seconds)))


def _decoded(policy: StepwisePolicy, logits: torch.Tensor, state: Any, steps: int) -> tuple[torch.Tensor, Any]:
    one = torch.ones(1, 1, dtype=torch.bool, device=policy.device)
    for _ in range(steps):
        logits, state = policy.extend(state, logits.argmax(-1)[:, None], one)
        logits = logits[:, -1]
    wait_for(policy.device)
    return logits, state


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked for: it works on while Python goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize()
