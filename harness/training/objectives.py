"""Losses of fine-tuning on demonstrations other than the plain mean of -log p, each over the tokens of whole updates.

    loss = (1 / sum of w_t) sum over labelled tokens t of  w_t (g_t (-log p(t)) + kl KL_t)

w_t is 1 for a token of an answer and `prompt_weight` for one of a prompt. g_t is 1, or p(t) without its gradient
(dynamic fine-tuning, Wu et al. 2025, 2508.05629, eq. 9). Its value can rise while p rises, so what a training shows is
the value with g_t = 1, of which the gradient is that above. KL_t = sum over tokens v of q(v) log(q(v) / p(v)) is the
divergence of p from the distribution q of a reference model at that position.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.lazy import torch
from harness.policy.causal import unwrapped
from harness.policy.hidden_states import changed_outputs
from harness.training.labelled_rows import IGNORED

PROMPT = -1000
"""The label of a token of a weighted prompt is PROMPT minus its id, so that it is told from those of answers."""


def plain_labels(ids: Sequence[int]) -> Sequence[int]:
    """Labels of a prompt that is trained as answers are."""
    return ids


def weighted_labels(ids: Sequence[int]) -> Sequence[int]:
    """Labels of a prompt whose tokens have a weight of their own."""
    return [PROMPT - token for token in ids]


@dataclass(frozen=True)
class Objective:
    """The loss above, to be given to `train` as `loss_of`.

    reference  the model that KL is measured from; not read where kl is 0
    """

    dft: bool = False
    prompt_weight: float = 1.0
    kl: float = 0.0
    reference: Any = None

    def __call__(self, model: Any, inputs: Mapping[str, Any], items: Any) -> torch.Tensor:
        """The part of a batch (B, T) in the loss of its update, whose weights add up to `items`."""
        trained, shown = self.summed(model, inputs)
        return (trained + (shown - trained).detach() if self.dft else trained) / items

    def summed(self, model: Any, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the losses of a batch, and the same with g_t = 1."""
        log_probs, targets = labelled_log_probs(model, inputs)
        of_prompt = targets < IGNORED
        weights = torch.where(of_prompt, self.prompt_weight, 1.0)
        wanted = torch.where(of_prompt, PROMPT - targets, targets)
        chosen = log_probs.gather(1, wanted[:, None])[:, 0]
        losses = -chosen
        if self.kl:
            with torch.no_grad():
                known, _ = labelled_log_probs(self.reference, inputs)
            losses = losses + self.kl * torch.nn.functional.kl_div(
                log_probs, known, log_target=True, reduction="none"
            ).sum(1)
        trained = losses + chosen - chosen * chosen.exp().detach() if self.dft else losses
        return (trained * weights).sum(), (losses * weights).sum()

    def weight_of(self, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the weights of the labels (B, T) of a batch."""
        shifted = labels[:, 1:]
        return (shifted > IGNORED).sum() + self.prompt_weight * (shifted < IGNORED).sum()


def labelled_log_probs(model: Any, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (N, V) of all tokens at the labelled positions of a batch (B, T), and the labels (N,)."""
    targets = inputs["labels"][:, 1:]
    asked = (targets != IGNORED).any(0).nonzero()[:, 0]
    read = {name: part for name, part in inputs.items() if name != "labels"}
    if "logits_to_keep" in inspect.signature(unwrapped(model).forward).parameters:
        logits = model(**read, use_cache=False, logits_to_keep=asked).logits
    else:
        logits = model(**read, use_cache=False).logits[:, asked]
    labelled = targets[:, asked] != IGNORED
    return logits[labelled].float().log_softmax(-1), targets[:, asked][labelled]


@contextmanager
def noisy_embeddings(model: Any, alpha: float, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Within this context, uniform noise is added to the embeddings of every row (Jain et al. 2023, 2310.05914).

    A row of L tokens gets at most alpha / sqrt(L d) in each of d dimensions; padding does not count. Rows are drawn one
    after the other, so that the noise of a row does not depend on how many of them a forward pass reads.
    """
    with changed_outputs([(model.get_input_embeddings(), partial(_noisy, alpha, inputs["attention_mask"].bool()))]):
        yield


def _noisy(alpha: float, real: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
    noise = torch.zeros_like(embedded)
    for row, mask in zip(noise, real, strict=True):
        drawn = torch.empty_like(row[mask]).uniform_(-1, 1)
        row[mask] = drawn * (alpha / math.sqrt(drawn.numel()))
    return embedded + noise
