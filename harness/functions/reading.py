"""From an answer to the calls that it makes, in any notation in use.

    [f(a=1), g(b="x")]                                   Python's notation, as BFCL asks for
    {"name": "f", "arguments": {"a": 1}}                 JSON, alone or in a list, and OpenAI's tool_calls
    <tool_call>{"name": "f", ...}</tool_call>            one element for each call; words may stand around them
    ```json ... ```                                      either of them in fenced blocks; words may stand around them

Words beside a call that is neither fenced nor wrapped make the answer unreadable, as in BFCL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.data.calls import CLOSED, OPENED, FunctionCall, read_calls
from harness.functions.python_calls import read_python

LONGEST = 20_000  # characters; a longer answer is not read
FENCE = "```"
LANGUAGE = re.compile(r"\A[A-Za-z_]{0,20}[ \t]*\n")


def calls_in(answer: str) -> tuple[FunctionCall, ...] | None:
    """The calls of an answer; none where it is an empty list; None where it cannot be read as calls."""
    if len(answer) > LONGEST:
        return None
    parts = [_calls_of(part) for part in _parts(answer)]
    known = [part for part in parts if part is not None]
    return tuple(call for part in known for call in part) if len(known) == len(parts) > 0 else None


def _parts(answer: str) -> Iterator[str]:
    """The texts that have to be calls, all of them."""
    if OPENED in answer:
        for piece in answer.split(OPENED)[1:]:
            yield piece.partition(CLOSED)[0]
    elif FENCE in answer:
        for piece in answer.split(FENCE)[1::2]:
            yield LANGUAGE.sub("", piece)
    else:
        yield answer


def _calls_of(text: str) -> tuple[FunctionCall, ...] | None:
    text = text.strip().strip("`").strip()
    if text.replace(" ", "") == "[]":
        return ()
    read = read_calls(text)
    if read and not read.worded:
        return read.calls
    return read_python(text)
