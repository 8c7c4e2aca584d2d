"""A policy for tests of benchmarks: it says what a function of the prompt makes, and loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling


class PlainText:
    """In place of a tokenizer: the prompt's turns, one per line."""

    def prompt_text(self, prompt: Prompt) -> str:
        return "\n".join(f"{message.role}: {message.content}" for message in prompt.messages)


class Sayer(Policy):
    """Answers each prompt by a rule and keeps the prompts."""

    gives = frozenset({"sample"})

    def __init__(self, rule: Callable[[Prompt, str], str]) -> None:
        self.encoder = PlainText()  # type: ignore[assignment]
        self.rule = rule
        self.asked: list[Prompt] = []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked = list(prompts)
        return [(Completion(self.rule(p, key), (), "stop"),) for p, key in zip(prompts, keys, strict=True)]


# what a model may say at its worst: each is to be scored, within about a second
HOSTILE = [
    "",
    "a" * 2**20,
    "[" * 2**20,
    "9" * 2**20,
    "1," * 2**19,
    "\x00\x1b[31m\x07",
    "\ud800 lone",
    "<script>alert(1)</script> {{ 7 * 7 }} {% for x in y %} ${jndi:ldap}",
    "__import__('os').system('false')",
    "[f(a=__import__('os').system('false'))]",
]
