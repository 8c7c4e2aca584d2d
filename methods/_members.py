"""Members of a method that combines policies: they must give log-probabilities, and logits once they are loaded."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UserError
from harness.method import Input, Method
from harness.policy.stepwise import StepwisePolicy

FIX = "Name a method that trains weights or an adapter, such as sft or lora."


def check_member(method: Method, said: str) -> None:
    """Refuse a method with fields that contradict one another, or without log-probabilities; `said` names it."""
    method.check()
    if "score" not in method.gives:
        raise UserError(f"{said} gives no log-probabilities", fix=FIX)


def members(inputs: Mapping[str, Input], named: Mapping[str, str]) -> list[StepwisePolicy]:
    """The policies of these inputs, each of which must have logits.

    named  input -> the method that made it, as an error names it
    """
    found = []
    for name, said in named.items():
        policy = inputs[name].load()
        if not isinstance(policy, StepwisePolicy):
            raise UserError(f"{said} makes a {type(policy).__name__} without logits", fix=FIX)
        found.append(policy)
    return found
