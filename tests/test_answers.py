"""What counts as an answer, which equations hold, and what makes a reasoning path."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.records import Message, Problem
from harness.scoring.answers.finders import answer_of
from harness.scoring.answers.verifiers import missed, verifies
from methods._pool import equations_hold, equations_of, reasoning_path


def problem(reference: str, verifier: str) -> Problem:
    return Problem((Message("user", "how many"),), reference, verifier, "p1")


@pytest.mark.parametrize(
    ("verifier", "text", "expected"),
    [
        ("number", "She makes $1,200.50 in all.", "1200.5"),
        ("number", "16 - 3 = 13\n#### -13", "-13"),
        ("number", "It is 18.0", "18"),
        ("number", "no number here", None),
        ("exact", "  two   words ", "two words"),
        ("exact", " ", None),
        ("last_word", "The answer is Paris.", "paris"),
        ("last_word", "...", None),
        ("story_total", "10 + 3 = 13 . total 13 .", "13"),
        ("story_total", "total 13 . and more", None),
    ],
)
def test_the_answer_within_a_text(verifier: str, text: str, expected: str | None) -> None:
    assert answer_of(verifier, text) == expected


def test_an_answer_verifies_when_it_is_the_references_however_each_is_written() -> None:
    assert verifies(problem("<<9*2=18>>18 every day.\n#### 18", "number"), "So she makes 18.00 dollars.")
    assert not verifies(problem("#### 18", "number"), "She makes 81.")
    assert not verifies(problem("#### 18", "number"), "I cannot say.")
    assert verifies(problem("13", "story_total"), "10 + 3 = 13 . total 13 .")


def test_a_reference_without_an_answer_and_an_unknown_verifier_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="problem p1: its reference 'none' contains no answer"):
        verifies(problem("none", "number"), "5")
    with pytest.raises(UserError, match="unknown kind of answer 'numbr'") as refused:
        answer_of("numbr", "5")
    assert "Did you mean 'number'?" in refused.value.fix


@pytest.mark.parametrize(
    ("text", "equations"),
    [
        ("Half is <<48/2=24>>24 clips, so <<48+24=72>>72 and 1 + 1 = 3.", [("48/2", "24"), ("48+24", "72")]),
        ("20 + 3 = 23 . 23 - 5 = 18 . total 18 .", [("20+3", "23"), ("23-5", "18")]),
        ("(2 + 3) * 4 = 20", [("(2+3)*4", "20")]),
        ("In 2020 she had x = 5 and 3. 4 + 5 = 9", [("4+5", "9")]),
        ("nothing to see", []),
    ],
)
def test_equations_marked_or_plain_are_read_in_their_order(text: str, equations: list[tuple[str, str]]) -> None:
    assert equations_of(text) == equations
    assert reasoning_path(text) == "|".join(f"{left}={right}" for left, right in equations)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("<<1/3=0.333>>", True),
        ("<<1/3=0.33>>", False),
        ("<<1,000*2=2,000>>", True),
        ("<<-3+5=2>>", True),
        ("<<+3+5=8>>", True),
        ("<<5/0=0>>", False),
        ("<<2**3=8>>", False),
        ("<<__import__('os')=1>>", False),
        ("2 + 2 = 5 .", False),
        ("no equation", True),
    ],
)
def test_equations_hold_within_a_thousandth_and_nothing_but_arithmetic_is_computed(text: str, holds: bool) -> None:
    assert equations_hold(text) is holds


def test_a_path_is_another_one_when_terms_or_steps_change_places() -> None:
    paths = {
        reasoning_path(text) for text in ("1 + 2 = 3 . 3 + 4 = 7", "2 + 1 = 3 . 3 + 4 = 7", "3 + 4 = 7 . 1 + 2 = 3")
    }
    assert len(paths) == 3
    assert reasoning_path("we say 1+2 = 3 and then 3  + 4 = 7 .") in paths


@pytest.mark.parametrize("text", ["1" * 50_000, "1 + " * 20_000, "(" * 50_000, "1 " * 30_000, "<<" * 30_000])
def test_hostile_text_is_read_in_seconds(text: str) -> None:
    started = time.monotonic()
    equations_hold(text)
    answer_of("number", text)
    assert time.monotonic() - started < 10


def test_every_reference_of_gsm8k_verifies_itself_and_its_equations_hold(shared_data: Path) -> None:
    """But for the rows whose own arithmetic is wrong or uses other signs, which are few."""
    lines = (shared_data / "gsm8k" / "train.jsonl").read_text("utf-8").splitlines()[:1000]
    rows = [json.loads(line) for line in lines]
    assert all(verifies(problem(row["answer"], "number"), row["answer"]) for row in rows)
    assert sum(equations_hold(row["answer"]) for row in rows) > 980


@pytest.mark.parametrize(
    ("verifier", "answer", "reference"),
    [
        ("exact", "<think>20?</think>\n\n18", "18"),
        ("last_word", "<think>red</think>blue", "blue"),
        ("function_call", "<think>hm</think>[ping(a=1)]", '{"name": "ping", "arguments": {"a": 1}}'),
        ("function_call", '<tool_call>{"name": "ping"}</tool_call>', '{"name": "ping"}'),
        ("function_call", '<|python_tag|>{"name": "ping", "parameters": null}', '{"name": "ping", "arguments": {}}'),
    ],
)
def test_verifiers_judge_the_answer_without_its_thoughts_in_any_notation(
    verifier: str, answer: str, reference: str
) -> None:
    assert missed(verifier, answer, reference) == []
    assert missed(verifier, f"<think>{reference}", reference)
