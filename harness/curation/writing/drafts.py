"""What generated rows are made of: a draft, what became of it, and its way into a set with its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.curation.pipeline import FunnelLine
from harness.curation.writing.filters import Novelty, answer_fault
from harness.curation.writing.writer import Writer
from harness.data.examples import Example, prompt_text
from harness.errors import UserError
from harness.records import Demonstration, Message


@dataclass(frozen=True)
class Draft:
    """An instruction on its way into the set.

    parents  ids of the rows it descends from, the nearest first
    origin   the set of the first of them, whose licence it inherits
    """

    id: str
    instruction: str
    operator: str
    round: int
    parents: tuple[str, ...]
    origin: str
    answer: str = ""
    cut_off: bool = False

    def example(self, model: str) -> Example:
        """The draft as a demonstration that says where it comes from."""
        messages = (Message("user", self.instruction), Message("assistant", self.answer))
        made = {"parent": self.parents[0] if self.parents else "", "operator": self.operator, "round": self.round}
        record = Demonstration(messages, self.id, f"generated/{self.operator}")
        return Example(record, "demonstrations", "messages", {**made, "model": model}, self.origin)


@dataclass
class Generated:
    """The rows that were kept, the drafts that were not with their reasons, and a funnel line for each round."""

    examples: list[Example] = field(default_factory=list)
    removed: list[tuple[Draft, str]] = field(default_factory=list)
    funnel: list[FunnelLine] = field(default_factory=list)

    def close_round(
        self, step: str, drafts: int, kept: Sequence[Example], removed: Sequence[tuple[Draft, str]]
    ) -> None:
        """Account for every draft of a round."""
        if len(kept) + len(removed) != drafts:
            raise AssertionError(f"{step}: {drafts} drafts, {len(kept)} kept, {len(removed)} removed")
        reasons = Counter(reason for _, reason in removed)
        self.funnel.append(FunnelLine(step, drafts, len(kept), 0, dict(reasons.most_common())))
        self.examples += kept
        self.removed += removed


AfterRound = Callable[[Generated], None]


def ignore(found: Generated) -> None:
    """What is done after a round where nothing is asked for."""


class Sieve:
    """Drafts that have passed so far, and those that have not; every draft ends in one of both."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.passed = list(drafts)
        self.removed: list[tuple[Draft, str]] = []

    def drop(self, fault: Callable[[Draft], str]) -> None:
        """Remove the drafts for which there is a fault, asking in their order."""
        judged = [(draft, fault(draft)) for draft in self.passed]
        self.passed = [draft for draft, reason in judged if not reason]
        self.removed += [(draft, reason) for draft, reason in judged if reason]

    def answer(self, writer: Writer) -> None:
        """Let the writer answer what has passed, and drop what it answers badly."""
        said = writer.ask([one.instruction for one in self.passed], [f"{one.id}/answer" for one in self.passed])
        self.passed = [
            replace(one, answer=text, cut_off=cut) for one, (text, cut) in zip(self.passed, said, strict=True)
        ]
        self.drop(lambda one: answer_fault(one.answer, one.instruction, cut_off=one.cut_off))

    def answer_new(
        self, writer: Writer, novelty: Novelty, own: Callable[[Draft], Collection[str]] = lambda draft: ()
    ) -> None:
        """Drop what is like a known instruction (but for those in `own`), and let the writer answer the rest.

        What it answers badly is known no longer, so that a later round may try again.
        """

        def known(one: Draft) -> str:
            if novelty.like(one.instruction, leave_out=own(one)):
                return "too like another instruction"
            novelty.add(one.id, one.instruction)
            return ""

        self.drop(known)
        asked = {one.id for one in self.passed}
        self.answer(writer)
        novelty.forget(asked - {one.id for one in self.passed})


def seed_rows(examples: Sequence[Example]) -> list[Draft]:
    """The instructions that everything starts from. Raises UserError where there are none."""
    found = [Draft(one.record.id, prompt_text(one.record), "", 0, (), one.origin) for one in examples]
    found = [one for one in found if one.instruction.strip()]
    if not found:
        raise UserError("no row asks anything", fix="Give rows with a user's turn.")
    return found


def removed_row(draft: Draft, reason: str) -> Mapping[str, Any]:
    """What the file of removed drafts holds."""
    return {
        "reason": reason,
        "instruction": draft.instruction,
        "answer": draft.answer,
        "parent": draft.parents[0] if draft.parents else "",
        "operator": draft.operator,
        "round": draft.round,
    }
