"""A row as the model reads it: parts of text, each trained or masked in the loss.

With a tokenizer the parts are those of training_rows, with the real chat template and boundaries. Without one they are
the turns, of which the assistant's are trained.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from harness.data.examples import Example
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair
from harness.training.labelled_rows import IGNORED, TrainingRow, training_rows

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


UNLIMITED = 10**9


class TrainedText(NamedTuple):
    """A part of a row that is trained or only read."""

    text: str
    trained: bool


def trained_texts(example: Example, encoder: TextEncoder | None = None) -> list[TrainedText]:
    """The parts in order; a preference pair gives its chosen answer, a problem its reference."""
    demonstration = as_demonstration(example)
    if encoder is None:
        return [
            TrainedText(f"{one.role}{name}: {text}\n", one.role == "assistant" and one.trained)
            for one in demonstration.messages
            for name, text in ((" (thoughts)", one.thoughts), ("", one.content))
            if text
        ]
    found = []
    for row in _rows(example, encoder):
        marked = zip(row.input_ids, row.labels, strict=True)
        for trained, tokens in groupby(marked, key=lambda pair: pair[1] != IGNORED):
            ids = [token for token, _ in tokens]
            found.append(TrainedText(encoder.tokenizer.decode(ids, skip_special_tokens=False), trained))
    return found


def token_count(example: Example, encoder: TextEncoder) -> int:
    """Number of tokens of the row under the chat template, before truncation."""
    return sum(len(row.input_ids) for row in _rows(example, encoder))


def encoder_of(model: str) -> TextEncoder:
    """The tokenizer and chat template of a model, for rows of any length."""
    from harness.policy.base_model import BaseModel, BaseSpec
    from harness.policy.encoding import TextEncoder
    from harness.policy.sources import locate

    spec = BaseSpec(model)
    base = BaseModel(spec, locate(spec))
    return TextEncoder(base.tokenizer, max_length=UNLIMITED, extra_stop_ids=base.generation_ends)


def _rows(example: Example, encoder: TextEncoder) -> tuple[TrainingRow, ...]:
    from jinja2 import TemplateError

    try:
        return training_rows([as_demonstration(example)], encoder).rows
    except TemplateError as error:
        raise UserError(
            f"the model's chat template does not accept it: {error}", where=example.record.id, fix="Leave out --model."
        ) from error


def as_demonstration(example: Example) -> Demonstration:
    """The record as one conversation."""
    record = example.record
    if isinstance(record, Demonstration):
        return record
    answer = record.chosen if isinstance(record, PreferencePair) else record.reference
    return Demonstration((*record.prompt, Message("assistant", answer)), record.id, record.source)
