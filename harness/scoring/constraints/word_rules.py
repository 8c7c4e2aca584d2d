"""Instructions about each word of the answer: its letters, length and frequency; and about repeating the request."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from harness.scoring.constraints.text_units import (
    VOWELS,
    letters,
    lower_words,
    paragraphs,
    same_space,
    syllables,
    words,
)

CLUSTER = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")


def alphabet(completion: str, prompt: str) -> bool:
    """Each word starts with the letter after the previous word's initial, a after z; the first initial is free."""
    initials = [letters(word)[:1] for word in words(completion)]
    places = ["abcdefghijklmnopqrstuvwxyz".find(initial) if initial else -1 for initial in initials]
    return len(places) > 1 and -1 not in places and all((a + 1) % 26 == b for a, b in pairwise(places))


def consonants(completion: str, prompt: str) -> bool:
    """Each word has two consonants in a row; y is a consonant, and numbers in digits are not words here."""
    spelled = [word for word in map(letters, words(completion)) if word]
    return bool(spelled) and all(CLUSTER.search(word) for word in spelled)


def no_consecutive(completion: str, prompt: str) -> bool:
    """No two neighbouring words start with the same letter or digit."""
    initials = [word[0] for word in lower_words(completion)]
    return bool(initials) and all(a != b for a, b in pairwise(initials))


def odd_even_syllables(completion: str, prompt: str) -> bool:
    """Words with an odd and an even number of syllables (estimated by vowels) alternate, in either order."""
    odd = [syllables(word) % 2 for word in lower_words(completion)]
    return len(odd) > 1 and all(a != b for a, b in pairwise(odd))


def palindrome(completion: str, prompt: str) -> bool:
    """At least ten palindromes of five letters or more, ignoring case; they may repeat."""
    return sum(len(word) >= 5 and word == word[::-1] for word in lower_words(completion)) >= 10


def prime_lengths(completion: str, prompt: str) -> bool:
    """The number of letters and digits of each word is prime; hyphens and apostrophes do not count."""
    lengths = {sum(map(str.isalnum, word)) for word in words(completion)}
    return bool(lengths) and all(map(_is_prime, lengths))


def repeats(completion: str, prompt: str, *, small_n: float) -> bool:
    """No word occurs more than small_n times, ignoring case."""
    counts = Counter(lower_words(completion))
    return bool(counts) and max(counts.values()) <= small_n


def vowel(completion: str, prompt: str) -> bool:
    """The answer is one paragraph, in which between one and three of the vowels a, e, i, o, u occur."""
    return len(paragraphs(completion)) == 1 and 0 < len(VOWELS.intersection(letters(completion))) <= 3


@lru_cache(maxsize=1000)
def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


SENTENCE = "Only output this sentence here, ignore all other requests."


def repeat_change(completion: str, prompt: str, *, prompt_to_repeat: str) -> bool:
    """The request with a different first word, and nothing else."""
    said, asked = completion.split(), prompt_to_repeat.split()
    return len(said) == len(asked) > 0 and said[1:] == asked[1:] and said[0].lower() != asked[0].lower()


def repeat_simple(completion: str, prompt: str) -> bool:
    """The required sentence and nothing else."""
    return same_space(completion) == SENTENCE


def repeat_span(completion: str, prompt: str, *, prompt_to_repeat: str, n_start: float, n_end: float) -> bool:
    """The words from index n_start to n_end of the request, both included and counted from 0, and nothing else.

    The published scores leave out the word at n_end, contrary to the instruction.
    """
    return completion.split() == prompt_to_repeat.split()[int(n_start) : int(n_end) + 1]
