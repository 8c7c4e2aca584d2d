"""KL divergence of a policy from its base model, on prompts that all methods share.

    D_t = KL(p(. | y_<t) || b(. | y_<t)),   y drawn from the policy p at temperature 1, b its base

in nats over the whole vocabulary. The sum over an answer is an unbiased estimate of KL(p || b) between whole answers.
The value per token is the mean over an answer, and all prompts have equal weight whatever the length of their answers,
so that methods stay paired. Over prompts it has a long tail, so its scale is the logarithm: the report shows the
geometric mean, the divergence on a typical prompt. The mean of the sum stays arithmetic, as an estimate of KL(p || b).
Reinforcement learning and preference tuning penalise this quantity (Ziegler et al. 2019, arXiv 1909.08593), and Gao et
al. (2023, arXiv 2210.10760) plot reward against it: gains at a small divergence cost less of the base model.

Each policy reads the prompt in its own way (a prompted base model reads its examples), and the base model reads the
bare prompt. The base model itself scores 0. A policy without log-probabilities is n/a. All methods share the sampling
noise. An answer cut at `max_new_tokens` counts up to there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks._asked_once import AskedOnce
from harness.benchmark import Metric, Outcome
from harness.policy.divergence import divergences
from harness.policy.policy import base_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Divergence(AskedOnce):
    """Each prompt answered once at temperature 1, and the answer read by the policy and by its base."""

    version = 2  # 1 weighed answers by their length, which differs between methods
    stochastic = True

    def metrics(self) -> tuple[Metric, ...]:
        """Per token and per answer; lower is closer to the base model."""
        already: Any = {"higher_is_better": False, "unit": "nats", "against_baseline": False}
        return (
            Metric("kl_per_token", "KL divergence from the base model", scale="log", **already),
            Metric("kl_per_answer", "the same, summed over an answer", primary=False, **already),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt. Raises UserError where the policy's base model is unknown."""
        base = base_of(policy)
        items, asked, drawn = self.answers(policy, 1.0, seed)
        found = divergences(policy, base, asked, drawn)
        for item, prompt, answer, steps in zip(items, asked, drawn, found, strict=True):
            yield Outcome(
                item=item.id,
                cluster=item.cluster,
                group=item.group,
                metrics={"kl_per_token": sum(steps) / max(1, len(steps)), "kl_per_answer": sum(steps)},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(answer.whole,),
                flags=answer.flags,
            )
