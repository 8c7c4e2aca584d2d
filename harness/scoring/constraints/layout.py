"""Instructions about the layout of the answer: lines, bullets, case, templates."""

from __future__ import annotations

import re
from itertools import pairwise

from harness.scoring.constraints.lexicon import MINOR_WORDS
from harness.scoring.constraints.text_units import (
    CLOSERS,
    MARKS,
    WORD,
    is_pictured,
    lines,
    paragraphs,
    same_space,
    sentences,
    without_tags,
    words,
)

BULLET = re.compile(r"\s*(?:[*+•‣◦\-–]|\d{1,3}[.)])\s+")
HEADING = re.compile(r"\s*(?:#{1,6}\s|<h[1-6]\b|\*\*[^*\n]+\*\*:?\s*$|(?:Section|SECTION)\s+\w+[.:]?)")
ITALICS = re.compile(
    r"\s*(?:<[a-z][^<>]{0,200}>\s*){0,5}?<(?:(?P<tag>i|em)(?:\s[^<>]{0,200})?"
    r"|(?P<styled>[a-z]+)\s[^<>]{0,200}font-style:\s*(?:italic|oblique)[^<>]{0,200})>",
    re.IGNORECASE,
)
STAR = re.compile(r"\s*\*(?!\*)(?![^*\s](?:[^*\n]{0,500}[^*\s])?\*)(?=.*\S)")
DASH = re.compile(r"\s*-(?=\s|[^\W\d])")
"""Bullets, with or without a space; *italics*, **bold** and -5 are not."""
TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def emoji(completion: str, prompt: str) -> bool:
    """Every sentence ends with an emoji; marks and quotes may come before or after it."""
    told = [sentence.rstrip(CLOSERS + MARKS + " ") for sentence in sentences(completion)]
    return bool(told) and all(sentence and is_pictured(sentence[-1]) for sentence in told)


def line_indent(completion: str, prompt: str) -> bool:
    """Each non-blank line is indented further than the previous one; there are at least two."""
    depths = [len(line) - len(line.lstrip()) for line in lines(completion)]
    return len(depths) > 1 and all(a < b for a, b in pairwise(depths))


def is_listed(completion: str, prompt: str, *, sep: str) -> bool:
    """At least two lines open with the separator, and none with another bullet or a number."""
    opened = [line.strip().startswith(sep) for line in lines(completion)]
    others = [BULLET.match(line) for line in lines(completion) if not line.strip().startswith(sep)]
    return sum(opened) > 1 and not any(others)


def newline(completion: str, prompt: str) -> bool:
    """One word on each non-blank line."""
    told = lines(completion)
    return bool(told) and all(len(line.split(maxsplit=1)) == 1 for line in told)


def no_bullets_bullets(completion: str, prompt: str) -> bool:
    """At least two sentences that end in a full stop, followed by at least two bullets with *."""
    told = lines(completion)
    starred = [at for at, line in enumerate(told) if STAR.match(line)]
    before = sentences("\n".join(told[: starred[0]])) if starred else []
    return len(starred) > 1 and sum(sentence.rstrip(CLOSERS).endswith(".") for sentence in before) > 1


def no_whitespace(completion: str, prompt: str) -> bool:
    """No white space inside the answer; white space around it does not count."""
    return len(completion.split(maxsplit=1)) == 1


def options(completion: str, prompt: str, *, options: str) -> bool:
    """One of the options and nothing else; case, quotes, the bracket of "a)" and a full stop do not count."""
    separator = next((one for one in ("/", ", ", " or ") if one in options), "/")
    return _bare(completion) in {_bare(option) for option in options.split(separator)}


def _bare(option: str) -> str:
    return same_space(option).lower().replace("’", "'").strip("\"'“”().")


def output_template(completion: str, prompt: str) -> bool:
    """My Answer:, My Conclusion: and Future Outlook:, once each in this order with text, the first at the start."""
    places = [completion.find(title) for title in TEMPLATE]
    if -1 in places or places != sorted(places) or completion[: places[0]].strip():
        return False
    ends = [*places[1:], len(completion)]
    parts = [completion[at + len(title) : end] for title, at, end in zip(TEMPLATE, places, ends, strict=True)]
    return all(part.strip() for part in parts) and all(completion.count(title) == 1 for title in TEMPLATE)


def sub_bullets(completion: str, prompt: str) -> bool:
    """At least one bullet with *, and under each at least one with -."""
    kinds = ["*" if STAR.match(line) else "-" for line in lines(completion) if STAR.match(line) or DASH.match(line)]
    followed = [b == "-" for a, b in pairwise([*kinds, ""]) if a == "*"]
    return bool(followed) and all(followed)


def thesis(completion: str, prompt: str) -> bool:
    """Each section opens with words in <i>, <em> or an italic style, perhaps within other tags.

    The instruction does not define a section; it is the text under a heading or, without headings, a paragraph.
    """
    parts = _sections(completion)
    return bool(parts) and all(map(_opens_in_italics, parts))


def title_case(completion: str, prompt: str) -> bool:
    """Only articles, conjunctions and short prepositions are in lower case, and the text is not all in capitals."""
    said = words(completion)
    small = [word for word in said if word[0].islower() and word.lower() not in MINOR_WORDS]
    return bool(said) and not small and not said[0][0].islower() and not completion.isupper()


def _sections(text: str) -> list[str]:
    """The text before the first heading and under each heading, or else the paragraphs."""
    if not any(HEADING.match(line) for line in text.split("\n")):
        return paragraphs(text)
    parts: list[list[str]] = [[]]
    for line in text.split("\n"):
        if HEADING.match(line):
            parts.append([])
        else:
            parts[-1].append(line)
    first, *others = ["\n".join(part) for part in parts]
    return [*([first] if without_tags(first).strip() else []), *others]


def _opens_in_italics(part: str) -> bool:
    opened = ITALICS.match(part)
    if not opened:
        return False
    end = part.lower().find(f"</{(opened['tag'] or opened['styled']).lower()}>", opened.end())
    return end > 0 and bool(words(part[opened.end() : end]))


PAIRS = {")": "(", "]": "[", "}": "{"}
DOUBLE, SINGLE = '"“”', "'‘’"


def parentheses(completion: str, prompt: str) -> bool:
    """Brackets of any kinds nested five deep, each closed by its own kind; stray ones as in "a)" do not count."""
    stack: list[str] = []
    heights: list[int] = [0]
    for char in completion:
        if char in "([{":
            stack.append(char)
            heights.append(0)
        elif char in PAIRS and stack and stack[-1] == PAIRS[char]:
            stack.pop()
            height = heights.pop() + 1
            if height >= 5:
                return True
            heights[-1] = max(heights[-1], height)
    return False


def quotes(completion: str, prompt: str) -> bool:
    """Quotes nested three deep, alternately double and single, all closed; apostrophes within words do not count."""
    stack: list[str] = []
    heights: list[int] = [0]
    for at, char in enumerate(completion):
        kind = DOUBLE[0] if char in DOUBLE else SINGLE[0] if char in SINGLE else ""
        if not kind:
            continue
        before, after = completion[at - 1 : at] or " ", completion[at + 1 : at + 2] or " "
        if kind == SINGLE[0] and before.isalnum() and after.isalnum():
            continue
        if stack and stack[-1] == kind and not before.isspace():
            stack.pop()
            height = heights.pop() + 1
            if height >= 3:
                return True
            heights[-1] = max(heights[-1], height)
        elif not before.isalnum() and not after.isspace() and kind not in stack[-1:]:
            stack.append(kind)
            heights.append(0)
    return False


def quote_unquote(completion: str, prompt: str) -> bool:
    """There are phrases in double quotes, and at least one word outside quotes follows each of them."""
    parts = completion.replace("“", '"').replace("”", '"').split('"')
    # outside, quoted, outside, ...: an even number of parts leaves a quote open
    return len(parts) > 2 and len(parts) % 2 == 1 and all(WORD.search(part) for part in parts[2::2])
