"""Calls in Python's notation, `[f(a=1), g(b="x")]`; nothing is executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from typing import Any

from harness.scoring.calls.notations import DEEPEST, FunctionCall
from harness.scoring.variants.expressions import ExpressionError, worked_node

JSON_NAMES = {"true": True, "false": False, "null": None}
ERRORS = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, OverflowError)


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip())


def read_python(text: str) -> tuple[FunctionCall, ...] | None:
    """The calls of a list in Python's notation, with or without brackets, or None for any other text."""
    if not (text[:1].isidentifier() or text.startswith(("[", "("))):
        return None
    try:
        nodes: list[ast.expr] = []
        for line in _parsed(text).body:
            if not isinstance(line, ast.Expr):
                return None
            value = _unwrapped(line.value)
            nodes += value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        return tuple(_call(_unwrapped(node)) for node in nodes) or None
    except ERRORS:
        return None


def _unwrapped(node: ast.expr) -> ast.expr:
    """What `await` waits for, and the one call that `print` shows, as Gemma's tool_code writes it."""
    if isinstance(node, ast.Await):
        return _unwrapped(node.value)
    shown = (
        node.args if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print" else []
    )
    if len(shown) == 1 and isinstance(shown[0], (ast.Call, ast.Await)):
        return _unwrapped(shown[0])
    return node


def python_value(text: str) -> Any:
    """The value of a text in Python's notation. Raises one of ERRORS for any other text."""
    (line,) = _parsed(text).body
    if not isinstance(line, ast.Expr):
        raise ValueError("not a value")
    return _value(line.value)


def _call(node: ast.expr) -> FunctionCall:
    if not isinstance(node, ast.Call):
        raise ValueError("not a call")
    if len(node.args) == 1 and isinstance(node.args[0], ast.Dict) and not node.keywords:
        return FunctionCall(_dotted(node.func), _named(_value(node.args[0])))  # f({"a": 1}), as JavaScript has it
    arguments: dict[str, Any] = {f"argument {at}": _value(one) for at, one in enumerate(node.args, 1)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError("an unpacked or repeated argument")
        arguments[keyword.arg] = _value(keyword.value)
    return FunctionCall(_dotted(node.func), arguments)


def _named(value: Mapping[Any, Any]) -> dict[str, Any]:
    """A dictionary as named arguments; one that has other keys, or none, is an argument without a name."""
    return dict(value) if value and all(isinstance(key, str) for key in value) else {"argument 1": dict(value)}


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("not a function's name")
    return ".".join([node.id, *reversed(parts)])


def _value(node: ast.expr, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(one, depth + 1) for one in node.elts]
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("an unpacked dictionary")
        keys = [_value(key, depth + 1) for key in node.keys if key is not None]
        return {str(key): _value(value, depth + 1) for key, value in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.Name) and node.id in JSON_NAMES:
        return JSON_NAMES[node.id]
    number = _number(node) if isinstance(node, (ast.UnaryOp, ast.BinOp)) else None
    return ast.unparse(node) if number is None else number


def _constant(value: Any) -> Any:
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise ValueError(f"a {type(value).__name__}")
    return value


def _number(node: ast.expr) -> int | float | None:
    """The value of -1.5 or 3 * 10**8, a float where any part is one; None where it is not arithmetic."""
    try:
        value = worked_node(node, {})({})
        decimals = any(isinstance(one, ast.Constant) and isinstance(one.value, float) for one in ast.walk(node))
        divided = any(isinstance(one, ast.Div) for one in ast.walk(node))
        return float(value) if decimals or divided or not isinstance(value, int) else value
    except (ExpressionError, OverflowError, TypeError, ValueError):
        return None
