"""Text embeddings: the mean of a model's last hidden states, normalised (as in Sentence-BERT, 1908.10084)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from harness.errors import UserError, first_line
from harness.lazy import torch, transformers
from harness.policy.base_model import BaseSpec
from harness.policy.batching import padded
from harness.policy.sources import locate

AT_ONCE = 32


class Embedder:
    """A model by name or folder (a sentence encoder, or any model of transformers), in float32."""

    def __init__(self, model: str, device: str = "cpu") -> None:
        folder = locate(BaseSpec(model))
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = transformers.AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            wrong = f"the model does not load: {first_line(error)}"
            raise UserError(wrong, where=model, fix="Name an encoder's folder.") from error
        self.model = self.model.to(device).eval().requires_grad_(False)
        self.longest = int(getattr(self.model.config, "max_position_embeddings", 512))

    def __call__(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """(N, d), a row per text; a text longer than the context is cut at its end, one without tokens is zero."""
        ids = [self.tokenizer(text, truncation=True, max_length=self.longest)["input_ids"] for text in texts]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found = numpy.zeros((len(ids), int(self.model.config.hidden_size)), numpy.float32)
        for start in range(0, len(order), AT_ONCE):
            batch = [at for at in order[start : start + AT_ONCE] if ids[at]]
            if batch:
                found[batch] = self._means([ids[at] for at in batch])
        return found

    def _means(self, rows: Sequence[Sequence[int]]) -> NDArray[numpy.float32]:
        tokens, mask = padded(rows, self.model.device)
        with torch.inference_mode():
            states = self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        unit: NDArray[numpy.float32] = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        return unit
