"""Problems with a Python function as the answer, in HumanEval's or MBPP's columns, and the program that tests it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

from harness.data.placed import Faults
from harness.data.readers import check_id, placed_rows
from harness.errors import UserError
from harness.scoring.code.mbpp import is_mbpp, problem_of
from harness.scoring.code.sandbox import Program

COLUMNS = ("task_id", "prompt", "entry_point", "test")
FENCED = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.S | re.I)
LONGEST = 100_000
"""Characters of an answer that are read; no function is longer."""


@dataclass(frozen=True)
class CodeProblem:
    """A problem: `prompt` is the head of a function with its docstring, and `test` defines check(candidate).

    setup  code before the function, for the program and its tests, that a policy is not shown
    asked  what a chat model is asked; "": to complete the prompt
    """

    id: str
    prompt: str
    entry_point: str
    test: str
    setup: str = ""
    asked: str = ""


def code_problems(name: str, split: str) -> list[CodeProblem]:
    """The problems of a file, folder or hub id. Raises UserError for a row that lacks a column or repeats an id."""
    found, seen = [], dict[str, str]()
    for placed in placed_rows(name, Faults(), split):
        found.append(_problem(placed.row, placed.where))
        check_id(found[-1].id, placed.where, seen)
    if not found:
        raise UserError("it contains no problems", where=name, fix="Name a file in HumanEval's or MBPP's columns.")
    return found


def _problem(row: Mapping[str, Any], where: str) -> CodeProblem:
    if is_mbpp(row):
        return CodeProblem(**problem_of(row, where))
    texts = [row.get(column) for column in COLUMNS]
    if not all(isinstance(text, str) and text for text in texts):
        raise UserError("a row lacks a text", where=where, fix=f"HumanEval's columns are {', '.join(COLUMNS)}.")
    if not str(row["entry_point"]).isidentifier():
        raise UserError(f"{row['entry_point']!r} is not the name of a function", where=where)
    return CodeProblem(*map(str, texts))


def program_of(problem: CodeProblem, answer: str) -> Program:
    """The answer as a program, with its tests apart.

    Fenced code is extracted. An answer that defines the function follows the prompt's imports alone; any other answer
    continues the prompt. What the tests import at their top is there for the program too.
    """
    code = _code(answer[:LONGEST])
    head = problem.setup + "\n" * bool(problem.setup) + problem.prompt[: _start_of_function(problem)]
    if re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(problem.entry_point)}\s*\(", code, re.M):
        whole = f"{head}\n{code}"
    else:
        whole = problem.setup + "\n" * bool(problem.setup) + problem.prompt + code
    tests = f"{problem.test}\n\ncheck({problem.entry_point})\n"
    return Program(f"{whole}\n\n{_imports(problem.test)}", head, tests)


def _imports(test: str) -> str:
    try:
        lines = ast.parse(test).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found = [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]
    return "\n".join(ast.unparse(line) for line in found if getattr(line, "module", "") != "__future__")


def _code(answer: str) -> str:
    blocks = FENCED.findall(answer)
    # the longest block: short ones show how the function is used
    return str(max(blocks, key=len)) if blocks else answer


def _start_of_function(problem: CodeProblem) -> int:
    found = re.search(rf"^def\s+{re.escape(problem.entry_point)}\b", problem.prompt, re.M)
    return found.start() if found else 0


def pass_at(samples: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k answers passes, from n samples of which c passed.

    1 - C(n - c, k) / C(n, k)        (Chen et al. 2021, 2107.03374, equation 1)

    Raises ValueError where k exceeds the number of samples.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"{passed} of {samples} passed, and k is {k}")
    return 1 - comb(samples - passed, k) / comb(samples, k)
