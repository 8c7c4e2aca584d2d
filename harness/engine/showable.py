"""Text for a terminal or a page: control characters, and characters that reorder a line, become visible names.

Whatever a user or a model wrote passes `clean` before it is printed: labels, file names, answers, error messages.
"""

from __future__ import annotations

import re
from textwrap import wrap

from harness.errors import UserError

_REORDERING = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
_UNSHOWABLE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_REORDERING}]")


def clean(text: str) -> str:
    """Replace characters that cannot be shown, or that would reorder what is shown, by visible names."""
    return _UNSHOWABLE.sub(_visible, text.replace("\r\n", "\n"))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(0x2400 + code) if code < 0x20 else f"\\u{{{code:x}}}"


def is_plain(text: str) -> bool:
    """Whether a name can be shown as it is: every character is printable, and none reorders the line."""
    return text.isprintable() and clean(text) == text


def counted(number: int, noun: str) -> str:
    """'1 test', '59 tests'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def folded(line: str, width: int) -> list[str]:
    """A line on lines of that width, broken between words; those after the first are indented.

    The columns of a line, two spaces or more apart, give the indentation. A command is continued as a shell reads it.
    """
    if len(line) <= width:
        return [line]
    before, next_, command = line.rpartition("Next: bakeoff ")
    if next_:
        quoted = re.sub("'[^']*'", lambda found: found.group().replace(" ", "\0"), next_ + command)
        *parts, last = (part.replace("\0", " ") for part in _wrapped(quoted, width - 2, 6))
        return [*(folded(before.rstrip(), width) if before else []), *(f"{part} \\" for part in parts), last]
    columns = [found.end() for found in re.finditer("  +", line) if found.end() <= width // 2]
    return _wrapped(line, width, columns[-1] if columns else 0)


def _wrapped(line: str, width: int, indent: int) -> list[str]:
    return wrap(
        line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False,
        expand_tabs=False, replace_whitespace=False,
    )  # fmt: skip


def message(error: UserError) -> str:
    """An error as it is printed: what is wrong on one line, what would be right on the next.

    Neither is endless: `UserError` has cut its parts, and says how long they were.
    """
    parts = (f"{error.where}: {error.what}" if error.where else error.what, error.fix)
    return "\n  ".join(clean(" ".join(part.split("\n"))) for part in parts if part)
