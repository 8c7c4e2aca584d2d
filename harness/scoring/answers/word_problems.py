"""Word problems with a number as the answer: rows of `question` and `answer`, and their prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from harness.data.placed import Faults
from harness.data.readers import label_of, placed_rows
from harness.errors import UserError
from harness.policy.types import Prompt
from harness.records import Message
from harness.scoring.answers.numbers import final_number

INSTRUCTION = "Work it out step by step, then give the number alone on a last line that opens with ####."
MARKED = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class WordProblem:
    """A question, a worked answer, and its number."""

    id: str
    question: str
    answer: str
    number: Fraction


def word_problems(name: str, split: str) -> list[WordProblem]:
    """The problems of a file, folder or hub id. Raises UserError for a row without a question or a number."""
    return [
        word_problem(f"{split}-{placed.number}", placed.row.get("question"), placed.row.get("answer"), placed.where)
        for placed in placed_rows(name, Faults(), split)
    ]


def word_problem(id: str, question: object, answer: object, where: str) -> WordProblem:
    """One problem. Raises UserError where a text is missing or the answer contains no number."""
    if not isinstance(question, str) or not isinstance(answer, str) or not question.strip():
        raise UserError(
            "a row without the texts `question` and `answer`", where=where, fix="Rename its columns as in GSM8K."
        )
    number = final_number(answer)
    if number is None:
        raise UserError(
            f"the answer {answer[-80:]!r} contains no number", where=where, fix="End it with a line such as `#### 18`."
        )
    return WordProblem(id, question, answer, number)


def shots_of(name: str, count: int, asked: Sequence[str]) -> tuple[WordProblem, ...]:
    """The first `count` problems of a training set, without those that are asked themselves.

    Raises UserError where no set is named or it has too few.
    """
    if count == 0:
        return ()
    if not name:
        raise UserError(
            f"shots is {count}, but shots_from is empty", fix="Set shots_from to the training file or hub id."
        )
    questions = {" ".join(question.split()) for question in asked}
    found = [one for one in word_problems(name, "train") if " ".join(one.question.split()) not in questions]
    if len(found) < count:
        raise UserError(
            f"{label_of(name)} has {len(found)} problems for {count} shots", fix="Set shots to a smaller number."
        )
    return tuple(found[:count])


def problem_prompt(question: str, shots: Sequence[WordProblem], instruction: str) -> Prompt:
    """The shots as earlier turns, without GSM8K's calculator annotations, then the question."""
    turns = []
    for shot in shots:
        turns += [Message("user", _asked(shot.question, instruction))]
        turns += [Message("assistant", MARKED.sub("", shot.answer))]
    return Prompt(messages=(*turns, Message("user", _asked(question, instruction))))


def _asked(question: str, instruction: str) -> str:
    return f"{question}\n\n{instruction}" if instruction else question
