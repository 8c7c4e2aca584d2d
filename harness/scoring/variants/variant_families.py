"""Items and their variants, each with a single change.

A family is an original of a kind that training sets contain, and variants with one kind of change each. Families of
stories are in `story_families.py`, those of requests in `request_families.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.microworld.rules import Instruction, follows

FAMILY_SEED = 3000


@dataclass(frozen=True)
class Member:
    """A prompt of a family.

    kind       the kind of change; "" for the original
    wanted     the instructions that a right answer follows
    reference  a right answer
    numbers    the numbers of the prompt and its answer, where the task is arithmetic
    """

    family: str
    sort: str
    kind: str
    prompt: str
    wanted: tuple[Instruction, ...]
    reference: str
    numbers: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """An id, unique within its split."""
        return f"{self.family}/{self.kind.replace(' ', '-') or 'original'}"

    @property
    def group(self) -> str:
        """The sort of prompt and the kind of change."""
        return f"{self.sort}: {self.kind or 'original'}"


def is_right(member: Member, answer: str) -> bool:
    """Whether an answer follows all instructions of its prompt."""
    return all(_follows(instruction, answer) for instruction in member.wanted)


def _follows(instruction: Instruction, answer: str) -> bool:
    if instruction.name in UNSEEN:
        return UNSEEN[instruction.name](answer.split(), instruction.arguments)
    return follows(instruction, answer)


def _twice(said: list[str], arguments: Mapping[str, object]) -> bool:
    """The same sentence, which contains the value, twice and nothing else."""
    half = len(said) // 2
    return half > 1 and said[:half] == said[half:] and arguments["word"] in said


def _upper_bullets(said: list[str], arguments: Mapping[str, object]) -> bool:
    """A list whose every word is in upper case."""
    items = said[1::2]
    return bool(items) and set(said[::2]) == {"-"} and all(word.isalpha() and word == word.upper() for word in items)


UNSEEN: dict[str, Callable[[list[str], Mapping[str, object]], bool]] = {
    # only the value, with or without a full stop
    "one_word": lambda said, wanted: [word for word in said if word != "."] == [wanted["word"]],
    "twice": _twice,
    "framed": lambda said, wanted: len(said) > 4 and said[0] == said[-1] == wanted["marker"],
    "upper_bullets": _upper_bullets,
}
"""Instructions that occur in no training set of the microworld."""
