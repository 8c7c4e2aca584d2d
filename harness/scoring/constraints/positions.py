"""Instructions about the position of words and sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, pairwise

from harness.scoring.constraints.lexicon import BE, FINITE, OPENING_ADVERBS, VERBS_ADDED
from harness.scoring.constraints.text_units import has_word, lines, lower_words, sentences


def keywords_specific_position(completion: str, prompt: str, *, keyword: str, n: float, m: float) -> bool:
    """The keyword is the m-th word of the n-th sentence, both counted from 1."""
    told = sentences(completion)
    return len(told) >= n and lower_words(told[int(n) - 1])[int(m) - 1 : int(m)] == [keyword.lower()]


def last_first(completion: str, prompt: str) -> bool:
    """The last word of each sentence is the first of the next; there are at least two sentences."""
    told = [said for said in map(lower_words, sentences(completion)) if said]
    return len(told) > 1 and all(a[-1] == b[0] for a, b in pairwise(told))


def paragraph_last_first(completion: str, prompt: str) -> bool:
    """Each paragraph ends with the word that it starts with; every line break starts a new paragraph."""
    told = [lower_words(line) for line in lines(completion)]
    return any(told) and all(len(said) > 1 and said[0] == said[-1] for said in told if said)


def start_verb(completion: str, prompt: str) -> bool:
    """The first word is a verb by lemminflect's lexicon, and not the subject of the verb that follows: "Water is wet".

    The lexicon (derived from the SPECIALIST Lexicon of the National Library of Medicine, shipped inside the package)
    lists the parts of speech of a word form. Words that it lacks are verbs by their prefix (re-, un-) or their ending
    (-ize, -ify).
    """
    return _opens_with_verb(lower_words(completion[:1000])[:2])


def words_position(completion: str, prompt: str, *, keyword: str) -> bool:
    """The second word and the second to last are the keyword."""
    said = lower_words(completion)
    return len(said) > 2 and said[1] == said[-2] == keyword.lower()


def keyword_in_sentence(completion: str, prompt: str, *, word: str, n: float) -> bool:
    """The n-th sentence, counted from 1, has the keyword as a whole word or possessive in any case."""
    told = sentences(completion)
    return len(told) >= n and has_word(lower_words(told[int(n) - 1]), word) > 0


def increment(completion: str, prompt: str, *, small_n: float) -> bool:
    """Each sentence has exactly small_n words more than the previous one; there are at least two."""
    lengths = [len(lower_words(sentence)) for sentence in sentences(completion)]
    return len(lengths) > 1 and all(b - a == small_n for a, b in pairwise(lengths))


def alliteration_increment(completion: str, prompt: str) -> bool:
    """The longest run of words with the same initial grows from sentence to sentence; a single word is a run of 1."""
    runs = [_longest_run([word[0] for word in lower_words(sentence)]) for sentence in sentences(completion)]
    return len(runs) > 1 and all(a < b for a, b in pairwise(runs))


def _longest_run(initials: list[str]) -> int:
    return max((len(list(run)) for _, run in groupby(initials)), default=0)


CONTRACTED = re.compile(
    r"(?:is|are|was|were|has|have|had|do|does|did|ca|could|wo|would|should|must|need|might|sha|ai)n't|let's"
)
PREFIX = re.compile(r"(?:re|un|over|out|mis|dis|pre|de|under|co|auto|micro)-?(?=[a-z]{3})")
COMPOUND = re.compile(r"(?:double|fine|cross|fact|spot|stir|deep)-(?=[a-z]{3})")
VERBAL = re.compile(r"[a-z]{2,}(?:i[sz](?:e|es|ed|ing)|if(?:y|ies|ied|ying))")


def _opens_with_verb(said: Sequence[str]) -> bool:
    """Whether the first of the words, in lower case, is a verb."""
    first, following = (*said[:2], "", "")[:2]
    word = _without_accents(first)
    if CONTRACTED.fullmatch(word):
        return True
    if not _may_be_verb(word):
        return False
    is_subject = following in (BE if "AUX" in _parts(word) else FINITE)
    return word.endswith("ing") or not is_subject


@lru_cache(maxsize=10_000)
def _may_be_verb(word: str) -> bool:
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
