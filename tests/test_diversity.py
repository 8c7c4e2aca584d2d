"""What the hivemind metric is made of: closed forms against loops over pairs, and published oracles."""

from __future__ import annotations

import itertools
import math
import random

import numpy
import pytest
from numpy.typing import NDArray

from harness.errors import UserError
from harness.scoring.diversity import similarity
from harness.scoring.diversity.distinct import agreement, agreement_between, partition
from harness.scoring.diversity.similarity import (
    Moments,
    mean_within,
    models_among_nearest,
    random_pairs,
    share_between_above,
    threshold_above,
    unit_vectors,
    vendi_of,
)


def drawn(seed: int, size: int, width: int, spread: float = 1.0) -> NDArray[numpy.float64]:
    generator = numpy.random.default_rng(seed)
    return unit_vectors(numpy.ones(width) + spread * generator.normal(size=(size, width)))


@pytest.mark.parametrize("spread", [3.0, 0.3, 1e-2])
def test_means_equal_the_loops_over_pairs(spread: float) -> None:
    one, other = drawn(1, 40, 16, spread), drawn(2, 25, 16, spread)
    pairs = [float(a @ b) for a, b in itertools.combinations(one, 2)]
    assert mean_within(one) == pytest.approx(math.fsum(pairs) / len(pairs), abs=1e-10)
    across = [float(a @ b) for a, b in itertools.product(one, other)]
    assert Moments.of(one).between(Moments.of(other)) == pytest.approx(math.fsum(across) / len(across), abs=1e-10)


def test_a_collapsed_group_keeps_its_digits() -> None:
    """Two directions, an angle t apart with 1 - cos t = 1e-8, four vectors each: 16 of 28 pairs are that far apart."""
    angle = math.acos(1 - 1e-8)
    rows = [[1.0, 0.0]] * 4 + [[math.cos(angle), math.sin(angle)]] * 4
    found = mean_within(unit_vectors(numpy.array(rows)))
    assert 1 - found == pytest.approx(16 / 28 * (1 - math.cos(angle)), rel=1e-6)  # type: ignore[operator]
    # in single precision, and by a sum of cosines, nothing would be left
    single = numpy.array(rows, dtype=numpy.float32)
    assert float((single @ single.T).min()) == 1.0


def test_equal_answers_are_alike_and_one_answer_has_no_pair() -> None:
    same = unit_vectors(numpy.full((5, 3), 0.1))
    assert mean_within(same) == pytest.approx(1.0, abs=1e-15)
    assert vendi_of(same) == pytest.approx(1.0)
    assert mean_within(same[:1]) is share_between_above(same, same[:0], 0.5) is None
    assert Moments.of(same).between(Moments.of(same[:0])) is None


def test_two_copies_of_one_policy_are_as_alike_as_one_is_to_itself() -> None:
    """Means over 400 prompts: within and between differ by less than three of their standard errors."""
    differences = []
    for seed in range(400):
        both = drawn(seed, 20, 8)
        within = (mean_within(both[:10]) + mean_within(both[10:])) / 2  # type: ignore[operator]
        differences.append(Moments.of(both[:10]).between(Moments.of(both[10:])) - within)  # type: ignore[operator]
    error = numpy.std(differences) / math.sqrt(len(differences))
    assert abs(numpy.mean(differences)) < 3 * error
    assert error < 0.01


def test_shares_above_a_threshold_equal_a_loop_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = drawn(3, 50, 6), drawn(6, 30, 6)
    pairs = [float(a @ b) for a, b in itertools.product(one, other)]
    expected = sum(cosine > 0.5 for cosine in pairs) / len(pairs)
    assert 0.1 < expected < 0.9
    for block in (7, 50, 2048):
        monkeypatch.setattr(similarity, "BLOCK", block)
        assert share_between_above(one, other, 0.5) == pytest.approx(expected)


def test_the_nearest_answers_of_two_models_that_never_mix_are_of_one_and_of_mixed_ones_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(similarity, "BLOCK", 5)
    apart = unit_vectors(numpy.array([[1.0, 0.01 * at] for at in range(6)] + [[0.01 * at, 1.0] for at in range(6)]))
    assert models_among_nearest(apart, [0] * 6 + [1] * 6, 5) == 1.0
    assert models_among_nearest(apart, [0, 1] * 6, 5) == 2.0
    # six neighbours are one more than a model has
    assert models_among_nearest(apart, [0] * 6 + [1] * 6, 6) == 2.0
    assert models_among_nearest(apart, [0] * 12, 12) is None


def test_the_floor_compares_answers_to_different_prompts_only() -> None:
    """Prompt one's answers point east, prompt two's north: within a prompt 1, across 0."""
    groups = [
        unit_vectors(numpy.array([[1.0, 0.0]] * 3)),
        unit_vectors(numpy.array([[0.0, 1.0]] * 5)),
        numpy.zeros((0, 2)),
    ]
    floor = random_pairs(groups, 200, seed=1)
    assert floor.tolist() == [0.0] * 200
    assert threshold_above(floor) == 0.0
    # one pair in a hundred lies above the threshold of its floor
    wide = random_pairs([drawn(seed, 30, 4) for seed in range(20)], 5000, seed=2)
    assert (wide > threshold_above(wide)).mean() == pytest.approx(0.01, abs=0.001)
    with pytest.raises(UserError, match="two prompts"):
        random_pairs(groups[:1], 10, seed=1)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_an_embedding_that_is_zero_or_no_number_is_an_error_and_no_score(bad: float) -> None:
    with pytest.raises(UserError, match="1 of 3 embeddings are zero or not finite, the first that of text 2"):
        unit_vectors(numpy.array([[1.0, 0.0], [bad, 0.0], [0.0, 1.0]]))


def vectors_of(kernel: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Vectors whose cosines are the kernel's entries."""
    eigenvalues, directions = numpy.linalg.eigh(kernel)
    return directions * numpy.sqrt(eigenvalues.clip(0))


def test_the_published_vendi_scores() -> None:
    """facts.md section 7: 2.1573 for the matrix below, 2.9999 for six points in three far pairs."""
    kernel = numpy.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]])
    assert vendi_of(vectors_of(kernel)) == pytest.approx(2.1573, abs=1e-4)
    points = numpy.array([0, 0, 10, 10, 20, 20.0])
    assert vendi_of(vectors_of(numpy.exp(-numpy.abs(points[:, None] - points)))) == pytest.approx(2.9999, abs=1e-4)


@pytest.mark.parametrize(("size", "width"), [(13, 12), (30, 12)])
def test_both_forms_of_the_vendi_score_agree(size: int, width: int) -> None:
    units = drawn(4, size, width)
    wide = numpy.pad(units, ((0, 0), (0, size)))
    assert vendi_of(units) == pytest.approx(vendi_of(wide), rel=1e-9)


def test_classes_are_counted_from_one_where_a_published_summary_counts_from_zero() -> None:
    """Three answers in classes 0, 0, 1 are two distinct ones: the largest number is one less (facts.md section 7)."""
    texts = ["a red cat", "a red cat", "one blue dog"]
    classes = partition(texts, lambda first, at: False)
    assert classes == [0, 0, 1]
    assert len(set(classes)) == 2 == max(classes) + 1


def test_short_answers_match_by_shared_words_and_long_ones_by_their_similarity_to_the_first_member() -> None:
    """Twice the shared words against the longer: 2 x 1 of 2 is enough, 2 x 1 of 3 is not; repeats count once each."""
    never = partition(["red cat", "red dog", "red dog now please", "dog dog dog"], lambda first, at: False)
    # "red dog" joins "red cat" (2 of 2); four words share one with "red cat" (2 of 4), and so do three dogs none
    assert never == [0, 0, 1, 2]
    assert partition(["Red CAT", "red dog"], lambda first, at: False) == [0, 0]
    assert partition(["dog dog dog", "dog dog cat"], lambda first, at: False) == [0, 1]
    asked = []

    def alike(first: int, at: int) -> bool:
        asked.append((first, at))
        return at == 2

    long = [f"{word} " * 6 for word in ("one", "two", "three", "four")]
    assert partition(long, alike) == [0, 1, 0, 2]
    assert asked == [(0, 1), (0, 2), (0, 3), (1, 3)]


def test_known_answers_land_where_theory_puts_them() -> None:
    """One answer always: 1. Uniform over m: 1/m. A half-half mixture of the two: 1/4 + 2/4/m + 1/4/m.

    Means over 4,000 repetitions of ten samples, within three of their standard errors.
    """
    valid, chance = [f"answer {at}" for at in range(8)], random.Random(1)

    def mixed() -> str:
        return valid[0] if chance.random() < 0.5 else chance.choice(valid)

    for draw, expected in ((lambda: valid[0], 1.0), (lambda: chance.choice(valid), 1 / 8), (mixed, 0.25 + 0.75 / 8)):
        found = [agreement([draw() for _ in range(10)]) for _ in range(4000)]
        error = numpy.std(found) / math.sqrt(len(found))
        assert abs(numpy.mean(found) - expected) <= 3 * error  # type: ignore[arg-type]
    across = [
        agreement_between([chance.choice(valid) for _ in range(10)], [mixed() for _ in range(10)]) for _ in range(4000)
    ]
    assert numpy.mean(across) == pytest.approx(1 / 8, abs=0.003)  # type: ignore[arg-type]
    counts = [len({chance.choice(valid) for _ in range(10)}) for _ in range(4000)]
    assert numpy.mean(counts) == pytest.approx(8 * (1 - (7 / 8) ** 10), abs=0.05)
    assert agreement(["a"]) is agreement_between([], ["a"]) is None
