"""Thoughts in a completion are told from its answer, so that every benchmark and verifier judges the answer alone.

    <think> ... </think> answer       Qwen3, DeepSeek-R1 and others; some templates open it in the prompt
    <|channel|>analysis<|message|> ... <|channel|>final<|message|> answer       gpt-oss's harmony format

A thought that is never closed leaves no answer. A call of a function in harmony's format is an answer.
"""

from __future__ import annotations

import re

NAMES = ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think")
PAIRS = (
    *((f"<{name}>", f"</{name}>") for name in NAMES),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>")
CALL = re.compile(
    r"(?:<\|channel\|>\s*\w+\s+)?to=functions\."
)  # a call is an answer, with the marks that it is read by
_HARMONY_END = re.compile(r"<\|(?:return|end|call|start)\|>")
_SPACE = re.compile(r"\s*")
_OPENERS = re.compile("|".join(re.escape(opener) for opener, _ in PAIRS))
_CLOSERS = re.compile("|".join(re.escape(closer) for _, closer in PAIRS))


def split_thoughts(text: str, *, opened: bool = False) -> tuple[str, str]:
    """(thoughts with their marks, answer) of a completion.

    opened  the prompt ends inside a thought
    """
    if CHANNEL in text:
        return _harmony(text)
    at = _end_of_thoughts(text, opened)
    return text[:at], text[at:].lstrip("\n") if at else text


def opens_a_thought(prompt: str) -> bool:
    """Whether a rendered prompt ends inside a thought."""
    return any(prompt.rstrip().endswith(opener) for opener, _ in PAIRS)


def has_marks(text: str) -> bool:
    """Whether a text has any mark of a thought."""
    return CHANNEL in text or bool(_OPENERS.search(text) or _CLOSERS.search(text))


def _end_of_thoughts(text: str, opened: bool) -> int:
    """Where the thoughts at the beginning of a text end; 0 where it has none."""
    at = 0
    while True:
        opener = _OPENERS.match(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]
        if opener is None and not (opened and at == 0):
            break
        closer = _CLOSERS.search(text, opener.end() if opener else at)
        if closer is None:
            return len(text)
        at = closer.end()
    # a model may close a thought that its template has opened, where nothing said so
    stray = _CLOSERS.search(text, at)
    if stray and not _OPENERS.search(text, at, stray.start()):
        return stray.end()
    return at


def _harmony(text: str) -> tuple[str, str]:
    final = FINAL.search(text)
    call = CALL.search(text)
    if call and (final is None or call.start() < final.start()):
        return text[: call.start()], text[call.start() :]
    if final is None:
        return text, ""
    answer = _HARMONY_END.split(text[final.end() :], maxsplit=1)[0]
    return text[: final.end()], answer
