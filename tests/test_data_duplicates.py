"""Duplicates: against all pairs by brute force, and on real rows with repeats planted among them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.curation import duplicates
from harness.curation.duplicates import exact_duplicates, near_duplicates
from harness.data.examples import read_examples, whole_text
from harness.data.words import words_of

WORDS = [f"w{at}" for at in range(500)]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))} if words else set()


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def variants(count: int) -> list[str]:
    """Texts of which every second is an earlier one with some words changed."""
    draw = random.Random(1)
    texts: list[str] = []
    for at in range(count):
        if at % 2 and texts:
            words = draw.choice(texts).split()
            for _ in range(draw.randrange(0, 8)):
                words[draw.randrange(len(words))] = draw.choice(WORDS)
            texts.append(" ".join(words))
        else:
            texts.append(" ".join(draw.choices(WORDS, k=draw.randrange(3, 120))))
    return texts


def test_near_duplicates_agree_with_brute_force_over_all_pairs() -> None:
    """Brute force over all pairs of 600 texts; greedy: a row is dropped for an earlier row that is kept."""
    texts = variants(600)
    sets = [shingles(text) for text in texts]
    found = near_duplicates(texts, 0.8)
    dropped = {one.row for one in found}
    for one in found:
        assert one.of < one.row
        assert one.of not in dropped
        assert one.similarity == pytest.approx(jaccard(sets[one.of], sets[one.row]), abs=1e-12)
        assert one.similarity >= 0.8
    kept: list[int] = []
    wanted = set()
    for row, own in enumerate(sets):
        if any(jaccard(own, sets[other]) >= 0.8 for other in kept):
            wanted.add(row)
        else:
            kept.append(row)
    assert len(wanted) > 50
    assert dropped == wanted


def test_short_texts_and_texts_without_words_are_compared_rightly() -> None:
    found = near_duplicates(["Add it up", "add it, up!", "up it add", "?", "!", "", "Add it down"], 0.8)
    assert [(one.row, one.of, one.similarity) for one in found] == [(1, 0, 1.0)]


def test_exact_duplicates_are_equal_but_for_spacing() -> None:
    found = exact_duplicates(["a b", "a  b\n", "A b", "a+b", "a-b", "a b"])
    assert [(one.row, one.of) for one in found] == [(1, 0), (5, 0)]


def test_planted_repeats_of_real_rows_are_found(shared_data: Path) -> None:
    file = shared_data / "ultrafeedback_sft1k" / "ultrafeedback_1k.json"
    texts = [whole_text(example.record) for example in read_examples(str(file)).examples]
    repeats = [text.upper() + " Indeed." for text in texts if len(words_of(text)) > 50][:100]
    found = {one.row: one.of for one in near_duplicates(texts + repeats, 0.8)}
    assert set(range(1000, 1100)) <= set(found)
    assert len(found) - 100 < 30


def test_a_thousand_rows_of_one_text_leave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket larger than what is compared in it, and work cut into small portions."""
    monkeypatch.setattr(duplicates, "SHINGLES_AT_ONCE", 1000)
    text = " ".join(WORDS[:40])
    found = near_duplicates([text] * 1000)
    assert [(one.row, one.of) for one in found] == [(row, 0) for row in range(1, 1000)]


def test_the_same_seed_finds_the_same_and_no_texts_have_no_duplicates() -> None:
    texts = variants(300)
    assert near_duplicates(texts, 0.5, seed=3) == near_duplicates(texts, 0.5, seed=3)
    assert near_duplicates([]) == exact_duplicates([]) == []
