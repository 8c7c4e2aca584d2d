"""Function calls: how they are read, which values are accepted, and BFCL's own answers with their corruptions."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saying import HOSTILE

from harness.scoring.answers.finders import answer_of
from harness.scoring.answers.numbers import final_number
from harness.scoring.calls.answers import calls_in
from harness.scoring.calls.bfcl import BfclItem, bfcl_items
from harness.scoring.calls.failures import (
    NEEDLESS_CALL,
    NO_CALL,
    OF_ONE_CALL,
    WRONG_COUNT,
    WRONG_FORMAT,
    AcceptedCall,
    call_failure,
    failure_in,
)
from harness.scoring.calls.notations import FunctionCall

CATEGORIES = ("simple", "multiple", "parallel", "parallel_multiple")
Call = tuple[str, dict[str, Any]]


def python(calls: Sequence[Call]) -> str:
    return "[" + ", ".join(f"{name}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for name, a in calls) + "]"


def as_json(calls: Sequence[Call]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ('[f(a=1), g.h(b="x")]', [("f", {"a": 1}), ("g.h", {"b": "x"})]),
        ("f(a=1)", [("f", {"a": 1})]),
        ("f(a=1), f(a=2)", [("f", {"a": 1}), ("f", {"a": 2})]),
        ("[f()]", [("f", {})]),
        ("[f(a=(1, 2), b={'c': [True, None]})]", [("f", {"a": [1, 2], "b": {"c": [True, None]}})]),
        ("[f(a=-1.5, b=3 * 10**8, c=1 / 2)]", [("f", {"a": -1.5, "b": 300000000, "c": 0.5})]),
        ("[f(a=data['x'], b=true, c=-y)]", [("f", {"a": "data['x']", "b": True, "c": "-y"})]),
        ("[f(1, b=2)]", [("f", {"argument 1": 1, "b": 2})]),
        ('{"name": "f", "arguments": {"a": 1}}', [("f", {"a": 1})]),
        ('{"name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('[{"name": "f", "arguments": "{\\"a\\": 1}"}]', [("f", {"a": 1})]),
        ('[{"type": "function", "function": {"name": "f", "arguments": {}}}]', [("f", {})]),
        ("```python\n[f(a=1)]\n```", [("f", {"a": 1})]),
        ('Here:\n```json\n{"name": "f", "arguments": {"a": 1}}\n```\nDone.', [("f", {"a": 1})]),
        ("`f(a=1)`", [("f", {"a": 1})]),
        ('I call <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', [("f", {"a": 1})]),
        ("<tool_call>\n[f(a=1)]\n</tool_call>\n<tool_call>f(a=2)</tool_call>", [("f", {"a": 1}), ("f", {"a": 2})]),
        ("[ ]", []),
        ("f(a=1)\nf(a=2)", [("f", {"a": 1}), ("f", {"a": 2})]),
        ("[functions.f(a=null)]", [("f", {"a": None})]),
        ('<think>\nf(a=2)\n</think>\n\n{"name": "f", "arguments": {"a": 1}}', [("f", {"a": 1})]),
        ('```json\r\n{"name": "f", "arguments": {"a": 1}}\r\n```', [("f", {"a": 1})]),
        ('```tool-call\n{"name": "f", "arguments": {"a": 1}}\n```', [("f", {"a": 1})]),
        ('{"name": "f", "arguments": {"a": 1}}\n{"name": "f", "arguments": {}}', [("f", {"a": 1}), ("f", {})]),
        ('{"name": "f", "parameters": {"a": 1}}; {"name": "f", "parameters": {}};', [("f", {"a": 1}), ("f", {})]),
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}<|eom_id|>', [("f", {"a": 1})]),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "123456789"}]</s>', [("f", {"a": 1})]),
        ('[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]f[ARGS]{}', [("f", {"a": 1}), ("f", {})]),
        ('functools[{"name": "f", "arguments": {"a": 1}}]', [("f", {"a": 1})]),
        ('<function=f>{"a": 1}</function><function=f>{}</function>', [("f", {"a": 1}), ("f", {})]),
        ("<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>", [("f", {"a": 1})]),
        ('{"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}', [("f", {"a": 1})]),
        ('{"tool_calls": []}', []),
        ('{"content": null, "tool_calls": [{"type": "function", "function": {"name": "f"}}]}', [("f", {})]),
        ('{"function_call": {"name": "f", "arguments": "{}"}}', [("f", {})]),
        ('[{"f": {"a": 1}}, {"f": {}}]', [("f", {"a": 1}), ("f", {})]),
        ('{"type": "tool_use", "name": "f", "input": {"a": 1}}', [("f", {"a": 1})]),
        ("{'name': 'f', 'arguments': {'a': True, 'b': null}}", [("f", {"a": True, "b": None})]),
        ('<functioncall> {"name": "f", "arguments": \'{"a": 1}\'}', [("f", {"a": 1})]),
        ('<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]<|/tool_call|>', [("f", {"a": 1})]),
        ("<|tool_call_start|>[f(a=1)]<|tool_call_end|>", [("f", {"a": 1})]),
        ('{"name": "f"}', [("f", {})]),
        ('{"name": "f", "arguments": null}', [("f", {})]),
        ('{"name": "f", "arguments": ""}', [("f", {})]),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
            '<|constrain|>json<|message|>{"a": 1}<|call|>',
            [("f", {"a": 1})],
        ),
    ],
)
def test_calls_are_read_from_every_notation(answer: str, calls: list[Call]) -> None:
    found = calls_in(answer, ["f"])
    assert found is not None
    assert [(call.name, dict(call.arguments)) for call in found] == calls


JSON = '{"city": "Oslo", "days": 3}'
OSLO = ("f", {"city": "Oslo", "days": 3})
BARE = '<invoke name="f"><parameter name="city">Oslo</parameter>\n<parameter name="days">3</parameter></invoke>'


def wide(text: str) -> str:
    """DeepSeek's special tokens, of which the parts are joined by a mark that looks like an underscore."""
    return text.replace("<|", "<\uff5c").replace("|>", "\uff5c>").replace("_", "\u2581")


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        # DeepSeek V3, R1, V3.1 and V3.2
        (
            wide("<|tool_calls_begin|><|tool_call_begin|>function<|tool_sep|>f\n")
            + f"```json\n{JSON}\n```"
            + wide("<|tool_call_end|>\n<|tool_call_begin|>function<|tool_sep|>f\n")
            + "```json\n{}\n```"
            + wide("<|tool_call_end|><|tool_calls_end|><|end_of_sentence|>"),
            [OSLO, ("f", {})],
        ),
        (
            f"<think>hm</think>\n{wide('<|tool_calls_begin|><|tool_call_begin|>f<|tool_sep|>')}{JSON}"
            + wide("<|tool_call_end|><|tool_calls_end|>"),
            [OSLO],
        ),
        (
            '<|DSML|function_calls>\n<|DSML|invoke name="f">\n<|DSML|parameter name="city" string="true">Oslo'
            '</|DSML|parameter>\n<|DSML|parameter name="days" string="false">3</|DSML|parameter>\n'
            "</|DSML|invoke>\n</|DSML|function_calls>".replace("|", "\uff5c"),
            [OSLO],
        ),
        # Kimi K2
        (
            "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
            f"{JSON}<|tool_call_end|><|tool_call_begin|>functions.f:1<|tool_call_argument_begin|>{{}}"
            "<|tool_call_end|><|tool_calls_section_end|><|im_end|>",
            [OSLO, ("f", {})],
        ),
        # GLM-4 and 4.5
        (
            "<tool_call>f\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
            "<arg_value>3</arg_value>\n</tool_call>\n<tool_call>f\n</tool_call>",
            [OSLO, ("f", {})],
        ),
        (f"f\n{JSON}<|observation|>", [OSLO]),
        # FunctionGemma and Gemma 4
        (
            "<start_function_call>call:f{city:<escape>O{s}, lo:<escape>,days:3,on:[true,{a:1}]}<end_function_call>"
            "<start_function_call>call:f{}<end_function_call><start_function_response>",
            [("f", {"city": "O{s}, lo:", "days": 3, "on": [True, {"a": 1}]}), ("f", {})],
        ),
        ('<|tool_call>call:f{city:<|"|>Oslo<|"|>,days:3}<tool_call|>', [OSLO]),
        ('<|tool_call>call:f{city:<|"|>Oslo<|"|>,days:3}<tool_call|>I look.<turn|>', [OSLO]),
        # ReAct, also with a hallucinated observation, and Qwen-Agent
        (f"Thought: Hm.\nAction: f\nAction Input: {JSON}\nObservation: Rain.\nAction: f\nAction Input: 1", [OSLO]),
        ("Action: f\nAction Input:", [("f", {})]),
        (f"Thought: Hm.\n\nAction: f\n\nAction Input: {JSON}\n", [OSLO]),
        (f"[TOOL_CALLS] f [ARGS] {JSON}", [OSLO]),
        ('```tool_code\ndefault_api.f(city="Oslo", days=3)\n```', [OSLO]),
        ("<tool_call>f<tool_sep><arg_key>a</arg_key><arg_value>1</arg_value></tool_call>", [("f", {"a": 1})]),
        (
            "<longcat_tool_call>f\n<longcat_arg_key>a</longcat_arg_key>\n<longcat_arg_value>1</longcat_arg_value>\n"
            "</longcat_tool_call>",
            [("f", {"a": 1})],
        ),
        (f"**Action:** f\n**Action Input:** ```json\n{JSON}\n```", [OSLO]),
        ('Thought: Hm.\nAction: f(city="Oslo", days=3)', [OSLO]),
        (f"\u273fFUNCTION\u273f: f\n\u273fARGS\u273f: {JSON}\n\u273fRESULT\u273f", [OSLO]),
        # Claude, MiniMax, Step and others
        (f"<function_calls>\n{BARE}\n{BARE}\n</function_calls>", [OSLO, OSLO]),
        (f"<minimax:tool_call>\n{BARE}\n</minimax:tool_call>", [OSLO]),
        (BARE.replace("invoke", "a:invoke").replace("parameter", "a:parameter"), [OSLO]),
        (
            "<function_calls><invoke><tool_name>f</tool_name><parameters><city>Oslo</city><days>3</days></parameters>"
            "</invoke></function_calls>",
            [OSLO],
        ),
        (f'<function name="f">{JSON}</function>', [OSLO]),
        ("<f>\n<city>Oslo</city>\n<days>3</days>\n</f>", [OSLO]),
        # Qwen3-Coder and Seed
        ("<function=f>\n<parameter=a>\nTrue\n</parameter>\n</function>\n</tool_call>", [("f", {"a": True})]),
        ("<seed:tool_call><function=f><parameter=a>x\n y</parameter></function>", [("f", {"a": "x\n y"})]),
        # Llama, Functionary, Gorilla, Raven, Hunyuan, Apertus, Gemini, Bedrock
        ('<|python_tag|>f.call(city="Oslo", days=3)<|eom_id|>', [OSLO]),
        ('<|python_start|>[f(city="Oslo", days=3)]<|python_end|>', [OSLO]),
        (f">>>f\n{JSON}>>>f\n{{}}", [OSLO, ("f", {})]),
        ("<<function>>f(a=1)<<function>>f(a=2)", [("f", {"a": 1}), ("f", {"a": 2})]),
        ("Call: f(a=1)<bot_end>", [("f", {"a": 1})]),
        (f"<answer><tool_calls>\n<tool_call>f\n```json\n{JSON}\n```\n</tool_call>\n</tool_calls></answer>", [OSLO]),
        (f'<|tools_prefix|>[{{"f": {JSON}}}]<|tools_suffix|>', [OSLO]),
        (f'[{{"functionCall": {{"name": "f", "args": {JSON}}}}}]', [OSLO]),
        (f'{{"toolUse": {{"toolUseId": "x", "name": "f", "input": {JSON}}}}}', [OSLO]),
        (f'{{"tool": "f", "tool_input": {JSON}}}', [OSLO]),
        (f'<tools>{{"name": "f", "params": {JSON}}}</tools>', [OSLO]),
        (f"analysisHm.assistantcommentary to=functions.f json{JSON}", [OSLO]),
        # Gemma's tool_code, and JavaScript
        ('```tool_code\nprint(f(city="Oslo", days=3))\n```', [OSLO]),
        ('```python\nawait f(city="Oslo", days=3)\n```', [OSLO]),
        ("print(default_api.f(a=1))", [("f", {"a": 1})]),
        (f"functions.f({JSON})", [OSLO]),
        ("print(1)", [("print", {"argument 1": 1})]),
        ("f({})", [("f", {"argument 1": {}})]),
        # marks within values
        ('{"name": "f", "arguments": {"a": "<tool_call>```x</s>"}}', [("f", {"a": "<tool_call>```x</s>"})]),
        ('<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>', [("f", {"a": "</tool_call>"})]),
    ],
)
def test_calls_are_read_from_the_notation_of_every_family_of_models(answer: str, calls: list[Call]) -> None:
    found = calls_in(answer, ["f"])
    assert found is not None
    assert [(call.name, dict(call.arguments)) for call in found] == calls


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "f", "arguments": {}}',
        wide("<|tool_calls_begin|><|tool_call_begin|>f<|tool_sep|>") + "{}" + wide("<|tool_call_end|>"),
        "Action: f\nAction Input: {}",
        BARE,
    ],
)
@pytest.mark.parametrize("thought", ["<think>{}</think>No.", "<think>{}", "<|channel|>analysis<|message|>{}<|end|>"])
def test_a_call_that_is_only_thought_of_is_not_a_call(call: str, thought: str) -> None:
    assert calls_in(thought.replace("{}", call, 1), ["f"]) is None


def test_an_argument_whose_notation_has_no_types_has_its_declared_type() -> None:
    wanted = AcceptedCall("f", {"zip": ["90210"], "n": [3]}, {"zip": {"type": "string"}}, frozenset())
    for answer in (
        "<tool_call>f<arg_key>zip</arg_key><arg_value>90210</arg_value><arg_key>n</arg_key><arg_value>3</arg_value>",
        "<function=f><parameter=zip>90210</parameter><parameter=n>3</parameter></function>",
    ):
        assert failure_in(answer, [wanted], ["f"]) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I call f.",
        "Sure: [f(a=1)]",
        "[f(a=1)] as you wished",
        "[f(a=1)",
        "[f(a=1), 2]",
        "[f(**{'a': 1})]",
        "[f(a=b'x')]",
        "[f(a={**b})]",
        "[(lambda: 1)()]",
        "[f(a=1, a=2)]",
        '{"name": "f"}',
        '{"name": "f", "arguments": [1]}',
        "{ call : f , a : b }",
        "```\nno call\n```",
        "<tool_call></tool_call>",
        '{"f": {"a": 1}}',
        '{"error": {"code": 1}}',
        '{"tool_calls": ["f"]}',
        "a = f(a=1)",
        "<think>[f(a=1)]",
        'Result {"a": 1}',
        "Use <tool_call> to call f.",
        "The action: f is right.",
        "Action: f\nAction Input: Oslo",
        '{"name": "f", "city": "Oslo"}',
        "<start_function_call>call:f{city:Oslo}<end_function_call>",
    ],
)
def test_anything_else_is_not_read(answer: str) -> None:
    assert calls_in(answer) is None


NESTED = ["-" * 15_000 + "1", "not " * 4_000 + "1", "(" * 9_000, "x" + "[0]" * 5_000, "1" + "+1" * 9_000]
LARGE = ["9**64**64**64", "'a'*10**9", "9" * 5_000, "x" + ".y" * 9_000]
REPEATED = [
    "f(a=" * 4_000,
    '[{"a":' * 3_000,
    "```" * 6_000,
    "<tool_call>" * 1_500,
    "<function=f>" * 1_600,
    "{}" * 9_000,
    "{'a':" * 4_000,
    "f(a=1), " * 2_400,
    "<a>" * 6_000,
    "<arg_key>" * 2_000,
    "Action: f\n" * 1_800,
    "<tool_call></tool_call>" * 800,
]


@pytest.mark.parametrize("answer", [*HOSTILE, *(f"[f(a={text})]" for text in NESTED + LARGE), *REPEATED])
def test_hostile_answers_are_scored_in_time_and_execute_nothing(answer: str) -> None:
    """The worst of them raise within Python's own parser (MemoryError, RecursionError), which is the same as unread."""
    wanted = [AcceptedCall("f", {"a": [1]}, {"a": {"type": "integer"}}, frozenset({"a"}))]
    started = time.process_time()
    assert failure_in(answer, wanted, ["f"]) != ""
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("value", "declared", "accepted", "typed", "right"),
    [
        (5, {"type": "float"}, [5.0], True, True),
        (5.0, {"type": "integer"}, [5], False, True),
        (True, {"type": "integer"}, [1], False, False),
        (1, {"type": "boolean"}, [True], False, False),
        ("5", {"type": "integer"}, [5], False, False),
        ("April 1, 2024", {"type": "string"}, ["april 1 2024"], True, True),
        ("New-York_city", {"type": "string"}, ["newyork City"], True, True),
        ("it's", {"type": "string"}, ['it"s'], True, True),
        ("Paris!", {"type": "string"}, ["Paris"], True, False),
        ("", {"type": "string"}, ["a", ""], True, True),
        ([1, 2], {"type": "array", "items": {"type": "float"}}, [[1.0, 2.0]], True, True),
        ([2, 1], {"type": "array", "items": {"type": "integer"}}, [[1, 2]], True, False),
        (["a"], {"type": "array", "items": {"type": "integer"}}, [[1]], False, False),
        (["A b"], {"type": "array", "items": {"type": "string"}}, [["ab"]], True, True),
        ([["x"]], {"type": "array", "items": {"type": "string"}}, [[["x"]]], True, True),
        ({"k": 1}, {"type": "dict"}, [{"k": [1, 2], "m": ["", 3]}], True, True),
        ({"k": 1, "n": 1}, {"type": "dict"}, [{"k": [1]}], True, False),
        ({}, {"type": "dict"}, [{"k": [1]}], True, False),
        ([{"k": 1}], {"type": "array", "items": {"type": "dict"}}, [[{"k": [1]}]], True, True),
        ("data['x']", {"type": "array", "items": {"type": "integer"}}, ['data["x"]'], True, True),
        (None, {"type": "float"}, ["", None], True, True),
        (7, {"type": "any"}, [7], True, True),
    ],
)
def test_values_by_bfcls_rules(value: Any, declared: Any, accepted: list[Any], typed: bool, right: bool) -> None:
    wanted = AcceptedCall("f", {"a": accepted}, {"a": declared}, frozenset())
    assert wanted.has_type("a", value) is typed
    assert wanted.accepts("a", value) is right


def test_parallel_calls_find_partners_in_any_order() -> None:
    """The first call fits both wanted ones, the second only the first: a greedy match would fail."""
    wanted = [
        AcceptedCall("f", {"a": [1, 2]}, {"a": {"type": "integer"}}, frozenset({"a"})),
        AcceptedCall("f", {"a": [1]}, {"a": {"type": "integer"}}, frozenset({"a"})),
    ]
    assert failure_in("[f(a=1), f(a=2)]", wanted, ["f"]) == ""
    assert failure_in("[f(a=2), f(a=1)]", wanted, ["f"]) == ""
    assert failure_in("[f(a=2), f(a=2)]", wanted, ["f"]) == "wrong-value"
    assert failure_in("[f(a=2), g(a=1)]", wanted, ["f"]) == "wrong-function"
    assert failure_in("[f(a=2), f(a='1')]", wanted, ["f"]) == "wrong-type"


def test_an_argument_may_lack_only_where_it_is_optional() -> None:
    wanted = AcceptedCall("f", {"a": [1], "b": ["", 2], "c": ["", 3]}, {}, frozenset({"a", "c"}))
    assert call_failure(FunctionCall("f", {"a": 1, "c": 3}), wanted) == ""
    assert call_failure(FunctionCall("f", {"a": 1, "b": 2, "c": 3}), wanted) == ""
    assert call_failure(FunctionCall("f", {"a": 1}), wanted) == "missing-argument"
    assert call_failure(FunctionCall("f", {"a": 1, "c": 3, "d": 4}), wanted) == "invented-argument"


# --- BFCL's own answers


def chosen(accepted: Sequence[Any], at: int) -> Any:
    """The accepted value of that number; a dictionary's values are lists of accepted ones."""
    values = [value for value in accepted if value != ""] or [""]
    return plain(values[at % len(values)], at)


def plain(value: Any, at: int) -> Any:
    if isinstance(value, dict):
        return {key: chosen(one, at) if isinstance(one, list) else one for key, one in value.items()}
    return [plain(one, at) for one in value] if isinstance(value, list) else value


def right_calls(item: BfclItem, at: int, optional: bool = True) -> list[Call]:
    """The item's calls, each argument with its accepted value of that number, with or without what may lack."""
    return [
        (
            one.name,
            {
                name: chosen(values, at)
                for name, values in one.arguments.items()
                if name in one.required or "" not in values or (optional and any(value != "" for value in values))
            },
        )
        for one in item.wanted
    ]


def failure(item: BfclItem, answer: str) -> str:
    return failure_in(answer, item.wanted, [one["name"] for one in item.functions])


def items(shared_data: Path) -> Iterator[BfclItem]:
    for category in CATEGORIES:
        yield from bfcl_items(shared_data / "bfcl", category)


def test_every_accepted_answer_of_bfcl_is_right_in_both_notations_and_any_order(shared_data: Path) -> None:
    """1,000 items; every accepted value of every argument stands in one answer at least."""
    seen = answers = 0
    for item in items(shared_data):
        seen += 1
        most = max([len(values) for one in item.wanted for values in one.arguments.values()], default=1)
        tried = [right_calls(item, at) for at in range(most)] + [right_calls(item, 0, optional=False)]
        for calls in tried:
            for answer in (python(calls), as_json(calls[::-1])):
                assert failure(item, answer) == "", (item.id, answer)
                answers += 1
    assert (seen, answers) == (1000, 6092)


def other_type(value: Any, declared: str) -> Any:
    """A value of another type than the declared one and the accepted."""
    return 1234567 if isinstance(value, dict) or declared == "dict" else {"no such": 1}


def other_value(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1_000_003
    if isinstance(value, str):
        return value + " no such"
    return [*value, value[0]] if isinstance(value, list) else {**value, "no such": 1}


def corruptions(item: BfclItem, write: Callable[[Sequence[Call]], str]) -> Iterator[tuple[str, str]]:
    """The right answer with one thing wrong, and the failure that this is."""
    calls = right_calls(item, 0)
    (name, arguments), rest, wanted = calls[0], calls[1:], item.wanted[0]
    yield "no-call", f"I would have to call {name} for this."
    yield "wrong-format", write(calls)[:-2]
    types = {key: str(schema.get("type")) for key, schema in wanted.schemas.items()}
    needed = [key for key, values in wanted.arguments.items() if "" not in values]
    wrong: dict[str, list[Call]] = {
        "wrong-number-of-calls": [*calls, calls[0]],
        "wrong-function": [(f"{name}_no_such", arguments), *rest],
        "invented-argument": [(name, {**arguments, "no_such": 1}), *rest],
    }
    if needed:
        wrong["missing-argument"] = [(name, {k: v for k, v in arguments.items() if k != needed[0]}), *rest]
    typed = [key for key in arguments if types.get(key) not in (None, "any")]
    if typed:
        bad = other_type(arguments[typed[0]], types[typed[0]])
        wrong["wrong-type"] = [(name, {**arguments, typed[0]: bad}), *rest]
    # of two truth values, both may be accepted
    both = [key for key, values in wanted.arguments.items() if True in values and False in values]
    known = [key for key, value in arguments.items() if value not in (None, []) and key not in both]
    if known:
        wrong["wrong-value"] = [(name, {**arguments, known[0]: other_value(arguments[known[0]])}), *rest]
    for kind, changed in wrong.items():
        yield kind, write(changed)


def test_each_corruption_of_every_accepted_answer_is_wrong_by_its_own_name(shared_data: Path) -> None:
    """Eight corruptions of each of 1,000 answers, every other one in JSON."""
    counts: Counter[str] = Counter()
    for at, item in enumerate(items(shared_data)):
        for kind, answer in corruptions(item, as_json if at % 2 else python):
            assert failure(item, answer) == kind, (item.id, answer)
            counts[kind] += 1
    assert counts == dict.fromkeys((NO_CALL, WRONG_FORMAT, WRONG_COUNT, *OF_ONE_CALL), 1000)


def test_a_request_that_no_function_fits_is_right_without_a_call_and_wrong_with_any(shared_data: Path) -> None:
    seen = 0
    for item in bfcl_items(shared_data / "bfcl", "irrelevance"):
        seen += 1
        name = item.functions[0]["name"]
        assert failure(item, f"None fits: {name}(a=1) would be needless.") == ""
        assert failure(item, "[]") == ""
        assert failure(item, python([(name, {"a": 1})])) == "needless-call"
        assert failure(item, as_json([(name, {})])) == "needless-call"
    assert seen == 240


@given(st.text(alphabet=st.characters(), max_size=60) | st.text(alphabet="f(a=1)[]{},:\"'`<>#$-.\n", max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_stops_the_reading_of_calls_or_numbers(text: str) -> None:
    wanted = [AcceptedCall("f", {"a": [1]}, {"a": {"type": "integer"}}, frozenset({"a"}))]
    assert failure_in(text, wanted, ["f"]) in {"", NO_CALL, WRONG_FORMAT, WRONG_COUNT, NEEDLESS_CALL, *OF_ONE_CALL}
    assert final_number(text) is None or answer_of("final_number", text)


def test_a_request_with_no_offered_function_wants_no_call(tmp_path: Path) -> None:
    row = {"id": "irrelevance_0", "question": [[{"role": "user", "content": "Weather in Boston?"}]], "function": []}
    (tmp_path / "BFCL_v4_live_irrelevance.json").write_text(json.dumps(row) + "\n", "utf-8")
    (item,) = bfcl_items(tmp_path, "live_irrelevance")
    assert failure_in("I have no such tool.", item.wanted, []) == ""
    assert failure_in('[weather(city="Boston")]', item.wanted, []) == NEEDLESS_CALL
    assert failure_in('{"error": {"code": 1}}', item.wanted, []) == ""
