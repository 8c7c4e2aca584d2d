"""Instructions about counts: words, names, numerals, keywords, marks, kinds of sentences."""

from __future__ import annotations

import re

import regex

from harness.scoring.constraints.lexicon import COORDINATING, PRONOUNS, STOP_WORDS
from harness.scoring.constraints.text_units import has_word, last_marks, lower_words, sentences, words

NUMERAL = re.compile(r"(?<!\w)\d+(?:,\d{3})*(?:\.\d+)?")
"""Digits, with thousands separators and decimals: 1,000.5 is one number, 3/4 and 1990-2000 are two."""

TIMES = (1, 2, 3, 5, 7)
MARKS = ".,;:!?"
INTERROBANG = re.compile(r"\?!|!\?|‽")
NAMES = re.compile(r"list of person names:\s*([^.]*)\.")
JAPANESE = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}ー]")


def conjunctions(completion: str, prompt: str, *, small_n: float) -> bool:
    """At least small_n different words of: for, and, nor, but, or, yet, so."""
    return len(COORDINATING.intersection(lower_words(completion))) >= small_n


def keywords_multiple(
    completion: str, prompt: str, *, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str
) -> bool:
    """The five keywords exactly 1, 2, 3, 5 and 7 times, as whole words or possessives in any case."""
    said, keywords = lower_words(completion), (keyword1, keyword2, keyword3, keyword4, keyword5)
    return all(has_word(said, keyword) == times for keyword, times in zip(keywords, TIMES, strict=True))


def numbers(completion: str, prompt: str, *, n: float) -> bool:
    """Exactly n numbers in digits; numbers written as words do not count."""
    return len(NUMERAL.findall(completion)) == n


def person_names(completion: str, prompt: str, *, n: float) -> bool:
    """At least n different names from the list in the prompt."""
    given = NAMES.search(prompt)
    names = {name.strip() for name in given[1].split(",")} if given else set()
    return len(names.intersection(words(re.sub(r"['’]s\b", "", completion)))) >= n


def pronouns(completion: str, prompt: str, *, n: float) -> bool:
    """At least n pronouns, repeats included: personal, possessive, reflexive, demonstrative, indefinite, who."""
    return sum(word in PRONOUNS or word.split("'")[0] in PRONOUNS for word in lower_words(completion)) >= n


def punctuation(completion: str, prompt: str) -> bool:
    """Each of . , ; : ! ? and the interrobang; the two halves of an interrobang do not count for ! and ?."""
    rest = INTERROBANG.sub("", completion)
    return rest != completion and all(mark in rest for mark in MARKS)


def unique_word_count(completion: str, prompt: str, *, n: float) -> bool:
    """At least n different words, ignoring case."""
    return len(set(lower_words(completion))) >= n


def word_count_range(completion: str, prompt: str, *, min_words: float, max_words: float) -> bool:
    """Between min_words and max_words words, inclusive."""
    return min_words <= len(words(completion)) <= max_words


def words_japanese(completion: str, prompt: str, *, n: float) -> bool:
    """Every n-th word between white space has Japanese characters and no Latin letter; there is at least one."""
    told = [word for word in completion.split() if any(map(str.isalnum, word))]
    due = told[int(n) - 1 :: int(n)]
    return bool(due) and all(JAPANESE.search(word) and not re.search(r"[A-Za-z]", word) for word in due)


def overlap(completion: str, prompt: str, *, reference_text: str, percentage: float) -> bool:
    """The share of the answer's different trigrams that the reference has is within two points of the percentage.

    The instruction does not define trigrams or the share; as in the published scores, they are of characters and of
    the answer's trigrams.
    """
    own = _trigrams(completion)
    return bool(own) and abs(100 * len(own & _trigrams(reference_text)) / len(own) - percentage) <= 2


def sentence_balance(completion: str, prompt: str) -> bool:
    """As many sentences that end in a full stop as in ? and as in !, and some of each."""
    stated, asked, exclaimed = _kinds(completion)
    return stated == asked == exclaimed > 0


def sentence_type(completion: str, prompt: str) -> bool:
    """Twice as many sentences that end in a full stop as sentences that end in ?, and some of each."""
    stated, asked, _ = _kinds(completion)
    return stated == 2 * asked > 0


def sentence_words(completion: str, prompt: str) -> bool:
    """Three sentences of equal length in characters, marks included, in which no word is repeated."""
    told, said = sentences(completion), lower_words(completion)
    return len(told) == 3 and len({len(sentence) for sentence in told}) == 1 and len(set(said)) == len(said)


def stop_words(completion: str, prompt: str, *, percentage: float) -> bool:
    """At most this percentage of all words are stop words (articles, prepositions, pronouns, auxiliaries ...)."""
    said = lower_words(completion)
    return bool(said) and 100 * sum(word in STOP_WORDS for word in said) <= percentage * len(said)


def _trigrams(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}


def _kinds(text: str) -> tuple[int, int, int]:
    """Numbers of statements, questions and exclamations by their last mark; "?!" is a question, no mark is neither."""
    counts = [0, 0, 0]
    for sentence in sentences(text):
        marks = set(last_marks(sentence))
        if marks:
            counts[1 if marks & set("?‽？") else 2 if marks & set("!！") else 0] += 1
    return counts[0], counts[1], counts[2]
