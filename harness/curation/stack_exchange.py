"""LIMA's rules for Stack Exchange answers (Zhou et al. 2023, arXiv 2305.11206, section 2.1).

A score of at least 10, between 1,200 and 4,096 characters, not in the first person, no reference to other answers;
links, images and HTML are taken out, except code and lists.
"""

from __future__ import annotations

import html
import re

from harness.data.examples import Example, answer_text, with_texts

SHORTEST, LONGEST = 1200, 4096
FIRST_PERSON = re.compile(r"\bI\b(?!/O)|\bI['’](?:m|ve|d|ll)\b|\b[Mm]y\b")
OTHER_ANSWERS = re.compile(
    r"\bas mentioned\b|\bstack ?(?:exchange|overflow)\b|\b(?:other|above|previous|accepted) answers?\b", re.I
)
IMAGE = re.compile(r"<img\b[^>]*>|!\[[^\]]*\]\([^)]*\)", re.I)
LINK = re.compile(r"<a\b[^>]*>(.*?)</a>|\[([^\]]+)\]\((?:https?:)?[^)\s]*\)", re.I | re.S)
TAG = re.compile(r"</?(?!(?:pre|code|ul|ol|li)\b)[a-z][^<>]*>", re.I)
CODE = re.compile(r"(<pre\b.*?</pre>|<code\b.*?</code>|```.*?```|`[^`\n]+`)", re.I | re.S)


def without_markup(example: Example) -> Example:
    """The example without links, images and HTML; itself where there was none."""
    record = with_texts(example.record, _cleaned)
    return example if record == example.record else example.edited(record)


def refusal_of(example: Example, min_score: int) -> str:
    """Why the rules leave the example out, or an empty text."""
    answer, score = answer_text(example.record), example.extra.get("score")
    if score is not None and not (isinstance(score, (int, float)) and score >= min_score):
        return f"score under {min_score}"
    if len(answer) < SHORTEST:
        return f"answer under {SHORTEST} characters"
    if len(answer) > LONGEST:
        return f"answer over {LONGEST} characters"
    prose = CODE.sub(" ", answer)
    if FIRST_PERSON.search(prose):
        return "written in the first person"
    return "refers to other answers" if OTHER_ANSWERS.search(prose) else ""


def _cleaned(text: str) -> str:
    # what stands in code is code, not markup
    parts = CODE.split(text)
    return "".join(part if at % 2 else _without_markup(part) for at, part in enumerate(parts))


def _without_markup(text: str) -> str:
    text = LINK.sub(lambda found: found.group(1) or found.group(2) or "", IMAGE.sub("", text))
    stripped = TAG.sub("", text)
    return html.unescape(stripped) if stripped != text else text
