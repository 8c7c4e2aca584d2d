"""Arithmetic in Python's notation, evaluated by walking its syntax tree; nothing is executed.

Only the node types in `_READERS` are allowed. Numbers are exact (int or Fraction; 0.25 is 1/4), so that it can be
decided whether they are integers. An expression is compiled to nested functions once, since the conditions of a
template are evaluated thousands of times.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

Value = Any
Names = Mapping[str, Value]
Worked = Callable[[Names], Value]

LONGEST = 2_000  # characters
LARGEST_POWER = 64
LARGEST_BASE = 10**9
LARGEST_LIST = 10_000


class ExpressionError(ValueError):
    """An expression that cannot be read or evaluated; the message gives the reason."""


def worked(text: str, functions: Mapping[str, Callable[..., Value]]) -> tuple[Worked, frozenset[str]]:
    """The expression as a function of its names' values, and those names.

    Raises ExpressionError for anything but a supported expression; the function does so where there is no value.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression of {len(text)} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"{text[:80]!r} is not an expression") from error
    return worked_node(tree, functions), frozenset(_names(tree))


def worked_node(tree: ast.expr, functions: Mapping[str, Callable[..., Value]]) -> Worked:
    """The same for a syntax tree."""
    try:
        inner = _read(tree, functions)
    except RecursionError as error:
        raise ExpressionError("nested too deeply") from error

    def outer(names: Names) -> Value:
        try:
            return inner(names)
        except (ArithmeticError, TypeError, ValueError, KeyError, IndexError, RecursionError) as error:
            raise ExpressionError(f"{type(error).__name__}: {error}") from error

    return outer


def exact(value: Any) -> Value:
    """A number as an int where it is an integer, else as a Fraction; anything else unchanged."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        value = Fraction(repr(value))
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value


def quotient(left: Value, right: Value) -> Value:
    """The exact quotient left / right."""
    if type(left) is int and type(right) is int:
        whole, rest = divmod(left, right)
        return Fraction(left, right) if rest else whole
    return exact(Fraction(left) / Fraction(right))


def _names(tree: ast.expr) -> set[str]:
    """The names of values, without names of functions."""
    called = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Call) for inner in ast.walk(node.func)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def _read(node: ast.expr, functions: Mapping[str, Any]) -> Worked:
    reader = _READERS.get(type(node))
    if reader is None:
        raise ExpressionError(f"{type(node).__name__} is not supported")
    return reader(node, functions)


def _constant(node: Any, functions: Mapping[str, Any]) -> Worked:
    if not isinstance(node.value, (int, float, str, bool, type(None))):
        raise ExpressionError(f"the constant {node.value!r}")
    try:
        value = exact(node.value)
    except ValueError as error:  # 1e999
        raise ExpressionError("an infinite number") from error
    return lambda names: value


def _name(node: Any, functions: Mapping[str, Any]) -> Worked:
    key = node.id

    def look_up(names: Names) -> Value:
        if key not in names:
            raise ExpressionError(f"the name {key!r} is unknown")
        return names[key]

    return look_up


def _binary(node: Any, functions: Mapping[str, Any]) -> Worked:
    apply = _BINARY.get(type(node.op))
    if apply is None:
        raise ExpressionError(f"{type(node.op).__name__} is not supported")
    left, right = _read(node.left, functions), _read(node.right, functions)
    return lambda names: apply(left(names), right(names))


def _unary(node: Any, functions: Mapping[str, Any]) -> Worked:
    apply = _UNARY.get(type(node.op))
    if apply is None:
        raise ExpressionError(f"{type(node.op).__name__} is not supported")
    inner = _read(node.operand, functions)
    return lambda names: apply(inner(names))


def _compare(node: Any, functions: Mapping[str, Any]) -> Worked:
    tests = [_COMPARED.get(type(one)) for one in node.ops]
    if not all(tests):
        raise ExpressionError("a comparison that is not supported")
    sides = [_read(one, functions) for one in (node.left, *node.comparators)]

    def hold(names: Names) -> bool:
        left = sides[0](names)
        for test, side in zip(tests, sides[1:], strict=True):
            right = side(names)
            if test is None or not test(left, right):
                return False
            left = right
        return True

    return hold


def _both(node: Any, functions: Mapping[str, Any]) -> Worked:
    parts = [_read(one, functions) for one in node.values]
    together = all if isinstance(node.op, ast.And) else any
    return lambda names: together(part(names) for part in parts)


def _choice(node: Any, functions: Mapping[str, Any]) -> Worked:
    test, yes, no = (_read(one, functions) for one in (node.test, node.body, node.orelse))
    return lambda names: yes(names) if test(names) else no(names)


def _call(node: Any, functions: Mapping[str, Any]) -> Worked:
    name = ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else ""
    if name not in functions or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
        raise ExpressionError(f"the function {name!r} is unknown")
    apply, given = functions[name], [_read(one, functions) for one in node.args]
    return lambda names: apply(*[one(names) for one in given])


def _sequence(node: Any, functions: Mapping[str, Any]) -> Worked:
    parts = [_read(one, functions) for one in node.elts]
    kind = tuple if isinstance(node, ast.Tuple) else list
    return lambda names: kind(part(names) for part in parts)


def _subscript(node: Any, functions: Mapping[str, Any]) -> Worked:
    whole = _read(node.value, functions)
    if isinstance(node.slice, ast.Slice):
        ends = [_read(e, functions) if e else None for e in (node.slice.lower, node.slice.upper, node.slice.step)]
        return lambda names: whole(names)[slice(*[end(names) if end else None for end in ends])]
    at = _read(node.slice, functions)
    return lambda names: whole(names)[at(names)]


def _product(left: Value, right: Value) -> Value:
    if type(left) is int and type(right) is int:
        return left * right
    for one, other in ((left, right), (right, left)):
        if isinstance(one, (list, tuple, str)) and (type(other) is not int or len(one) * other > LARGEST_LIST):
            raise ExpressionError("a list that is too long")
    return exact(left * right)


def _power(left: Value, right: Value) -> Value:
    right = exact(right)
    if type(right) is not int or abs(right) > LARGEST_POWER or abs(left) > LARGEST_BASE:
        raise ExpressionError(f"the power {right}")
    return exact(Fraction(left) ** right)


def _remainder(left: Value, right: Value) -> Value:
    if isinstance(left, str):  # "%d" % 1 would format the text
        raise ExpressionError("the remainder of a text")
    return exact(left % right)


_BINARY: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: lambda left, right: exact(left + right),
    ast.Sub: lambda left, right: exact(left - right),
    ast.Mult: _product,
    ast.Div: quotient,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _remainder,
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Value], Value]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_READERS: dict[type[ast.expr], Callable[[Any, Mapping[str, Any]], Worked]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _both,
    ast.IfExp: _choice,
    ast.Call: _call,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Subscript: _subscript,
}
