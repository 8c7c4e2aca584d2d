"""Demonstrations as token ids and labels, with the boundary between prompt and answer that scoring uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, Problem

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


IGNORED = -100
"""The label of a token that is read but not trained: torch's cross-entropy ignores it."""
LabelsOf = Callable[[Sequence[int]], Sequence[int]]
"""The labels of the tokens of a prompt, where it is trained too."""


@dataclass
class TrainingRow:
    """One sequence (T,): its token ids, and their labels (IGNORED where a token is not trained)."""

    input_ids: list[int]
    labels: list[int]

    def add(self, ids: Sequence[int], *, trained: bool) -> None:
        """Append ids, trained or only read."""
        self.input_ids.extend(ids)
        self.labels.extend(ids if trained else [IGNORED] * len(ids))

    def cut(self, length: int) -> TrainingRow:
        """The row cut at its right end, as in TRL, so that the prompt stays complete."""
        return TrainingRow(self.input_ids[:length], self.labels[:length])

    @property
    def labelled(self) -> int:
        """How many tokens are trained."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class TrainingRows:
    """Rows to train on, and how many of them were cut."""

    rows: tuple[TrainingRow, ...]
    truncated: int = 0


def training_rows(
    demonstrations: Sequence[Demonstration],
    encoder: TextEncoder,
    max_length: int | None = None,
    *,
    per_turn: bool = False,
    prompts: LabelsOf | None = None,
) -> TrainingRows:
    """Rows of all demonstrations, none longer than the context. Raises UserError where no trained token is left.

    per_turn  one row for every assistant turn, for a method that treats the prompt differently from the answer
    prompts   labels what is not an assistant's turn; None: it is read and not trained
    """
    if not demonstrations:
        raise UserError("there are no demonstrations to train on", fix="Name some under data: demonstrations.")
    length = min(encoder.max_length, max_length or encoder.max_length)
    rows: list[TrainingRow] = []
    truncated, lost = 0, []
    for demonstration in demonstrations:
        whole = list(_rows_of(demonstration, encoder, per_turn, prompts))
        kept = [row for row in (row.cut(length) for row in whole) if row.labelled]
        truncated += sum(len(row.input_ids) > length for row in whole)
        rows.extend(kept)
        if not kept:
            lost.append(demonstration.id)
    if lost:
        raise UserError(
            f"{len(lost)} demonstrations have no trained token within {length} tokens: {', '.join(lost[:5])}"
            + (", ..." if len(lost) > 5 else ""),
            fix="Remove them, or raise max_length where the model's context allows it.",
        )
    return TrainingRows(tuple(rows), truncated)


def untrainable(
    demonstrations: Sequence[Demonstration],
    encoder: TextEncoder,
    max_length: int | None = None,
    prompts: LabelsOf | None = None,
) -> dict[str, str]:
    """The ids of demonstrations for which `training_rows` would raise UserError, each with the reason."""
    length = min(encoder.max_length, max_length or encoder.max_length)
    found = {}
    for demonstration in demonstrations:
        at = _first_trained(demonstration, encoder, prompts)
        if isinstance(at, str):
            found[demonstration.id] = at
        elif at is None or at >= length:
            found[demonstration.id] = f"no trained token within {length:,} tokens"
    return found


@lru_cache(maxsize=1 << 17)
def _first_trained(demonstration: Demonstration, encoder: TextEncoder, prompts: LabelsOf | None) -> int | str | None:
    """How many tokens come before the first trained one; a text: why it cannot be encoded.

    Cached, since several methods read the same demonstrations. A row that holds several turns begins with the first
    one, as a row of its own does.
    """
    try:
        rows = list(_rows_of(demonstration, encoder, per_turn=False, prompts=prompts))
    except UserError as error:
        return error.what
    labelled = [next((at for at, label in enumerate(row.labels) if label != IGNORED), None) for row in rows]
    return min((at for at in labelled if at is not None), default=None)


def too_long(problems: Sequence[Problem], encoder: TextEncoder, answer: int) -> dict[str, str]:
    """The ids of problems whose prompt and an answer of so many tokens exceed the context, each with the reason."""
    room = encoder.max_length - answer

    def fault(problem: Problem) -> str:
        encoded = encoder.encode(Prompt(messages=problem.prompt))
        read = len(encoded.prompt) + len(encoded.prefix)
        context = f"the context of {encoder.max_length:,}"
        return f"a prompt of {read:,} tokens and an answer of {answer:,} exceed {context}" if read > room else ""

    return refusals(problems, fault)


def refusals(records: Sequence[Any], fault: Callable[[Any], str]) -> dict[str, str]:
    """The ids of records that have a fault, each with it: a text, or the UserError that looking for it raises."""
    found = {}
    for record in records:
        try:
            why = fault(record)
        except UserError as error:
            why = error.what
        if why:
            found[record.id] = why
    return found


def answer_row(
    prompt: Sequence[Message], answer: str, encoder: TextEncoder, max_length: int | None = None, *, end: bool = True
) -> TrainingRow:
    """One answer, trained after the same ids as it is scored after; cut to the context.

    end  whether its end of turn is trained; it is read in any case
    """
    encoded = encoder.encode_turn(prompt, answer)
    row = TrainingRow([], [])
    row.add(encoded.prompt, trained=False)
    row.add(encoded.completion, trained=True)
    row.add(encoder.end_of_turn, trained=end)
    return row.cut(min(encoder.max_length, max_length or encoder.max_length))


def _rows_of(
    demonstration: Demonstration, encoder: TextEncoder, per_turn: bool, prompts: LabelsOf | None
) -> Iterator[TrainingRow]:
    """Rows in which every assistant turn is trained once, after the same ids as it is scored after.

    Turns share a row as long as each prompt continues the ids before it. Where the template renders earlier turns
    differently later (it may drop thoughts), the turn starts a new row, whose prompt is read again and not trained.
    """
    row, again = TrainingRow([], []), False
    for turn, message in enumerate(demonstration.messages):
        if message.role != "assistant":
            continue
        try:
            encoded = encoder.encode_turn(demonstration.messages[:turn], message.content, message.thoughts)
        except UserError as error:
            raise UserError(error.what, where=f"demonstration {demonstration.id}", fix=error.fix) from error
        seen = len(row.input_ids)
        if seen and (per_turn or list(encoded.prompt[:seen]) != row.input_ids):
            yield row
            row, seen, again = TrainingRow([], []), 0, True
        row.add(encoded.prompt[seen:], trained=False)
        if prompts and not again:  # nothing predicts the first token
            begins = max(seen, 1)
            row.labels[begins:] = prompts(encoded.prompt[begins:])
        row.add([*encoded.completion, *encoder.end_of_turn], trained=message.trained)
    yield row


# how much logits may differ by rounding, relative to the largest; by whether the model is in float32
CLOSE = {True: 1e-3, False: 5e-2}


def pack(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Tensors (1, T) of concatenated rows; the first token of each row is never predicted."""
    packed: dict[str, list[int]] = {"input_ids": [], "labels": [], "position_ids": []}
    for row in rows:
        packed["input_ids"] += row["input_ids"]
        packed["labels"] += [IGNORED, *row["labels"][1:]]
        packed["position_ids"] += range(len(row["input_ids"]))
    return {name: torch.tensor([values]) for name, values in packed.items()}


def require_apart(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Raise UserError where the model, as loaded, lets packed rows (token ids) attend to one another."""
    if len(rows) < 2:
        return
    device = next(model.parameters()).device
    packed = pack([{"input_ids": list(ids), "labels": list(ids)} for ids in rows[:2]])
    was_training = model.training
    model.eval()
    with torch.no_grad():
        inputs = {name: packed[name].to(device) for name in ("input_ids", "position_ids")}
        together = model(**inputs, use_cache=False).logits[0, len(rows[0]) :].float()
        alone = model(input_ids=torch.tensor([list(rows[1])], device=device), use_cache=False).logits[0].float()
    model.train(was_training)
    close = CLOSE[next(model.parameters()).dtype is torch.float32]
    if (together - alone).abs().max() > close * alone.abs().max():
        raise UserError(
            f"{type(model).__name__} does not keep packed rows separate", fix="Set packing to false for this model."
        )
