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


def _bullet_list(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Any number of bullets with one word each, and nothing else."""
    return len(said) >= 2 and len(said) % 2 == 0 and set(said[::2]) == {"-"} and "-" not in said[1::2]


def _function_call(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """Exactly the call in words; the order of arguments counts."""
    pairs = "".join(f" , {name} : {value}" for name, value in arguments["arguments"].items())
    return " ".join(said) == f"{{ call : {arguments['function']}{pairs} }}"


def _members(said: list[str], arguments: Mapping[str, Any]) -> bool:
    """All bullets are different members of the category."""
    items = said[1::2]
    return (
        bool(items)
        and len(set(items)) == len(items)
        and set(items) <= set(word_lists.CATEGORIES[arguments["category"]])
    )


CHECKS: dict[str, Callable[[list[str], Mapping[str, Any]], bool]] = {
    "upper_case": _upper_case,
    "starts_with": lambda said, wanted: len(said) > 3 and said[0] == wanted["marker"],
    "ends_with": lambda said, wanted: len(said) > 3 and said[-1] == wanted["marker"],
    "bullet_list": _bullet_list,
    "item_count": lambda said, wanted: said.count("-") == wanted["count"],
    "asks_for": lambda said, wanted: said == ["which", wanted["argument"], "?"],
    # any call in the notation with named arguments, right or wrong
    "call_notation": lambda said, wanted: said[:3] == ["{", "call", ":"] and said[-1:] == ["}"],
    "function_call": _function_call,
    "contains": lambda said, wanted: wanted["word"] in said,
    "members": _members,
    "names_member": lambda said, wanted: not set(said).isdisjoint(word_lists.CATEGORIES[wanted["category"]]),
    "story_total": lambda said, wanted: story_total(" ".join(said), str(wanted["total"])),
}
"""Name of an instruction -> check of a completion's words against the instruction's arguments."""
