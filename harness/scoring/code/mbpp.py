"""Rows in MBPP's columns (Austin et al. 2021, 2108.07732) as problems in HumanEval's: a prompt, a name and a test.

The full set has task_id, text, code, test_list, test_setup_code; the sanitised one has prompt for text, and
test_imports for test_setup_code. The model is shown the task with its tests, as the authors do, since the name and the
arguments of the function are known from them alone. `challenge_test_list` is not run.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UserError

COLUMNS = ("task_id", "text or prompt", "code", "test_list")
FIX = f"MBPP's columns are {', '.join(COLUMNS)}, and test_setup_code or test_imports."


def is_mbpp(row: Mapping[str, Any]) -> bool:
    """Whether a row has MBPP's tests, which are a list."""
    return "test_list" in row


def problem_of(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """The fields of a CodeProblem. Raises UserError where a text or a test is missing, or no function is tested."""
    text, code, tests = row.get("text") or row.get("prompt"), row.get("code"), _texts(row.get("test_list"))
    if not isinstance(text, str) or not isinstance(code, str) or not tests or row.get("task_id") is None:
        raise UserError("a row lacks a text or its tests", where=where, fix=FIX)
    name = _tested(code, tests, where)
    setup = "\n".join([*_texts(row.get("test_imports")), *_texts(row.get("test_setup_code"))])
    lines = "\n".join(tests)
    check = "\n".join(f"    {line}" for line in ast.unparse(ast.parse(lines)).splitlines())
    described = f"{text.strip()}\n\n{lines}".replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return {
        "id": f"MBPP/{row['task_id']}",
        "prompt": f'"""{described}\n"""\n',
        "entry_point": name,
        "test": f"def check({name}):\n{check}\n",
        "setup": setup,
        "asked": f"{text.strip()}\n\nYour function must pass these tests:\n\n```python\n{lines}\n```",
    }


def _texts(value: Any) -> list[str]:
    """The texts of a column: one, or a list; none where it is empty."""
    values = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []
    return [one for one in values if isinstance(one, str) and one.strip()]


def _tested(code: str, tests: Sequence[str], where: str) -> str:
    """The function that the solution defines and the first test calls."""
    try:
        defined = {one.name for one in ast.walk(ast.parse(code)) if isinstance(one, ast.FunctionDef)}
        called = _called(ast.parse("\n".join(tests)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError("the solution or a test is not Python", where=where, fix=FIX) from error
    if found := next((name for name in called if name in defined), None):
        return found
    raise UserError("no test calls a function that the solution defines", where=where, fix=FIX)


def _called(tests: ast.Module) -> list[str]:
    """The names that are called, outermost first."""
    calls = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
    return [function.id for function in calls if isinstance(function, ast.Name)]
