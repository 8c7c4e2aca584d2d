"""Conversations: a policy hears its own answers, and a form has to hold in every turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from saying import HOSTILE, Sayer

from benchmarks.multi_turn import MultiTurn
from harness.benchmark import Outcome
from harness.microworld.dialogues import KINDS, Dialogue, dialogues
from harness.microworld.rules import follows
from harness.microworld.world import plain_words, the_world
from harness.policy.conversations import converse
from harness.policy.types import Prompt, Sampling

ITEMS = {item.id: item for item in dialogues("test", 4)}


def held(say: Callable[[Dialogue, int], str]) -> list[Outcome]:
    """The outcomes of a policy that answers each item's turn (from 0) by this rule."""

    def rule(prompt: Prompt, key: str) -> str:
        identity, _, turn = key.rpartition("/turn-")
        return say(ITEMS[identity], int(turn) - 1)

    return list(MultiTurn(limit=4).evaluate(Sayer(rule), seed=0))


def test_each_turn_is_asked_after_all_earlier_turns_and_the_policys_own_answers() -> None:
    policy = Sayer(lambda prompt, key: f"said {key}")
    told = converse(policy, [("one", "two"), ("alone",)], Sampling(4, samples=3), ["a", "b"])
    assert [[completion.text for _, completion in turns] for turns in told] == [
        ["said a/turn-1", "said a/turn-2"],
        ["said b/turn-1"],
    ]
    assert [(message.role, message.content) for message in told[0][1][0].messages] == [
        ("user", "one"),
        ("assistant", "said a/turn-1"),
        ("user", "two"),
    ]
    assert converse(policy, [], Sampling(4), []) == []


def test_the_references_follow_in_every_turn_and_say_what_is_true() -> None:
    for one in held(lambda item, turn: item.references[turn]):
        assert one.metrics == {"holds": 1.0, "turn_1": 1.0, "turn_2": 1.0, "turn_3": 1.0, "correct": 1.0}
    assert all(follows(item.instruction, text) for item in ITEMS.values() for text in item.references)


def test_a_form_that_is_forgotten_shows_in_its_turn() -> None:
    """A plain answer in the last turn, still true: the first two turns hold, the conversation does not."""
    plain: dict[str, Callable[[str], str]] = {
        "upper": str.lower,
        "start": lambda text: text.split(" ", 1)[1],
        "end": lambda text: text.rsplit(" ", 1)[0],
    }
    for one in held(lambda item, turn: item.references[turn] if turn < 2 else plain[item.kind](item.references[turn])):
        assert one.metrics == {"holds": 0.0, "turn_1": 1.0, "turn_2": 1.0, "turn_3": 0.0, "correct": 1.0}


def test_repeating_the_first_answer_keeps_the_form_and_is_not_true() -> None:
    for one in held(lambda item, turn: item.references[0]):
        assert one.metrics["holds"] == 1.0
        assert one.metrics["correct"] < 1.0


def test_only_the_first_turn_asks_for_a_form_and_all_are_in_the_vocabulary() -> None:
    known = {*plain_words(), *the_world().people}
    assert {item.kind for item in ITEMS.values()} == set(KINDS)
    for item in ITEMS.values():
        assert ["please" in turn for turn in item.turns] == [True, False, False]
        assert {word for turn in item.turns for word in turn.split()} <= known
        assert len({turn.split(" please")[0] for turn in item.turns}) == 3
    assert len({MultiTurn(limit=n).data_digest() for n in (3, 4)}) == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored(text: str) -> None:
    for one in held(lambda item, turn: text):
        assert one.metrics["holds"] == one.metrics["correct"] == 0.0
