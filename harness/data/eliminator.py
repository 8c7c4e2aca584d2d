"""Which generated instructions and answers fail: Evol-Instruct's elimination (arXiv 2304.12244), Self-Instruct's rules.

Evol-Instruct drops an instruction that adds nothing to its parent (a model judges), one that copies the words of the
request, and an answer that says sorry in few words or has no content words. Self-Instruct drops instructions that are
too short or long, or speak of what no text shows.
"""

from __future__ import annotations

import re
import unicodedata

from harness.data.words import words_of

SHORT_APOLOGY = 80
INSTRUCTION_WORDS = (3, 500)
APOLOGY = re.compile(r"\b(?:sorry|apologi[sz]e|as an ai|i (?:cannot|can't|am unable to))\b", re.I)
# words of our own requests, which an instruction for a user never needs
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
    """Why a new instruction is dropped, or ""."""
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
    """Why an instruction that was not made from a parent is dropped: it needs what a text cannot show."""
    return "needs an image, a sound or a file" if UNSEEN.search(text) else ""


def answer_fault(answer: str, instruction: str, *, cut_off: bool = False) -> str:
    """Why an answer is dropped with its instruction, or ""."""
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
    """Whether a judge's answer begins with the word for no gain."""
    return words_of(verdict)[:1] == ["equal"]
