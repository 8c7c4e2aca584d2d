"""Diversity in words alone: distinct n-grams and self-BLEU. Lexical: it hears no paraphrase."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_ngrams(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of white-space words as a share of all in the texts; None where no text has n words."""
    grams = [tuple(words[at : at + n]) for words in map(str.split, texts) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def self_bleu(texts: Sequence[str]) -> float | None:
    """The mean sentence BLEU (0 to 1) of each text against all others (Zhu et al. 2018, 1802.01886); None below two.

    By sacrebleu, with exponential smoothing and its own tokenizer. A text without words counts as 0.
    """
    if len(texts) < 2:
        return None
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, [*texts[:at], *texts[at + 1 :]]).score for at, text in enumerate(texts)]
    return sum(scores) / len(scores) / 100
