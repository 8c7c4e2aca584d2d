"""Thoughts in a completion are told from its answer, so that every benchmark and verifier judges the answer alone.

    <think> ... </think> answer       Qwen3, DeepSeek-R1 and others (PAIRS); some templates open it in the prompt
    <|channel|>analysis<|message|> ... <|channel|>final<|message|> answer       gpt-oss's harmony format

A thought that is never closed leaves no answer. A call of a function in harmony's format is an answer. A closing mark
in quotes, or within a line of a text that opened no thought, is part of that text.
"""

from __future__ import annotations

import re

NAMES = (
    *("think", "thinking", "thought", "thoughts", "reasoning", "reason", "reflection", "scratchpad"),
    *("inner_monologue", "internal_monologue", "longcat_think"),
)
_NAMES = "|".join(NAMES)
OPENER = re.compile(
    rf"<(?:\w{{1,20}}:)?(?:{_NAMES})(?: [^<>]{{0,60}})?>|<\|(?:{_NAMES})\|>|\[THINK\]|◁think▷|<\|START_THINKING\|>"
    r"|<\|begin_of_(?:thought|thinking|reasoning)\|>|<\|inner_prefix\|>|<\|channel>thought\b|<unused94>thought\b",
    re.IGNORECASE,
)
"""Qwen, DeepSeek and many others; Magistral, Kimi, Command, OpenThinker, Apertus, Gemma and MedGemma."""
CLOSER = re.compile(
    rf"</(?:\w{{1,20}}:)?(?:{_NAMES})>|<\|/(?:{_NAMES})\|>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>"
    r"|<\|end_of_(?:thought|thinking|reasoning)\|>|<\|inner_suffix\|>|<channel\|>|<unused95>",
    re.IGNORECASE,
)
MARK = re.compile(f"(?P<opener>{OPENER.pattern})|(?P<closer>{CLOSER.pattern})", re.IGNORECASE)
SPOKEN = re.compile(r"\s*Here(?: is|'s) my thought process:.*?\n[ \t]*Here(?: is|'s) my response:\s*", re.DOTALL)
"""Granite's thoughts, which are words: they count only where the answer follows."""
ENVELOPE = re.compile(
    r"\s*(?:<(?P<name>answer|response|output|solution)>|<\|(?:begin_of_solution|START_RESPONSE)\|>)\s*"
)
ENVELOPE_ENDS = ("<|end_of_solution|>", "<|END_RESPONSE|>")
"""Marks around an answer that follows thoughts."""

CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>")
CALL = re.compile(
    r"(?:\A\s*|<\|channel\|>\s*\w+\s+|<\|start\|>assistant\s*|assistantcommentary\s+)to=functions\."
)  # a call is an answer, with the marks that it is read by
OPEN_CHANNEL = re.compile(r"<\|channel\|>\s*analysis\s*<\|message\|>")
BARE_CHANNEL = re.compile(r"\A\s*(?:analysis(?=[A-Z])|(?:analysis|commentary)(?=.*assistantfinal))", re.DOTALL)
"""The name of harmony's first channel where special tokens were left out."""
BARE_FINAL = "assistantfinal"
_HARMONY_END = re.compile(r"<\|(?:return|end|call|start)\|>")
_SPACE = re.compile(r"\s*")
_QUOTES = "`\"'“”‘’"


def split_thoughts(text: str, *, opened: bool = False) -> tuple[str, str]:
    """(thoughts with their marks, answer) of a completion.

    opened  the prompt ends inside a thought
    """
    if CHANNEL in text or CALL.match(text):
        return _harmony(text)
    if BARE_CHANNEL.match(text):
        return _bare_harmony(text)
    at = _end_of_thoughts(text, opened)
    if not at and (spoken := SPOKEN.match(text)):
        at = spoken.end()
    if not at:
        return "", text
    if envelope := ENVELOPE.match(text, at):
        return text[: envelope.end()], _enclosed(text[envelope.end() :], envelope)
    return text[:at], text[at:].lstrip("\n")


def opens_a_thought(prompt: str) -> bool:
    """Whether a rendered prompt ends inside a thought."""
    end = prompt[-200:].rstrip()
    return any(found.end() == len(end) for pattern in (OPENER, OPEN_CHANNEL) for found in pattern.finditer(end))


def has_marks(text: str) -> bool:
    """Whether a text has any mark of a thought."""
    return CHANNEL in text or bool(MARK.search(text))


def _end_of_thoughts(text: str, opened: bool) -> int:
    """Where the thoughts at the beginning of a text end; 0 where it has none."""
    at = 0
    while True:
        opener = OPENER.match(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]
        if opener is None and not (opened and at == 0):
            break
        at = _closed(text, opener.end() if opener else at)
    # a model may close a thought that its template has opened, where nothing said so
    stray = next((mark for mark in MARK.finditer(text, at) if not _is_quoted(text, mark)), None)
    if stray and stray["closer"] and _closes_a_block(text, stray):
        return stray.end()
    return at


def _closed(text: str, start: int) -> int:
    """Where an open thought ends: at the closer of its own, else at the last, else at the end of the text."""
    depth, end = 1, len(text)
    for mark in MARK.finditer(text, start):
        if _is_quoted(text, mark):
            continue
        depth += 1 if mark["opener"] else -1
        end = mark.end() if mark["closer"] else end
        if depth == 0:
            return end
    return end


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark is in quotes, as in a text about marks."""
    before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
    return bool(before and after) and before in _QUOTES and after in _QUOTES


def _closes_a_block(text: str, mark: re.Match[str]) -> bool:
    """Whether a closing mark is at an edge of its line, or nothing else is in the text before it."""
    before, after = text[: mark.start()].rstrip(" \t")[-1:], text[mark.end() :].lstrip(" \t")[:1]
    return after in ("", "\n", "\r") or before in ("", "\n")


def _enclosed(text: str, envelope: re.Match[str]) -> str:
    """The answer within marks, of which the closing one may be missing."""
    ends = (f"</{envelope['name']}>",) if envelope["name"] else ENVELOPE_ENDS
    text = text.rstrip()
    for end in ends:
        text = text.removesuffix(end)
    return text.rstrip()


def _harmony(text: str) -> tuple[str, str]:
    final = FINAL.search(text)
    call = CALL.search(text)
    if call and (final is None or call.start() < final.start()):
        return text[: call.start()], text[call.start() :]
    if final is None:
        return text, ""
    answer = _HARMONY_END.split(text[final.end() :], maxsplit=1)[0]
    return text[: final.end()], answer


def _bare_harmony(text: str) -> tuple[str, str]:
    """Harmony's text without its special tokens."""
    call, at = CALL.search(text), text.find(BARE_FINAL)
    if call and (at < 0 or call.start() < at):
        return text[: call.start()], text[call.start() :]
    at = len(text) if at < 0 else at + len(BARE_FINAL)
    return text[:at], text[at:]
