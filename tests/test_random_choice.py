"""Choosing at random: metrics worked by hand, options that can be told apart, and a real model's exact chances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from saying import Sayer

from benchmarks.random_choice import RandomChoice, measured
from harness.errors import UserError
from harness.policy.types import Prompt, Score
from harness.scoring.diversity.random_requests import CHOICES, RandomRequest, random_requests

GAME = RandomRequest("g", "game", "?", ("rock", "paper", "scissors"))


class Chooser(Sayer):
    """Gives every option the chance that a rule says."""

    gives = frozenset({"score"})

    def __init__(self, chances: dict[str, float], other: float = 0.1) -> None:
        super().__init__(lambda prompt, key: "")
        self.chances, self.other = chances, other

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        return [Score(math.log(self.chances.get(one, self.other)), 1, False) for one in completions]


def test_metrics_are_those_worked_by_hand() -> None:
    """Chances 0.4, 0.2 and 0.2 of the options, and 0.2 of all else: shares 0.5, 0.25, 0.25."""
    found = measured(GAME, [math.log(0.4), math.log(0.2), math.log(0.2)])
    assert found["entropy"] == pytest.approx(1.5 * math.log(2) / math.log(3))
    assert found["distance"] == pytest.approx((1 / 6 + 1 / 12 + 1 / 12) / 2)
    assert (found["favourite"], found["listed"]) == (pytest.approx(0.5), pytest.approx(0.8))
    assert found["exploited"] == pytest.approx(0.5 - 0.25)  # paper beats rock, and loses to scissors


def test_an_even_choice_has_all_entropy_and_loses_nothing_and_a_certain_one_has_none() -> None:
    even = measured(GAME, [math.log(1 / 3)] * 3)
    assert (even["entropy"], even["distance"], even["exploited"]) == (
        pytest.approx(1),
        pytest.approx(0),
        pytest.approx(0),
    )
    certain = measured(GAME, [0.0, -800.0, -800.0])
    assert (certain["entropy"], certain["favourite"], certain["exploited"]) == (0, 1, 1)
    assert certain["distance"] == pytest.approx(2 / 3)
    assert measured(GAME, [-900.0] * 3)["entropy"] == pytest.approx(1)


def test_requests_come_in_both_orders_and_their_options_can_be_told_apart() -> None:
    found = random_requests("english", "train")
    assert len({one.kind for one in found}) == len(CHOICES) >= 20
    assert len(found) == 2 * len(CHOICES)
    for one in (*found, *random_requests("microworld", "train")):
        assert len(set(one.options)) == len(one.options) >= 2
        assert not any(a != b and b.startswith(a) for a in one.options for b in one.options)
    assert all(all(option in one.text for option in one.options) for one in found)


def test_outcomes_are_the_exact_chances_and_the_likeliest_option() -> None:
    outcomes = list(RandomChoice(data="english").evaluate(Chooser({"heads": 0.6, "tails": 0.2}), 0))
    (coin,) = (one for one in outcomes if one.item == "coin/forwards")
    assert coin.completions == ("heads",)
    assert (coin.metrics["favourite"], coin.metrics["listed"]) == (pytest.approx(0.75), pytest.approx(0.8))
    assert ["exploited" in one.metrics for one in outcomes].count(True) == 2
    declared = {metric.name for metric in RandomChoice(data="english").metrics()}
    assert {name for one in outcomes for name in one.metrics} == declared


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"prompt": "x", "options": ["1", "10"]}', "'10' begins with '1'"),
        ('{"prompt": "x", "options": ["a"]}', "two or more different options"),
        ('{"prompt": "x"}', "without a prompt and a list of options"),
    ],
)
def test_a_row_whose_options_cannot_be_told_apart_stops_with_its_place(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "Heads or tails?", "options": ["heads", "tails"], "kind": "coin"}\n' + row + "\n")
    with pytest.raises(UserError, match=said) as raised:
        RandomChoice(data=str(file))._items()
    assert "2" in raised.value.where
