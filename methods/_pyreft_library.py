"""The library pyreft around a model of ours: its interventions, their places in a batch, its loss and its policy."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from harness.lazy import torch
from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.encoding import TextEncoder
from harness.policy.hidden_states import Places, decoder_blocks, first_and_last
from harness.training.labelled_rows import IGNORED
from methods._low_rank_edits import Weights
from methods.loreft import Loreft, prompt_lengths


def library() -> Any:
    """The library pyreft. At its first import pyvene prints advice on another package, which is suppressed."""
    with contextlib.redirect_stdout(io.StringIO()):
        import pyreft

    return pyreft


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
