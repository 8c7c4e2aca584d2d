"""A chat template, probed once: how it wants to be fed, and where an answer of its conversations begins and ends.

Templates differ in ways that silently change what is trained and scored: some drop or refuse a role, some take content
as parts, some write today's date, some open a thought for the next turn that finished turns do not have. Each of these
is found by rendering short probe conversations; the remedy is applied to every conversation alike, and named.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from harness.errors import UserError, first_line
from harness.records import Message

DEFAULT_DATE = "2025-01-01"
"""The day that a template reads as today unless the experiment names another: equal runs are asked equally."""

ASKED, ANSWERED, SAID, RETURNED, AGAIN = "probequestion", "probeanswer", "probesystem", "proberesult", "probeagain"
Turns = tuple[Message, ...]
_DIRECTIVES = ("-d", "-m", "-H", "-I", "-M", "-S", *"aAbBcdDeFGHIjmMpSTuUVwWxXyY")
_QUESTION = (Message("user", ASKED),)
_ANSWER = (*_QUESTION, Message("assistant", ANSWERED))


class ChatTemplate:
    """A template with its arguments and its pinned date.

    tokenizer  of `transformers`; it compiles the template and brings the special tokens
    arguments  further variables of the template, such as `enable_thinking: false`
    date       YYYY-MM-DD: today, for a template that asks
    """

    def __init__(
        self, tokenizer: Any, text: str, *, arguments: Mapping[str, Any] | None = None, date: str = DEFAULT_DATE
    ) -> None:
        self.tokenizer, self.text = tokenizer, text
        self.arguments, self.date = dict(arguments or {}), date
        _day(date)

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> str:
        """The text of a conversation, as it is or ready for the assistant's next turn.

        Raises UserError where the template refuses it.
        """
        fed = self._fed(messages)
        try:
            return self._raw(fed, generation_prompt, self.date, parts=self._parts)
        except Exception as error:
            raise UserError(
                f"the chat template refuses this conversation: {first_line(error)}",
                fix=f"Its turns are {', '.join(message.role for message in messages)}; change the row or the template.",
            ) from error

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that an answer follows: the generation prompt without what a finished turn does not have."""
        text = self.render(messages)
        return text.removesuffix(self.opened) if self.opened else text

    def answer(self, messages: Sequence[Message], content: str, thoughts: str = "") -> str:
        """The text of an answer to these messages as the template writes it, from the end of `prompt` on.

        It includes what the template puts before the answer (an empty thought, a channel), not the end of the turn.
        Raises UserError where the template changes the answer and the turns before it.
        """
        asked = self.prompt(messages)
        whole = self.render((*messages, Message("assistant", content, thoughts)), generation_prompt=False)
        if thoughts and thoughts.strip() not in whole[len(asked) :]:
            raise UserError(
                "the chat template drops the thoughts of this answer (`reasoning_content`)",
                fix="Write them into `content` as the model is to write them, or remove them from the row.",
            )
        until = len(whole) - len(self._tail)
        if whole.startswith(asked) and whole.endswith(self._tail):
            return whole[len(asked) : until]
        # a template that shortens a conversation cuts it elsewhere once the answer is there
        if whole[:until].endswith(self.lead + content):
            return self.lead + content
        raise UserError(
            "the chat template writes this conversation with its answer in another way than without it",
            fix="Remove the row, or name another `chat_template` for the base.",
        )

    @cached_property
    def lead(self) -> str:
        """The text that the template writes between `prompt` and an answer: an empty thought, a channel, or nothing."""
        return self.answer(_QUESTION, ANSWERED).removesuffix(ANSWERED)

    @cached_property
    def opened(self) -> str:
        """The end of the generation prompt that a finished turn does not have, such as an opened thought."""
        asked, whole = self.render(_QUESTION), self.render(_ANSWER, generation_prompt=False)
        return asked[_shared(asked, whole) :]

    @cached_property
    def _tail(self) -> str:
        """All that the template writes after the last answer of a conversation."""
        whole = self.render(_ANSWER, generation_prompt=False)
        if ANSWERED not in whole:
            raise UserError(
                "the chat template drops the assistant's answer",
                fix="Name another `chat_template` for the base: nothing can be trained or scored under this one.",
            )
        return whole.rsplit(ANSWERED, 1)[1]

    @cached_property
    def end_of_turn(self) -> str:
        """The text that ends an answer, without white space around it.

        What follows an answer at the end of a conversation and within one is compared: a mark of the conversation's
        end (Phi-3) is not part of it, and a template that ends a turn by opening the next one (GLM-4.5) has that
        opening as the end.
        """
        tail = self._tail.rstrip()
        within = self.render((*_ANSWER, Message("user", AGAIN))).split(ANSWERED, 1)[-1].split(AGAIN, 1)[0]
        if not tail:
            return within.strip().split("\n", 1)[0]
        if within.startswith(tail):
            return tail.strip()
        common = tail[: _shared(tail, within)]
        whole_marks = common[: max(common.rfind("\n"), common.rfind(" ")) + 1].strip()
        return whole_marks or tail.strip()

    @cached_property
    def dated(self) -> bool:
        """Whether the text depends on today's date."""
        system = self._fed((Message("system", SAID), *_QUESTION))
        days = ("2001-02-03", "2014-05-16")
        return any(
            len({self._raw(turns, True, day, parts=self._parts) for day in days}) > 1
            for turns in (system, self._fed(_QUESTION))
        )

    @cached_property
    def remedies(self) -> tuple[str, ...]:
        """The changes to every conversation that make this template keep it, in words."""
        parts, fold_system, join_users, tool_as_user = self._shape
        named = {
            "content is given as a list of text parts": parts,
            "the system text is put before the first user turn": fold_system,
            "successive user turns are joined": join_users,
            "a tool's result is given as a user turn": tool_as_user,
            f"its date is {self.date}": self.dated,
            f"the prompt ends before {self.opened!r}, which finished turns do not have": bool(self.opened),
            f"answers are trained and scored after {self.lead!r}, which the template writes before them": bool(
                self.lead
            ),
        }
        return tuple(words for words, applies in named.items() if applies)

    @property
    def _parts(self) -> bool:
        return self._shape[0]

    @cached_property
    def _shape(self) -> tuple[bool, bool, bool, bool]:
        """(content as parts, system folded, user turns joined, tool as user): the least that keeps every probe."""
        for parts in (False, True):
            if self._keeps(_ANSWER, parts, generation=False) and self._keeps(_QUESTION, parts):
                break
        else:
            raise UserError(
                f"the chat template drops or refuses a plain question and answer{self._refusal()}",
                fix="Name another `chat_template` for the base.",
            )
        system = (Message("system", SAID), *_QUESTION)
        two_users = (*_QUESTION, Message("user", AGAIN))
        tool = (*_ANSWER, Message("tool", RETURNED))
        fold_system = not self._keeps(system, parts)
        join_users = not self._keeps(two_users, parts)
        tool_as_user = not self._keeps(tool, parts)
        return parts, fold_system, join_users, tool_as_user

    def _refusal(self) -> str:
        """The error that a plain question raises, after a colon; "" where it raises none."""
        try:
            self._raw(_QUESTION, True, self.date, parts=False)
        except Exception as error:
            return f": {first_line(error)}"
        return ""

    def _keeps(self, messages: Turns, parts: bool, *, generation: bool = True) -> bool:
        """Whether every turn's text survives rendering, in order."""
        try:
            text, at = self._raw(messages, generation, self.date, parts=parts), 0
        except Exception:
            return False
        for message in messages:
            at = text.find(message.content, at)
            if at < 0:
                return False
        return True

    def _fed(self, messages: Sequence[Message]) -> Turns:
        """The conversation in the shape that the template keeps."""
        _, fold_system, join_users, tool_as_user = self._shape
        fed = [
            replace(message, role="user") if tool_as_user and message.role == "tool" else message
            for message in messages
        ]
        if fold_system and fed and fed[0].role == "system":
            fed[0] = replace(fed[0], role="user")
            fed = [*_joined(fed[:2]), *fed[2:]]
        return tuple(_joined(fed) if join_users else fed)

    def _raw(self, messages: Sequence[Message], generation_prompt: bool, date: str, *, parts: bool) -> str:
        rows = [
            {
                "role": one.role,
                "content": [{"type": "text", "text": one.content}] if parts else one.content,
                **({"reasoning_content": one.thoughts} if one.thoughts else {}),
            }
            for one in messages
        ]
        # a template may write a special token that the tokenizer lacks
        missing = {name: "" for name in ("bos_token", "eos_token") if getattr(self.tokenizer, name, None) is None}
        text = self.tokenizer.apply_chat_template(
            rows,
            chat_template=_with_clock(self.text, date),
            tokenize=False,
            add_generation_prompt=generation_prompt,
            **{**missing, **self.arguments},
        )
        return str(text)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Successive user turns as one."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role == "user":
            joined[-1] = Message("user", f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined


def _with_clock(text: str, date: str) -> str:
    """The template with a clock that stopped at midnight of this day, in place of `transformers`' `strftime_now`.

    `transformers` takes no function as a variable of a template, so the clock is a macro in front of it.
    """
    if "strftime_now" not in text:
        return text
    day = _day(date)
    filters = "".join(f"|replace({'%' + code!r}, {day.strftime('%' + code)!r})" for code in _DIRECTIVES)
    # the line's end after the macro is eaten by `trim_blocks`, so the template still begins at the start of a line
    return "{% macro strftime_now(format) %}{{ format" + filters + " }}{% endmacro %}\n" + text


def _day(date: str) -> datetime.datetime:
    try:
        return datetime.datetime.strptime(date, "%Y-%m-%d")
    except ValueError:
        raise UserError(f"the date is {date!r}", fix=f"Write it as YYYY-MM-DD, such as {DEFAULT_DATE}.") from None


def _shared(first: str, second: str) -> int:
    """How many characters two texts share at their beginning."""
    at = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        at += 1
    return at
