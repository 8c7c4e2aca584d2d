"""Several policies' answers to one prompt: closed forms equal loops, and known policies land where theory puts them."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy
import pytest
from numpy.typing import NDArray

from harness.scoring.diversity.crowd import Crowd, Said, embedded, floor_of
from harness.scoring.diversity.distinct import class_overlap, distinct_of_each, distinct_of_one
from harness.scoring.diversity.similarity import unit_vectors
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, mean

VALID = [f"answer {at}" for at in range(8)]


def drawn(seed: int, size: int, width: int = 6, spread: float = 1.0) -> NDArray[numpy.float64]:
    generator = numpy.random.default_rng(seed)
    return unit_vectors(numpy.ones(width) + spread * generator.normal(size=(size, width)))


def one_hot(texts: Sequence[str]) -> NDArray[numpy.float64]:
    """A direction of its own for each text that begins with another letter."""
    found = numpy.zeros((len(texts), 26))
    found[numpy.arange(len(texts)), [ord(text[0]) - ord("a") for text in texts]] = 1.0
    return found


def test_the_similarity_of_three_policies_is_the_mean_over_their_pairs_by_loops_too() -> None:
    units = {"a": drawn(1, 5), "b": drawn(2, 7), "c": drawn(3, 4)}
    pairs = [
        numpy.mean([float(x @ y) for x, y in itertools.product(units[one], units[other])])
        for one, other in itertools.combinations("abc", 2)
    ]
    inner = [numpy.mean([float(x @ y) for x, y in itertools.combinations(rows, 2)]) for rows in units.values()]
    above = [
        numpy.mean([float(x @ y) > 0.6 for x, y in itertools.product(units[one], units[other])])
        for one, other in itertools.combinations("abc", 2)
    ]
    crowd = Crowd(units)
    assert crowd.similarity("abc") == pytest.approx(numpy.mean(pairs), abs=1e-10)
    assert crowd.within("abc") == pytest.approx(numpy.mean(inner), abs=1e-10)
    assert 0.1 < numpy.mean(above) < 0.9
    assert crowd.alike("abc", 0.6) == pytest.approx(numpy.mean(above))


def test_policies_that_keep_to_themselves_mix_with_none_and_copies_with_all() -> None:
    """Four answers each. Three directions: three of one's own kind and one other.

    One direction: all tie, and the nearest four are a's, b's and c's first and a's second; c's own first answer
    sees a, b, a, b in their place: (11 x 3 + 2) / 12.
    """
    apart = Crowd(embedded({"a": ["x"] * 4, "b": ["y"] * 4, "c": ["z"] * 4}, one_hot))
    # three of an answer's own kind, then one that is as far as all others
    assert apart.mix("abc") == 2.0
    more = Crowd(embedded({"a": ["x"] * 5, "b": ["y"] * 4, "c": ["z"] * 5}, one_hot))
    assert more.mix("ac") == 2.0
    assert more.mix("ab") == pytest.approx((5 * 1 + 4 * 2) / 9)
    same = Crowd(embedded({"a": ["x"] * 4, "b": ["x"] * 4, "c": ["x"] * 4}, one_hot))
    assert same.mix("abc") == pytest.approx(35 / 12)
    assert same.similarity("abc") == pytest.approx(1.0)


def test_the_most_alike_and_the_most_different_answers_are_of_different_policies() -> None:
    crowd = Crowd(embedded({"a": ["x", "x", "y"], "b": ["z", "y"]}, one_hot))
    alike, different = crowd.extremes("ab") or (None, None)
    assert alike is not None
    assert (alike.cosine, alike.one, alike.other) == (1.0, ("a", 2), ("b", 1))
    assert different is not None
    assert (different.cosine, different.one, different.other) == (0.0, ("a", 0), ("b", 0))


def test_expected_distinct_answers_of_small_cases_by_hand() -> None:
    """Samples a, a, b: of its three pairs one has 1 answer and two have 2: 5/3.

    One answer of (a or b) beside one that is always a: half the time 1, half the time 2: 3/2. {a, b} and {b, c}
    share one of three.
    """
    assert distinct_of_one({"a": 2, "b": 1}, 3, 2) == pytest.approx(5 / 3)
    assert distinct_of_one({"a": 2, "b": 1}, 3, 4) is None
    # of four samples one is not valid: a and b are each in half of the pairs
    assert distinct_of_one({"a": 1, "b": 1}, 4, 2) == pytest.approx(1.0)
    assert distinct_of_each([{"a": 1, "b": 1}, {"a": 5}], [2, 5]) == pytest.approx(1.5)
    assert distinct_of_each([{"a": 1}, {}], [2, 0]) is None
    assert class_overlap({"a", "b"}, {"b", "c"}) == pytest.approx(1 / 3)
    assert class_overlap(set(), set()) is None


def test_uniform_policies_together_give_what_one_gives_alone_and_specialists_give_one_each() -> None:
    """Uniform over 8: 3 answers hold 8 (1 - (7/8)^3) distinct ones, whoever gives them. Means over 2,000 draws."""
    chance = random.Random(1)
    together, alone = [], []
    for _ in range(2000):
        answers = {name: [chance.choice(VALID) for _ in range(6)] for name in "abc"}
        said = Said(answers, answers)
        together.append(said.together("abc"))
        alone.append(said.alone("abc"))
    for found in (together, alone):
        error = numpy.std(found) / math.sqrt(len(found))
        assert abs(numpy.mean(found) - 8 * (1 - (7 / 8) ** 3)) < 3 * error  # type: ignore[arg-type]
        assert error < 0.02
    own = {name: [VALID[at]] * 6 for at, name in enumerate("abc")}
    said = Said(own, own)
    assert (said.together("abc"), said.alone("abc")) == (3.0, 1.0)
    assert (said.agreement("abc"), said.within("abc"), said.overlap("abc")) == (0.0, 1.0, 0.0)


def test_two_copies_of_one_policy_agree_with_each_other_as_with_themselves() -> None:
    """The interval of within less between holds 0 in 95 % of 300 repetitions of 30 prompts: by chance 92 to 98 %."""
    chance, held = random.Random(2), 0
    weights = [2.0**-at for at in range(8)]
    for _ in range(300):
        found = []
        for _ in range(30):
            answers = {name: chance.choices(VALID, weights, k=8) for name in "ab"}
            said = Said(answers)
            found.append(said.within("ab") - said.agreement("ab"))  # type: ignore[operator]
        estimate = mean(Scores(numpy.array([found]), numpy.ones(30)), scale=Scale(binary=False))
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 0 <= estimate.high
    assert 0.92 <= held / 300 <= 0.98


def test_what_cannot_be_computed_is_blank() -> None:
    """One answer each: a similarity between, none within. No answers: nothing. No valid ones: none are shared."""
    single = Crowd(embedded({"a": ["x"], "b": ["y"]}, one_hot))
    assert single.similarity("ab") == pytest.approx(0.0)
    assert single.within("ab") is None
    empty = Crowd(embedded({"a": [], "b": ["y", "y"]}, one_hot))
    assert empty.similarity("ab") is empty.mix("ab") is empty.alike("ab", 0.5) is empty.extremes("ab") is None
    assert Crowd(embedded({"a": [], "b": []}, one_hot)).similarity("ab") is None
    said = Said({"a": ["no", "idea"], "b": ["none"] * 3}, {"a": [], "b": []})
    assert (said.together("ab"), said.alone("ab"), said.overlap("ab")) == (0.0, 0.0, None)
    assert Said({"a": ["no"], "b": ["no"]}).overlap("ab") is None


def test_the_floor_is_of_unrelated_prompts_whatever_they_are_and_however_many() -> None:
    """Answers of cluster c are all in direction c: related ones have cosine 1, unrelated ones 0."""
    prompts = [("a", ["a one", "a two"]), ("a", ["a three"]), ("b", ["b"]), ("c", [])]
    found = floor_of(prompts, 4, one_hot)
    assert found is not None
    assert (found.mean, found.threshold) == (0.0, 0.0)
    assert floor_of(prompts[:2], 2, one_hot) is None
    asked: list[int] = []

    def counting(texts: Sequence[str]) -> NDArray[numpy.float64]:
        asked.append(len(texts))
        return one_hot(texts)

    assert floor_of(((f"{at}", ["abc"[at % 3]] * 50) for at in range(20_000)), 20_000, counting) is not None
    assert 900 < asked[0] < 1100


def test_each_different_text_is_embedded_once() -> None:
    seen: Counter[str] = Counter()

    def counting(texts: Sequence[str]) -> NDArray[numpy.float64]:
        seen.update(texts)
        return one_hot(texts)

    embedded({"a": ["x", "y", "x"], "b": ["y", "x"]}, counting)
    assert seen == {"x": 1, "y": 1}
