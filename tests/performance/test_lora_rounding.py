"""What merging a LoRA update into a bfloat16 base loses, over the sizes of updates that learning rates give.

    pytest -m slow -s tests/performance/test_lora_rounding.py

Adam moves a weight by about the learning rate per update, so after 100 updates in one direction B is 100 x rate x the
sign of its gradient. The direction is that of six answers under smollm2-135m-instruct. Each row of the table holds the
mean rise of log p per answer over the base in the same arithmetic, and in brackets how far the answers' rises are from
the exact ones (root mean square). Exact is an adapter merged in float32, over the base in float32.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt
from harness.records import Message
from harness.training.labelled_rows import answer_row
from harness.training.loop import collate
from harness.training.trl import completion_loss

FOLDER = Path("/tmp/models/smollm2-135m-instruct")
RATES, UPDATES = (1e-6, 1e-5, 1e-4, 1e-3), 100
PAIRS = [
    ("What is the capital of France?", "It's Paris, a city on the Seine."),
    ("Name a prime number.", "Seven is prime, for instance."),
    ("How do I boil an egg?", "Put it in boiling water and wait for eight minutes."),
    ("Who wrote Hamlet?", "William Shakespeare wrote it around 1600."),
    ("Is the sun a planet?", "No. The sun is a star, and planets move around it."),
    ("Give me a word that rhymes with light.", "Night."),
]
PROMPTS = [Prompt(messages=(Message("user", question),)) for question, _ in PAIRS]
ANSWERS = [answer for _, answer in PAIRS]


def loaded(dtype: Any) -> BaseModel:
    return BaseModel(BaseSpec(str(FOLDER), dtype=dtype), FOLDER)


def adapted(base: BaseModel) -> Any:
    torch.manual_seed(0)
    return peft.get_peft_model(base.load(), peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))


def directions() -> dict[str, torch.Tensor]:
    """The sign of the gradient of each B, in float32, for all answers at once."""
    base = loaded("float32")
    model = adapted(base)
    rows = [answer_row(prompt.messages, answer, base.encoder) for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
    completion_loss(model, collate([vars(row) for row in rows]), 100).backward()
    return {name: part.grad.sign() for name, part in model.named_parameters() if "lora_B" in name}


def with_update(base: BaseModel, signs: dict[str, torch.Tensor], rate: float, *, merge: bool) -> CausalPolicy:
    model = adapted(base)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if name in signs:
                part.copy_(-rate * UPDATES * signs[name])
    return CausalPolicy(model.merge_and_unload() if merge else model, base.encoder)


def rises(policy: CausalPolicy, base: BaseModel) -> list[float]:
    pairs = zip(policy.score(PROMPTS, ANSWERS), base.policy().score(PROMPTS, ANSWERS), strict=True)
    return [own.logprob - untuned.logprob for own, untuned in pairs]


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.exists(), reason=f"needs {FOLDER}")
def test_small_updates_are_lost_in_bfloat16_whether_merged_or_kept_apart() -> None:
    signs, exact_base, base = directions(), loaded("float32"), loaded("bfloat16")
    ways = {"merged in bfloat16": True, "kept apart": False}
    print(f"\n{'rate':>8} {'merged in float32':>18}" + "".join(f"{name:>26}" for name in ways))
    for rate in RATES:
        exact = rises(with_update(exact_base, signs, rate, merge=True), exact_base)
        found = {name: rises(with_update(base, signs, rate, merge=merge), base) for name, merge in ways.items()}
        line = f"{rate:>8.0e} {statistics.mean(exact):>18.4f}"
        for own in found.values():
            apart = statistics.mean((one - other) ** 2 for one, other in zip(own, exact, strict=True)) ** 0.5
            line += f"{statistics.mean(own):>16.4f} ({apart:.4f})"
        print(line)
        if rate < 1e-5:
            assert all(statistics.mean(own) < 0.5 * statistics.mean(exact) for own in found.values())
