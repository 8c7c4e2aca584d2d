"""A reward model: a sequence classifier with one output, which rates the answer that ends a conversation.

Each conversation is read separately, so that padding cannot change its reward, in the model's own chat template; a
conversation that is too long is cut at its left end. The same conversation always gets the same reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch, transformers
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.records import Message

if TYPE_CHECKING:
    from harness.policy.types import Prompt


class RewardModel:
    """The classifier of a base (its folder, precision and device), loaded only from safetensors."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.model = _classifier(base)

    @classmethod
    def named(cls, name: str, device: str = "cpu") -> RewardModel:
        """The reward model of a folder or downloaded hub id, in float32. Raises UserError where it is another model."""
        spec = BaseSpec(name, dtype="float32", device=device)
        return cls(BaseModel(spec, locate(spec)))

    def of(self, prompt: Prompt, answer: str) -> float:
        """r(prompt, answer)."""
        answer = prompt.assistant_prefix + answer
        if not prompt.messages:
            return self._read(prompt.text + answer)
        return self.of_conversation((*prompt.messages, Message("assistant", answer)))

    def of_conversation(self, messages: Sequence[Message]) -> float:
        """r(conversation), which ends with an assistant turn."""
        return self._read(self.base.encoder.render(messages, generation_prompt=False))

    def _read(self, text: str) -> float:
        ids = torch.tensor([self.base.encoder.tokens(text)[-self.base.max_length :]], device=self.base.spec.device)
        with torch.inference_mode():
            return float(self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0])


def _classifier(base: BaseModel) -> Any:
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
            "the model does not load as a classifier", where=base.spec.name, fix="Name a reward model."
        ) from error
    # a language model also loads, with a random head
    if found.config.num_labels != 1 or loaded["missing_keys"]:
        raise UserError("it is not a reward model", where=base.spec.name, fix="Name a classifier with one label.")
    return found.to(base.spec.device).eval().requires_grad_(False)
