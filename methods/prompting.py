"""In-context alignment: nothing is trained, demonstrations precede the question (Lin et al. 2023, 2312.01552, URIAL).

    p(answer | instruction, question_1, answer_1, ..., question_k, answer_k, question)

URIAL aligns a base model with a system text and three constant examples. Here the model sees four of the
demonstrations that the other methods train on, drawn once for all seeds. `demonstrations: 0` with an `instruction` is
zero-shot prompting. `examples` names a constant prompt as URIAL has it in place of the demonstrations, the same for
every question: a file, or one that ships with the project (`general`: a system text and three restyled examples in
this project's words; `microworld`). It is plain text with turn markers of its own, which a base without a chat template
can go on with, and an answer ends where the next question opens. It needs no data.

Where the context is too short, whole examples are left out, the first ones first, and the item is flagged. Bare text
has no turns to put examples before, so benchmarks that use it are n/a: the base's own numbers would look as if
knowledge had been kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.method import FitContext, FitReport, Input, Method, setting
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from methods._constant_prompt import PROMPTS, MarkedEncoder, read_prompt

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

Turns = tuple[Message, ...]


@dataclass(frozen=True)
class Prompting(Method):
    """The base reads an instruction and a few demonstrations before every question."""

    needs = frozenset({"demonstrations"})
    gives = frozenset({"score", "sample"})
    trains = False

    demonstrations: int = setting(4, "demonstrations shown before the question", search=(0, 16), null=0, quick=2)
    instruction: str = setting("", "system text before the demonstrations; none if empty")
    selection_seed: int = setting(0, "seed that decides which demonstrations are drawn", search=(0, 9))
    examples: str = setting("", "a constant prompt in place of demonstrations: its file, or general", folder=True)

    def __post_init__(self) -> None:
        """A constant prompt needs no demonstrations; a shipped one is its file, so that its content is in the key."""
        if self.examples:
            object.__setattr__(self, "needs", frozenset())
            object.__setattr__(self, "examples", PROMPTS.keyed(self.examples))

    def check(self) -> None:
        """Refuse a constant prompt that is not usable, and settings of demonstrations next to one."""
        if not self.examples:
            return
        read_prompt(self.examples)
        unused = {"instruction": self.instruction, "selection_seed": self.selection_seed}
        others = [name for name, value in unused.items() if value]
        others += ["demonstrations"] if self.demonstrations != Prompting.demonstrations else []
        if others:
            raise UserError(
                f"{others[0]} next to examples, whose file is the whole prompt",
                fix=f"Leave out {others[0]}, or write it into a file of your own.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write the drawn demonstrations, or the constant prompt."""
        if self.examples:
            prompt = read_prompt(self.examples)
            turns = [[asdict(message) for message in example] for example in prompt.examples]
            content = {"instruction": prompt.system, "examples": turns}
            content["markers"] = [prompt.question, prompt.answer, prompt.end]
            _write(out, content)
            return FitReport(notes={"examples": [example[0].content for example in prompt.examples]})
        examples = drawn(data.demonstrations, self.demonstrations, self.selection_seed)
        content = {
            "instruction": self.instruction,
            "examples": [[asdict(message) for message in example.messages] for example in examples],
        }
        _write(out, content)
        return FitReport(notes={"examples": [example.id for example in examples]})

    def footprint(self, model: Any) -> None:
        """No weight is trained."""

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The shared base behind the examples."""
        content = json.loads((artifact / "prompt.json").read_text("utf-8"))
        examples = tuple(tuple(Message(**message) for message in turns) for turns in content["examples"])
        encoder = MarkedEncoder(base, *content["markers"]) if "markers" in content else base.encoder
        return PromptedPolicy(base.policy().model, encoder, content["instruction"], examples)


def _write(out: Path, content: Mapping[str, Any]) -> None:
    (out / "prompt.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def drawn(demonstrations: tuple[Demonstration, ...], count: int, seed: int) -> list[Demonstration]:
    """`count` demonstrations of one question and one answer, drawn evenly and kept in their order.

    An answer that is not to be trained is not to be imitated from the context either, and is never drawn.
    """
    single = [
        d
        for d in demonstrations
        if [message.role for message in d.messages] == ["user", "assistant"] and d.messages[1].trained
    ]
    if len(single) < count:
        raise UserError(
            f"demonstrations is {count}, and only {len(single)} of the data have one question and one trained answer",
            fix="Lower demonstrations, or give more data.",
        )
    chosen = sorted(random.Random(seed).sample(range(len(single)), count))
    return [single[index] for index in chosen]


class PromptedPolicy(CausalPolicy):
    """The base model, with turns put before every conversation."""

    gives = frozenset({"score", "sample"})

    def __init__(self, model: Any, encoder: TextEncoder, instruction: str, examples: tuple[Turns, ...]) -> None:
        super().__init__(model, encoder)
        self.instruction, self.examples = instruction, examples

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """The conversation after the examples; fitting it to a context drops examples from the front."""
        return self._encoded(prompt, completion, 0) if prompt.messages else super().encode(prompt, completion)

    def _encoded(self, prompt: Prompt, completion: str | None, skipped: int) -> Encoded:
        shown = replace(prompt, messages=self._shown(prompt.messages, skipped))
        encoded = self.encoder.encode(shown, completion)
        parts = encoded.prompt, encoded.prefix, encoded.completion, prompt
        if skipped == len(self.examples):
            return EncodedWithExamples(*parts)
        return EncodedWithExamples(*parts, fewer=partial(self._encoded, prompt, completion, skipped + 1))

    def _shown(self, messages: Turns, skipped: int) -> Turns:
        """The messages after the examples, without the first `skipped`; their system text follows the instruction."""
        system = [message.content for message in messages if message.role == "system"]
        text = "\n\n".join(part for part in (self.instruction, *system) if part)
        head = (Message("system", text),) if text else ()
        turns = tuple(message for example in self.examples[skipped:] for message in example)
        return (*head, *turns, *(message for message in messages if message.role != "system"))


@dataclass(frozen=True)
class EncodedWithExamples(Encoded):
    """A request whose prompt can be encoded with one example fewer."""

    fewer: Callable[[], Encoded] | None = field(default=None, repr=False, compare=False)

    def fitted(self, max_length: int, reserve: int) -> Encoded:
        """Leave out whole examples until the rest fits; cut the prompt only when none is left."""
        if self.fewer is None or len(self.prompt) + reserve <= max_length:
            return super().fitted(max_length, reserve)
        return replace(self.fewer().fitted(max_length, reserve), truncated=True)
