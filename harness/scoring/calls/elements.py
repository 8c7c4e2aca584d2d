"""Calls whose arguments are elements or pairs without types.

<function=f><parameter=a>1</parameter></function>               Qwen3-Coder, Seed; Llama with JSON inside
<invoke name="f"><parameter name="a">1</parameter></invoke>     Claude, MiniMax; DeepSeek V3.2 with its own prefix
<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value>        GLM
<f><a>1</a></f>                                                 coding agents; only for functions that are known
call:f{a:<escape>x<escape>}                                     FunctionGemma, Gemma 4
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from harness.scoring.calls.notations import FunctionCall, parsed_json
from harness.scoring.calls.objects import Calls, Offer, all_calls, call_with

_SPACE = r"(?:[|｜\w]{1,20}[:|｜])?"  # a prefix of names, such as seed: or ｜DSML｜
_AT = r"(?:(?<=>)|(?<=\n)|\A)\s{0,20}"
FUNCTION = re.compile(
    rf"{_AT}<{_SPACE}(?:function=|(?:function|invoke) name=)[\"']?(?P<name>[^<>\s{{\"']{{1,200}})[\"']?>?(?P<body>.*?)"
    rf"(?:</{_SPACE}(?:function|invoke)>|\Z)",
    re.DOTALL,
)
PARAMETER = re.compile(
    rf"<{_SPACE}param(?:eter)?(?:=| name=)[\"']?(?P<name>[^<>\s\"']{{1,200}})[\"']?"
    rf"(?: string=[\"'](?P<text>\w+)[\"'])?>(?P<value>.*?)"
    rf"(?:</{_SPACE}param(?:eter)?>|(?=<{_SPACE}parameter[= ])|\Z)",
    re.DOTALL,
)
NAMED_INSIDE = re.compile(
    r"<invoke>\s*<tool_name>(?P<name>[^<>]{1,200})</tool_name>(?P<body>.*?)(?:</invoke>|\Z)", re.DOTALL
)
PAIR = re.compile(
    r"<(?:\w{1,20}_)?arg_key>(?P<name>.*?)</(?:\w{1,20}_)?arg_key>\s*"
    r"<(?:\w{1,20}_)?arg_value>(?P<value>.*?)(?:</(?:\w{1,20}_)?arg_value>|\Z)",
    re.DOTALL,
)
PAIRS_START = re.compile(r"(?:<tool_sep>\s*)?<(?:\w{1,20}_)?arg_key>")
OPENED = re.compile(r"\s*<([A-Za-z_][\w.\-]{0,200})>")
GEMMA = re.compile(r"call:(?P<name>[\w.\-]{1,200})(?P<body>\{.*\})", re.DOTALL)
GEMMA_QUOTE = re.compile(r"<escape>|<\|\"\|>")
GEMMA_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.\-]*)\s*:")


def read_elements(answer: str, offer: Offer) -> Calls | None:
    """The calls that an answer contains as elements, or None where it has none or one cannot be read."""
    found = [*FUNCTION.finditer(answer), *NAMED_INSIDE.finditer(answer)]
    return all_calls([_call(one["name"].strip(), one["body"], offer) for one in found]) if found else None


def read_known_elements(answer: str, offer: Offer) -> Calls | None:
    """The calls of an answer that consists of elements named like known functions."""
    found = _children(answer)
    if not found or not all(offer.plain(name) in offer.names for name, _ in found):
        return None
    return all_calls([_call(name, body, offer) for name, body in found])


def _children(text: str) -> list[tuple[str, str]] | None:
    """(name, content) of the elements that a text consists of, or None for any other text."""
    found, at = [], 0
    while at < len(text.rstrip()):
        opened = OPENED.match(text, at)
        end = text.find(f"</{opened[1]}>", opened.end()) if opened else -1
        if opened is None or end < 0:
            return None
        found.append((opened[1], text[opened.end() : end]))
        at = end + len(opened[1]) + 3
    return found


def read_pairs(text: str, offer: Offer) -> Calls | None:
    """The call of a name and pairs of keys and values; a known name alone is a call without arguments."""
    name, *rest = PAIRS_START.split(text.strip(), maxsplit=1)
    name = name.strip()
    if not rest:
        return (FunctionCall(name, {}),) if offer.plain(name) in offer.names else None
    pairs = {one["name"].strip(): one["value"] for one in PAIR.finditer(text)}
    return (FunctionCall(name, {key: offer.value(name, key, value) for key, value in pairs.items()}),)


def read_gemma(text: str, offer: Offer) -> Calls | None:
    """The call of `call:f{...}`, whose keys have no quotes and whose texts have quotes of their own."""
    call = GEMMA.fullmatch(text.strip())
    given = None if call is None else parsed_json("".join(_as_json(call["body"])))
    return (FunctionCall(call["name"], given),) if call and isinstance(given, dict) else None


def _as_json(body: str) -> Iterator[str]:
    for at, part in enumerate(GEMMA_QUOTE.split(body)):
        yield json.dumps(part) if at % 2 else GEMMA_KEY.sub(r'\1"\2":', part)


def _call(name: str, body: str, offer: Offer) -> FunctionCall | None:
    """The call of a name with parameters in elements, a JSON object, or nothing."""
    given = [(one["name"], one["value"], one["text"] == "true") for one in PARAMETER.finditer(body)]
    inner = body.strip()
    if not given and inner and not inner.startswith(("{", "[")):
        inner = inner.removeprefix("<parameters>").removesuffix("</parameters>")
        children = _children(inner)
        if children is None:
            return None
        given = [(key, value, False) for key, value in children]
    if not given:
        return call_with(name, inner)
    values = [(key, value.strip("\r\n"), is_text) for key, value, is_text in given]
    return FunctionCall(
        name, {key: value if is_text else offer.value(name, key, value) for key, value, is_text in values}
    )
