"""Calls in Python's notation, `[f(a=1), g(b="x")]`, read from the syntax tree: nothing is executed or looked up.

Values are literals, lists, tuples (as lists), dictionaries and arithmetic of numbers. Whatever else stands as a value
(a name, `data["x"]`, a call) is its own source text, as in BFCL. A value without a name is kept as an argument that no
function has.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

from harness.data.calls import DEEPEST, FunctionCall
from harness.symbolic.expressions import ExpressionError, worked_node

ERRORS = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, OverflowError)


def read_python(text: str) -> tuple[FunctionCall, ...] | None:
    """The calls of a list (its brackets may lack) or None where the text is anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
        return tuple(map(_call, nodes))
    except ERRORS:
        return None


def _call(node: ast.expr) -> FunctionCall:
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    arguments: dict[str, Any] = {f"argument {at}": _value(one) for at, one in enumerate(node.args, 1)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError("unpacked arguments, or one that stands twice")
        arguments[keyword.arg] = _value(keyword.value)
    return FunctionCall(_dotted(node.func), arguments)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("no function's name")
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
    number = _number(node) if isinstance(node, (ast.UnaryOp, ast.BinOp)) else None
    return ast.unparse(node) if number is None else number


def _constant(value: Any) -> Any:
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise ValueError(f"a {type(value).__name__}")
    return value


def _number(node: ast.expr) -> int | float | None:
    """The value of -1.5 or 3 * 10**8, a float as soon as one stands in it; None where it is no arithmetic."""
    try:
        value = worked_node(node, {})({})
        decimals = any(isinstance(one, ast.Constant) and isinstance(one.value, float) for one in ast.walk(node))
        divided = any(isinstance(one, ast.Div) for one in ast.walk(node))
        return float(value) if decimals or divided or not isinstance(value, int) else value
    except (ExpressionError, OverflowError, TypeError, ValueError):
        return None
