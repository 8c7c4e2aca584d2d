"""LoReFT: the hidden states of a prompt are edited in a few dimensions (Wu et al. 2024, 2404.03592).

    h <- h + R^T (W h + b - R h),   R (r, d) with orthonormal rows, W (r, d), b (r)
    direft:  h <- h + W2^T (W1 h + b),   W2 free

h is the output of a decoder block (the residual stream) at the first `prefix` and the last `suffix` positions of the
prompt, whose edited states enter the cache. Generated tokens are not edited, so decoding costs as much as with the
base. The answer's tokens are trained as in sft, in one row per assistant turn, since each turn has its own prompt. All
weights of the model stay frozen, so the base must have been trained on the end-of-turn token.

Defaults: the paper's commonsense setting (rank 8, seven and seven positions, tied, all layers, learning rate 9e-4,
six epochs, batch 32, a tenth of warm-up). For instructions the paper takes rank 4, five and five, untied, four
layers, nine epochs, batch 128, no warm-up. Interventions are initialised as in pyreft, whose `dropout` applies
to the whole edited state. No weight decay: it would pull R back to its initial value.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, Footprint, Input, Method, setting
from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.hidden_states import Edit, block_count, edited, first_and_last, width_of
from harness.records import TrainingData
from harness.training.labelled_rows import IGNORED, training_rows, untrainable
from harness.training.loop import Optimisation, require_trained_end, seed_everything, train
from methods._low_rank_edits import Weights, edit, orthonormal, weights_of

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

WEIGHTS, SETTINGS = "reft.safetensors", "reft.json"


@dataclass(frozen=True)
class Loreft(Method):
    """Low-rank edits of the prompt's hidden states are trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")
    weight_decay: ClassVar[float] = 0.0

    rank: int = setting(8, "number of dimensions that an edit changes", search=(1, 32), log=True)
    prefix: int = setting(7, "number of edited positions at the start of the prompt", search=(0, 11))
    suffix: int = setting(7, "number of edited positions at the end of the prompt", search=(0, 11))
    layers: str | tuple[int, ...] = setting("all", "numbers of the edited blocks, counted from 0, or all")
    tied: bool = setting(True, "prefix and suffix share one edit per layer", search=(False, True))
    direft: bool = setting(False, "DiReFT: no orthonormal rows and no subtraction of R h", search=(False, True))
    identity: bool = setting(False, "start with W = R (direft: W = 0) and b = 0, which edits nothing", null=True)
    dropout: float = setting(0.0, "dropout on the edited states", search=(0.0, 0.05))
    learning_rate: float = setting(9e-4, "peak value", search=(1e-4, 4e-2), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(6, "passes over the demonstrations", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(32, "rows per update", search=(8, 16, 32, 64, 128), least=1, quick=8)
    warmup_ratio: float = setting(0.1, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")

    def check(self) -> None:
        """Refuse edits without a rank, a position or a layer."""
        if self.rank < 1:
            raise UserError(f"rank is {self.rank}", fix="Give 1 or more, such as 8.")
        if min(self.prefix, self.suffix) < 0 or self.prefix + self.suffix < 1:
            raise UserError(
                f"prefix {self.prefix} and suffix {self.suffix} leave no position to edit",
                fix="Give at least one of them a positive number.",
            )
        if isinstance(self.layers, str) and self.layers != "all":
            raise UserError(f"layers is {self.layers!r}", fix="Write `all`, or a list of numbers such as [3, 9].")
        if not isinstance(self.layers, str) and (not self.layers or len({*self.layers}) < len(self.layers)):
            raise UserError(f"layers is {list(self.layers)}", fix="Name each layer once, and at least one.")

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations without a trained token."""
        return untrainable(data.demonstrations, encoder, self.max_length)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train edits of a frozen copy of the base and write them alone."""
        layers = self.chosen_layers(base.config)
        rows = training_rows(data.demonstrations, base.encoder, self.max_length, per_turn=True)
        model = base.load().requires_grad_(False)
        require_trained_end(model, base.encoder)
        seed_everything(context)
        parts = self.new_interventions(layers, width_of(base.config)).to(model.device)
        # within the model, so that the trainer finds them
        model.add_module("interventions", parts)
        around = partial(self._edited_prompts, model, parts)
        report = train(model, rows, base, Optimisation.of(self), context, around=around)
        save_interventions(self, {key: weights_of(part) for key, part in parts.items()}, out)
        return report

    def footprint(self, model: Any) -> Footprint:
        """The edits are trained, and the policy shares the base."""
        model.requires_grad_(False)
        layers = self.chosen_layers(model.config)
        with torch.device("cpu"):  # orthonormal rows are computed
            parts = self.new_interventions(layers, width_of(model.config))
        model.add_module("interventions", parts)
        return Footprint(model, policy="nothing", pieces=True)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The shared base, whose prompts are read with the edits in place."""
        settings, interventions = load_interventions(artifact, base)
        return ReftPolicy(base.policy().model, base.encoder, settings, interventions)

    def chosen_layers(self, config: Any) -> list[int]:
        """The numbers of the edited layers. Raises UserError for one, or a rank, that the model does not have."""
        there, width = block_count(config), width_of(config)
        layers = [*range(there)] if isinstance(self.layers, str) else sorted(self.layers)
        if layers[0] < 0 or layers[-1] >= there:
            raise UserError(
                f"layers {layers} reach beyond the model, which has {there}",
                fix=f"Choose among 0 to {there - 1}, or `all`.",
            )
        if self.rank > width:
            raise UserError(
                f"rank {self.rank} is more than the model's width of {width}", fix=f"Choose a rank of {width} or less."
            )
        return layers

    def new_interventions(self, layers: Sequence[int], width: int) -> torch.nn.ModuleDict:
        """One trainable edit in float32 per layer and part, each of 2 d r + r parameters, as pyreft makes them."""
        keys = [f"{layer}-{part}" for part in self.parts for layer in layers]
        return torch.nn.ModuleDict({key: self._new_intervention(width) for key in keys})

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the prompt, each with its own edits."""
        if self.tied:
            return ("prompt",)
        return tuple(name for name, size in (("prefix", self.prefix), ("suffix", self.suffix)) if size)

    def _new_intervention(self, width: int) -> torch.nn.ParameterDict:
        directions = torch.empty(self.rank, width)
        if self.direft:
            free = torch.nn.Linear(width, self.rank, bias=False)
            part = torch.nn.ParameterDict({"directions": free.weight})
        else:
            part = orthonormal(torch.nn.init.orthogonal_(directions))
        source = torch.nn.Linear(width, self.rank)
        part.update({"weight": source.weight, "bias": source.bias})
        if self.identity:
            with torch.no_grad():
                part["weight"].copy_(torch.zeros_like(directions) if self.direft else weights_of(part).directions)
                part["bias"].zero_()
        return part

    def _edited_prompts(
        self, model: Any, parts: torch.nn.ModuleDict, inputs: Mapping[str, Any]
    ) -> AbstractContextManager[None]:
        """A context in which the model reads a batch of training rows with the edits in place."""
        lengths = prompt_lengths(inputs["labels"])
        interventions = {key: partial(self._trained, part) for key, part in parts.items()}
        return edited(model, placed(self, interventions, [0] * len(lengths), lengths))

    def _trained(self, part: torch.nn.ParameterDict, hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            changed = edit(weights_of(part), self.direft, hidden)
        return torch.nn.functional.dropout(changed, self.dropout)


def prompt_lengths(labels: torch.Tensor) -> list[int]:
    """The number of tokens before the first trained one, in each row of labels (B, T)."""
    return [int(length) for length in (labels != IGNORED).int().argmax(1)]


def placed(
    settings: Loreft, interventions: Mapping[str, Any], starts: Sequence[int], lengths: Sequence[int]
) -> dict[int, list[Edit]]:
    """By layer: where its interventions ("layer-part") act, in prompts that begin at columns `starts`."""
    head, tail = first_and_last(starts, lengths, settings.prefix, settings.suffix)
    places = {"prompt": head + tail, "prefix": head, "suffix": tail}
    edits: dict[int, list[Edit]] = {}
    for key, change in interventions.items():
        layer, part = key.split("-")
        edits.setdefault(int(layer), []).append((places[part], change))
    return edits


def save_interventions(settings: Loreft, interventions: Mapping[str, Weights], out: Path) -> None:
    """Write interventions by "layer-part", with where they act."""
    from safetensors.torch import save_file

    tensors = {
        f"{key}.{name}": tensor.detach().float().cpu().clone().contiguous()
        for key, weights in interventions.items()
        for name, tensor in weights._asdict().items()
    }
    save_file(tensors, out / WEIGHTS)
    places = {name: getattr(settings, name) for name in ("prefix", "suffix", "tied", "direft")}
    (out / SETTINGS).write_text(json.dumps(places, indent=2) + "\n", "utf-8")


def load_interventions(artifact: Path, base: BaseModel) -> tuple[Loreft, dict[str, Weights]]:
    """Where interventions act, and their frozen weights by "layer-part"."""
    from safetensors.torch import load_file

    # copied out of the file's memory map, where alignment, and so the last bit, is arbitrary
    tensors = {name: tensor.clone() for name, tensor in load_file(artifact / WEIGHTS, base.spec.device).items()}
    keys = sorted({name.split(".")[0] for name in tensors})
    interventions = {key: Weights(*(tensors[f"{key}.{name}"] for name in Weights._fields)) for key in keys}
    return Loreft(**json.loads((artifact / SETTINGS).read_text("utf-8"))), interventions


class ReftPolicy(CausalPolicy):
    """The base model, which reads prompts with edits and everything after them without."""

    def __init__(
        self, model: Any, encoder: TextEncoder, settings: Loreft, interventions: Mapping[str, Weights]
    ) -> None:
        super().__init__(model, encoder)
        self.settings, self.interventions = settings, interventions

    def without_edits(self, blocks: Collection[int]) -> ReftPolicy:
        """The policy without its interventions in these blocks."""
        kept = {key: one for key, one in self.interventions.items() if int(key.split("-")[0]) not in blocks}
        return ReftPolicy(self.model, self.encoder, self.settings, kept)

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, CausalState]:
        """Read left-padded prompts, each edited at its own first and last positions."""
        lengths = [len(prompt.prompt) for prompt in prompts]
        starts = [max(lengths) - length for length in lengths]
        changes = {key: partial(edit, weights, self.settings.direft) for key, weights in self.interventions.items()}
        with edited(self.model, placed(self.settings, changes, starts, lengths)):
            return super().prefill(prompts)
