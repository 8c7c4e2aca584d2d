"""What is wrong with an answer where a function call is due: one name for each kind of failure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.scoring.calls.notations import Calling, FunctionCall, read_calls, same_call, same_calls, same_value
from harness.scoring.calls.signatures import Signature, json_type

NO_CALL = "no-call"
WRONG_FORMAT = "wrong-format"
WRONG_COUNT = "wrong-number-of-calls"
WRONG_FUNCTION = "wrong-function"
MISSING_ARGUMENT = "missing-argument"
INVENTED_ARGUMENT = "invented-argument"
WRONG_TYPE = "wrong-type"
WRONG_VALUE = "wrong-value"


def failure_of(right: Calling, answer: str, signatures: Mapping[str, Signature] | None = None) -> str:
    """The kind of failure, or "" where the answer asks for the same, or might.

    It might where it differs only in spelling, or in optional arguments, whose defaults nobody knows here.
    """
    said = read_calls(answer)
    if said is None or said.worded != right.worded:
        return WRONG_FORMAT if tries_to_call(answer, [call.name for call in right.calls]) else NO_CALL
    if same_calls(right, said, lenient=True):
        return ""
    if len(said.calls) != len(right.calls):
        return WRONG_COUNT
    wanted, got = _differing(right, said)
    if wanted.name != got.name:
        return WRONG_FUNCTION
    return _argument_failure(wanted, got, right.worded, (signatures or {}).get(wanted.name))


def tries_to_call(answer: str, functions: Iterable[str]) -> bool:
    """Whether an answer that cannot be read as calls was meant as one, of these functions or by its notation."""
    if answer.lstrip().startswith(("{", "[", "<tool_call")):
        return True
    # f(a=1), f ( a , b ), or a call within a sentence
    names = [re.escape(name) for name in functions]
    return any(re.search(rf'(?<!\w){name} ?\(|"{name}"', answer) for name in names)


def _differing(right: Calling, said: Calling) -> tuple[FunctionCall, FunctionCall]:
    """The first call that no given one equals, and the given one nearest to it: of its name, or in its place."""
    rest = list(said.calls)
    missing = []
    for call in right.calls:
        same = next((one for one in rest if same_call(call, one, right.worded, lenient=True)), None)
        if same is None:
            missing.append(call)
        else:
            rest.remove(same)
    wanted = missing[0]
    return wanted, next((one for one in rest if one.name == wanted.name), rest[0])


def _argument_failure(wanted: FunctionCall, got: FunctionCall, worded: bool, signature: Signature | None) -> str:
    lacking = set(wanted.arguments) - set(got.arguments)
    further = set(got.arguments) - set(wanted.arguments)
    if (signature and lacking & signature.required) or (lacking and not signature):
        return MISSING_ARGUMENT
    if (signature and further - set(signature.types)) or (further and not signature):
        return INVENTED_ARGUMENT
    shared = [name for name in wanted.arguments if name in got.arguments]
    wrong = [n for n in shared if not same_value(wanted.arguments[n], got.arguments[n], lenient=not worded)]
    if any(type_of(wanted.arguments[name], worded) != type_of(got.arguments[name], worded) for name in wrong):
        return WRONG_TYPE
    if wrong:
        return WRONG_VALUE
    # in words the order counts; elsewhere only optional arguments differ
    return WRONG_FORMAT if worded else ""


def type_of(value: Any, worded: bool) -> str:
    """The type of a value, where `number` stands for both of JSON's; in words, numbers are the digits."""
    if worded:
        return "number" if str(value).isdigit() else "string"
    found = json_type(value)
    return "number" if found == "integer" else found
