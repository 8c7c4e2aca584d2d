"""Named checks of a base model's tokenizer and chat template, each with what was found and what is done about it.

`bakeoff check-model NAME` prints them; a plan shows those with a remedy, and provenance records all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.errors import UserError
from harness.policy.base_model import BaseModel, require_rows
from harness.policy.encoding import PLAIN_TEMPLATE, TextEncoder
from harness.policy.gguf_file import is_gguf, stored_types
from harness.policy.types import Prompt
from harness.records import Message

PROBE = (Message("user", "Name a fruit."),)
ANSWERS = ("An apple.", "First.\n\nSecond.\n", "\nAn apple.")


@dataclass(frozen=True)
class ModelCheck:
    """One assumption about a model's files.

    found   in words
    remedy  what is done about it, alike for every method; empty where nothing has to be done
    passed  False: the model cannot be used as it is
    """

    name: str
    found: str
    remedy: str = ""
    passed: bool = True


def check_model(base: BaseModel, begin: Callable[[str], None] = lambda name: None) -> list[ModelCheck]:
    """Every check, in a fixed order; loads the tokenizer and the configuration, no weights.

    begin  is told the name of each check before it
    """
    checks = (_template, _turns, _special_tokens, _start, _answers, _newlines, _end_of_turn)
    try:
        found = [*_weights(base)]
        encoder, found = base.encoder, [*found, _vocabulary(base)]
    except UserError as error:
        return [ModelCheck("files", error.what, error.fix, passed=False)]
    for check in checks:
        begin(_name(check.__name__))
        try:
            found += check(encoder)
        except UserError as error:
            found.append(ModelCheck(_name(check.__name__), error.what, error.fix, passed=False))
    return found


def _name(function: str) -> str:
    return function.strip("_").replace("_", " ")


def _weights(base: BaseModel) -> Iterator[ModelCheck]:
    """A GGUF file's types of storage; nothing for safetensors, which are loaded as they are."""
    if is_gguf(base.folder):
        kinds = ", ".join(sorted(stored_types(base.folder)))
        said = f"they are dequantised to {base.spec.dtype}: time and memory are not those of the GGUF file"
        yield ModelCheck("weights", f"a GGUF file ({kinds})", said)


def _vocabulary(base: BaseModel) -> ModelCheck:
    rows = getattr(base.config.get_text_config(), "vocab_size", None)
    if rows is None:
        return ModelCheck("vocabulary", "the configuration does not say how many embeddings there are")
    try:
        require_rows(base, rows)
    except UserError as error:
        return ModelCheck("vocabulary", error.what, error.fix, passed=False)
    return ModelCheck("vocabulary", f"{len(base.tokenizer):,} tokens, {rows:,} embeddings")


def _template(encoder: TextEncoder) -> Iterator[ModelCheck]:
    if encoder.template == PLAIN_TEMPLATE:
        yield ModelCheck(
            "template",
            "the tokenizer has no chat template",
            f"it is asked in a plain format ({encoder.render(PROBE)!r}), and its answers end where it opens a turn",
        )
    else:
        yield ModelCheck("template", "a chat template")


def _turns(encoder: TextEncoder) -> Iterator[ModelCheck]:
    shown = [ModelCheck("turns", "not as they are given", words) for words in encoder.chat.remedies]
    yield from shown or [ModelCheck("turns", "every role survives, and an answer follows the prompt")]


def _special_tokens(encoder: TextEncoder) -> Iterator[ModelCheck]:
    after = encoder.added_tokens[1]
    if after:
        names = ", ".join(map(str, encoder.tokenizer.convert_ids_to_tokens(list(after))))
        yield ModelCheck("special tokens", f"the tokenizer puts {names} at the end of a text", "they are left out")
    else:
        yield ModelCheck("special tokens", "none at the end of a text")


def _start(encoder: TextEncoder) -> Iterator[ModelCheck]:
    bos = encoder.tokenizer.bos_token_id
    ids = encoder.encode(Prompt(messages=PROBE)).prompt
    count = next((at for at, token in enumerate(ids) if token != bos), len(ids))
    if count > 1:
        raise UserError(
            f"a prompt begins with {count} tokens {encoder.tokenizer.bos_token!r}",
            fix="Name a `chat_template` that writes it once.",
        )
    yield ModelCheck("start", "one start-of-text token" if count else "no start-of-text token")


def _answers(encoder: TextEncoder) -> Iterator[ModelCheck]:
    answer = ANSWERS[0]
    encoded = encoder.encode_turn(PROBE, answer)
    whole = encoder.render((*PROBE, Message("assistant", answer)), generation_prompt=False)
    said = encoder.tokens(whole)
    read = (*encoded.prompt, *encoded.completion)
    if said[: len(read)] != read:
        raise UserError(
            "the ids that are trained are not those of the template's own rendering",
            fix="Report this template: prompt and answer are tokenised in another way together than apart.",
        )
    yield ModelCheck("answers", "trained as the template writes them")


def _newlines(encoder: TextEncoder) -> Iterator[ModelCheck]:
    for answer in ANSWERS:
        completion = encoder.encode(Prompt(messages=PROBE), answer).completion
        read, alone = (encoder.text(ids).strip(" ") for ids in (completion, encoder.tokens(answer, bare=True)))
        if read != alone:
            raise UserError(f"{answer!r} after a prompt is read as {read!r}", fix="Report this template and tokenizer.")
    yield ModelCheck("newlines", "kept at the beginning and the end of an answer")


def _end_of_turn(encoder: TextEncoder) -> Iterator[ModelCheck]:
    names = encoder.tokenizer.convert_ids_to_tokens(list(encoder.end_of_turn))
    stops = ", ".join(sorted(encoder.tokenizer.convert_ids_to_tokens(sorted(encoder.stop_ids))))
    yield ModelCheck("end of turn", f"{''.join(names)}; generation stops at {stops}")
