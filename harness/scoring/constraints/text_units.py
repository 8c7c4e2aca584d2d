"""Definitions of words, sentences, lines, syllables and emoji for all rules of this package.

All functions take linear time: no pattern here backtracks over long text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import regex

WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['’\-][\p{L}\p{N}][\p{L}\p{N}\p{M}]*)*")
"""Letters with their marks, and digits, with apostrophes and hyphens inside: "don't" and "well-known" are one word."""

TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,100}>")
MARKER = re.compile(r"\s*(?:(?:[*+•\-]|\d{1,3}[.)]|#{1,6})\s+)?")
"""The marker of a heading or list item, which is not part of a sentence."""

MARKS = ".!?…。！？‽"
END = re.compile(rf"[{MARKS}]+[\"'”’»)\]*_]*")
CLOSERS = "\"'”’»)]*_"
ABBREVIATED = """mr mrs ms dr prof st jr sr rev capt lt sgt vs etc e.g i.e cf al fig eq vol pp eds inc ltd co corp dept
approx a.m p.m u.s u.k u.n ph.d jan feb aug sept oct nov dec"""
ABBREVIATIONS = frozenset(ABBREVIATED.split())
"""Words whose full stop does not end a sentence, without that stop."""

VOWELS = frozenset("aeiou")


def without_tags(text: str) -> str:
    """The text without HTML tags."""
    return TAG.sub("", text) if "<" in text else text


def words(text: str) -> list[str]:
    """The words in order, as written."""
    found: list[str] = WORD.findall(without_tags(text))
    return found


def lower_words(text: str) -> list[str]:
    """The words in lower case, with one kind of apostrophe."""
    return [word.lower().replace("’", "'") for word in words(text)]


def letters(word: str) -> str:
    """The letters of a word in lower case and without accents (é becomes e)."""
    if word.isascii():
        return "".join(filter(str.isalpha, word.lower()))
    return "".join(char for char in unicodedata.normalize("NFKD", word).lower() if char.isalpha())


def lines(text: str) -> list[str]:
    """The non-blank lines, with their indentation."""
    return [line for line in text.split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    """The blocks of lines between blank lines."""
    return [part for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]


def has_word(said: list[str], keyword: str) -> int:
    """How often the keyword is among the words in lower case, possessives ("river's") included."""
    keyword = keyword.strip().lower().replace("’", "'")
    return sum(word in (keyword, f"{keyword}'s") for word in said)


def same_space(text: str) -> str:
    """The text with single spaces for white space, and none at the ends."""
    return " ".join(text.split())


def sentences(text: str) -> list[str]:
    """The sentences in order, each with its mark and the quotes and emoji right after it.

    A sentence ends at . ! ? or …, and at a line break, since headings and list items have no mark. It does not end at a
    full stop after an abbreviation or a single capital, nor at a mark inside a quote that continues in lower case.
    """
    return [sentence for line in without_tags(text).split("\n") for sentence in _sentences_of(line)]


def _sentences_of(line: str) -> Iterator[str]:
    opened = MARKER.match(line)
    start = opened.end() if opened else 0
    for mark in END.finditer(line, start):
        if mark.start() >= start and _ends(line, mark):
            end = _after_emoji(line, mark.end())
            if WORD.search(line, start, end):
                yield line[start:end].strip()
            start = end
    if WORD.search(line, start):
        yield line[start:].strip()


def last_marks(sentence: str) -> str:
    """The final marks of a sentence, without quotes, brackets and emoji after them; "" for none."""
    at = len(sentence)
    while at and (sentence[at - 1] in CLOSERS or sentence[at - 1].isspace() or is_pictured(sentence[at - 1])):
        at -= 1
    end = at
    while at and sentence[at - 1] in MARKS:
        at -= 1
    return sentence[at:end]


def _ends(line: str, mark: re.Match[str]) -> bool:
    """Whether the marks end a sentence: followed by white space, an emoji or nothing, and not after an abbreviation."""
    after = line[mark.end() : mark.end() + 1]
    wide = mark[0][0] in "。！？"
    if after and not (wide or after.isspace() or is_emoji(after)):
        return False
    following = line[mark.end() : mark.end() + 2].strip()[:1]
    if following.islower() and (mark[0][-1] in CLOSERS or mark[0].startswith(("...", "…"))):
        return False
    if mark[0] != ".":
        return True
    before = line[max(0, mark.start() - 12) : mark.start()].split()
    last = before[-1].lstrip("(\"'“[") if before else ""
    initial = len(last) == 1 and last.isupper() and last != "I"
    return not (initial or last.lower() in ABBREVIATIONS) or not following


def _after_emoji(line: str, at: int) -> int:
    """The position after any emoji that follow, each with the spaces before it."""
    end = at
    while at < len(line) and (line[at].isspace() or is_pictured(line[at])):
        at += 1
        if not line[at - 1].isspace():
            end = at
    return end


def is_emoji(char: str) -> bool:
    """Whether the character is a pictograph: a symbol in the Unicode blocks of emoji."""
    code = ord(char)
    if code < 0x2300:
        return False
    block = code >= 0x1F000 or 0x2600 <= code <= 0x27BF or 0x2B00 <= code <= 0x2BFF or code <= 0x23FF
    return block and unicodedata.category(char) == "So"


def is_pictured(char: str) -> bool:
    """Whether the character is an emoji or part of one: a joiner, variant or skin tone."""
    return is_emoji(char) or char in "\u200d\ufe0e\ufe0f\u20e3" or 0x1F3FB <= ord(char) <= 0x1F3FF


@lru_cache(maxsize=10_000)
def syllables(word: str) -> int:
    """An estimate for English without a dictionary: groups of vowels less a silent e, at least 1."""
    parts = re.split(r"[-'’]", word[:100])
    return max(1, sum(_syllables_of(letters(part)) for part in parts if len(letters(part)) > 1))


def _syllables_of(part: str) -> int:
    groups = len(re.findall(r"[aeiouy]+", part))
    groups += len(re.findall(r"[iu]a(?!l\b)|[^cst]io|[ao]eo|deo\b|dea\b|scie|creat(?!u)|oe[mt]|[aeiou]ing\b", part))
    # "make", "makes", "played": the e is silent; "table", "boxes", "wanted": it is heard
    silent = re.search(r"[^aeiouyl]e$|[aeiouy]le$|[^aeiouycgsxzhl]es$|[^aeiouytd]ed$", part)
    return max(1, groups - bool(silent))
