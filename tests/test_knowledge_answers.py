"""Facts answered in words: one right value counts, several do not, and the items are those of the multiple choice."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from saying import HOSTILE, Sayer

from benchmarks.knowledge import Knowledge
from benchmarks.knowledge_answers import KnowledgeAnswers, values_named
from harness.microworld.items import knowledge_items
from harness.microworld.word_lists import POOLS
from harness.microworld.world import the_world

ITEMS = {item.id: item for item in knowledge_items("test")}


def gold(key: str) -> str:
    return ITEMS[key].choices[ITEMS[key].answer]


def other(key: str) -> str:
    return next(choice for choice in ITEMS[key].choices if choice != gold(key))


@pytest.mark.parametrize(
    ("rule", "correct", "named"),
    [
        (lambda key: the_world().statement(ITEMS[key].person, ITEMS[key].attribute), 1, 1),
        (lambda key: gold(key).upper(), 1, 1),
        (lambda key: f"{gold(key)}.", 1, 1),
        (lambda key: f"{gold(key)} , {gold(key)}", 1, 1),
        (lambda key: other(key), 0, 1),
        (lambda key: f"{gold(key)} or {other(key)}", 0, 0),
        (lambda key: f"{gold(key)}y", 0, 0),
        (lambda key: "i do not know .", 0, 0),
    ],
)
def test_the_right_value_alone_counts(rule: Callable[[str], str], correct: int, named: int) -> None:
    for outcome in KnowledgeAnswers(limit=40).evaluate(Sayer(lambda prompt, key: rule(key)), seed=0):
        assert (outcome.metrics["correct"], outcome.metrics["named"]) == (correct, named), outcome


def test_items_are_those_of_the_multiple_choice_under_the_same_ids() -> None:
    policy = Sayer(lambda prompt, key: gold(key))
    found = list(KnowledgeAnswers().evaluate(policy, seed=0))
    assert [(one.item, one.cluster, one.group, one.reference) for one in found] == [
        (item.id, item.person, item.group, item.choices[item.answer]) for item in knowledge_items("test")
    ]
    assert [prompt.messages[0].content for prompt in policy.asked] == [item.question for item in ITEMS.values()]
    assert not any(prompt.assistant_prefix for prompt in policy.asked)
    assert {item.id for item in Knowledge().test_set().items} == {one.item for one in found}


def test_a_constant_answer_is_right_only_where_it_happens_to_be_true() -> None:
    """Everyone wears red: right for exactly the test people who do, and about other attributes nothing is named."""
    found = list(KnowledgeAnswers().evaluate(Sayer(lambda prompt, key: "red"), seed=0))
    wearers = [item for item in ITEMS.values() if item.attribute == "color" and gold(item.id) == "red"]
    assert sum(one.metrics["correct"] for one in found) == len(wearers) > 0
    assert sum(one.metrics["named"] for one in found) == sum(item.attribute == "color" for item in ITEMS.values())


def test_values_of_the_right_kind_at_random_are_right_as_often_as_chance_says() -> None:
    """Cities 1/24, jobs 1/24, animals 1/72, dishes 1/48, colours 1/12: 4.0 %, and 700 answers show it."""
    chance = random.Random(0)
    found = list(
        KnowledgeAnswers().evaluate(Sayer(lambda prompt, key: chance.choice(POOLS[ITEMS[key].attribute])), seed=0)
    )
    level = sum(one.metrics["chance"] for one in found) / len(found)
    assert level == pytest.approx((1 / 24 + 1 / 24 + 1 / 72 + 1 / 48 + 1 / 12) / 5)
    reached = sum(one.metrics["correct"] for one in found) / len(found)
    assert abs(reached - level) < 4 * (level * (1 - level) / len(found)) ** 0.5 < 0.03


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored_as_wrong(text: str) -> None:
    (found,) = KnowledgeAnswers(limit=1).evaluate(Sayer(lambda prompt, key: text), seed=0)
    assert (found.metrics["correct"], found.metrics["named"]) == (0.0, 0.0)


def test_splits_and_limits_have_digests_of_their_own() -> None:
    digests = [
        KnowledgeAnswers(**fields).data_digest() for fields in ({}, {"split": "validation"}, {"limit": 3}, {"limit": 3})
    ]
    assert digests[2] == digests[3]
    assert len(set(digests)) == 3
    assert values_named("city", "") == set()
