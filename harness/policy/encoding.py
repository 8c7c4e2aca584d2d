"""From messages or text to token ids, with one rule for the boundary between prompt and answer.

The rule is lm-eval's: prompt and answer are tokenised together and split where the prompt alone would end, so scoring,
sampling and training agree token by token even where a tokenizer merges across the boundary. A trained answer ends
with the end of turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.policy.chat_template import DEFAULT_DATE, ChatTemplate
from harness.policy.thoughts import CALL, has_marks, opens_a_thought, split_thoughts
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

PLAIN_OPENERS = tuple(f"### {role}:" for role in ("System", "User", "Assistant", "Tool"))
"""What opens a turn of PLAIN_TEMPLATE: a base model that never ends its turn is stopped where it opens the next one."""


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
        self,
        tokenizer: Any,
        *,
        max_length: int,
        template: str | None = None,
        extra_stop_ids: Sequence[int] = (),
        arguments: Mapping[str, Any] | None = None,
        date: str = DEFAULT_DATE,
    ) -> None:
        self.tokenizer = tokenizer
        self._extra_stop_ids = tuple(extra_stop_ids)
        self.max_length = max_length
        self.template = template or _only_template(tokenizer.chat_template) or PLAIN_TEMPLATE
        self.chat = ChatTemplate(tokenizer, self.template, arguments=arguments, date=date)

    @property
    def turn_openers(self) -> tuple[str, ...]:
        """Texts that end an answer besides the stop tokens: only the plain template has them."""
        return PLAIN_OPENERS if self.template == PLAIN_TEMPLATE else ()

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> str:
        """The text of a conversation, with or without the start of the assistant's next turn."""
        return self.chat.render(messages, generation_prompt=generation_prompt)

    def prompt_text(self, prompt: Prompt) -> str:
        """The prompt as the model reads it, without its assistant prefix."""
        return self.chat.prompt(prompt.messages) if prompt.messages else prompt.text

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """Ids of prompt, assistant prefix and completion, split where each one ends.

        A token merged from prompt and prefix belongs to the prefix, so both together always are the encoding of their
        joined text. White space at the end of bare text moves to what follows, as in lm-eval, since tokenizers join
        it with words. A rendered conversation keeps it: the model generates after it, so it is part of the prompt, and
        an answer that would merge with it is tokenised alone. The text that the template writes before an answer (an
        empty thought) is part of the prefix.
        """
        text, answer = self.prompt_text(prompt), completion or ""
        lead = self.chat.lead if prompt.messages and (answer or prompt.assistant_prefix) else ""
        prefix, bare = lead + prompt.assistant_prefix, not text
        until_prompt = text if prompt.messages else _without_spaces(text, prefix + answer)
        until_prefix = until_prompt
        if prefix:
            until_prefix = _without_spaces(text + prefix, answer) if prompt.assistant_prefix else text + prefix
        first = self.tokens(until_prompt, bare=bare)
        second = self.tokens(until_prefix, bare=bare) if prefix else first
        whole = self.tokens(text + prefix + answer, bare=bare) if answer else second
        if prompt.messages and not prompt.assistant_prefix and whole[: len(second)] != second:
            second, answer_ids = self._split(first, second, whole, answer)
        else:
            # a merge can absorb the whole answer, and an answer without tokens would have probability 1
            answer_ids = whole[len(second) :] or self.tokens(answer, bare=True)
        if bare:
            return Encoded((self.prefix_token,), second, answer_ids, prompt)
        end = max(1, _common(first, second))
        return Encoded(second[:end], second[end:], answer_ids, prompt)

    def _split(
        self, first: tuple[int, ...], second: tuple[int, ...], whole: tuple[int, ...], answer: str
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(prompt with prefix, answer) where a merge crosses their boundary: it counts to the answer, but no prompt
        loses a token to it."""
        shared = _common(second, whole)
        if shared < len(first) or shared == len(whole):
            return second, self.tokens(answer, bare=True)
        return second[:shared], whole[shared:]

    def encode_turn(self, messages: Sequence[Message], content: str, thoughts: str = "") -> Encoded:
        """A turn to be trained: what the template writes for it, up to the end of turn, after its prompt."""
        from harness.policy.types import Prompt

        asked, answer = self.chat.prompt(messages), self.chat.answer(messages, content, thoughts)
        first, whole = self.tokens(asked), self.tokens(asked + answer)
        ids = whole[len(first) :] if whole[: len(first)] == first else self.tokens(answer, bare=True)
        return Encoded(first, (), ids, Prompt(messages=tuple(messages)))

    def tokens(self, text: str, *, bare: bool = False) -> tuple[int, ...]:
        """Token ids of a text; no BOS token is added to a text that begins with one.

        Special tokens that the tokenizer appends to a text are left out: they belong to no prompt.
        """
        bos = self.tokenizer.bos_token
        opening = () if bare or (bos and text.startswith(bos)) else self.added_tokens[0]
        return (*opening, *self.tokenizer.encode(text, add_special_tokens=False))

    @cached_property
    def added_tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The special tokens that the tokenizer puts before and after a text; BOS counts once."""
        probe = "probe"
        plain = self.tokenizer.encode(probe, add_special_tokens=False)
        full = self.tokenizer.encode(probe, add_special_tokens=True)
        at = next((at for at in range(len(full)) if full[at : at + len(plain)] == plain), None)
        if at is None:
            raise UserError(
                "the tokenizer reads a text in another way with special tokens than without them",
                fix="Use the fast tokenizer of this model (tokenizer.json).",
            )
        return tuple(dict.fromkeys(full[:at])), tuple(full[at + len(plain) :])

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def thoughts_and_answer(self, ids: Sequence[int]) -> tuple[str, str]:
        """The text of generated ids in two parts: thoughts with their marks, and the answer without special tokens."""
        if not self._special_marks:
            return split_thoughts(self.text(ids), opened=self._in_thought)
        whole = str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
        if not has_marks(whole):
            return "", self.text(ids)
        thoughts, answer = split_thoughts(whole, opened=self._in_thought)
        return thoughts, answer if CALL.match(answer) else self._special_texts.sub("", answer)

    @cached_property
    def _special_texts(self) -> re.Pattern[str]:
        texts = self.tokenizer.convert_ids_to_tokens(sorted(self.special_ids))
        return re.compile("|".join(re.escape(text) for text in texts if text) or r"(?!)")

    @cached_property
    def _special_marks(self) -> bool:
        """Whether the marks of thoughts are special tokens, which decoding would leave out."""
        return any(has_marks(text) for text in self.tokenizer.convert_ids_to_tokens(sorted(self.special_ids)))

    @cached_property
    def _in_thought(self) -> bool:
        return opens_a_thought(self.chat.prompt((Message("user", "probe"),)))

    @property
    def prefix_token(self) -> int:
        """The token that stands for an empty prompt: BOS, or the end of text where there is no BOS."""
        token = self.tokenizer.bos_token_id
        return int(token if token is not None else self.tokenizer.eos_token_id)

    @cached_property
    def end_of_turn(self) -> tuple[int, ...]:
        """The ids that the template writes after an answer, without trailing white space."""
        ids = self.tokens(self.chat.end_of_turn, bare=True)
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
