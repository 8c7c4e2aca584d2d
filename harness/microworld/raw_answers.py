"""Answers as they come before anybody has looked at them: of a given share, something is wrong with them.

The faults are those that curation is there to find: the form that was asked for is ignored, the answer is one
to another prompt, or it breaks off. Their shares are our choice, and no measurement of any real source.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from harness.microworld.calls import Call
from harness.microworld.tasks import Task

FAULTY = 0.5
"""Share of the rows of the unfiltered set whose answer has a fault."""


def raw_answer(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    """The task's own answer, or with a chance of FAULTY one with a fault; never equal to its own by accident."""
    if chance.random() >= FAULTY:
        return task.answer
    faults = [_cut_short(task, others, chance), _of_another(task, others, chance), _without_form(task)]
    return chance.choice([answer for answer in faults if answer and answer != task.answer])


def _cut_short(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    words = task.answer.split()
    return " ".join(words[: max(1, chance.randrange(len(words)))])


def _of_another(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    return chance.choice(others).answer


def _without_form(task: Task) -> str:
    """What is said, said as if no form had been asked for; empty for a task that asks for none."""
    return FORMLESS[task.kind](task) if task.kind in FORMLESS else ""


def _without_markers(task: Task) -> str:
    markers = {wish.arguments["marker"] for wish in task.instructions}
    return " ".join(word for word in task.answer.split() if word not in markers)


def _positional(task: Task) -> str:
    wish = task.instructions[0].arguments
    return Call(wish["function"], wish["arguments"]).positional()


FORMLESS: dict[str, Callable[[Task], str]] = {
    "upper": lambda task: task.answer.lower(),
    "start": _without_markers,
    "end": _without_markers,
    "both": _without_markers,
    "list": lambda task: task.answer.replace("- ", ""),
    "call": _positional,
}
