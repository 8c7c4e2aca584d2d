"""Pretraining from scratch: the shape of a model, its initial weights, and the loop over packed documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.microworld.corpus import documents
from harness.microworld.tokenizer import CONTEXT, EOS, PAD, vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


CURVE_POINTS = 50


@dataclass(frozen=True)
class Shape:
    """The size of a model of Llama blocks with tied embeddings."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int


@dataclass(frozen=True)
class Schedule:
    """One phase of pretraining: AdamW, a warm-up, then a cosine to a twentieth of the learning rate.

    mix       proportions of the corpus, see `corpus.MIXES`
    autocast  dtype of matrix products: bfloat16, or none for float32
    compiled  fuse the step with torch.compile, which needs a C++ compiler; pays off for deeper models
    """

    tokens: int
    learning_rate: float
    batch: int = 8
    length: int = CONTEXT
    warm_up: int = 100
    floor: float = 0.05
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    clip: float = 1.0
    autocast: str = "bfloat16"
    compiled: bool = False
    mix: str = "even"

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.batch * self.length))

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up) * (self.floor + (1 - self.floor) * cosine)


def new_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """A model whose initial weights are drawn from the seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = vocabulary()
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokens.index(EOS),
        pad_token_id=tokens.index(PAD),
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    _draw_weights(model, shape)
    return model


def _draw_weights(model: LlamaForCausalLM, shape: Shape) -> None:
    """Scaled by fan-in and, where a block writes into the residual stream, by depth; small for the tied embeddings."""
    import torch

    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            continue
        deviation = 0.02 if "embed" in name else weight.shape[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            deviation *= (2 * shape.layers) ** -0.5
        torch.nn.init.normal_(weight, std=deviation)


def packed_corpus(tokens: int, length: int, seed: int, mix: str = "even") -> torch.Tensor:
    """Token ids (rows, length): concatenated documents, each closed by the end token."""
    import torch

    identities = {word: index for index, word in enumerate(vocabulary())}
    ids: list[int] = []
    for document in documents(seed, mix):
        ids += [identities[word] for word in f"{document} {EOS}".split()]
        if len(ids) >= tokens:
            break
    rows = max(1, tokens // length)
    ids += [identities[EOS]] * (rows * length - len(ids))
    return torch.tensor(ids[: rows * length]).view(rows, length)


def pretrain(
    model: LlamaForCausalLM, schedule: Schedule, seed: int, on_step: Callable[[int, float], Any] | None = None
) -> list[tuple[int, float]]:
    """Train the model in place; returns about fifty points (step, mean loss since the previous point)."""
    import torch

    rows = packed_corpus(schedule.tokens, schedule.length, seed, schedule.mix)
    batches = _batches(rows, schedule, torch.Generator().manual_seed(seed))
    optimizer = _optimizer(model, schedule)
    every = max(1, schedule.steps // CURVE_POINTS)
    curve: list[tuple[int, float]] = []
    losses: list[float] = []
    loss_of = torch.compile(_loss, dynamic=False) if schedule.compiled else _loss
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = loss_of(model, next(batches), schedule.autocast)
        _descend(model, optimizer, loss, schedule.clip)
        losses.append(float(loss.detach()))
        if on_step:
            on_step(step + 1, losses[-1])
        if (step + 1) % every == 0 or step + 1 == schedule.steps:
            curve.append((step + 1, round(sum(losses) / len(losses), 4)))
            losses.clear()
    model.eval()
    return curve


def _batches(rows: torch.Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[torch.Tensor]:
    import torch

    while True:
        order = torch.randperm(len(rows), generator=generator)
        for start in range(0, max(1, len(order) - schedule.batch + 1), schedule.batch):
            yield rows[order[start : start + schedule.batch]]


def _optimizer(model: LlamaForCausalLM, schedule: Schedule) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(
        model.parameters(),
        lr=schedule.learning_rate,
        betas=(schedule.beta1, schedule.beta2),
        weight_decay=schedule.weight_decay,
        fused=True,
    )


def _loss(model: LlamaForCausalLM, batch: torch.Tensor, autocast: str) -> torch.Tensor:
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast == "bfloat16"):
        logits = model(input_ids=batch, use_cache=False).logits
    wanted = batch[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), wanted)


def _descend(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip: float) -> None:
    import torch

    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
