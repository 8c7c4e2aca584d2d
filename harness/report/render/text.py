"""Text for a reader: unsafe text is cleaned, cut and escaped.

Whatever a model wrote, or an error message quotes, passes `clean` (no control characters, no characters that
reorder a line) and `cut` (no endless lines) before it is shown. The renderers
escape it: `html.py` by jinja2, `markdown.py` by `escape_markdown` and `fenced`.
"""

from __future__ import annotations

import re

from harness.engine.showable import clean as clean

LONGEST_LINE = 400
LONGEST_TEXT = 1600
LONGEST_PROSE = 4000  # a cell or a paragraph; only the names and messages in it can be that long
MOST_LINES = 30

# characters that start markup anywhere in a line: '[' and '!' need a '](', '][' or ']:' to make anything of them
_MARKDOWN = re.compile(r"[\\`*>|#&~${}]|<(?=[A-Za-z/!?])|\](?=[(\[:])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^([-+=](?=[-+=\s]|$)|\d+(?=[.)](?:\s|$)))")


def cut(text: str, longest: int = LONGEST_TEXT, longest_line: int = LONGEST_LINE, lines: int = MOST_LINES) -> str:
    """Shorten long lines, many lines and long texts, each with a note that says how much is missing."""
    kept = []
    split = text.split("\n")
    for line in split[:lines]:
        kept.append(line if len(line) <= longest_line else _noted(line, longest_line))
    if len(split) > lines:
        kept.append(f"… [cut: {len(split) - lines:,} more lines]")
    joined = "\n".join(kept)
    return joined if len(joined) <= longest else _noted(joined, longest)


def _noted(text: str, longest: int) -> str:
    return f"{text[:longest]} … [cut: {len(text) - longest:,} more characters]"


def one_line(text: str, longest: int = 160) -> str:
    """The text on one line, cleaned and cut: for table cells and messages."""
    return cut(clean(" ".join(text.split())), longest=longest, longest_line=longest)


def escape_markdown(text: str) -> str:
    """Text that Markdown (GitHub's too) shows as it is, on one line: no markup, link, HTML or table cell."""
    line = one_line(text, LONGEST_PROSE)
    escaped = _MARKDOWN.sub(lambda match: "\\" + match.group(), line)
    escaped = _LINE_START.sub(lambda m: m[1] + "\\" if m[1].isdigit() else "\\" + m[1], escaped)
    # a bare address would become a link
    return re.sub(r"(?i)(www)\.|(https?|ftp|mailto|xmpp):|@(?=\w)", _unlinked, escaped)


def _unlinked(match: re.Match[str]) -> str:
    found = match.group()
    return f"{found[:-1]}&#{ord(found[-1])};"


def fenced(text: str) -> str:
    """A Markdown code block whose fence is longer than any run of backticks within."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text)}\n{fence}"


def listed(names: list[str]) -> str:
    """'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
