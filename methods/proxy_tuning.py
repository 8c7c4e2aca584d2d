"""Proxy-tuning: a small tuned model steers the unchanged base (Liu et al. 2024, 2401.08565).

    p = softmax( base + alpha (expert - anti_expert) ),   logits of the same context and vocabulary

The anti-expert is the small base model; the expert is the small base after `expert`, by default sft. No
weight of the base changes. alpha = 1 is the paper's default; its figure on truthfulness goes from 0.2 to 2.
Three models read every context, each through its own chat template and its own cache. Where the models pad
their vocabularies differently, the logits are cut to the width that all of them have; where one model's
tokens are only the beginning of the other's (Llama 2 and Code Llama), to the tokens that both have.

Written with log-probabilities (emulated fine-tuning, Mitchell et al. 2023, 2310.12962) it is the same policy: each
model's normaliser is one number per position, which cancels in the softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, plugin_name, setting
from harness.policy.combined import SideBySide
from harness.policy.stepwise import StepwisePolicy
from harness.records import TrainingData
from methods._members import check_member, members
from methods.sft import Sft

if TYPE_CHECKING:
    import torch

    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class ProxyTuning(Method):
    """The base's logits are shifted by the difference between a small model after and before tuning."""

    needs = frozenset({"small_base"})
    trains = False

    alpha: float = setting(1.0, "weight of the small models' difference; 0 is the base", search=(0.0, 2.0), null=0.0)
    expert: Method = setting(Sft(), "the method that tunes the small base")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The tuned small model."""
        return {"expert": ArtifactSpec(self.expert, on="small_base")}

    def check(self) -> None:
        """Refuse an expert without log-probabilities, or with fields that contradict one another."""
        check_member(self.expert, f"expert is {plugin_name(self.expert)}, which")

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: only the expert is trained."""
        check_bases(base)
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The shared base and small base, and the expert."""
        small, shared = check_bases(base), shared_tokens(base)
        (expert,) = members(inputs, {"expert": plugin_name(self.expert)})
        return ProxyPolicy(base.policy(), expert, small.policy(), self.alpha, shared)


def check_bases(base: BaseModel) -> BaseModel:
    """The small base. Raises UserError where there is none, where the two write tokens differently, or where
    the base ends its turns with a token that the small one lacks."""
    if base.small is None:
        raise UserError(
            "the method needs a small base model", where=base.spec.name, fix="Add `small_base: NAME` to the experiment."
        )
    shared = shared_tokens(base)
    large, small = base.tokenizer.get_vocab(), base.small.tokenizer.get_vocab()
    if shared <= min(max(large.values()), max(small.values())):
        differing = [token for token in large.keys() | small.keys() if large.get(token) != small.get(token)]
        first = sorted(differing, key=lambda token: (large.get(token, len(large)), token))[:3]
        ids = ", ".join(f"{token!r} is {large.get(token)} and {small.get(token)}" for token in first)
        raise UserError(
            f"the vocabularies differ in {len(differing)} tokens, and their logits are combined: {ids}",
            where=f"{base.spec.name} and {base.small.spec.name}",
            fix="Choose a small base of the same family, with the same tokenizer.",
        )
    if min(base.encoder.stop_ids) >= shared:
        raise UserError(
            f"the two share {shared} tokens, and none of them ends a turn",
            where=f"{base.spec.name} and {base.small.spec.name}",
            fix="Give the base a chat_template whose turns end with a token that both have.",
        )
    return base.small


def shared_tokens(base: BaseModel) -> int:
    """The first id whose token differs between the base and its small base, or is missing in one of them."""
    assert base.small is not None
    large, small = ({at: token for token, at in model.tokenizer.get_vocab().items()} for model in (base, base.small))
    ids = range(max(*large, *small) + 1)
    return next((at for at in ids if large.get(at) != small.get(at)), len(ids))


class ProxyPolicy(SideBySide):
    """Three policies read the same text, each through its own template; their logits are combined at every token."""

    def __init__(
        self,
        base: StepwisePolicy,
        expert: StepwisePolicy,
        anti_expert: StepwisePolicy,
        alpha: float,
        shared: int | None = None,
    ) -> None:
        """shared: as for SideBySide."""
        super().__init__(base, expert, anti_expert, shared=shared)
        self.alpha = alpha

    def combined(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """base + alpha (expert - anti-expert)."""
        base, expert, anti_expert = logits
        return base + self.alpha * (expert - anti_expert)
