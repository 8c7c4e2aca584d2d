"""Word problems: right numbers score 1, others 0, and shots come from where they are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from saying import HOSTILE, Sayer

from benchmarks.math_problems import MathProblems
from harness.errors import UserError
from harness.scoring.answers.word_problems import INSTRUCTION

ROWS = [
    {"question": "Tom has 5 apples and eats 7. How many are left?", "answer": "5-7 = <<5-7=-2>>-2\n#### -2"},
    {"question": "A car costs $9,000 and a bike $500. Both?", "answer": "<<9000+500=9500>>9,500 dollars\n#### 9,500"},
    {"question": "Half of 9 cakes?", "answer": "9/2 = <<9/2=4.5>>4.5\n#### 4.5"},
]


def written(folder: Path, name: str, rows: list[dict[str, str]]) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_a_right_number_scores_however_it_is_written_and_a_lost_sign_does_not(tmp_path: Path) -> None:
    data = written(tmp_path, "test.jsonl", ROWS)
    said = {"test-1": "The answer is 2.", "test-2": "So $9,500.00 in all", "test-3": "no idea"}
    outcomes = list(MathProblems(data=data).evaluate(Sayer(lambda prompt, key: said[key]), seed=0))
    assert [(o.item, o.metrics["correct"], o.metrics["answered"]) for o in outcomes] == [
        ("test-1", 0.0, 1.0),
        ("test-2", 1.0, 1.0),
        ("test-3", 0.0, 0.0),
    ]
    assert [o.reference for o in outcomes] == ["-2", "9500", "9/2"]
    assert {name for o in outcomes for name in o.metrics} == {m.name for m in MathProblems().metrics()}


def test_shots_are_earlier_turns_without_marks_and_never_the_question_itself(tmp_path: Path) -> None:
    data, shots = written(tmp_path, "test.jsonl", ROWS[:1]), written(tmp_path, "train.jsonl", ROWS)
    policy = Sayer(lambda prompt, key: "#### -2")
    benchmark = MathProblems(data=data, shots=2, shots_from=shots)
    assert [o.metrics["correct"] for o in benchmark.evaluate(policy, seed=0)] == [1.0]
    (prompt,) = policy.asked
    assert [m.role for m in prompt.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert prompt.messages[1].content == "9,500 dollars\n#### 9,500"
    assert prompt.messages[4].content == f"{ROWS[0]['question']}\n\n{INSTRUCTION}"
    with pytest.raises(UserError, match="has 2 problems for 3 shots"):
        list(MathProblems(data=data, shots=3, shots_from=shots).evaluate(policy, seed=0))
    with pytest.raises(UserError, match="shots is 2, but shots_from is empty"):
        list(MathProblems(data=data, shots=2).evaluate(policy, seed=0))


def test_the_digest_follows_problems_and_shots_and_the_temperature_makes_seeds_matter(tmp_path: Path) -> None:
    data, shots = written(tmp_path, "test.jsonl", ROWS), written(tmp_path, "train.jsonl", ROWS[1:])
    other = written(tmp_path, "other.jsonl", ROWS[:2])
    digests = {
        MathProblems(data=data).data_digest(),
        MathProblems(data=other).data_digest(),
        MathProblems(data=other, shots=1, shots_from=shots).data_digest(),
    }
    assert len(digests) == 3
    assert MathProblems(data=data).data_digest() == MathProblems(data=data).data_digest()
    assert MathProblems(temperature=0.7).stochastic
    assert not MathProblems().stochastic


def test_a_row_that_is_no_problem_names_its_place(tmp_path: Path) -> None:
    data = written(tmp_path, "test.jsonl", [*ROWS, {"question": "And?", "answer": "no number"}])
    with pytest.raises(UserError, match=r"test\.jsonl:4.*contains no number"):
        MathProblems(data=data).data_digest()
    with pytest.raises(UserError, match="without the texts `question` and `answer`"):
        MathProblems(data=written(tmp_path, "bad.jsonl", [{"question": "x", "text": "y"}])).data_digest()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored(tmp_path: Path, text: str) -> None:
    benchmark = MathProblems(data=written(tmp_path, "test.jsonl", ROWS[:1]))
    (outcome,) = benchmark.evaluate(Sayer(lambda prompt, key: text), seed=0)
    assert outcome.metrics["correct"] == 0.0


def test_gsm8ks_own_answers_are_all_right(shared_data: Path) -> None:
    benchmark = MathProblems(data=str(shared_data / "gsm8k"), limit=200)
    answers = {f"test-{at}": item.answer for at, item in enumerate(benchmark.test_set().items, 1)}
    outcomes = list(benchmark.evaluate(Sayer(lambda prompt, key: answers[key]), seed=0))
    assert len(outcomes) == 200
    assert all(outcome.metrics["correct"] == 1.0 for outcome in outcomes)


def test_a_hub_id_may_name_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    asked: list[tuple[object, ...]] = []

    def load_dataset(*names: object, **options: object) -> list[dict[str, str]]:
        asked.append((*names, options["split"]))
        return ROWS

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert len(MathProblems().test_set().items) == 3
    assert len(MathProblems(data="me/mine").test_set().items) == 3
    assert asked == [("openai/gsm8k", "main", "test"), ("me/mine", None, "test")]
