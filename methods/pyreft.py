"""LoReFT by its authors' library: pyreft, with pyvene underneath (Wu et al. 2024, 2404.03592).

    h <- h + R^T (W h + b - R h)

The equation, fields and defaults are those of `loreft`. Here pyvene's hooks and pyreft's interventions compute it, in
training and in answering; rows, data order, optimiser and loss are those of every other method. The method exists to
show that it agrees with `loreft`, and to import published checkpoints: with `checkpoint`, a folder that pyreft saved,
nothing is trained. A checkpoint does not record which positions it edits, so `prefix` and `suffix` must be those of its
training; layers, rank and tying are read from its files. Only their tensors are read (no pickled code), and stored as
safetensors in float32.

pyreft 0.1.0 asks for an old transformers that it does not need: install it with
`pip install pyvene` and `pip install --no-deps pyreft`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, Footprint, Input, setting
from harness.policy.hidden_states import block_count, width_of
from harness.records import TrainingData
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation, require_trained_end, seed_everything, train
from methods._low_rank_edits import Weights
from methods._pyreft_library import PyreftPolicy, library, library_loss, library_model, library_weights
from methods.loreft import Loreft, load_interventions, save_interventions

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

FILE = re.compile(r"intkey_(?:layer_(\d+)_comp_block_output|comp_.*\[(\d+)\]_output)_unit_pos_nunit_\d+#(\d+)\.bin")


@dataclass(frozen=True)
class Pyreft(Loreft):
    """LoReFT as pyreft and pyvene compute it, trained here or published elsewhere."""

    libraries = ("torch", "transformers", "trl", "accelerate", "pyreft", "pyvene")

    checkpoint: str = setting("", "folder of a published pyreft checkpoint to import instead of training", folder=True)

    def check(self) -> None:
        """Refuse a missing library, and DiReFT, which only `loreft` has."""
        super().check()
        require_library()
        if self.direft:
            raise UserError("pyreft has no direft here", fix="Use loreft with `direft: true`.")

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train the library's interventions on a frozen copy of the base, or import published ones."""
        require_library()
        if self.checkpoint:
            return self._imported(base, out)
        layers = self.chosen_layers(base.config)
        rows = training_rows(data.demonstrations, base.encoder, self.max_length, per_turn=True)
        model = base.load().requires_grad_(False)
        require_trained_end(model, base.encoder)
        seed_everything(context)
        keys = [f"{layer}-{part}" for part in self.parts for layer in layers]
        parts = {key: self._new_part(width_of(base.config)) for key in keys}
        wrapped = library_model(model, parts)
        from methods._pyreft_trainer import PyreftTrainer  # only now: the line above imports pyreft without its prints

        own = {"trainer_class": PyreftTrainer, "remove_unused_columns": False}
        loss_of = partial(library_loss, self, keys)
        report = train(wrapped, rows, base, Optimisation.of(self), context, loss_of=loss_of, **own)
        save_interventions(self, {key: library_weights(part) for key, part in parts.items()}, out)
        return report

    def footprint(self, model: Any) -> Footprint:
        """As loreft, but the policy holds a copy of the base."""
        return replace(super().footprint(model), policy="base", pieces=False)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """A copy of the base inside the library's model."""
        require_library()
        settings, interventions = load_interventions(artifact, base)
        return PyreftPolicy(base.load().requires_grad_(False), base.encoder, settings, interventions)

    def _new_part(self, width: int) -> Any:
        part = library().LoreftIntervention(
            embed_dim=width, low_rank_dimension=self.rank, dropout=self.dropout, dtype=torch.float32
        )
        if self.identity:
            with torch.no_grad():
                part.learned_source.weight.copy_(part.rotate_layer.weight.T)
                part.learned_source.bias.zero_()
        return part

    def _imported(self, base: BaseModel, out: Path) -> FitReport:
        """Write a published checkpoint as an artifact."""
        found = read_checkpoint(Path(self.checkpoint).expanduser())
        width, there = width_of(base.config), block_count(base.config)
        for (layer, _), weights in found.items():
            if layer >= there or weights.directions.shape[1] != width:
                raise UserError(
                    f"it edits layer {layer} of a model {weights.directions.shape[1]} wide, and the base has"
                    f" {there} layers, {width} wide",
                    where=self.checkpoint,
                    fix="Use the base model that it was trained on.",
                )
        tied = all(copy == 0 for _, copy in found)
        names = ("prompt",) if tied else ("prefix", "suffix")
        kept = {f"{layer}-{names[copy]}": weights for (layer, copy), weights in found.items()}
        save_interventions(replace(self, tied=tied), kept, out)
        return FitReport(notes={"imported": Path(self.checkpoint).name, "interventions": len(kept)})


def require_library() -> None:
    """Raise UserError, saying how to install it, where pyreft or pyvene is missing."""
    if missing := [name for name in ("pyvene", "pyreft") if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"not installed: {', '.join(missing)}",
            fix="Run `pip install pyvene` and then `pip install --no-deps pyreft`; or use loreft, which computes"
            " the same without the library.",
        )


def read_checkpoint(folder: Path) -> dict[tuple[int, int], Weights]:
    """The interventions of a folder that pyreft saved, by (layer, copy): copy 0 is the prefix, 1 the suffix.

    Raises UserError for a folder without interventions, files that hold more than tensors, another kind of
    intervention, or a checkpoint that also changed the model's own weights.
    """
    found = {}
    for file in sorted(folder.glob("intkey_*.bin")):
        match = FILE.fullmatch(file.name)
        if match is None or int(match[3]) > 1:
            raise UserError("it edits something other than the output of a block", where=str(file))
        found[int(match[1] or match[2]), int(match[3])] = _read_intervention(file)
    if not found:
        raise UserError(
            "it holds no interventions of pyreft", where=str(folder), fix="Give the folder with the intkey_*.bin files."
        )
    model = folder / "pytorch_model.bin"
    if model.exists() and _read_tensors(model):
        raise UserError("it also holds weights of the model itself, which are not imported", where=str(model))
    return found


def _read_intervention(file: Path) -> Weights:
    tensors = _read_tensors(file)
    if set(tensors) != {"weight", "bias", "rotate_layer"}:
        raise UserError(
            f"it holds {', '.join(sorted(tensors))}, and LoReFT has weight, bias, rotate_layer", where=str(file)
        )
    return Weights(tensors["rotate_layer"].T, tensors["weight"], tensors["bias"])


def _read_tensors(file: Path) -> Mapping[str, torch.Tensor]:
    from pickle import UnpicklingError

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError("it holds more than tensors, or is damaged, and was not read", where=str(file)) from error
