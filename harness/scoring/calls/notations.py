"""The reader of function calls, for every notation that data sets and models use.

{"name": "f", "arguments": {"a": 1}}         also with `parameters`, with the arguments as JSON text or without any,
                                             as a list, and wrapped as OpenAI's tool_calls are
<tool_call>{"name": "f", ...}</tool_call>    one element for each call
{ call : f , a : 1 }                         the microworld's, in which the order of arguments counts
[f(a=1), g(b="x")]                           Python's

`read_calls` reads training data, whose whole answer must be calls, and can write other calls in the same notation; it
refuses Python's. `calls_in` reads a model's answers, without their thoughts: also Python's notation, blocks of code and
text before elements, but not the microworld's; and further

{"name": "f", ...}; {"name": "g", ...}       JSON objects in lines or with ; or , between them
{'name': 'f', 'arguments': {'a': True}}      Python's dictionaries
[{"f": {"a": 1}}]                            the name as the only key
<|python_tag|>, [TOOL_CALLS], functools      marks before calls (MARK_OPENED), with or without their closing marks
<function=f>{"a": 1}</function>              Llama's, and Qwen's with <parameter=a>1</parameter>
[TOOL_CALLS]f[ARGS]{"a": 1}                  Mistral's
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.policy.thoughts import split_thoughts
from harness.scoring.variants.expressions import ExpressionError, worked_node

OPENED, CLOSED = "<tool_call>", "</tool_call>"
DEEPEST = 64
STYLES: tuple[dict[str, Any], ...] = tuple(
    {"separators": separators, "ensure_ascii": ascii_only, "indent": indent}
    for indent in (None, 2, 4)
    for separators in ((", ", ": "), (",", ": "), (",", ":"))
    for ascii_only in (False, True)
)


@dataclass(frozen=True)
class FunctionCall:
    """A function's name and the values of its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Calling:
    """An answer that consists of calls.

    write    writes other calls in the notation of this answer
    worded   whether that is the microworld's: every value is text, and the order of arguments counts
    """

    text: str
    calls: tuple[FunctionCall, ...]
    write: Callable[[Sequence[FunctionCall]], str]
    worded: bool = False


def read_calls(text: str) -> Calling | None:
    """The calls that the whole answer consists of, or None for any other answer."""
    return _read_worded(text) or _read_elements(text) or _read_json(text)


def same_calls(one: Calling, other: Calling) -> bool:
    """Whether two answers ask for the same; the order of calls and, outside words, that of arguments do not count."""
    return one.worded == other.worded and unmatched(one, other) == ([], [])


def unmatched(one: Calling, other: Calling, *, lenient: bool = False) -> tuple[list[FunctionCall], list[FunctionCall]]:
    """The calls of each that the other lacks.

    lenient  ignore differences of spelling that a careful checker forgives (BFCL's rule: case, spaces and ,./-_*^)
    """
    missing, rest = [], list(other.calls)
    for call in one.calls:
        same = next((at for at, found in enumerate(rest) if _same_call(call, found, one.worded, lenient)), None)
        if same is None:
            missing.append(call)
        else:
            del rest[same]
    return missing, rest


def _same_call(one: FunctionCall, other: FunctionCall, worded: bool, lenient: bool) -> bool:
    if worded:
        return one.name == other.name and list(one.arguments.items()) == list(other.arguments.items())
    return one.name == other.name and same_value(one.arguments, other.arguments, lenient=lenient)


def same_value(one: Any, other: Any, *, lenient: bool = False) -> bool:
    """Whether two JSON values mean the same: 1 equals 1.0, but neither "1" nor true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    if isinstance(one, str) and isinstance(other, str):
        return _spelling(one, lenient) == _spelling(other, lenient)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            same_value(a, b, lenient=lenient) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(same_value(one[key], other[key], lenient=lenient) for key in one)
    return one is None and other is None


def _spelling(text: str, lenient: bool) -> str:
    return re.sub(r"[\s,./\-_*^'\"]", "", text.casefold()) if lenient else " ".join(text.split())


def parsed_json(text: str) -> Any:
    """The value of a JSON text, or None where it is invalid; NaN, infinity and very deep nesting are invalid too."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(value) else None


def _is_shallow(value: Any) -> bool:
    """Whether recursive comparison and writing of the value cannot exhaust the stack."""
    level = [value]
    for _ in range(DEEPEST):
        if not level:
            return True
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [item for items in inner for item in items]
    return False


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _read_json(text: str) -> Calling | None:
    value = parsed_json(text)
    objects = value if isinstance(value, list) else [value]
    calls = tuple(call for call in map(_call_of, objects) if call)
    if not calls or len(calls) < len(objects):
        return None

    def write(wanted: Sequence[FunctionCall]) -> str:
        style = _style_of(text, value)
        written = [_with_call(objects[min(at, len(objects) - 1)], call) for at, call in enumerate(wanted)]
        return json.dumps(written if isinstance(value, list) or len(written) != 1 else written[0], **style)

    return Calling(text, calls, write)


def _read_elements(text: str) -> Calling | None:
    before, *inner = text.split(OPENED)
    if before.strip() or not inner or not all(one.rstrip().endswith(CLOSED) for one in inner):
        return None
    inner = [one.rstrip().removesuffix(CLOSED).strip() for one in inner]
    parts = [_read_json(one) for one in inner]
    known = [part for part in parts if part and len(part.calls) == 1]
    if len(known) < len(parts):
        return None

    def write(wanted: Sequence[FunctionCall]) -> str:
        texts = [known[min(at, len(known) - 1)].write([call]) for at, call in enumerate(wanted)]
        return "\n".join(f"{OPENED}\n{one}\n{CLOSED}" for one in texts)

    return Calling(text, tuple(part.calls[0] for part in known), write)


def _read_worded(text: str) -> Calling | None:
    said = text.split()
    if said[:3] != ["{", "call", ":"] or said[-1:] != ["}"] or len(said) < 5:
        return None
    name, *pairs = " ".join(said[3:-1]).split(" , ")
    arguments = dict(pair.split(" : ", 1) for pair in pairs if " : " in pair)
    if len(arguments) < len(pairs) or " " in name:
        return None
    return Calling(text, (FunctionCall(name, arguments),), _write_worded, worded=True)


def _write_worded(calls: Sequence[FunctionCall]) -> str:
    def write(call: FunctionCall) -> str:
        return f"{{ call : {call.name}{''.join(f' , {key} : {value}' for key, value in call.arguments.items())} }}"

    return " ".join(write(call) for call in calls)


def _call_of(value: Any) -> FunctionCall | None:
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    key = _arguments_key(inner)
    given = inner.get(key)
    given = parsed_json(given) if isinstance(given, str) and given.strip() else given
    given = {} if key in inner and given in (None, "") else given  # a call without arguments
    return FunctionCall(inner["name"], given) if isinstance(given, Mapping) else None


def _arguments_key(inner: Mapping[str, Any]) -> str:
    return "arguments" if "arguments" in inner else "parameters"


def _with_call(value: Mapping[str, Any], call: FunctionCall) -> dict[str, Any]:
    """The JSON object with its call replaced."""
    if isinstance(value.get("function"), Mapping):
        return {**value, "function": _with_call(value["function"], call)}
    key, arguments = _arguments_key(value), dict(call.arguments)
    as_text = isinstance(value.get(key), str)
    return {**value, "name": call.name, key: json.dumps(arguments, ensure_ascii=False) if as_text else arguments}


def _style_of(text: str, value: Any) -> dict[str, Any]:
    """The spacing of a JSON text, which wrong calls keep so that spacing does not give them away."""
    return next((style for style in STYLES if json.dumps(value, **style) == text.strip()), STYLES[0])


LONGEST = 20_000  # characters; a longer answer is not read
FENCE = "```"
LANGUAGE = re.compile(r"\A(?:[\w+\-]{0,20}[ \t]*\r?\n|(?:json|python)\s)")
MARK_OPENED = re.compile(
    r"<tool_calls?>|<\|tool_calls?(?:_start|_begin|_section_begin|_argument_begin)?\|>|<TOOLCALL>|<function_?calls?>"
    r"|<\|python_tag\|>|\[TOOL_CALLS\]|\bfunctools(?=\s*\[)|<\|action_start\|>(?:\s*<\|plugin\|>)?|<\|START_ACTION\|>"
)
"""The marks before calls: Hermes and Qwen, Phi, Granite, LFM2, Nemotron, Glaive, Llama, Mistral, InternLM, Command."""
MARK_CLOSED = re.compile(
    r"</tool_calls?>|<\|/tool_calls?\|>|<\|tool_calls?_(?:section_)?end\|>|</TOOLCALL>|</function_?calls?>"
    r"|<\|action_end\|>|<\|END_ACTION\|>|<\|e[a-z]{1,3}_id\|>|<\|im_end\|>|</s>"
)
FUNCTION = re.compile(r"<function=([^<>\s{]{1,200})>?(.*?)(?:</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^<>\s]{1,200})>(.*?)(?:</parameter>|\Z)", re.DOTALL)
NAMED = re.compile(r"\A([\w.\-]{1,200})(?:\[CALL_ID\]\w{1,40})?(?:\[ARGS\])?\s*(?=\{)")
HARMONY = re.compile(
    r"to=functions\.([\w.\-]{1,200})[^{]{0,200}<\|message\|>(.*?)(?:<\|(?:call|end|start)\|>|\Z)", re.DOTALL
)
LISTS, SINGLES = ("tool_calls", "function_calls"), ("function_call", "functionCall", "tool_call")
NAMES = ("name", "tool_name", "function_name", "function", "tool", "action")
GIVEN = ("arguments", "parameters", "args", "input", "action_input", "kwargs")
PREFIX = "functions."


def calls_in(answer: str, known: Collection[str] = ()) -> tuple[FunctionCall, ...] | None:
    """The calls of an answer, () for an empty list, or None where it cannot be read as calls.

    known  the functions that may be called, which tell {"f": {...}} and {"name": "f"} from other JSON objects
    """
    if len(answer) > LONGEST:
        return None
    if told := HARMONY.findall(answer):
        return _all_calls([_call_with(name, given) for name, given in told])
    answer = split_thoughts(answer)[1]
    if MARK_OPENED.search(answer) is None:
        answer = MARK_CLOSED.sub("", answer)
    parts = [_calls_of(part, known) for part in _parts(answer)]
    read = [part for part in parts if part is not None]
    if len(read) < len(parts) or not parts:
        return None
    return tuple(FunctionCall(_plain(call.name, known), call.arguments) for part in read for call in part)


def is_marked(answer: str) -> bool:
    """Whether an answer opens like calls, readable or not."""
    answer = answer.lstrip()
    return answer.startswith(("{", "[", "<tool_call", "<function=")) or bool(MARK_OPENED.match(answer))


def _parts(answer: str) -> Iterator[str]:
    """The parts of an answer that must all be calls."""
    if MARK_OPENED.search(answer):
        pieces = [MARK_CLOSED.split(piece, maxsplit=1)[0] for piece in MARK_OPENED.split(answer)[1:]]
        yield from [piece for piece in pieces if piece.strip()] or pieces[:1]
    elif "<function=" in answer:
        yield answer[answer.index("<function=") :]
    elif FENCE in answer:
        for piece in answer.split(FENCE)[1::2]:
            yield LANGUAGE.sub("", piece)
    else:
        yield answer


def _calls_of(text: str, known: Collection[str]) -> tuple[FunctionCall, ...] | None:
    text = text.strip()
    if text.startswith(FENCE):
        text = LANGUAGE.sub("", text.strip("`"))
    text = text.strip("`").strip().rstrip(";").rstrip()
    if text.replace(" ", "") == "[]":
        return ()
    if text.startswith("<function="):
        return _all_calls([_call_with(name, given) for name, given in FUNCTION.findall(text)])
    if named := NAMED.match(text):
        return _all_calls([_call_with(named[1], text[named.end() :])])
    values = _values(text)
    return read_python(text) if values is None else _calls_among(values, known)


def _values(text: str) -> list[Any] | None:
    """The JSON values that a text consists of, or the one dictionary or list of dictionaries in Python's notation."""
    decoder, at, found = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite), 0, []
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(value)
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n;,"))
        return found if text.startswith(("[", "{")) and _is_shallow(found) else None
    except (ValueError, RecursionError):
        pass
    try:
        node = _parsed(text).body[0]
        value = _value(node.value) if isinstance(node, ast.Expr) else None
    except (*ERRORS, IndexError):
        return None
    listed = value if isinstance(value, list) else [value]
    return listed if listed and all(isinstance(one, dict) for one in listed) else None


def _calls_among(values: Sequence[Any], known: Collection[str]) -> tuple[FunctionCall, ...] | None:
    """The calls that all of the JSON values are."""
    calls: list[FunctionCall | None] = []
    for value in values:
        inner = value
        if isinstance(value, Mapping):
            inner = next((value[key] for key in LISTS if isinstance(value.get(key), list)), value)
            inner = next((value[key] for key in SINGLES if isinstance(value.get(key), Mapping)), inner)
        calls += [_any_call(one, known) for one in (inner if isinstance(inner, list) else [inner])]
    return _all_calls(calls)


def _any_call(value: Any, known: Collection[str]) -> FunctionCall | None:
    """The call that a JSON object is, whatever the names of its keys."""
    call = _call_of(value)
    if call is None and isinstance(value, Mapping):
        inner = value["function"] if isinstance(value.get("function"), Mapping) else value
        name = next((inner[key] for key in NAMES if isinstance(inner.get(key), str)), None)
        given = next((inner[key] for key in GIVEN if key in inner), None)
        if name is None and len(value) == 1:
            ((name, given),) = value.items()
            call = FunctionCall(name, given) if isinstance(given, Mapping) and _plain(name, known) in known else None
        elif name and (any(key in inner for key in GIVEN) or _plain(name, known) in known):
            call = _call_with(name, given)
    return call


def _plain(name: str, known: Collection[str]) -> str:
    """The name without the namespace in which some models call all functions."""
    bare = name.removeprefix(PREFIX)
    return bare if bare in known else name


def _call_with(name: str, given: Any) -> FunctionCall | None:
    """A call whose arguments are an object, its text, parameters in elements, or absent."""
    if isinstance(given, str):
        text = given.strip().rstrip(";")
        if parameters := PARAMETER.findall(text):
            given = {key: _typed(value.strip("\r\n")) for key, value in parameters}
        else:
            values = _values(text) if text else [{}]
            given = values[0] if values and len(values) == 1 else text
    return FunctionCall(name, {} if given is None else given) if isinstance(given, Mapping | None) else None


def _typed(text: str) -> Any:
    """The JSON value that a text is, or the text."""
    value = parsed_json(text)
    return text if value is None and text.strip() != "null" else value


def _all_calls(calls: Sequence[FunctionCall | None]) -> tuple[FunctionCall, ...] | None:
    found = tuple(call for call in calls if call is not None)
    return found if len(found) == len(calls) else None


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip())


JSON_NAMES = {"true": True, "false": False, "null": None}
ERRORS = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, OverflowError)


def read_python(text: str) -> tuple[FunctionCall, ...] | None:
    """The calls of a list in Python's notation, with or without brackets, or None for any other text."""
    try:
        nodes: list[ast.expr] = []
        for line in _parsed(text).body:
            if not isinstance(line, ast.Expr):
                return None
            nodes += line.value.elts if isinstance(line.value, (ast.List, ast.Tuple)) else [line.value]
        return tuple(map(_call, nodes)) or None
    except ERRORS:
        return None


def _call(node: ast.expr) -> FunctionCall:
    if not isinstance(node, ast.Call):
        raise ValueError("not a call")
    arguments: dict[str, Any] = {f"argument {at}": _value(one) for at, one in enumerate(node.args, 1)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError("an unpacked or repeated argument")
        arguments[keyword.arg] = _value(keyword.value)
    return FunctionCall(_dotted(node.func), arguments)


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
