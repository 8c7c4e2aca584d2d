"""Items in the layout of the Berkeley Function Calling Leaderboard: questions, and accepted answers in a folder.

    BFCL_v4_multiple.json                  {"id", "question": [[turn, ...]], "function": [schema, ...]} per line
    possible_answer/BFCL_v4_multiple.json  {"id", "ground_truth": [{function: {argument: [accepted, ...]}}, ...]}

A category of irrelevance has no accepted answers, since no function fits or none is offered. The Java and
JavaScript categories are refused, since their arguments are source text in those languages; so are conversations of
several requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.data.json_rows import line_rows
from harness.data.placed import Faults, Placed
from harness.data.readers import check_id
from harness.data.rows import TOOLS
from harness.data.turns import read_turns
from harness.errors import UserError
from harness.policy.types import Prompt
from harness.records import Message
from harness.scoring.calls.failures import AcceptedCall
from harness.scoring.calls.signatures import JSON_TYPES, declared_arguments

ANSWERS = "possible_answer"
FIX = "Name a folder in BFCL's layout: BFCL_v4_multiple.json and possible_answer/BFCL_v4_multiple.json."


@dataclass(frozen=True)
class BfclItem:
    """A request, the offered functions, and the wanted calls (none where no function fits)."""

    id: str
    category: str
    messages: tuple[Message, ...]
    functions: tuple[Mapping[str, Any], ...]
    wanted: tuple[AcceptedCall, ...]
    reference: str


def folder_of(name: str) -> Path:
    """A local folder, or the downloaded files of a hub data set. Raises UserError where neither can be read."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, repo_type="dataset", allow_patterns=["BFCL_*.json", f"{ANSWERS}/BFCL_*.json"])
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(f"{name!r} is neither a folder nor a reachable data set: {reason}", fix=FIX) from error
    return Path(found)


def bfcl_items(folder: Path, category: str) -> list[BfclItem]:
    """The items of a category in order. Raises UserError with file and line where one cannot be read."""
    path = _file_of(folder, category)
    rows = _rows(path)
    answers: dict[str, Placed] = {}
    if not category.endswith("irrelevance"):
        answers = {str(one.row.get("id")): one for one in _rows(folder / ANSWERS / path.name)}
    items, seen = [], dict[str, str]()
    for placed in rows:
        check_id(str(placed.row.get("id")), placed.where, seen)
        answer = answers.get(str(placed.row.get("id")))
        if answer is None and not category.endswith("irrelevance"):
            raise UserError(f"no accepted answer for {placed.row.get('id')!r}", where=placed.where, fix=FIX)
        items.append(_item(category, placed, answer))
    return items


def _rows(path: Path) -> list[Placed]:
    """One object per line, whatever the ending of the file's name."""
    if not path.is_file():
        raise UserError("no such file", where=str(path), fix=FIX)
    return list(line_rows(path, Faults()))


def _file_of(folder: Path, category: str) -> Path:
    """The category's file of the latest version; `simple` is called simple_python from version 4 on."""
    if category.endswith(("java", "javascript")) or category.startswith("multi_turn"):
        raise UserError(
            f"the category {category!r} is not supported",
            fix="Name categories with calls in Python's notation, such as simple.",
        )
    pattern = re.compile(rf"BFCL_v(\d+)_{re.escape(category)}{'(?:_python)?' if category == 'simple' else ''}\.json")
    found = [(int(match[1]), path) for path in folder.glob("BFCL_v*.json") if (match := pattern.fullmatch(path.name))]
    if not found:
        raise UserError(f"the folder has no file of the category {category!r}", where=str(folder), fix=FIX)
    return max(found)[1]


def _item(category: str, placed: Placed, answer: Placed | None) -> BfclItem:
    row, where = placed.row, placed.where
    question, functions = row.get("question"), row.get("function")
    if (
        not isinstance(question, list)
        or len(question) != 1
        or not isinstance(functions, list)
        or (answer and not functions)
    ):
        raise UserError("a row needs one request in `question` and a list in `function`", where=where, fix=FIX)
    known = {one["name"]: one for one in functions if isinstance(one, Mapping) and isinstance(one.get("name"), str)}
    if len(known) < len(functions):
        raise UserError("a function without a name, or two functions with one name", where=where, fix=FIX)
    truth = answer.row.get("ground_truth") if answer else []
    if not isinstance(truth, list) or (answer and not truth):
        raise UserError("`ground_truth` is not a list of calls", where=answer.where if answer else where, fix=FIX)
    wanted = tuple(_accepted(one, known, answer.where if answer else where) for one in truth)
    reference = json.dumps(truth, ensure_ascii=False)
    return BfclItem(str(row.get("id")), category, read_turns(question[0], where), tuple(functions), wanted, reference)


def _accepted(one: Any, functions: Mapping[str, Mapping[str, Any]], where: str) -> AcceptedCall:
    if not isinstance(one, Mapping) or len(one) != 1 or not set(one) <= set(functions):
        raise UserError(f"{str(one)[:80]} is not a call of an offered function", where=where, fix=FIX)
    ((name, arguments),) = one.items()
    if not isinstance(arguments, Mapping) or not all(isinstance(values, list) for values in arguments.values()):
        raise UserError(f"the arguments of {name} are not lists of accepted values", where=where, fix=FIX)
    properties, required = declared_arguments(functions[name])
    return AcceptedCall(name, arguments, properties, required & set(arguments))


Notation = Literal["python", "json"]
EXAMPLES: Mapping[Notation, str] = {
    "python": "as a list in Python's notation: [name(argument=value, ...), ...]",
    "json": 'as a JSON list: [{"name": "...", "arguments": {"argument": value, ...}}, ...]',
}
REQUEST = (
    "Answer the request with calls of the functions below and with nothing else, {example}. Name every argument that "
    "you give. If no function fits the request, say so in words and make no call."
)


def bfcl_prompt(messages: Sequence[Message], functions: Sequence[Mapping[str, Any]], notation: Notation) -> Prompt:
    """The prompt of one item; its own system turn comes before the functions."""
    offered = json.dumps([json_schema(one) for one in functions], ensure_ascii=False)
    own = [message.content for message in messages if message.role == "system"]
    parts = [*own, REQUEST.format(example=EXAMPLES[notation]), TOOLS + offered]
    turns = [message for message in messages if message.role != "system"]
    return Prompt(messages=(Message("system", "\n\n".join(parts)), *turns))


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with JSON schema's names of types; `any` becomes the absence of a type."""
    found = dict(schema)
    if isinstance(found.get("type"), str):
        found["type"] = JSON_TYPES.get(found["type"], found["type"])
        if found["type"] == "any":
            del found["type"]
    for key in ("parameters", "items"):
        if isinstance(found.get(key), Mapping):
            found[key] = json_schema(found[key])
    if isinstance(found.get("properties"), Mapping):
        inner = found["properties"].items()
        found["properties"] = {name: json_schema(one) if isinstance(one, Mapping) else one for name, one in inner}
    return found
