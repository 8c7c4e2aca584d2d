"""Instructions about shares: of sentence types, stop words, text in common."""

from __future__ import annotations

from harness.constraints.lexicon import STOP_WORDS
from harness.constraints.text import last_marks, lower_words, sentences


def overlap(completion: str, prompt: str, *, reference_text: str, percentage: float) -> bool:
    """The share of the answer's different trigrams that the reference has, within two points of the percentage.

    Trigrams of what, and whose share, is not said: of characters, and the answer's, as the published scores have it.
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
    """Three sentences of one length in characters, marks included, and no word twice in all of them."""
    told, said = sentences(completion), lower_words(completion)
    return len(told) == 3 and len({len(sentence) for sentence in told}) == 1 and len(set(said)) == len(said)


def stop_words(completion: str, prompt: str, *, percentage: float) -> bool:
    """At most this percentage of all words are stop words (articles, prepositions, pronouns, auxiliaries ...)."""
    said = lower_words(completion)
    return bool(said) and 100 * sum(word in STOP_WORDS for word in said) <= percentage * len(said)


def _trigrams(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}


def _kinds(text: str) -> tuple[int, int, int]:
    """Sentences that state, ask and exclaim by their last mark; "?!" asks, and one without a mark is none of them."""
    counts = [0, 0, 0]
    for sentence in sentences(text):
        marks = set(last_marks(sentence))
        if marks:
            counts[1 if marks & set("?‽？") else 2 if marks & set("!！") else 0] += 1
    return counts[0], counts[1], counts[2]
