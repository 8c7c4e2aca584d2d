"""Training on the model's own answers towards a teacher that reads them: what `distill` and `sdft` share.

    loss = (1 / tokens) sum over the tokens of the answers of an update of  D(student, teacher)

The student samples an answer to every prompt of an update; both models then read that answer, each after its own
prompt, and no gradient goes through the sampling or the teacher. D of the distributions p of the student and q of the
teacher is the generalised divergence of GKD (Agarwal et al. 2023, 2306.13649, eq. 1), where m = b q + (1 - b) p:

    b = 1: KL(p || q), the reverse one      b = 0: KL(q || p)      between: b KL(q || m) + (1 - b) KL(p || m)
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.lazy import torch
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration
from harness.training.labelled_rows import IGNORED, TrainingRow, TrainingRows, refusals
from harness.training.loop import collate
from harness.training.objectives import labelled_log_probs

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


@dataclass(frozen=True)
class Asked:
    """A prompt as the student and the teacher read it, and the answer of its demonstration with the end of turn."""

    id: str
    prompt: Prompt
    student: tuple[int, ...]
    teacher: tuple[int, ...]
    answer: tuple[int, ...]


def asked_of(
    demonstration: Demonstration, student: CausalPolicy, teacher: CausalPolicy, hint: Prompt, sampling: Sampling
) -> Asked:
    """The last turn of a demonstration as a prompt; `hint` is what the teacher reads in its place."""
    prompt = Prompt(messages=demonstration.messages[:-1])
    known = student.encoder.encode_turn(demonstration.messages[:-1], demonstration.messages[-1].content)
    answer = (*known.completion, *student.encoder.end_of_turn)
    room = max(sampling.max_new_tokens, len(answer))
    read, shown = (
        one.encode(text).fitted(one.encoder.max_length, room).prompt
        for one, text in ((student, prompt), (teacher, hint))
    )
    return Asked(demonstration.id, prompt, tuple(read), tuple(shown), answer)


def too_long_answers(
    demonstrations: Sequence[Demonstration], encoder: TextEncoder, max_new_tokens: int
) -> dict[str, str]:
    """The ids of demonstrations that leave no room for a prompt next to their answer or a sampled one."""

    def fault(one: Demonstration) -> str:
        known = encoder.encode_turn(one.messages[:-1], one.messages[-1].content)
        longest = max(max_new_tokens, len(known.completion) + len(encoder.end_of_turn))
        fits = longest < encoder.max_length and len(known.prompt) + longest <= encoder.max_length
        return "" if fits else f"its prompt and an answer of {longest:,} tokens exceed the context"

    return refusals(demonstrations, fault)


@dataclass
class Answers:
    """Draws the answers of an update with the model in training, and counts their tokens.

    share  of the answers that the student draws; the others are those of the demonstrations
    """

    asked: Sequence[Asked]
    encoder: TextEncoder
    sampling: Sampling
    share: float = 1.0
    drawn: Counter[int] = field(default_factory=Counter)
    generated_tokens: int = 0
    read_tokens: int = 0
    cut_off: int = 0

    def batch(self, places: Sequence[int], model: Any) -> list[tuple[TrainingRow, TrainingRow]]:
        """For each prompt, by its place, the rows that student and teacher read."""
        own, keys = [self._is_own(at) for at in places], []
        for at in places:
            self.drawn[at] += 1
            keys.append(f"{self.asked[at].id}, {self.drawn[at]}")
        wanted = [(at, key) for at, key, mine in zip(places, keys, own, strict=True) if mine]
        found = []
        if wanted:
            prompts = [self.asked[at].prompt for at, _ in wanted]
            found = CausalPolicy(model, self.encoder).sample(prompts, self.sampling, [key for _, key in wanted])
            model.train()
        drawn = iter(found)
        pairs = zip(places, own, strict=True)
        return [self._rows(self.asked[at], next(drawn)[0] if mine else None) for at, mine in pairs]

    def _is_own(self, at: int) -> bool:
        chance = random.Random(f"{self.sampling.seed}, {self.asked[at].id}, {self.drawn[at]}")
        return chance.random() < self.share

    def _rows(self, asked: Asked, drawn: Any) -> tuple[TrainingRow, TrainingRow]:
        answer = asked.answer if drawn is None else drawn.drawn_ids
        if drawn is not None:
            self.generated_tokens += len(drawn.token_ids)
            self.cut_off += drawn.finish == "length"
        self.read_tokens += len(asked.student) + len(answer)
        pair = []
        for prompt in (asked.student, asked.teacher):
            row = TrainingRow([], [])
            row.add(prompt, trained=False)
            row.add(answer, trained=True)
            pair.append(row)
        return pair[0], pair[1]

    def notes(self) -> dict[str, int]:
        """Counts for the fit's report."""
        return {"answers": self.drawn.total(), "answers_cut_off": self.cut_off}

    def placeholders(self) -> TrainingRows:
        """A row for each prompt, whose one token is its place: what the trainer shuffles and hands back."""
        return TrainingRows(tuple(TrainingRow([at, at], [IGNORED, at]) for at in range(len(self.asked))))


def both_collated(rows: Sequence[tuple[TrainingRow, TrainingRow]]) -> dict[str, torch.Tensor]:
    """Right-padded tensors (B, T) of the student's rows, and those of the teacher's under `teacher_`."""
    sides = [collate([vars(row) for row in side]) for side in zip(*rows, strict=True)]
    return {**sides[0], **{f"teacher_{name}": part for name, part in sides[1].items()}}


def divergence_of(student: torch.Tensor, teacher: torch.Tensor, between: float) -> torch.Tensor:
    """D (N,) of log-probabilities (N, V), where `between` is b."""

    def divergence(of: torch.Tensor, from_: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.kl_div(from_, of, reduction="none", log_target=True).sum(-1)

    if between in (0, 1):
        return divergence(student, teacher) if between else divergence(teacher, student)
    mixed = torch.logaddexp(student + math.log(1 - between), teacher + math.log(between))
    return between * divergence(teacher, mixed) + (1 - between) * divergence(student, mixed)


def distilled_loss(between: float, teacher: Any, model: Any, inputs: Any, items: Any) -> torch.Tensor:
    """The part of a batch of `both_collated` in the loss of its update; teacher: its model."""
    own = {name: part for name, part in inputs.items() if not name.startswith("teacher_")}
    read = {name.removeprefix("teacher_"): part for name, part in inputs.items() if name not in own}
    with torch.no_grad():
        wanted, _ = labelled_log_probs(teacher, read)
    found, _ = labelled_log_probs(model, own)
    # embeddings are padded differently by models of one tokenizer; no token is in the padding
    width = min(found.shape[1], wanted.shape[1])
    if found.shape[1] != wanted.shape[1]:
        found, wanted = (part[:, :width].log_softmax(-1) for part in (found, wanted))
    return divergence_of(found, wanted, between).sum() / items
