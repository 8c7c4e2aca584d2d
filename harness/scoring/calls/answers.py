"""The reader of a model's answers: every notation of function calls in public use, without thoughts.

[f(a=1), g(b="x")]                       Python's, also in blocks of code
{"name": "f", ...}; {"name": "g", ...}   JSON objects alone, in a list, in lines, or with ; or , between them
{'name': 'f', 'arguments': {'a': True}}  Python's dictionaries
[{"f": {"a": 1}}]                        the name as the only key
<tool_call>...</tool_call>               marks around any of these (MARK_OPENED), with or without their closing marks
f, then {"a": 1}                         DeepSeek, Kimi, Mistral, Functionary, ReAct, Qwen-Agent, harmony (NAMED)
<function=f>, <invoke name="f">          arguments as elements or pairs (calls/elements.py)

Text before and after marks, blocks of code and elements does not count; other text makes an answer unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from harness.policy.thoughts import split_thoughts
from harness.scoring.calls.elements import read_elements, read_gemma, read_known_elements, read_pairs
from harness.scoring.calls.notations import FunctionCall
from harness.scoring.calls.objects import Calls, Offer, all_calls, call_with, calls_among, values_of
from harness.scoring.calls.python_calls import read_python

LONGEST = 20_000  # characters; a longer answer is not read
MOST_ENDS = 8
FENCE = "```"
LANGUAGE = re.compile(r"\A(?:[\w+\-]{0,20}[ \t]*\r?\n|(?:json|python)\s)")
WIDE = re.compile(r"<｜([A-Za-z▁_]{1,40})｜>")
"""DeepSeek's special tokens, which are written with wide bars."""

_WORD = r"(?:\w{1,20}[:_])?(?:tool|function)s?[_-]?(?:calls?|uses?|code)?"
MARK_OPENED = re.compile(
    rf"<{_WORD}>|<\|{_WORD}(?:_(?:start|(?:section_|argument_)?begin))?\|?>|<start_function_call>|<<function>>"
    r"|<\|(?:python_tag|python_start|tools_prefix)\|>|\[(?:TOOL|FUNCTION)_(?:CALLS?|REQUEST)\]|\bfunctools(?=\s*\[)"
    r"|<\|action_start\|>(?:\s*<\|plugin\|>)?|<\|START_ACTION\|>",
    re.IGNORECASE,
)
"""The marks before calls: Hermes and Qwen, Phi, Granite, LFM2, Nemotron, Glaive, Llama, Mistral, InternLM, Command,
Gemma, Gorilla, Apertus, MiniMax, Jamba, Olmo and others."""
MARK_CLOSED = re.compile(
    rf"</{_WORD}>|<\|/{_WORD}\|>|<{_WORD}\|>|<\|tool_calls?_(?:section_)?end\|>|<end_function_call>"
    r"|<\|(?:python_end|tools_suffix)\|>|\[/(?:TOOL|FUNCTION)_CALLS?\]|\[END_TOOL_REQUEST\]|<\|action_end\|>"
    r"|<\|END_ACTION\|>",
    re.IGNORECASE,
)
ENDS = (
    *("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "</s>", "<end_of_turn>", "<|endoftext|>", "<|call|>"),
    *("<|end_of_text|>", "<|end_of_sentence|>", "<|observation|>", "<start_function_response>", "<bot_end>", "<turn|>"),
)
"""Marks at the end of a turn."""
ENVELOPE = re.compile(r"\A<(answer|code|output|response)>(.*?)(?:</\1>)?\Z", re.DOTALL)
LABEL = re.compile(r"(?:\A|\n)[ \t*]{0,9}(?:Action|Call|Tool call|Function call)s?:[ \t*]{0,9}(?=\S)", re.IGNORECASE)
OBSERVED = re.compile(r"\n[ \t*]{0,9}Observation:")

_NAME = r"(?P<name>[\w.\-]{1,200})"
_INPUT = r"\n[\s*]{0,9}Action Input:[ \t*]{0,9}"
NAMED = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # harmony, also without its special tokens
        rf"to=functions\.{_NAME}[^{{]{{0,200}}(?:<\|message\|>|\s(?:json|code)\s{{0,3}})(?P<given>.*?)"
        r"(?:<\|(?:call|end|start)\|>|\Z)",
        # DeepSeek and Kimi
        rf"<\|tool_call_begin\|>\s{{0,9}}(?:function<\|tool_sep\|>(?!\s{{0,9}}[{{`]))?{_NAME}(?::\d{{1,9}})?\s{{0,9}}"
        r"(?:<\|tool_(?:sep|call_argument_begin)\|>)?(?P<given>.*?)(?:<\|tool_call_end\|>|(?=<\|tool_call_begin)|\Z)",
        # Mistral
        rf"\[TOOL_CALLS\]\s{{0,9}}{_NAME}\s{{0,9}}(?:\[CALL_ID\]\w{{1,40}})?(?:\[ARGS\])?(?P<given>\s{{0,9}}\{{.*?)(?=\[TOOL_CALLS|\Z)",
        # ReAct and Qwen-Agent
        rf"(?:\A|\n)[ \t*]{{0,9}}Action:[ \t*`]{{0,9}}{_NAME}[ \t*`]{{0,9}}{_INPUT}(?P<given>.*?)"
        r"(?=\n[ \t*]{0,9}(?:Thought|Action|Final Answer):|\Z)",
        rf"✿FUNCTION✿:\s{{0,9}}{_NAME}\s{{0,9}}✿ARGS✿:(?P<given>.*?)(?=✿|\Z)",
        # Functionary, whose text is for the recipient `all`
        rf">>>(?!all\b){_NAME}[ \t]{{0,9}}\n(?P<given>.*?)(?=>>>|\Z)",
    )
)
"""Notations that write a function's name and then its arguments as JSON."""
BEFORE_OBJECT = re.compile(rf"\A{_NAME}\s*(?=\{{|```)")
LIKE_CALLS = re.compile(
    r"[{\[]|<tool_call|<(?:[\w:|]{0,20})?(?:function|invoke)[= ]|<\|tool_call|Action:|✿FUNCTION✿|>>>\w|to=functions\."
)


def calls_in(
    answer: str, known: Collection[str] = (), texts: Collection[tuple[str, str]] = ()
) -> tuple[FunctionCall, ...] | None:
    """The calls of an answer, () for an empty list, or None where it cannot be read as calls.

    known  the functions that may be called, which tell {"f": {...}} and {"name": "f"} from other JSON objects
    texts  the functions' arguments that are texts, which notations without types leave open
    """
    if len(answer) > LONGEST:
        return None
    answer, offer = without_ends(split_thoughts(answer)[1]), Offer(known, texts)
    for read in READERS:
        calls = read(answer, offer)
        if calls is not None:
            return tuple(FunctionCall(offer.plain(call.name), call.arguments) for call in calls)
    return None


def is_marked(answer: str) -> bool:
    """Whether an answer opens like calls, readable or not."""
    answer = _narrow(answer.lstrip())
    return bool(LIKE_CALLS.match(answer) or MARK_OPENED.match(answer) or re.search(_INPUT, answer))


def without_ends(answer: str) -> str:
    """The answer without marks of the end of a turn, a hallucinated observation, and an envelope around all of it."""
    answer = OBSERVED.split(_narrow(answer), maxsplit=1)[0].strip()
    while ended := next((end for end in ENDS if answer.endswith(end)), None):
        answer = answer.removesuffix(ended).rstrip()
    envelope = ENVELOPE.match(answer)
    return envelope[2].strip() if envelope else answer


def _narrow(answer: str) -> str:
    return WIDE.sub(lambda found: f"<|{found[1].replace('▁', '_')}|>", answer)


def _read_whole(answer: str, offer: Offer) -> Calls | None:
    """An answer that consists of JSON values or Python's calls, or of a known name with a JSON object."""
    text = answer
    if text.startswith(FENCE):
        text = LANGUAGE.sub("", text.strip("`"))
    text = text.strip("`").strip().rstrip(";").rstrip()
    if text.replace(" ", "") == "[]":
        return ()
    if (named := BEFORE_OBJECT.match(text)) and offer.plain(named["name"]) in offer.names:
        return _named_call(named["name"], text[named.end() :])
    values = values_of(text)
    return read_python(text) if values is None else calls_among(values, offer)


def _read_named(answer: str, offer: Offer) -> Calls | None:
    for pattern in NAMED:
        if found := list(pattern.finditer(answer)):
            calls = [_named_call(one["name"], one["given"]) for one in found]
            return all_calls([call[0] if call else None for call in calls])
    return None


def _named_call(name: str, given: str) -> Calls | None:
    given = given.strip()
    if given.startswith(FENCE):
        given = LANGUAGE.sub("", given.strip("`"))
    call = call_with(name, given)
    return (call,) if call else None


def _read_marked(answer: str, offer: Offer) -> Calls | None:
    """The text after each mark, up to a closing mark behind which it can be read."""
    if not MARK_OPENED.search(answer):
        return None
    pieces = MARK_OPENED.split(answer)[1:]
    read = [_read_piece(piece, offer) for piece in [one for one in pieces if one.strip()] or pieces[:1]]
    known = [calls for calls in read if calls is not None]
    return tuple(call for calls in known for call in calls) if len(known) == len(read) else None


def _read_piece(piece: str, offer: Offer) -> Calls | None:
    ends = [found.start() for found in MARK_CLOSED.finditer(piece)][:MOST_ENDS]
    for end in [*ends, len(piece)]:
        text = piece[:end].strip()
        if not text:
            return () if end else None
        for read in (_read_whole, read_gemma, read_pairs):
            calls = read(text, offer)
            if calls is not None:
                return calls
    return None


def _read_fenced(answer: str, offer: Offer) -> Calls | None:
    if FENCE not in answer:
        return None
    read = [_read_whole(LANGUAGE.sub("", piece), offer) for piece in answer.split(FENCE)[1::2]]
    known = [calls for calls in read if calls is not None]
    return tuple(call for calls in known for call in calls) if read and len(known) == len(read) else None


def _read_labelled(answer: str, offer: Offer) -> Calls | None:
    label = LABEL.search(answer)
    return _read_whole(answer[label.end() :], offer) if label else None


READERS: tuple[Callable[[str, Offer], Calls | None], ...] = (
    *(_read_whole, _read_named, read_elements, _read_marked, _read_fenced, _read_labelled, read_known_elements),
)
"""The readers in order; the first that reads an answer wins."""
