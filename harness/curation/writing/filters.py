"""Filters of generated instructions and answers: Evol-Instruct (arXiv 2304.12244) and Self-Instruct (2212.10560).

Evol-Instruct drops an instruction that adds nothing to its parent (a model judges), one that copies the words of the
request, and an answer that is a short apology or has no content words. Self-Instruct drops instructions that are too
short or long, or refer to something that text cannot show.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from harness.data.words import words_of

SHORT_APOLOGY = 80
INSTRUCTION_WORDS = (3, 500)
APOLOGY = re.compile(r"\b(?:sorry|apologi[sz]e|as an ai|i (?:cannot|can't|am unable to))\b", re.I)
# words of our own requests, which do not belong in an instruction
LEAKED = re.compile(r"\b(?:given|original|rewritten|new|evolved) (?:instruction|prompt|task)\b|<instruction>", re.I)
UNSEEN = re.compile(
    r"\b(?:images?|pictures?|photos?|videos?|audio|graphs?|attached|flowcharts?|diagrams?|go to)\b", re.I
)
EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for from he i in is it its me my no not of ok okay on or our she so that the "
        "their them then there they this to was we were will with yes you your",
    )
)


def instruction_fault(text: str, parent: str = "", *, cut_off: bool = False) -> str:
    """The reason to drop a new instruction, or ""."""
    words = words_of(text)
    least, most = INSTRUCTION_WORDS
    if not text.strip():
        return "empty"
    if cut_off:
        return "cut off at the limit of tokens"
    if not least <= len(words) <= most:
        return f"instruction not of {least} to {most} words"
    if parent and words == words_of(parent):
        return "says what its parent says"
    if LEAKED.search(text) and not LEAKED.search(parent):
        return "copies words of the request"
    return "" if unicodedata.category(text.strip()[0])[0] != "P" else "begins with punctuation"


def unseen_fault(text: str) -> str:
    """The reason to drop an instruction without a parent that needs more than text, or ""."""
    return "needs an image, a sound or a file" if UNSEEN.search(text) else ""


def answer_fault(answer: str, instruction: str, *, cut_off: bool = False) -> str:
    """The reason to drop an answer with its instruction, or ""."""
    words = words_of(answer)
    if not answer.strip():
        return "empty answer"
    if cut_off:
        return "answer cut off at the limit of tokens"
    if not set(words) - EMPTY_WORDS:
        return "answer without content words"
    if APOLOGY.search(answer) and len(words) < SHORT_APOLOGY:
        return "answer declines"
    return "answer echoes the instruction" if words == words_of(instruction) else ""


def says_equal(verdict: str) -> bool:
    """Whether the judge's answer begins with the word Equal."""
    return words_of(verdict)[:1] == ["equal"]


SIMILAR = 0.7


@dataclass
class Novelty:
    """The instructions known so far.

    places  for each word the known texts with their counts of it: most texts share too few words with a new one to
            need a comparison
    """

    limit: float = SIMILAR
    words: dict[str, Sequence[str]] = field(default_factory=dict)
    places: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, id: str, text: str) -> None:
        """Compare later texts with this one."""
        self.words[id] = words_of(text)
        for word, count in Counter(self.words[id]).items():
            self.places.setdefault(word, {})[id] = count

    def forget(self, ids: Collection[str]) -> None:
        """Stop comparing with these: a draft that was not kept must not block another attempt."""
        for id in ids:
            for word in set(self.words.pop(id)):
                del self.places[word][id]

    def like(self, text: str, leave_out: Collection[str] = ()) -> str:
        """The id of a known text whose ROUGE-L reaches the limit, or ""; ids in `leave_out` are not compared."""
        words = words_of(text)
        shared: Counter[str] = Counter()
        for word, count in Counter(words).items():
            for id, times in self.places.get(word, {}).items():
                shared[id] += min(count, times)
        for id, common in shared.items():
            other = self.words[id]
            # no common subsequence is longer than the number of shared words
            if id not in leave_out and _f1(common, words, other) >= self.limit <= rouge_l(words, other):
                return id
        return ""


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of the longest common subsequence, between 0 and 1.

    >>> round(rouge_l("a b c d".split(), "a x c".split()), 4)  # 2 * (2/4) * (2/3) / (2/4 + 2/3)
    0.5714
    """
    return _f1(common_subsequence(one, other), one, other)


def _f1(common: int, one: Sequence[str], other: Sequence[str]) -> float:
    return 2 * common / (len(one) + len(other)) if common else 0.0


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, with a row of the table in the bits of one number.

    Crochemore et al., A fast and practical bit-vector algorithm for the longest common subsequence problem, 2001.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row & ~places.get(word, 0)) & full
    return len(one) - row.bit_count()
