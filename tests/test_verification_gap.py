"""The generation-verification gap: 0 for judges that know nothing, maximal for the verifier, and by hand in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from saying import Sayer

from benchmarks.verification_gap import QUESTIONS, REPLIES, VerificationGap, gaps
from harness.errors import UserError
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling, Score

GAPS = ("gap_likelihood", "gap_yes_no", "gap_verifier")


def test_gaps_by_hand() -> None:
    """Two of four are right. One judge takes a right one, one a wrong one, and one ties between a right and a wrong."""
    right = [1.0, 0.0, 1.0, 0.0]
    judges = {"good": [0.3, 0.1, 0.2, 0.1], "bad": [0.1, 0.9, 0.1, 0.1], "torn": [5.0, 5.0, 1.0, 1.0]}
    found = gaps(right, judges)
    assert found["sampled"] == 0.5
    assert [found[name] for name in judges] == [1, 0, 0.5]
    assert [found[f"gap_{name}"] for name in judges] == [0.5, -0.5, 0]


def test_a_judge_that_tells_nothing_apart_has_no_gap_and_a_random_one_none_on_average() -> None:
    chance, found = random.Random(0), []
    for _ in range(4000):
        right = [float(chance.random() < 0.3) for _ in range(6)]
        constant = gaps(right, {"judge": [7.0] * 6})
        assert constant["gap_judge"] == pytest.approx(0, abs=1e-12)
        found.append(gaps(right, {"judge": [chance.random() for _ in range(6)]})["gap_judge"])
    # the standard error is the root of 0.3 * 0.7 * (1 - 1/6) / 4000 = 0.0066
    assert abs(sum(found) / len(found)) < 4 * 0.0066


def test_no_judge_has_a_larger_gap_than_the_verifier() -> None:
    chance = random.Random(1)
    for _ in range(500):
        right = [float(chance.random() < 0.3) for _ in range(6)]
        found = gaps(right, {"judge": [chance.random() for _ in range(6)], "verifier": right})
        assert found["gap_judge"] <= found["gap_verifier"]
        assert found["verifier"] == max(right)


class Judging(Sayer):
    """Draws right and wrong totals, and judges each text by a function of problem and answer."""

    def __init__(self, answers: Callable[[str], list[str]], thinks: Callable[[Prompt, str], float]) -> None:
        super().__init__(lambda prompt, key: "")
        self.answers, self.thinks = answers, thinks

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        assert sampling.temperature > 0
        return [tuple(Completion(text, (1,), "stop") for text in self.answers(key)) for key in keys]

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        return [
            Score(self.thinks(*pair), len(pair[1].split()), False) for pair in zip(prompts, completions, strict=True)
        ]


def outcomes(policy: Policy, folder: Path) -> list[dict[str, float]]:
    file = folder / "problems.jsonl"
    rows = [f'{{"question": "1 + {number} ?", "answer": "#### {number + 1}"}}' for number in range(4)]
    file.write_text("\n".join(rows), "utf-8")
    return [dict(one.metrics) for one in VerificationGap(data=str(file), samples=2).evaluate(policy, seed=0)]


def test_the_judges_are_the_likelihood_per_token_and_the_turn_after_the_answer(tmp_path: Path) -> None:
    """The short wrong answer is likelier as a whole, the long right one per token; the yes goes to the wrong one."""

    def thinks(prompt: Prompt, text: str) -> float:
        if prompt.messages[-1].content != QUESTIONS[False]:
            return {"it is 1": -1.5, "9": -1.0}.get(text, -9.0)
        assert [message.role for message in prompt.messages] == ["user", "assistant", "user"]
        assert text in REPLIES[False]
        return float((prompt.messages[1].content == "9") == (text == "Yes"))

    found = outcomes(Judging(lambda key: ["it is 1", "9"], thinks), tmp_path)
    assert [found[0][name] for name in GAPS] == [0.5, -0.5, 0.5]
    assert [found[1][name] for name in GAPS] == [0, 0, 0]


def test_an_empty_answer_is_not_the_likeliest(tmp_path: Path) -> None:
    found = outcomes(Judging(lambda key: ["", "1"], lambda prompt, text: -3.0 if text else 0.0), tmp_path)
    assert found[0]["likelihood"] == 1


def test_the_question_about_an_answer_has_words_of_the_microworld() -> None:
    tokenizer = make_tokenizer()
    for text in (QUESTIONS[True], *REPLIES[True]):
        assert tokenizer.unk_token_id not in tokenizer.encode(text), text


def test_a_temperature_of_0_is_refused() -> None:
    with pytest.raises(UserError, match="at 0 all answers are equal"):
        VerificationGap(temperature=0.0)
