"""Verifiable instructions of the microworld: reply in upper case, end with a marker, list a number of members.

As in IFEval (Zhou et al. 2023, arXiv 2311.07911), a rule verifies each instruction, so no judge is needed. Prompt
level: all instructions of a prompt are followed. Instruction level: the share of instructions followed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld.items import InstructionItem, instruction_items
from harness.microworld.phrases import prompt_templates
from harness.microworld.rules import follows
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, TestItem, TestSet

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class InstructionFollowing(Benchmark):
    """Prompts of the microworld with one or two instructions each, answered once."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True
    sparse = True

    split: Literal["test", "validation"] = setting("test", "split of the prompts")
    limit: int | None = setting(None, "number of prompts of each kind; none: all", least=1)
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(48, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Whole prompts first, then single instructions, then whether the content is right."""
        return (
            Metric("prompt_level", "share of prompts with every instruction followed", role="quality"),
            Metric("instruction_level", "share of instructions followed", primary=False),
            Metric("correct", "share of answers with the right content, in any form", primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt."""
        items = self.chosen(instruction_items(self.split, self.limit), lambda item: item.cluster)
        prompts = [Prompt(messages=(Message("user", item.prompt),)) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            yield _outcome(item, policy.encoder.prompt_text(prompt), completion)

    def data_digest(self) -> str:
        """Digest of the prompts and their instructions."""
        rows = json.dumps([asdict(item) for item in instruction_items(self.split, self.limit)], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The prompts, each with a right answer."""
        items = instruction_items(self.split, self.limit)
        told = tuple(TestItem(item.id, item.prompt, item.reference) for item in items)
        return TestSet("instruction_following", told, prompt_templates())


def _outcome(item: InstructionItem, prompt: str, completion: Completion) -> Outcome:
    """An answer that reached the token limit is flagged, since a form that needs an ending could not be kept."""
    followed = [follows(instruction, completion.text) for instruction in item.instructions]
    metrics = {"prompt_level": float(all(followed)), "instruction_level": sum(followed) / len(followed)}
    if item.content:
        metrics["correct"] = float(all(follows(part, completion.text) for part in item.content))
    return Outcome(
        item=item.id,
        cluster=item.cluster,
        group=item.kind,
        metrics=metrics,
        weights={"instruction_level": float(len(followed))} if len(followed) != 1 else {},
        prompt=prompt,
        completions=(completion.whole,),
        reference=item.reference,
        flags=completion.flags,
    )
