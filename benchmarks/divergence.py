"""How far a method moves a model's answers from its base's: KL divergence on prompts that all methods share.

    D_t = KL(p(. | y_<t) || b(. | y_<t)),   y drawn from the policy p at temperature 1, b its base

in nats over the whole vocabulary. The sum over an answer estimates KL(p || b) of whole answers without bias; per token
it is the answer's mean, and every prompt counts alike, however long a method answers, so that methods stay paired.
This is the quantity that reinforcement learning and preference tuning penalise (Ziegler et al. 2019, arXiv
1909.08593), and the axis against which Gao et al. (2023, arXiv 2210.10760) set reward: gains at a small divergence
cost less of the base.

What is measured is what the user sees: each policy reads the prompt in its own way (a prompted base reads its
examples), and the base reads the bare prompt. The base itself scores 0. A policy that gives no log-probabilities is
n/a. Answers are drawn with the noise that all methods share. An answer cut at `max_new_tokens` counts as far as it
goes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld.items import INSTRUCTION_KINDS, instruction_items
from harness.microworld.phrases import prompt_templates
from harness.policy.divergence import divergences
from harness.policy.policy import base_of
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem, TestSet
from harness.scoring.answers.word_problems import flags_of
from harness.scoring.diversity.open_prompts import EMBEDDED, open_prompts

if TYPE_CHECKING:
    from harness.policy.policy import Policy

KINDS = ("plain", "open", "story", *INSTRUCTION_KINDS)


class Asked(NamedTuple):
    id: str
    cluster: str
    group: str
    text: str


@dataclass(frozen=True)
class Divergence(Benchmark):
    """Each prompt answered once at temperature 1, and the answer read by the policy and by its base."""

    version = 2  # 1 weighed answers by their length, which differs between methods
    needs = frozenset({"score", "sample"})
    stochastic = True

    prompts: str = setting(EMBEDDED, "the microworld's requests, a file or a hub id with prompts")
    split: str = setting("test", "which split: of the microworld test or validation")
    limit: int | None = setting(None, "only so many prompts; of the microworld, of each kind (none: 20)", least=1)
    max_new_tokens: int = setting(48, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Per token and per answer; less is nearer to the base."""
        already: Any = {"higher_is_better": False, "unit": "nats", "against_baseline": False}
        return (
            Metric("kl_per_token", "between policy and base", **already),
            Metric("kl_per_answer", "the same, summed over an answer", primary=False, **already),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt. Raises UserError where nobody said what the policy was made of."""
        base = base_of(policy)
        items = self._items()
        asked = [Prompt(messages=(Message("user", item.text),)) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=1.0, seed=seed)
        drawn = [answers[0] for answers in policy.sample(asked, sampling, [item.id for item in items])]
        found = divergences(policy, base, asked, drawn)
        for item, prompt, answer, steps in zip(items, asked, drawn, found, strict=True):
            yield Outcome(
                item=item.id,
                cluster=item.cluster,
                group=item.group,
                metrics={"kl_per_token": sum(steps) / max(1, len(steps)), "kl_per_answer": sum(steps)},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(answer.text,),
                flags=flags_of(answer),
            )

    def data_digest(self) -> str:
        """Digest of the prompts."""
        return hashlib.sha256(json.dumps(self._items()).encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The prompts; nothing is a right answer to them here."""
        items = tuple(TestItem(item.id, item.text) for item in self._items())
        return TestSet("divergence", items, tuple(prompt_templates()) if self.prompts == EMBEDDED else ())

    def _items(self) -> list[Asked]:
        if self.prompts == EMBEDDED:
            found = instruction_items(self.split, self.limit or 20, KINDS)
            return [Asked(item.id, item.cluster, item.kind, item.prompt) for item in found]
        return [Asked(p.id, p.cluster, "", p.text) for p in open_prompts(self.prompts, self.split)][: self.limit]
