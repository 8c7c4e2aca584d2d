"""Whether a text opens with a verb: by lemminflect's lexicon, and by the word that follows.

The lexicon (derived from the SPECIALIST Lexicon of the National Library of Medicine, shipped inside the package) lists
the parts of speech of a word form. Words that it lacks are verbs by their prefix (re-, un-) or their ending (-ize,
-ify). A word that may be a verb or a noun counts as a verb, unless a finite verb follows: "Water is wet".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from harness.scoring.constraints.lexicon import BE, FINITE, OPENING_ADVERBS, VERBS_ADDED

CONTRACTED = re.compile(
    r"(?:is|are|was|were|has|have|had|do|does|did|ca|could|wo|would|should|must|need|might|sha|ai)n't|let's"
)
PREFIX = re.compile(r"(?:re|un|over|out|mis|dis|pre|de|under|co|auto|micro)-?(?=[a-z]{3})")
COMPOUND = re.compile(r"(?:double|fine|cross|fact|spot|stir|deep)-(?=[a-z]{3})")
VERBAL = re.compile(r"[a-z]{2,}(?:i[sz](?:e|es|ed|ing)|if(?:y|ies|ied|ying))")


def opens_with_verb(said: Sequence[str]) -> bool:
    """Whether the first of the words, in lower case, is a verb."""
    first, following = (*said[:2], "", "")[:2]
    word = _without_accents(first)
    if CONTRACTED.fullmatch(word):
        return True
    if not may_be_verb(word):
        return False
    is_subject = following in (BE if "AUX" in _parts(word) else FINITE)
    return word.endswith("ing") or not is_subject


@lru_cache(maxsize=10_000)
def may_be_verb(word: str) -> bool:
    """Whether a word is a form of a verb, whatever else it may be."""
    if word in OPENING_ADVERBS:
        return False
    parts = _parts(word)
    if "VERB" in parts or word in VERBS_ADDED:
        return True
    shorter = COMPOUND.match(word) or PREFIX.match(word)
    if shorter and (not parts or "-" in word):
        return "VERB" in _parts(word[shorter.end() :])
    return not parts and bool(VERBAL.fullmatch(word))


def _parts(word: str) -> frozenset[str]:
    """The parts of speech that the lexicon lists for a word form."""
    from lemminflect import getAllLemmas

    return frozenset(getAllLemmas(word)) if len(word) < 50 else frozenset()


def _without_accents(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
