"""Generated rows: drafts, the filters they pass, and their provenance."""

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
    """A generated instruction, with its answer once it has one.

    parents  ids of the rows it was derived from, nearest first
    origin   the set of the first parent, whose licence applies
    difficulty  how often it was rewritten to be harder since its first parent; None for what is not evolved
    """

    id: str
    instruction: str
    operator: str
    round: int
    parents: tuple[str, ...]
    origin: str
    answer: str = ""
    cut_off: bool = False
    difficulty: int | None = None

    def example(self, model: str) -> Example:
        """The draft as a demonstration with its provenance."""
        messages = (Message("user", self.instruction), Message("assistant", self.answer))
        made: dict[str, Any] = {
            "parent": self.parents[0] if self.parents else "",
            "operator": self.operator,
            "round": self.round,
        }
        made |= {} if self.difficulty is None else {"difficulty": self.difficulty}
        record = Demonstration(messages, self.id, f"generated/{self.operator}")
        return Example(record, "demonstrations", "messages", {**made, "model": model}, self.origin)


@dataclass
class Generated:
    """The kept rows, the removed drafts with their reasons, and a funnel line for each round."""

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
    """Default for `after_round`: do nothing."""


class Sieve:
    """The drafts that have passed so far, and the removed ones; every draft is in one of the two."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.passed = list(drafts)
        self.removed: list[tuple[Draft, str]] = []

    def drop(self, fault: Callable[[Draft], str]) -> None:
        """Remove the drafts with a fault, checking them in order."""
        judged = [(draft, fault(draft)) for draft in self.passed]
        self.passed = [draft for draft, reason in judged if not reason]
        self.removed += [(draft, reason) for draft, reason in judged if reason]

    def answer(self, writer: Writer) -> None:
        """Let the writer answer the passed drafts, and remove those with a bad answer."""
        said = writer.ask([one.instruction for one in self.passed], [f"{one.id}/answer" for one in self.passed])
        self.passed = [
            replace(one, answer=text, cut_off=cut) for one, (text, cut) in zip(self.passed, said, strict=True)
        ]
        self.drop(lambda one: answer_fault(one.answer, one.instruction, cut_off=one.cut_off))

    def answer_new(
        self, writer: Writer, novelty: Novelty, own: Callable[[Draft], Collection[str]] = lambda draft: ()
    ) -> None:
        """Remove drafts that resemble a known instruction (except those in `own`), and let the writer answer the rest.

        Drafts with a bad answer are forgotten, so that a later round may try again.
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
    """The instructions to start from. Raises UserError where there are none."""
    found = [Draft(one.record.id, prompt_text(one.record), "", 0, (), one.origin) for one in examples]
    found = [one for one in found if one.instruction.strip()]
    if not found:
        raise UserError("no row has a prompt", fix="Give rows with a user's turn.")
    return found


def removed_row(draft: Draft, reason: str) -> Mapping[str, Any]:
    """The draft's row in the file of removed drafts."""
    return {
        "reason": reason,
        "instruction": draft.instruction,
        "answer": draft.answer,
        "parent": draft.parents[0] if draft.parents else "",
        "operator": draft.operator,
        "round": draft.round,
    }
