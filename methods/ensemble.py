"""Ensemble: the mean of several methods' probabilities, token by token (deep ensembles, 1612.01474).

    p(token) = mean over m of p_m(token | all before it)

Lakshminarayanan et al. (2016) average the predictions of models that differ in their seeds alone; here the members are
methods on one base, which differ in how they were trained. All members read the same text, each through its own
template and its own cache, so decoding costs as much as all of them together. Nothing is trained but the members. One
member, or the same one twice, gives that member.

An ensemble helps where its members err differently: compare it with the mean of its members, not with the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, plugin_name, setting
from harness.policy.combined import SideBySide
from harness.records import TrainingData
from methods._members import check_member, members
from methods.lora import Lora
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Ensemble(Method):
    """Several methods' models decode as one, by the mean of their probabilities."""

    trains = False

    methods: tuple[Method, ...] = setting((Sft(), Lora()), "the methods whose probabilities are averaged")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of the members."""
        return {f"member-{number}": ArtifactSpec(method) for number, method in enumerate(self.methods)}

    def check(self) -> None:
        """Refuse an ensemble without members, and members without log-probabilities."""
        if not self.methods:
            raise UserError("methods is empty", fix="Name two or more methods, such as [sft, lora].")
        for method in self.methods:
            check_member(method, plugin_name(method))

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: only the members are trained."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The members' policies, side by side."""
        named = {f"member-{number}": plugin_name(method) for number, method in enumerate(self.methods)}
        return EnsemblePolicy(*members(inputs, named))


class EnsemblePolicy(SideBySide):
    """Several policies read the same text; their probabilities are averaged at every token."""

    def combined(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """log of the mean of the members' probabilities."""
        members = torch.stack([part.log_softmax(-1) for part in logits])
        return members.logsumexp(0) - math.log(len(members))
