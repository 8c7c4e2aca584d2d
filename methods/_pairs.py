"""Preference pairs as token ids: two rows for each, with the labels that `dpo` trains on. Several methods use them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.records import PreferencePair
from harness.training.labelled_rows import TrainingRow, answer_row, refusals
from harness.training.loop import Optimisation, collate, thinned, trl_config

if TYPE_CHECKING:
    from harness.method import FitContext
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder


Pair = tuple[TrainingRow, TrainingRow]
"""A chosen and a rejected answer, each after the same prompt."""


def cut_pairs(pairs: Sequence[Pair], encoder: TextEncoder) -> int:
    """The number of pairs with an answer whose end max_length cut off."""
    end = list(encoder.end_of_turn)
    return sum(any(row.input_ids[-len(end) :] != end for row in pair) for pair in pairs)


def preference_rows(
    preferences: Sequence[PreferencePair], encoder: TextEncoder, max_length: int | None = None, *, end: bool = True
) -> list[Pair]:
    """Each pair as two rows whose labels are the answer and, if `end`, its end of turn.

    Raises UserError, naming the pairs, where nothing is left of an answer, or both read alike.
    """
    if not preferences:
        raise UserError(
            "there are no preference pairs to train on", fix="Name a set, such as `data: {preferences: NAME}`."
        )
    pairs = [rows_of(pair, encoder, max_length, end=end) for pair in preferences]
    faults = [fault_of(rows) for rows in pairs]
    for fault, fix in FAULTS.items():
        if named := [pair.id for pair, own in zip(preferences, faults, strict=True) if own == fault]:
            raise UserError(f"{_named(named)} {fault}", fix=fix)
    return pairs


NOTHING_LEFT = "no token of an answer within max_length"
ALIKE = "a chosen answer that equals the rejected one, token for token"
FAULTS = {
    NOTHING_LEFT: "Remove them, or raise max_length.",
    ALIKE: "Remove them, or raise max_length if it cut them to equal rows.",
}


def refused_pairs(
    preferences: Sequence[PreferencePair], encoder: TextEncoder, max_length: int | None, *, end: bool
) -> dict[str, str]:
    """The ids of pairs for which `preference_rows` would raise UserError, each with the reason."""
    return refusals(preferences, lambda pair: fault_of(rows_of(pair, encoder, max_length, end=end)))


def rows_of(pair: PreferencePair, encoder: TextEncoder, max_length: int | None, *, end: bool) -> Pair:
    """The pair as two rows, cut to max_length, whose labels are those of `preference_rows`."""
    row = partial(answer_row, encoder=encoder, max_length=max_length, end=end)
    return row(pair.prompt, pair.chosen), row(pair.prompt, pair.rejected)


def fault_of(rows: Pair) -> str:
    """The fault that makes a pair useless; "" where it has none."""
    if not all(row.labelled for row in rows):
        return NOTHING_LEFT
    return ALIKE if rows[0] == rows[1] else ""


def _named(ids: Sequence[str]) -> str:
    return f"{len(ids)} preference pairs ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}) have"


def collate_pairs(pairs: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded tensors (2B, T), all chosen answers before all rejected ones; `start` (2B,) once it is known.

    The trainer counts the entries of `shift_labels`, one per pair (B,), if there are `labels`.
    """
    sides = [
        {"input_ids": pair[f"{side}_input_ids"], "labels": pair[f"{side}_labels"]}
        for side in ("chosen", "rejected")
        for pair in pairs
    ]
    batch = collate(sides)
    counted = torch.zeros(len(pairs), dtype=torch.long)
    batch |= {"answers": batch["labels"], "labels": counted, "shift_labels": counted}
    if "start_logprobs" in pairs[0]:
        batch["start"] = torch.tensor([pair["start_logprobs"] for pair in pairs]).T.flatten()
    return batch


def train_on_pairs(
    method: Any,
    model: Any,
    pairs: Sequence[Pair],
    base: BaseModel,
    context: FitContext,
    *,
    trainer_class: Callable[..., Any],
    loss: Callable[..., torch.Tensor],
    collated: Callable[..., dict[str, torch.Tensor]] = collate_pairs,
    **columns: Any,
) -> list[tuple[int, float]]:
    """Train the model in place on pairs in this order; the course of its loss.

    trainer_class  a DpoTrainer
    loss           of (method, model, a batch of `collated`, the number of pairs of the whole update)
    columns        further columns of the data set, one value for each pair
    """
    import datasets
    import trl

    from harness.training.trl import run_trainer

    for at, side in enumerate(("chosen", "rejected")):
        for name in ("input_ids", "labels"):
            columns[f"{side}_{name}"] = [getattr(pair[at], name) for pair in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        own = {"max_length": None, "remove_unused_columns": False, "precompute_ref_log_probs": True}
        trainer = trainer_class(
            model=model,
            args=trl_config(trl.DPOConfig, scratch, base, Optimisation.of(method), context, **own),
            data_collator=collated,
            train_dataset=datasets.Dataset.from_dict(columns),
            processing_class=copy.deepcopy(base.tokenizer),  # TRL may add a pad token
        )
        # an update's pairs are counted before it is split to fit into memory, and our loss divides by them
        trainer.model_accepts_loss_kwargs = trainer.loss_is_scaled_for_ga = True
        trainer.loss_of = partial(loss, method)
        return thinned(run_trainer(trainer, context))
