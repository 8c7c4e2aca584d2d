"""Interpolation of weights: between the base and tuned models, without training (Wortsman et al. 2021, 2109.01903).

    linear:  W = W_base + alpha sum over m of weight_m (W_m - W_base)
    slerp:   W = sin((1 - alpha) o) / sin(o) W_0 + sin(alpha o) / sin(o) W_1,   o the angle between W_0 and W_1

With one method, `linear` is WiSE-FT: alpha 0 is the base and alpha 1 the method, both to the last bit. With several it
is task arithmetic (Ilharco et al. 2022, 2212.04089), where a negative weight takes a task away; of n methods, alpha
1/n gives the mean of their weights. `slerp` (Shoemake 1985) turns each tensor from W_0 to W_1: from the base to one
method, or from the first method to the second. Default: alpha 0.5, which WiSE-FT recommends where none is chosen.

A LoRA adapter is scaled and not merged, which is exact for `linear`: W + alpha s B A. No interpolation between 0 and 1
trains anything, so a sweep of alpha costs a merge for each value.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, PlainWeights, plugin_name, setting
from harness.policy.causal import CausalPolicy
from harness.records import TrainingData
from harness.training.adapters import adapted_copy
from harness.training.models import SavedIn, load_model, model_folder, save_model
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

CONFIG, ADAPTER = "adapter_config.json", "adapter_model.safetensors"
Weights = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Interpolate(Method):
    """The weights of the base and of tuned models are combined."""

    trains = False
    libraries = ("torch", "transformers", "peft")

    methods: tuple[Method, ...] = setting((Sft(),), "the methods whose weights are combined with the base's")
    alpha: float = setting(0.5, "how far from the base; 0 is the base, 1 the method", search=(0.0, 1.0), null=0.0)
    weights: tuple[float, ...] = setting((), "linear: a factor for each method, such as [1, -0.5]; none: 1 each")
    how: Literal["linear", "slerp"] = setting("linear", "along a line, or along an arc", search=("linear", "slerp"))
    saved_in: SavedIn = setting("float32", "precision of the combined model, saved and loaded: float32, or the base's")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of the tuned models."""
        return {f"tuned-{number}": ArtifactSpec(method) for number, method in enumerate(self.methods)}

    def check(self) -> None:
        """Refuse a count of methods or factors that the formula does not have."""
        for method in self.methods:
            method.check()
        if not self.methods:
            raise UserError("methods is empty", fix="Name at least one method, such as [sft].")
        if self.weights and len(self.weights) != len(self.methods):
            raise UserError(
                f"weights has {len(self.weights)} factors for {len(self.methods)} methods", fix="Give one for each."
            )
        if self.how == "slerp" and (len(self.methods) > 2 or self.weights):
            raise UserError(
                f"how is slerp, with {len(self.methods)} methods and {len(self.weights)} weights",
                fix="Name one or two methods and no weights, or use how: linear.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write the combined weights: an adapter where one is scaled, else a model folder."""
        if self._adapter:
            scaled_adapter(inputs["tuned-0"].folder, out, self.alpha * self._factors[0])
            return FitReport()
        model = base.load().float()
        with torch.no_grad():
            self._combine(model, inputs)
        return FitReport(notes=save_model(model, base, out, self.saved_in))

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The combined model behind the base's chat template."""
        if self._adapter:
            return CausalPolicy(adapted_copy(base, artifact, self.saved_in), base.encoder)
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder or an adapter, which a backend loads in the base's dtype."""
        folder = model_folder(self.saved_in, dtype)
        return folder if isinstance(folder, str) else self._adapter or folder

    @property
    def _factors(self) -> tuple[float, ...]:
        return self.weights or (1.0,) * len(self.methods)

    @property
    def _adapter(self) -> PlainWeights | None:
        """The one method's artifact, if it is a LoRA adapter, which scales."""
        weights = self.methods[0].plain_weights("float32")
        scales = self.how == "linear" and len(self.methods) == 1 and isinstance(weights, PlainWeights)
        return weights if scales and weights.kind == "adapter" else None

    def _combine(self, model: Any, inputs: Mapping[str, Input]) -> None:
        """Move the weights of the model, which is a copy of the base, to the combined ones."""
        own = dict(model.named_parameters())
        labels = {f"tuned-{number}": plugin_name(method) for number, method in enumerate(self.methods)}
        if self.how == "slerp":
            *first, last = (weights_of(inputs[role], own, label) for role, label in labels.items())
            for name, weight in own.items():
                weight.copy_(slerp(first[0][name] if first else weight, last[name], self.alpha))
            return
        start = {name: weight.clone() for name, weight in own.items()} if len(labels) > 1 else own
        for (role, label), factor in zip(labels.items(), self._factors, strict=True):
            tuned = weights_of(inputs[role], own, label)
            for name, weight in own.items():
                if start is own:  # to the last bit at 0 and 1
                    weight.copy_(torch.lerp(weight, tuned[name], self.alpha * factor))
                else:
                    weight.add_(tuned[name] - start[name], alpha=self.alpha * factor)


def weights_of(tuned: Input, own: Mapping[str, Any], label: str) -> Weights:
    """The weights of a tuned model in float32. Raises UserError where their shapes are not those of the base."""
    policy = tuned.load()
    if type(policy) is not CausalPolicy or hasattr(policy.model, "peft_config"):
        raise UserError(
            f"{label} makes a {type(policy).__name__}, and only the weights of one plain model can be combined",
            fix="Name methods that train weights, such as sft, dpo or lora.",
        )
    found = {name: weight.detach().float() for name, weight in policy.model.named_parameters()}
    for name in sorted(own.keys() | found.keys()):
        shapes = [list(weights[name].shape) if name in weights else "missing" for weights in (own, found)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{name} is {shapes[0]} in the base and {shapes[1]} in {label}, and weights of one shape are combined",
                fix="Name methods that keep the base's shapes.",
            )
    return found


def slerp(first: torch.Tensor, second: torch.Tensor, alpha: float) -> torch.Tensor:
    """The tensor at a share `alpha` of the arc from the first to the second; along the line where they are parallel."""
    one, other = first.double(), second.double()
    # the arc cosine loses the small angles between a model and its base (Kahan 2006)
    scaled = one * other.norm(), other * one.norm()
    angle = 2 * torch.atan2((scaled[0] - scaled[1]).norm(), (scaled[0] + scaled[1]).norm())
    if float(angle.sin()) < 1e-12:
        return torch.lerp(one, other, alpha).float()
    shares = ((1 - alpha) * angle).sin() / angle.sin(), (alpha * angle).sin() / angle.sin()
    return (shares[0] * one + shares[1] * other).float()


def scaled_adapter(adapter: Path, out: Path, factor: float) -> None:
    """Write the LoRA adapter with its update W' - W = s B A multiplied by the factor, which is put into B."""
    from safetensors.torch import load_file, save_file

    config = json.loads((adapter / CONFIG).read_text("utf-8"))
    if config["use_dora"] or config["bias"] != "none" or config["modules_to_save"]:
        raise UserError(f"the adapter in {adapter.name} is more than updates B A", fix="Train plain LoRA.")
    tensors = load_file(adapter / ADAPTER)
    save_file(
        {name: tensor * factor if "lora_B" in name else tensor for name, tensor in tensors.items()}, out / ADAPTER
    )
    shutil.copyfile(adapter / CONFIG, out / CONFIG)
