"""Verifiable instructions as data, a name with arguments, and the rules that check completions against them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UserError, did_you_mean
from harness.microworld import word_lists


@dataclass(frozen=True)
class Instruction:
    """A requirement on a completion, such as `ends_with` with the argument `marker`."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def follows(instruction: Instruction, completion: str) -> bool:
    """Whether the completion (without the end token) follows the instruction. Raises UserError for an unknown one."""
    if instruction.name not in CHECKS:
        raise UserError(f"unknown instruction {instruction.name!r}", fix=did_you_mean(instruction.name, CHECKS))
    return CHECKS[instruction.name](completion.split(), instruction.arguments)


def story_total(completion: str, reference: str) -> bool:
    """Whether the answer to a story closes with the right total."""
    found = re.findall(r"total (\d+) \.", completion)
    return bool(found) and found[-1] == reference and completion.strip().endswith(f"total {reference} .")


def _upper_case(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return sum(word.isalpha() for word in said) > 2 and all(word == word.upper() for word in said)


def _starts_with(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return len(said) > 3 and said[0] == arguments["marker"]


def _ends_with(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return len(said) > 3 and said[-1] == arguments["marker"]


def _bullet_list(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Any number of bullets with one word each, and nothing else."""
    return len(said) >= 2 and len(said) % 2 == 0 and set(said[::2]) == {"-"} and "-" not in said[1::2]


def _item_count(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """The right number of bullets, whether or not the rest is a list."""
    return bool(said.count("-") == arguments["count"])


def _function_call(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Exactly the call in words; the order of arguments counts."""
    pairs = "".join(f" , {name} : {value}" for name, value in arguments["arguments"].items())
    return " ".join(said) == f"{{ call : {arguments['function']}{pairs} }}"


def _asks_for(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Asks for the value of the argument and does nothing else."""
    return said == ["which", arguments["argument"], "?"]


def _call_notation(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Any call in the notation with named arguments, right or wrong."""
    return said[:3] == ["{", "call", ":"] and said[-1:] == ["}"]


def _contains(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return arguments["word"] in said


def _members(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """All bullets are different members of the category."""
    items = said[1::2]
    return (
        bool(items)
        and len(set(items)) == len(items)
        and set(items) <= set(word_lists.CATEGORIES[arguments["category"]])
    )


def _names_member(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return any(word in word_lists.CATEGORIES[arguments["category"]] for word in said)


def _story_total(said: list[str], arguments: Mapping[str, Any]) -> bool:
    return story_total(" ".join(said), str(arguments["total"]))


CHECKS: dict[str, Callable[[list[str], Mapping[str, Any]], bool]] = {
    "upper_case": _upper_case,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "bullet_list": _bullet_list,
    "item_count": _item_count,
    "asks_for": _asks_for,
    "call_notation": _call_notation,
    "function_call": _function_call,
    "contains": _contains,
    "members": _members,
    "names_member": _names_member,
    "story_total": _story_total,
}
