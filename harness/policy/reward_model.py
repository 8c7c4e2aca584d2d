"""Sequence classifiers of conversations: a reward model has one output, a guard model has labels.

Each conversation is read separately, so that padding cannot change its output, in the model's own chat template; a
conversation that is too long is cut at its left end. The same conversation always gets the same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from harness.errors import UserError
from harness.lazy import torch, transformers
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.records import Message

if TYPE_CHECKING:
    from harness.policy.types import Prompt


class Classifier:
    """The classifier of a base (its folder, precision and device), loaded only from safetensors."""

    kind: ClassVar[str] = "classifier with labels"

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.model = _classifier(base, self.kind)
        self.check()

    @classmethod
    def named(cls, name: str, device: str = "cpu") -> Self:
        """The classifier of a folder or downloaded hub id, in float32. Raises UserError where it is another model."""
        spec = BaseSpec(name, dtype="float32", device=device)
        return cls(BaseModel(spec, locate(spec)))

    def check(self) -> None:
        """Raise UserError for a classifier without labels to choose from."""
        if self.model.config.num_labels < 2:
            raise UserError(
                f"it is not a {self.kind}", where=self.base.spec.name, fix="Name one with two or more labels."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels, in the order of its outputs."""
        names = self.model.config.id2label
        return tuple(str(names[at]) for at in sorted(names))

    def label_of(self, prompt: Prompt, answer: str) -> str:
        """The likeliest label of the answer to a prompt."""
        outputs = self._outputs(self._text(prompt, answer))
        return self.labels[outputs.index(max(outputs))]

    def _text(self, prompt: Prompt, answer: str) -> str:
        answer = prompt.assistant_prefix + answer
        if not prompt.messages:
            return prompt.text + answer
        return self._rendered((*prompt.messages, Message("assistant", answer)))

    def _rendered(self, messages: Sequence[Message]) -> str:
        return self.base.encoder.render(messages, generation_prompt=False)

    def _outputs(self, text: str) -> list[float]:
        ids = torch.tensor([self.base.encoder.tokens(text)[-self.base.max_length :]], device=self.base.spec.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        return [float(value) for value in logits]


class RewardModel(Classifier):
    """A classifier with one output, which rates the answer that ends a conversation."""

    kind = "reward model"

    def check(self) -> None:
        """Raise UserError for a classifier with several labels."""
        if self.model.config.num_labels != 1:
            raise UserError(
                f"it is not a {self.kind}", where=self.base.spec.name, fix="Name a classifier with one label."
            )

    def of(self, prompt: Prompt, answer: str) -> float:
        """r(prompt, answer)."""
        return self._outputs(self._text(prompt, answer))[0]

    def of_conversation(self, messages: Sequence[Message]) -> float:
        """r(conversation), which ends with an assistant turn."""
        return self._outputs(self._rendered(messages))[0]


def _classifier(base: BaseModel, kind: str) -> Any:
    """The classifier. Raises UserError where the folder has a model of another kind."""
    try:
        found, loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
            base.folder,
            dtype=getattr(torch, base.spec.dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            "the model does not load as a classifier", where=base.spec.name, fix=f"Name a {kind}."
        ) from error
    # a language model also loads, with a random head
    if loaded["missing_keys"]:
        raise UserError(f"it is not a {kind}", where=base.spec.name, fix="Name a sequence classifier with its head.")
    return found.to(base.spec.device).eval().requires_grad_(False)
