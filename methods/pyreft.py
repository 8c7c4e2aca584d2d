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

import contextlib
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, Footprint, Input, setting
from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.encoding import TextEncoder
from harness.policy.hidden_states import Places, block_count, decoder_blocks, first_and_last, width_of
from harness.records import TrainingData
from harness.training.labelled_rows import IGNORED, training_rows
from harness.training.loop import Optimisation, require_trained_end, seed_everything, train
from methods.loreft import Loreft, Weights, load_interventions, prompt_lengths, save_interventions

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
        library = library_model(model, parts)
        from methods._pyreft_trainer import PyreftTrainer  # only now: the line above imports pyreft without its prints

        own = {"trainer_class": PyreftTrainer, "remove_unused_columns": False}
        loss_of = partial(library_loss, self, keys)
        report = train(library, rows, base, Optimisation.of(self), context, loss_of=loss_of, **own)
        save_interventions(self, {key: library_weights(part) for key, part in parts.items()}, out)
        return report

    def footprint(self, model: Any) -> Footprint:
        """As loreft, but the policy holds a copy of the base."""
        return replace(super().footprint(model), policy="base")

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


def library() -> Any:
    """The library pyreft. At its first import pyvene prints advice on another package, which is suppressed."""
    with contextlib.redirect_stdout(io.StringIO()):
        import pyreft

    return pyreft


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


def library_model(model: Any, parts: Mapping[str, Any]) -> Any:
    """The library's model around a frozen one, with its interventions ("layer-part") in that order."""
    pyreft = library()
    blocks = decoder_blocks(model)
    place = next(name for name, module in model.named_modules() if module is blocks)
    representations = [
        {"component": f"{place}[{key.split('-')[0]}].output", "intervention": part} for key, part in parts.items()
    ]
    return pyreft.get_reft_model(model, pyreft.ReftConfig(representations=representations))


def library_part(weights: Weights, dtype: torch.dtype) -> Any:
    """The library's intervention with these weights, R as it is."""
    import pyreft
    from pyreft.interventions import LowRankRotateLayer

    rank, width = weights.directions.shape
    part = pyreft.LoreftIntervention(embed_dim=width, low_rank_dimension=rank, dtype=dtype)
    part.rotate_layer = LowRankRotateLayer(width, rank, init_orth=False)
    with torch.no_grad():
        part.rotate_layer.weight.copy_(weights.directions.T)
        part.learned_source.weight.copy_(weights.weight)
        part.learned_source.bias.copy_(weights.bias)
    return part.requires_grad_(False)


def library_weights(part: Any) -> Weights:
    """The weights of the library's intervention, R materialised."""
    return Weights(part.rotate_layer.weight.T, part.learned_source.weight, part.learned_source.bias)


def locations(
    settings: Loreft, keys: Sequence[str], starts: Sequence[int], lengths: Sequence[int], spare: int
) -> list[list[list[int]]]:
    """For each intervention ("layer-part") and row the columns to edit, as many in every row.

    The library needs rectangles: a row that has fewer positions names a masked column, `spare`, in their place.
    """
    head, tail = first_and_last(starts, lengths, settings.prefix, settings.suffix)
    places = {"prompt": head + tail, "prefix": head, "suffix": tail}
    squared = {part: _rectangle(own, len(lengths), spare) for part, own in places.items()}
    return [squared[key.split("-")[1]] for key in keys]


def _rectangle(places: Places, rows: int, spare: int) -> list[list[int]]:
    columns: list[list[int]] = [[] for _ in range(rows)]
    for row, column in zip(places.rows, places.columns, strict=True):
        columns[row].append(column)
    width = max(1, *(len(own) for own in columns))
    return [own + [spare] * (width - len(own)) for own in columns]


def library_loss(settings: Loreft, keys: Sequence[str], library: Any, inputs: Any, items: Any) -> torch.Tensor:
    """The loss of all methods here, with the library's forward pass: a batch's part of its update's mean."""
    from harness.training.trl import completion_loss

    lengths = prompt_lengths(inputs["labels"])
    spare = inputs["labels"].shape[1]
    blanks = {"input_ids": 0, "attention_mask": 0, "labels": IGNORED}
    widened = {name: torch.nn.functional.pad(inputs[name], (0, 1), value=blanks[name]) for name in blanks}
    places = locations(settings, keys, [0] * len(lengths), lengths, spare)
    return completion_loss(partial(run_library, library, places), widened, items)


def run_library(library: Any, places: list[list[list[int]]], **inputs: Any) -> Any:
    """The model's output with edits at these places."""
    return library(inputs, unit_locations={"sources->base": (None, places)})[1]


class PyreftPolicy(CausalPolicy):
    """The library's model, which reads prompts with edits and everything after them without."""

    def __init__(
        self, model: Any, encoder: TextEncoder, settings: Loreft, interventions: Mapping[str, Weights]
    ) -> None:
        super().__init__(model, encoder)
        self.settings, self.keys = settings, [*interventions]
        self.library = library_model(model, {k: library_part(w, model.dtype) for k, w in interventions.items()})
        self.places: list[list[list[int]]] | None = None

    def read(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        """Read prompts (B, T) with the edits, after a masked column for rows with fewer positions."""
        lengths = mask.sum(1).tolist()
        starts = [1 + mask.shape[1] - length for length in lengths]
        self.places = locations(self.settings, self.keys, starts, lengths, spare=0)
        try:
            return super().read(*(torch.nn.functional.pad(tensor, (1, 0)) for tensor in (tokens, mask)))
        finally:
            self.places = None

    def call(self, **inputs: Any) -> Any:
        """Through the library while a prompt is read."""
        return super().call(**inputs) if self.places is None else run_library(self.library, self.places, **inputs)
