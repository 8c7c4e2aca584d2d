"""Word problems that close with a number: rows of `question` and `answer`, and how they are asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from harness.data.readers import Faults, label_of, placed_rows
from harness.errors import UserError
from harness.policy.types import Completion, Prompt
from harness.records import Message
from harness.scoring.answers.numbers import final_number

INSTRUCTION = "Work it out step by step, then give the number alone on a last line that opens with ####."
MARKED = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class WordProblem:
    """A question, a worked answer, and the number that it comes to."""

    id: str
    question: str
    answer: str
    number: Fraction


def word_problems(name: str, split: str) -> list[WordProblem]:
    """The problems of a file, a folder or a hub id. Raises UserError for a row without question or number."""
    return [
        word_problem(f"{split}-{placed.number}", placed.row.get("question"), placed.row.get("answer"), placed.where)
        for placed in placed_rows(name, Faults(), split)
    ]


def word_problem(id: str, question: object, answer: object, where: str) -> WordProblem:
    """One problem. Raises UserError where a text is missing or the answer holds no number."""
    if not isinstance(question, str) or not isinstance(answer, str) or not question.strip():
        raise UserError("a row without texts question and answer", where=where, fix="Name GSM8K's columns.")
    number = final_number(answer)
    if number is None:
        raise UserError(f"the answer {answer[-80:]!r} holds no number", where=where, fix="Close it with `#### 18`.")
    return WordProblem(id, question, answer, number)


def shots_of(name: str, count: int, asked: Sequence[str]) -> tuple[WordProblem, ...]:
    """The first `count` problems of a training set, without those that are asked themselves.

    Raises UserError where none is named or it holds too few.
    """
    if count == 0:
        return ()
    if not name:
        raise UserError(f"{count} shots of no data", fix="Set shots_from to the training file or hub id.")
    questions = {" ".join(question.split()) for question in asked}
    found = [one for one in word_problems(name, "train") if " ".join(one.question.split()) not in questions]
    if len(found) < count:
        raise UserError(f"{label_of(name)} gives {len(found)} shots, not {count}", fix="Ask for fewer.")
    return tuple(found[:count])


def problem_prompt(question: str, shots: Sequence[WordProblem], instruction: str) -> Prompt:
    """The shots as earlier turns, without GSM8K's marks for a calculator, then the question."""
    turns = []
    for shot in shots:
        turns += [Message("user", _asked(shot.question, instruction))]
        turns += [Message("assistant", MARKED.sub("", shot.answer))]
    return Prompt(messages=(*turns, Message("user", _asked(question, instruction))))


def flags_of(completion: Completion) -> tuple[str, ...]:
    """What happened to the prompt or the answer."""
    flags = {"truncated": completion.truncated, "unfinished": completion.finish == "length"}
    return tuple(name for name, raised in flags.items() if raised)


def _asked(question: str, instruction: str) -> str:
    return f"{question}\n\n{instruction}" if instruction else question
