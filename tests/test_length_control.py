"""The length-controlled win rate: the published formula on a worked case, planted effects, and its place in a cell."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy
import pytest

from benchmarks.pairwise_judge import PairwiseJudge, _control_length
from harness.scoring.judging import Pair
from harness.scoring.length_control import LengthModel, adjusted, fit_lengths


def test_the_formula_is_that_of_the_paper_on_a_case_worked_by_hand() -> None:
    """theta 0.4, phi 1.2, psi 0.5, s = 100 characters; difficulties -1 and 2, answers 50 longer and 200 shorter.

    equation 2: 0.4 + 1.2 tanh(0.5) - 0.5 = 0.4545, and 0.4 + 1.2 tanh(-2) + 1 = 0.2432
    equation 3: mean of logistic(-0.1) = 0.47502 and logistic(1.4) = 0.80218, which is 0.63860
    """
    model = LengthModel(0.4, 1.2, 0.5, 100.0)
    hard = numpy.array([-1.0, 2.0])
    expected = [1 / (1 + math.exp(-logit)) for logit in (0.45454, 0.24317)]
    assert model.expected(numpy.array([50.0, -200.0]), hard) == pytest.approx(expected, abs=1e-5)
    assert model.at_equal_length(hard).mean() == pytest.approx(0.63860, abs=1e-5)


def drawn(theta: float, phi: float, psi: float, mean: float, seed: int = 0) -> tuple[numpy.ndarray, ...]:
    """20,000 questions with wins drawn from equation 2; our answers are longer by `mean` characters on average."""
    chance = numpy.random.default_rng(seed)
    longer, hard = chance.normal(mean, 300, 20_000), chance.normal(0, 1, 20_000)
    chances = LengthModel(theta, phi, psi, float(longer.std())).expected(longer, hard)
    return (chance.random(20_000) < chances).astype(float), longer, hard


def test_planted_effects_are_found() -> None:
    model = fit_lengths(*drawn(0.3, 0.8, 0.5, 200))
    assert (model.theta, model.phi, model.psi) == pytest.approx((0.3, 0.8, 0.5), abs=0.06)


def test_an_equal_method_that_only_writes_more_wins_half_at_equal_length() -> None:
    wins, longer, hard = drawn(0.0, 1.0, 0.0, 400)
    assert wins.mean() > 0.6
    values = adjusted(list(wins), list(longer))
    assert numpy.mean(values) == pytest.approx(0.5, abs=0.02)
    turned = adjusted(list(1 - wins), list(-longer))
    assert numpy.mean(turned) == pytest.approx(1 - numpy.mean(values), abs=1e-4)
    assert numpy.mean(adjusted(list(wins), list(longer), list(hard))) == pytest.approx(0.5, abs=0.02)


def test_single_values_average_to_the_controlled_rate() -> None:
    wins, longer, hard = (one[:500] for one in drawn(0.3, 0.8, 0.5, 200, seed=3))
    rate = fit_lengths(wins, longer, hard).at_equal_length(hard).mean()
    assert numpy.mean(adjusted(list(wins), list(longer), list(hard))) == pytest.approx(rate, abs=1e-4)


def test_without_differences_in_length_wins_stay_as_they_are() -> None:
    wins = [1.0, 0.0, 0.5, 1.0]
    assert adjusted(wins, [7.0] * 4) == pytest.approx(wins, abs=1e-6)
    assert adjusted([], []) == []
    assert numpy.mean(adjusted([1.0] * 20, list(range(20)))) > 0.99


def test_a_judge_that_prefers_length_is_seen_through_at_equal_length(tmp_path: Path) -> None:
    """60 questions; the judge lets the longer answer win, ours are longer three times in four."""
    rows = [{"id": str(at), "question": f"q{at}", "answer": "x" * 50} for at in range(60)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    benchmark = PairwiseJudge(reward_model="none", data=str(tmp_path / "q.jsonl"), against="data")
    items = benchmark._items()
    ours = ["x" * (50 + (at % 4) * 20 - 20 + at % 3) for at in range(60)]
    pairs = [Pair(item.id, item.turns, (text,), item.theirs) for item, text in zip(items, ours, strict=True)]
    judged = [{"win": float(len(text) > 50)} for text in ours]
    _control_length(items, pairs, judged)
    assert sum(one["win"] for one in judged) / 60 > 0.6
    assert abs(sum(one["win_lc"] for one in judged) / 60 - 0.5) < 0.1
    few = [{"win": 1.0} for _ in range(19)]
    _control_length(items[:19], pairs[:19], few)
    assert all("win_lc" not in one for one in few)
