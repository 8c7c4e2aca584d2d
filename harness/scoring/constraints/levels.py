"""Strict and loose: an answer as it stands, and the best of eight readings of it (Zhou et al. 2023, arXiv 2311.07911).

The loose readings forgive an opening line ("Sure, here it is:"), a closing line, and asterisks of Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST, LONGEST_RUN = 20_000, 1_000
"""Characters that are read of an answer, and of one character repeated. What is longer is broken, and reading all of
it would take minutes: some official rules need time in proportion to the square of the length."""


@dataclass(frozen=True)
class Followed:
    """Whether each instruction of a prompt is followed, in order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    def metrics(self) -> dict[str, float]:
        """Per prompt: all of its instructions; per instruction: the share of them."""
        return {
            "prompt_strict": float(all(self.strict)),
            "instruction_strict": sum(self.strict) / len(self.strict),
            "prompt_loose": float(all(self.loose)),
            "instruction_loose": sum(self.loose) / len(self.loose),
        }

    def weights(self) -> dict[str, float]:
        """A prompt with two instructions counts two where instructions are counted."""
        number = float(len(self.strict))
        return {"instruction_strict": number, "instruction_loose": number} if number != 1 else {}


def followed(completion: str, rules: Sequence[Callable[[str], bool]]) -> Followed:
    """Each rule on the answer and on its loose readings."""
    readings = loose_readings(completion)
    strict = tuple(rule(completion) for rule in rules)
    loose = tuple(known or any(map(rule, readings)) for rule, known in zip(rules, strict, strict=True))
    return Followed(strict, loose)


def loose_readings(completion: str) -> list[str]:
    """Whole, without the first line, the last, or both; each with and without asterisks; no reading twice."""
    lines = completion.split("\n")
    kept = [completion, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*kept, *(text.replace("*", "") for text in kept)]))


def readable(completion: str) -> str:
    """The answer within LONGEST and LONGEST_RUN."""
    if len(completion) <= LONGEST_RUN:
        return completion
    pieces, last, run = [], "", 0
    for char in completion[: 10 * LONGEST]:
        run = run + 1 if char == last else 1
        last = char
        if run <= LONGEST_RUN:
            pieces.append(char)
    return "".join(pieces[:LONGEST])
