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
    same_space,
    sentences,
    words,
)

BULLET = re.compile(r"\s*(?:[*+•‣◦\-–]|\d{1,3}[.)])\s+")
HEADING = re.compile(r"\s*(?:#{1,6}\s|<h[1-6]\b|\*\*[^*\n]+\*\*:?\s*$|(?:Section|SECTION)\s+\w+[.:]?)")
ITALICS = re.compile(r"\s*<(i|em)>", re.IGNORECASE)
TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def emoji(completion: str, prompt: str) -> bool:
    """Every sentence ends with an emoji; marks and quotes may stand before or after it."""
    told = [sentence.rstrip(CLOSERS + MARKS + " ") for sentence in sentences(completion)]
    return bool(told) and all(sentence and is_pictured(sentence[-1]) for sentence in told)


def line_indent(completion: str, prompt: str) -> bool:
    """Each line that is not blank starts further to the right than the one before; there are at least two."""
    depths = [len(line) - len(line.lstrip()) for line in lines(completion)]
    return len(depths) > 1 and all(a < b for a, b in pairwise(depths))


def is_listed(completion: str, prompt: str, *, sep: str) -> bool:
    """At least two lines open with the separator, and none with another bullet or a number."""
    opened = [line.strip().startswith(sep) for line in lines(completion)]
    others = [BULLET.match(line) for line in lines(completion) if not line.strip().startswith(sep)]
    return sum(opened) > 1 and not any(others)


def newline(completion: str, prompt: str) -> bool:
    """One word on each line that is not blank."""
    told = lines(completion)
    return bool(told) and all(len(line.split(maxsplit=1)) == 1 for line in told)


def no_bullets_bullets(completion: str, prompt: str) -> bool:
    """Two sentences or more that end in a full stop, and after them two bullets or more with *."""
    told = lines(completion)
    starred = [at for at, line in enumerate(told) if line.lstrip().startswith("* ")]
    before = sentences("\n".join(told[: starred[0]])) if starred else []
    return len(starred) > 1 and sum(sentence.rstrip(CLOSERS).endswith(".") for sentence in before) > 1


def no_whitespace(completion: str, prompt: str) -> bool:
    """No white space inside the answer; what surrounds it is not seen and does not count."""
    return len(completion.split(maxsplit=1)) == 1


def options(completion: str, prompt: str, *, options: str) -> bool:
    """One of the options and nothing more; case, quotes, the bracket of "a)" and a full stop do not count."""
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
    """At least one bullet with *, and under each of them at least one with -."""
    kinds = [line.lstrip()[:2] for line in lines(completion) if line.lstrip().startswith(("* ", "- "))]
    followed = [b == "- " for a, b in pairwise([*kinds, ""]) if a == "* "]
    return bool(followed) and all(followed)


def thesis(completion: str, prompt: str) -> bool:
    """Each section opens with words in <i> or <em>.

    What a section is is not said: what follows a heading, or, without headings, what stands between blank lines.
    """
    parts = _sections(completion)
    return bool(parts) and all(map(_opens_in_italics, parts))


def title_case(completion: str, prompt: str) -> bool:
    """No word but an article, a conjunction or a short preposition starts small, and not all is in capitals."""
    said = words(completion)
    small = [word for word in said if word[0].islower() and word.lower() not in MINOR_WORDS]
    return bool(said) and not small and not said[0][0].islower() and not completion.isupper()


def _sections(text: str) -> list[str]:
    """The texts under the headings, and what stands before the first; or the paragraphs."""
    if not any(HEADING.match(line) for line in text.split("\n")):
        return [part for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]
    parts: list[list[str]] = [[]]
    for line in text.split("\n"):
        if HEADING.match(line):
            parts.append([])
        else:
            parts[-1].append(line)
    first, *others = ["\n".join(part) for part in parts]
    return [*([first] if first.strip() else []), *others]


def _opens_in_italics(part: str) -> bool:
    opened = ITALICS.match(part)
    if not opened:
        return False
    end = part.lower().find(f"</{opened[1].lower()}>", opened.end())
    return end > 0 and bool(words(part[opened.end() : end]))


PAIRS = {")": "(", "]": "[", "}": "{"}
DOUBLE, SINGLE = '"“”', "'‘’"


def parentheses(completion: str, prompt: str) -> bool:
    """Five brackets of any kinds in each other, each closed by its own kind; a stray one ("a)") does not count."""
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
    """Three quotes in each other, double and single in turn, each closed; an apostrophe inside a word is none."""
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
    """There are phrases in double quotes, and after each comes at least a word outside of quotes before the next."""
    parts = completion.replace("“", '"').replace("”", '"').split('"')
    # outside, quoted, outside, ...: an even number of parts leaves a quote open
    return len(parts) > 2 and len(parts) % 2 == 1 and all(WORD.search(part) for part in parts[2::2])
