"""Turns of a conversation, read into messages and written back.

Turns are lists as OpenAI (`role`, `content`) or ShareGPT (`from`, `value`) writes them, or a text in the notation of
HH-RLHF (Bai et al. 2022, arXiv 2204.05862). Everything in a turn that changes what is trained is read or refused:
calls, thoughts, functions, media, and marks of turns that are not to be imitated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.errors import UserError
from harness.records import Message, Role

# names of roles, in lower case
ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "tool_response", "ipython"), "tool"),
}
# the names of roles in ShareGPT turns that are written
WRITTEN: dict[Role, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
# the keys of a turn, by their meaning; of several keys of one meaning, those with a value must agree
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value", "text", "parts", "refusal")
THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning", "thought", "thoughts")
CALL_KEYS = ("tool_calls", "function_call")
TRAINED_KEYS = (
    *("weight", "train", "training", "trainable", "trained", "train_on_turn", "learnable"),
    *("loss", "loss_mask", "loss_weight", "label"),
)
MASKED_KEYS = ("masked",)
MEDIA_KEYS = ("image", "images", "video", "videos", "audio", "audios")
# keys that cannot be honoured, and what to do about them
REFUSED_KEYS = {
    **dict.fromkeys((*MEDIA_KEYS, "train_detail", "training_detail"), ("cannot be trained", "Remove the row.")),
    "mask": ("may mean that the turn is trained or that it is not", "Write `train: false` or `train: true`."),
    **dict.fromkeys(
        ("tools", "functions"),
        ("belongs to the whole conversation", "Put the functions into the column `tools` of the row."),
    ),
}
KNOWN_KEYS = {*ROLE_KEYS, *CONTENT_KEYS, *THOUGHT_KEYS, *CALL_KEYS, "tool_call_id", *TRAINED_KEYS, *MASKED_KEYS}
PART_KEYS = {"type", "text", "thinking", "reasoning", "signature"}
SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def checked_text(value: Any, key: str, where: str, *, may_be_empty: bool = False) -> str:
    """The value, which must be text that a UTF-8 file can hold; raises UserError naming `key`."""
    if not isinstance(value, str):
        raise UserError(f"`{key}` is {type(value).__name__}, not text", where=where, fix=f"Give `{key}` as text.")
    if not may_be_empty and not value.strip():
        raise UserError(f"`{key}` is empty", where=where, fix="Remove the row or fill it in.")
    try:
        value.encode()
    except UnicodeEncodeError:
        what = f"`{key}` holds half a character (a lone surrogate)"
        raise UserError(what, where=where, fix="Remove or fix it.") from None
    return value


def truth_of(value: Any) -> bool | None:
    """True and False as JSON, a number or text (a CSV cell) writes them, else None."""
    return TRUTH.get(str(value).strip().lower()) if isinstance(value, (bool, int, float, str)) else None


def is_given(value: Any) -> bool:
    """Whether the value says anything: null, an empty text and what holds nothing else do not."""
    if isinstance(value, Mapping):
        return any(is_given(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_given(one) for one in value)
    return value is not None and not (isinstance(value, str) and not value.strip())


def read_turns(value: Any, where: str, *, continues: bool = False) -> tuple[Message, ...]:
    """The messages of a list of turns, or of its text (as in a CSV cell); empty system turns are left out.

    continues  whether the turns follow others, so that the first may be the assistant's

    Raises UserError for an unknown role, a system turn that is not the first, an assistant turn that is the first,
    and two assistant turns in a row.
    """
    turns = parsed_turns(value) if isinstance(value, str) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise UserError(
            "its messages are not a list, or it is empty", where=where, fix="Write a list of {role, content}."
        )
    ordered = _in_call_order(turns)
    read = [_read_turn(turn, f"{where}, message {number}") for number, turn in enumerate(ordered, 1)]
    messages = tuple(message for message in read if message.content or message.role != "system")
    if not messages:
        raise UserError("its messages are empty system turns", where=where, fix="Add the conversation.")
    check_order(messages, where, continues=continues)
    return messages


def _in_call_order(turns: Sequence[Any]) -> list[Any]:
    """The turns, with the results of several calls in the order of the calls that their ids name."""
    ordered = list(turns)
    for at, turn in enumerate(turns):
        calls = turn.get("tool_calls") if isinstance(turn, Mapping) else None
        calls = calls if isinstance(calls, (list, tuple)) else ()
        ids = [str(call.get("id")) for call in calls if isinstance(call, Mapping)]
        answers = turns[at + 1 : at + 1 + len(ids)]
        named = [str(one.get("tool_call_id")) if isinstance(one, Mapping) else "" for one in answers]
        if len(set(ids)) == len(ids) and named != ids and sorted(named) == sorted(ids):
            ordered[at + 1 : at + 1 + len(ids)] = sorted(answers, key=lambda one: ids.index(str(one["tool_call_id"])))
    return ordered


def write_openai(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as {role, content}."""
    return [{"role": one.role, "content": one.content, **_marks(one)} for one in messages]


def write_sharegpt(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as {from, value}."""
    return [{"from": WRITTEN[one.role], "value": one.content, **_marks(one)} for one in messages]


def _marks(message: Message) -> dict[str, Any]:
    thoughts = {"reasoning_content": message.thoughts} if message.thoughts else {}
    return thoughts if message.trained else {**thoughts, "weight": 0}


def is_turns(value: Any) -> bool:
    """Whether the value is a list of turns, or its text (as in a CSV cell)."""
    listed = parsed_turns(value) if isinstance(value, str) else value
    if isinstance(value, str) and listed:
        return all(isinstance(turn, Mapping) and ("role" in turn or "from" in turn) for turn in listed)
    return isinstance(listed, (list, tuple))


def is_sharegpt(turns: Any) -> bool:
    """Whether a column holds ShareGPT turns."""
    turns = parsed_turns(turns) if isinstance(turns, str) else turns
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], Mapping):
        return False
    return turns[0].get("from") is not None and turns[0].get("role") is None


def parsed_turns(text: str) -> Any:
    """The list that the text is, as JSON or as Python writes it (pandas' CSV), else None."""
    if not text.lstrip().startswith("["):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def text_turns(text: str, *, prompt: bool = False) -> list[Any] | None:
    """The turns that the text is, as JSON, as Python or HH-RLHF writes them, else None.

    prompt  whether a last, empty turn of the assistant may be left out
    """
    if is_turns(text):
        return list(parsed_turns(text))
    if not re.match(r"\s*Human:", text):
        return None
    parts = SPEAKER.split(text)[1:]
    turns = [
        {"role": SPEAKERS[name], "content": said.strip()} for name, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    if all(turn["role"] == "user" for turn in turns):
        return None
    return turns[:-1] if prompt and not turns[-1]["content"] else turns


def without_nulls(value: Any) -> Any:
    """The value without keys that are null: Arrow adds them where other rows have such a key."""
    if isinstance(value, Mapping):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, (list, tuple)) else value


def _read_turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UserError(
            f"a message is {type(turn).__name__}, not {{role, content}}", where=where, fix="Write {role, content}."
        )
    turn = without_nulls(turn)
    _check_honoured(turn, where)
    role = _role_of(turn, where)
    content, thoughts = _content_of(turn, role, where)
    thoughts = _thoughts_of(turn, role, content, thoughts, where)
    trained = _is_trained(turn, role, where)
    return Message(role, content, thoughts, trained) if role == "assistant" else Message(role, content)


def _check_honoured(turn: Mapping[str, Any], where: str) -> None:
    for key, (why, fix) in REFUSED_KEYS.items():
        if is_given(turn.get(key)) and (key == "mask" or turn[key]):
            raise UserError(f"it has `{key}`, which {why}", where=where, fix=fix)


def _role_of(turn: Mapping[str, Any], where: str) -> Role:
    named = {key: turn[key] for key in ROLE_KEYS if is_given(turn.get(key))}
    if not named:
        raise UserError(
            f"the role is None: its keys are {', '.join(map(str, turn)) or 'none'}",
            where=where,
            fix=f"Name the role as `role` or `from`: {', '.join(ROLES)}.",
        )
    roles = {ROLES.get(one.strip().lower()) if isinstance(one, str) else None for one in named.values()}
    role = roles.pop()
    if role is None or roles:
        said = " and ".join(repr(one) for one in named.values())
        raise UserError(f"the role is {said}", where=where, fix=f"Roles are {', '.join(ROLES)}.")
    return role


def _thoughts_of(turn: Mapping[str, Any], role: Role, content: str, thoughts: str, where: str) -> str:
    """The thoughts of the turn. Raises UserError where two keys disagree, or the turn is not the assistant's."""
    given = {key: checked_text(turn[key], key, where, may_be_empty=True) for key in THOUGHT_KEYS if key in turn}
    found = {text for text in (thoughts, *given.values()) if text.strip()}
    if len(found) > 1:
        raise UserError(f"{' and '.join(given)} hold different thoughts", where=where, fix="Keep one of them.")
    if found and role != "assistant":
        raise UserError(f"a turn of the {role} has thoughts", where=where, fix="Only assistant turns have thoughts.")
    return thoughts_before(content, found.pop(), where) if found else ""


def thoughts_before(content: str, thoughts: str, where: str) -> str:
    """The thoughts, or "" where the content opens with them. Raises UserError where it opens with others."""
    if not content.lstrip().startswith("<think>"):
        return thoughts
    if thoughts.strip() not in content:
        raise UserError(
            "its content opens with other thoughts than those given apart", where=where, fix="Keep one of them."
        )
    return ""


def _content_of(turn: Mapping[str, Any], role: Role, where: str) -> tuple[str, str]:
    """The text and the thoughts of its parts; calls follow the text on a line of their own."""
    key, content = _one_of(turn, CONTENT_KEYS, where) or ("value" if "from" in turn else "content", None)
    thoughts = ""
    if isinstance(content, list):
        content, thoughts = read_parts(content, where)
    if calls := _calls_of(turn, role, where):
        # a call without text is valid: the model is to write the call itself
        said = checked_text(content or "", key, where, may_be_empty=True)
        return "\n".join(part for part in (said, calls) if part.strip()), thoughts
    if role == "system" and isinstance(content or "", str) and not (content or "").strip():
        return "", thoughts
    return checked_text(content, key, where), thoughts


def _one_of(turn: Mapping[str, Any], keys: Sequence[str], where: str) -> tuple[str, Any] | None:
    """The key that has a value, with it, or the first that the turn has. Raises UserError where two values differ."""
    found = {key: turn[key] for key in keys if key in turn}
    filled = {key: value for key, value in found.items() if is_given(value) and value is not False}
    if any(value != next(iter(filled.values())) for value in filled.values()):
        raise UserError(f"{' and '.join(filled)} differ", where=where, fix="Keep one of them.")
    return next(iter((filled or found).items()), None)


def _calls_of(turn: Mapping[str, Any], role: Role, where: str) -> str:
    """The turn's calls as text, or ""."""
    legacy = turn.get("function_call")
    named = {"tool_calls": turn.get("tool_calls"), "function_call": [{"function": legacy}] if legacy else None}
    texts = {key: _calls_text(calls) for key, calls in named.items() if calls}
    if texts and role != "assistant":
        raise UserError(f"a turn of the {role} calls a function", where=where, fix="Only assistant turns call.")
    return (_one_of(texts, CALL_KEYS, where) or ("", ""))[1]


def _calls_text(calls: Any) -> str:
    """The calls as JSON, without the ids and types that only the API needs."""
    if isinstance(calls, str):
        calls = parsed_turns(calls) or calls
    calls = [calls] if isinstance(calls, Mapping) else calls
    if isinstance(calls, (list, tuple)):
        calls = [_bare(call) if isinstance(call, Mapping) else call for call in calls]
    return calls if isinstance(calls, str) else json.dumps(calls, ensure_ascii=False, sort_keys=True)


def _bare(call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in call.items() if key not in ("id", "index") and (key, value) != ("type", "function")
    }


def read_parts(parts: Sequence[Any], where: str) -> tuple[str, str]:
    """The joined texts and the joined thoughts of a content that is a list of parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        given = {"type": "text", "text": part} if isinstance(part, str) else part
        given = {"type": type(part).__name__} if not isinstance(given, Mapping) else given
        media = [key for key in MEDIA_KEYS if is_given(given.get(key))]
        kind = media[0] if media else given.get("type", "text")
        if kind in ("text", "input_text", "output_text"):
            texts.append(checked_text(given.get("text"), "text", where, may_be_empty=True))
        elif kind in ("thinking", "reasoning"):
            thoughts.append(checked_text(given.get(kind, given.get("text")), kind, where, may_be_empty=True))
        else:
            raise UserError(f"a part of its content is {kind!r}, not text", where=where, fix="Remove the row.")
    return "".join(texts), "".join(thoughts)


def _is_trained(turn: Mapping[str, Any], role: Role, where: str) -> bool:
    trained = True
    for key in (*TRAINED_KEYS, *MASKED_KEYS):
        if key in turn:
            mark = truth_of(turn[key])
            if mark is None and key == "label":
                continue  # the class of the turn
            if mark is None:
                raise UserError(f"`{key}` is {turn[key]!r}", where=where, fix="Write 0 or 1, or true or false.")
            mark = mark != (key in MASKED_KEYS)
            if mark and role != "assistant" and key not in ("weight", "loss_weight", *MASKED_KEYS):
                raise UserError(
                    f"`{key}` is {turn[key]!r} in a turn of the {role}",
                    where=where,
                    fix="Only assistant turns are trained: remove the key, or make it false.",
                )
            trained = trained and mark
    return trained


def check_order(messages: Sequence[Message], where: str, *, continues: bool = False) -> None:
    """Raise UserError where a turn is in a place that it cannot have."""
    asked = [message.role for message in messages if message.role != "system"]
    if not continues and asked[:1] == ["assistant"]:
        raise UserError(
            "it opens with an assistant's turn",
            where=where,
            fix="Put the user's turn before it, or remove the opening turn.",
        )
    for number, (before, message) in enumerate(pairwise(messages), 2):
        if message.role == "system":
            raise UserError(
                "a system turn follows other turns",
                where=f"{where}, message {number}",
                fix="Put the only system turn first.",
            )
        if before.role == message.role == "assistant":
            raise UserError(
                "two assistant turns in a row",
                where=f"{where}, message {number}",
                fix="Join them into one, or put the user's turn between them.",
            )
