"""Instructions that hold over several turns: the first turn asks for a form "from now", later turns only ask.

Conversations of three turns of the microworld, verified by rule as in Multi-IF (2410.15553). Its later turns add
instructions; here none is added, so that a failure is one of memory. A policy sees its own earlier answers. `holds` is
the share of conversations in which every answer follows the instruction; `turn_1` to `turn_3` show where that fails,
and `correct` whether the content is right. Of the embedded training sets only `with-turns-1k` has conversations of
several turns. `pairwise_judge` asks MT-Bench's questions, which only a judge can score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld.dialogues import TURNS, Dialogue, dialogues
from harness.microworld.phrases import prompt_templates
from harness.microworld.rules import follows
from harness.policy.conversations import converse
from harness.policy.types import Completion, Prompt, Sampling, flags_of
from harness.records import TestItem, TestSet

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class MultiTurn(Benchmark):
    """Conversations of three turns, each run once."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True

    split: Literal["test", "validation"] = setting("test", "split of the people")
    limit: int = setting(40, "number of conversations of each of three kinds", least=1)
    max_new_tokens: int = setting(32, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Whole conversations first, then turn by turn."""
        turns = [
            Metric(f"turn_{at}", f"share of conversations that follow the instruction in turn {at}", primary=False)
            for at in range(1, TURNS + 1)
        ]
        return (
            Metric("holds", "share of conversations in which every answer follows the instruction", role="quality"),
            *turns,
            Metric("correct", "share of answers with the right content, in any form", primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per conversation; the seed changes nothing."""
        items = self.chosen(dialogues(self.split, self.limit), lambda item: item.id)
        sampling = Sampling(self.max_new_tokens, seed=seed)
        held = converse(policy, [item.turns for item in items], sampling, [item.id for item in items])
        for item, told in zip(items, held, strict=True):
            yield _outcome(item, told, policy.encoder.prompt_text(told[-1][0]))

    def data_digest(self) -> str:
        """Digest of the conversations and their instructions."""
        rows = json.dumps([asdict(item) for item in dialogues(self.split, self.limit)], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The first turns, which ask for the form, with their answers."""
        items = dialogues(self.split, self.limit)
        told = tuple(TestItem(item.id, item.turns[0], item.references[0]) for item in items)
        return TestSet("multi_turn", told, prompt_templates())


def _outcome(item: Dialogue, told: Sequence[tuple[Prompt, Completion]], prompt: str) -> Outcome:
    answers = [completion.text for _, completion in told]
    followed = [float(follows(item.instruction, answer)) for answer in answers]
    said = [value.casefold() in answer.casefold().split() for value, answer in zip(item.values, answers, strict=True)]
    return Outcome(
        item=item.id,
        cluster=item.id,
        group=item.kind,
        metrics={
            "holds": float(all(followed)),
            **{f"turn_{at}": one for at, one in enumerate(followed, 1)},
            "correct": sum(said) / len(said),
        },
        prompt=prompt,
        completions=tuple(answers),
        reference=" / ".join(item.references),
        flags=flags_of(completion for _, completion in told),
    )
