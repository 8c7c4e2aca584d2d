"""The verified answers that `rft` keeps: one for each problem and reasoning path (Yuan et al. 2023, 2308.01825)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.records import Demonstration, Message, Problem
from harness.scoring.answers.verifiers import verifies
from harness.scoring.variants.expressions import ExpressionError, worked


@dataclass
class Pool:
    """Verified answers: one representative per problem and reasoning path.

    equations  whether an answer with a false equation is dropped
    """

    verify: Callable[[Problem, str], bool] = verifies
    equations: bool = True
    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    generated_tokens: int = 0
    verified: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of kept answers."""
        return sum(len(paths) for paths in self.kept.values())

    def offer(self, problem: Problem, answer: str) -> None:
        """Keep an answer that verifies, if its path is new or it differs more from the other representatives."""
        answer = answer.strip()
        if not (answer and self.verify(problem, answer) and (equations_hold(answer) or not self.equations)):
            return
        self.verified += 1
        paths = self.kept.setdefault(problem.id, {})
        self.problems[problem.id] = problem
        path = reasoning_path(answer)
        others = [text for name, text in paths.items() if name != path]
        if path not in paths or distance_to(others, answer) > distance_to(others, paths[path]):
            paths[path] = answer

    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The kept answers as rows to train on, in the order of the problems."""
        return tuple(
            Demonstration(
                (*self.problems[name].prompt, Message("assistant", answer)), f"{name}, path {number}", "sampled"
            )
            for name, paths in self.kept.items()
            for number, answer in enumerate(paths.values(), 1)
        )


def distance_to(others: Sequence[str], text: str) -> int:
    """The summed edit distance of a text to others, in words."""
    return sum(edit_distance(text.split(), other.split()) for other in others)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that turn one sequence into the other."""
    row = [*range(len(other) + 1)]
    for at, item in enumerate(one, 1):
        before, row[0] = row[0], at
        for column, wanted in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (item != wanted))
    return row[-1]


def write_demonstrations(demonstrations: Sequence[Demonstration], file: Path) -> None:
    """Write one row per line, in the format that `data: demonstrations` reads."""
    lines = [
        json.dumps({"id": row.id, "messages": [asdict(message) for message in row.messages]}, ensure_ascii=False)
        for row in demonstrations
    ]
    file.write_text("".join(line + "\n" for line in lines), "utf-8")


MARKED = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_DIGITS = r"\d+(?:[,.]\d+)*"
LEFT = re.compile(rf"[-(]*\s*{_DIGITS}(?:[\s()]*[-+*/][-+*/\s()]*{_DIGITS})+[\s)]*$")
RIGHT = re.compile(rf"\s*(-?{_DIGITS})")
LONGEST_SIDE = 100
TOLERANCE = 1e-3
OTHER = re.compile(r"""\*\*|//|[%'"\[\]]""")  # more than sums, products and quotients of numbers


def equations_of(text: str) -> list[tuple[str, str]]:
    """The equations of a worked answer in their order, as (left, right) without spaces.

    Those marked `<<48/2=24>>` as in GSM8K, or, where none is marked, plain ones such as `48 / 2 = 24`.
    """
    found = MARKED.findall(text) or _plain_equations(text)
    return [("".join(left.split()), "".join(right.split())) for left, right in found]


def _plain_equations(text: str) -> list[tuple[str, str]]:
    """Looks only near each `=`: a search of the whole text would take quadratic time."""
    pieces = text.split("=")
    sides = [
        (LEFT.search(before[-LONGEST_SIDE:]), RIGHT.match(after[:LONGEST_SIDE])) for before, after in pairwise(pieces)
    ]
    return [(left[0], right[1]) for left, right in sides if left and right]


def reasoning_path(text: str) -> str:
    """The equations as one key, "" for none. A different order is a different path (Yuan et al. 2023, 2308.01825)."""
    return "|".join(f"{left}={right}" for left, right in equations_of(text))


def equations_hold(text: str) -> bool:
    """Whether both sides of every equation agree within 1e-3."""
    return all(_holds(left, right) for left, right in equations_of(text))


def _holds(left: str, right: str) -> bool:
    if max(len(left), len(right)) > LONGEST_SIDE or OTHER.search(left + " " + right):
        return False
    try:
        values = [float(worked(side.replace(",", ""), {})[0]({})) for side in (left, right)]
    except (ExpressionError, TypeError, ValueError, OverflowError):
        return False
    return abs(values[0] - values[1]) <= TOLERANCE
