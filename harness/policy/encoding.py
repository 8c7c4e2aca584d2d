"""From messages or text to token ids, with one rule for the boundary between prompt and answer.

The rule is lm-eval's: prompt and answer are tokenised together and split where the prompt alone would end, so scoring,
sampling and training agree token by token even where a tokenizer merges across the boundary. A trained answer ends
with the end of turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.records import Message

if TYPE_CHECKING:
    from harness.policy.types import Prompt


PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '### Assistant:\\n' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ '### ' + message['role'].capitalize() + ':\\n' + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
"""The template for tokenizers without a chat template; its end of turn is the end-of-text token."""

_PROBE = "bakeoffprobe"


@dataclass(frozen=True)
class Encoded:
    """Token ids of one request, and the prompt that they encode.

    reserve    tokens that must fit after the prompt
    truncated  the left end of the prompt was cut off
    """

    prompt: tuple[int, ...]
    prefix: tuple[int, ...]
    completion: tuple[int, ...]
    source: Prompt
    reserve: int = 0
    truncated: bool = False

    def fitted(self, max_length: int, reserve: int) -> Encoded:
        """Cut the left end of the prompt so that `reserve` further tokens fit; `truncated` says whether it was cut."""
        room = max_length - reserve
        if room < 1:
            raise UserError(
                f"{reserve} tokens after the prompt leave no room in a context of {max_length}",
                fix="Ask for fewer new tokens, or use a model with a longer context.",
            )
        if len(self.prompt) <= room:
            return replace(self, reserve=reserve)
        return replace(self, prompt=self.prompt[-room:], reserve=reserve, truncated=True)


class TextEncoder:
    """A tokenizer with its chat template and end of turn."""

    def __init__(
        self, tokenizer: Any, *, max_length: int, template: str | None = None, extra_stop_ids: Sequence[int] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self._extra_stop_ids = tuple(extra_stop_ids)
        self.max_length = max_length
        self.template = template or _only_template(tokenizer.chat_template) or PLAIN_TEMPLATE

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> str:
        """The text of a conversation, with or without the start of the assistant's next turn."""
        rows = [{"role": message.role, "content": message.content} for message in messages]
        text = self.tokenizer.apply_chat_template(
            rows, chat_template=self.template, tokenize=False, add_generation_prompt=generation_prompt
        )
        return str(text)

    def prompt_text(self, prompt: Prompt) -> str:
        """The prompt as the model reads it, without its assistant prefix."""
        return self.render(prompt.messages) if prompt.messages else prompt.text

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """Ids of prompt, assistant prefix and completion, split where each one ends.

        A token merged from prompt and prefix belongs to the prefix, so both together always are the encoding of their
        joined text. White space at the end of bare text moves to what follows, as in lm-eval, since tokenizers join
        it with words. A rendered conversation keeps it: the model generates after it, so it is part of the prompt.
        """
        text, prefix, answer = self.prompt_text(prompt), prompt.assistant_prefix, completion or ""
        bare = not text
        until_prompt = text if prompt.messages else _without_spaces(text, prefix + answer)
        until_prefix = _without_spaces(text + prefix, answer) if prefix else until_prompt
        first = self.tokens(until_prompt, bare=bare)
        second = self.tokens(until_prefix, bare=bare) if prefix else first
        whole = self.tokens(text + prefix + answer, bare=bare) if answer else second
        # a merge can absorb the whole answer, and an answer without tokens would have probability 1
        answer_ids = whole[len(second) :] or self.tokens(answer, bare=True)
        if bare:
            return Encoded((self.prefix_token,), second, answer_ids, prompt)
        end = max(1, _common(first, second))
        return Encoded(second[:end], second[end:], answer_ids, prompt)

    def tokens(self, text: str, *, bare: bool = False) -> tuple[int, ...]:
        """Token ids of a text; no BOS token is added to a text that begins with one."""
        bos = self.tokenizer.bos_token
        special = not bare and not (bos and text.startswith(bos))
        return tuple(self.tokenizer.encode(text, add_special_tokens=special))

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def prefix_token(self) -> int:
        """The token that stands for an empty prompt: BOS, or the end of text where there is no BOS."""
        token = self.tokenizer.bos_token_id
        return int(token if token is not None else self.tokenizer.eos_token_id)

    @cached_property
    def end_of_turn(self) -> tuple[int, ...]:
        """The ids that the template writes after an answer, without trailing white space."""
        messages = [Message("user", _PROBE), Message("assistant", _PROBE)]
        tail = self.render(messages, generation_prompt=False).rsplit(_PROBE, 1)[-1]
        ids = self.tokens(tail.strip(), bare=True)
        if not ids:
            raise UserError(
                "the chat template writes no end of turn after an answer",
                fix="Use a template that ends an assistant's turn with a token, such as the end-of-text token.",
            )
        return ids

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer: the tokenizer's end of text, the model's own, the template's end of turn."""
        ends = set(self._extra_stop_ids)
        if self.tokenizer.eos_token_id is not None:
            ends.add(self.tokenizer.eos_token_id)
        if len(self.end_of_turn) == 1 or self.end_of_turn[0] in self.special_ids:
            ends.add(self.end_of_turn[0])
        return frozenset(ends)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that decoding skips."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(self.tokenizer.all_special_ids) | {token for token, kind in added if kind.special}


def _only_template(known: Any) -> str | None:
    """The tokenizer's chat template; if there are several (`default`, `tool_use`), the default."""
    if not isinstance(known, Mapping):
        return known or None
    if "default" not in known:
        raise UserError(
            f"the tokenizer has several chat templates, and none of them is called default: {', '.join(sorted(known))}",
            fix="Choose one: write it into a file, and name that as the base's chat_template.",
        )
    return str(known["default"])


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the common prefix of two sequences."""
    differing = (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differing, min(len(first), len(second)))


def _without_spaces(before: str, after: str) -> str:
    """The text without trailing white space, unless nothing follows it or nothing would be left."""
    return (before.rstrip() or before) if after else before
