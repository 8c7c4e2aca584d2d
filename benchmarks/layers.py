"""Where a policy differs from its base model: by block, how far weights moved and how alike hidden states are.

    weights = ||W - W_base|| / ||W_base||          over all weights of a block (Frobenius norm)
    cka = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))          K = X X^T, L = Y Y^T  (Kornblith et al. 2019, 1905.00414)

The rows of X and Y are the outputs of one block (the residual stream) of base and policy, at the same tokens of
held-out text, which is read as in `perplexity`: as the reply to a fixed request. HSIC is its unbiased estimate, so that
few tokens and wide models do not raise the value (Nguyen et al. 2021, 2010.15327; Song et al. 2012):

    HSIC(K, L) = [tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'K L1] / (n (n-3)),   diagonals of K and L set to 0

cka is 1 for states that differ by a rotation, a shift and a factor, and 0 on average for independent ones. A few
directions of large variance dominate it, so a value near 1 does not show that nothing changed. An item is a block on
one part of the text; parts mix all kinds of text. Both values describe and do not show what a change does: for that,
score `restore`. An edit of a block's output counts from the next block on. A policy that is not one model with blocks
is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks._held_out_text import HeldOutText
from harness.benchmark import Metric, Outcome
from harness.errors import UserError
from harness.lazy import torch
from harness.method import setting
from harness.policy.causal import CausalPolicy
from harness.policy.hidden_states import decoder_blocks, states_along
from harness.policy.policy import base_of
from harness.policy.types import Prompt
from harness.records import Message, TestSet

if TYPE_CHECKING:
    from harness.microworld.corpus import CorpusDocument
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Layers(HeldOutText):
    """Every block of a policy next to the same block of its base, on parts of held-out text."""

    version = 1
    reads_logits = True
    of_each = 10

    limit: int | None = setting(None, "number of documents, for the microworld of each kind (none: 10)", least=1)
    parts: int = setting(10, "number of parts of the text, each with documents of all kinds", least=1)
    most: int = setting(512, "most tokens of a part whose states are compared, evenly spread", least=4)

    def metrics(self) -> tuple[Metric, ...]:
        """Likeness of hidden states first; both are already a comparison with the base."""
        already: Any = {"against_baseline": False, "by_group": True}
        return (
            Metric(
                "cka", "likeness of hidden states to the base's; 1: equal but for a rotation", chance=0.0, **already
            ),
            Metric(
                "weights", "change of weights, relative to the base's", primary=False, higher_is_better=False, **already
            ),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per part and block; the seed changes nothing. Raises UserError without a base or blocks."""
        own, base = _one_model(policy), _one_model(base_of(policy))
        moved = weight_changes(own, base)
        prompt = Prompt(messages=(Message("user", self._request()),))
        shown = policy.encoder.prompt_text(prompt)
        for name, part in self.chosen(self._parts(), lambda part: part[0]):
            texts = [item.text for item in part]
            states = [dict(states_along(one, [prompt] * len(texts), texts)) for one in (own, base)]
            for block, change in enumerate(moved):
                rows = [torch.cat([found[at][block] for at in range(len(texts))]) for found in states]
                kept = torch.linspace(0, len(rows[0]) - 1, min(self.most, len(rows[0]))).long()
                yield Outcome(
                    item=f"{name}/block-{block + 1}",
                    cluster=name,
                    group=f"block {block + 1:0{len(str(len(moved)))}d}",
                    metrics={"cka": cka(*(one[kept] for one in rows)), "weights": change},
                    prompt=shown,
                )

    def test_set(self) -> TestSet | None:
        """None: an item is a block, and its text asks nothing."""
        return None

    def _parts(self) -> list[tuple[str, list[CorpusDocument]]]:
        items = self._items()
        count = min(self.parts, len(items))
        return [(f"part-{at}", items[at::count]) for at in range(count)]


def _one_model(policy: Policy) -> CausalPolicy:
    if not isinstance(policy, CausalPolicy):
        raise UserError(
            f"{type(policy).__name__} is not one model with blocks",
            fix="Compare methods that change weights, adapters or hidden states, such as sft, lora or loreft.",
        )
    return policy


def weight_changes(policy: CausalPolicy, base: CausalPolicy) -> list[float | None]:
    """The relative change of each block's weights; parameters that the base lacks (an adapter's) do not count."""
    pairs = zip(decoder_blocks(policy.model), decoder_blocks(base.model), strict=True)
    with torch.no_grad():
        return [_relative(dict(own.named_parameters()), dict(its.named_parameters())) for own, its in pairs]


def _relative(own: dict[str, torch.Tensor], base: dict[str, torch.Tensor]) -> float | None:
    own = {name.replace(".base_layer.", "."): weight for name, weight in own.items()}
    same = [name for name, weight in base.items() if name in own and own[name].shape == weight.shape]
    squares = [
        [float(it.double().square().sum()) for it in (own[n].double() - base[n].double(), base[n])] for n in same
    ]
    total = sum(whole for _, whole in squares)
    return float((sum(moved for moved, _ in squares) / total) ** 0.5) if total else None


def cka(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """The likeness of states (n, d) and (n, e) of the same n tokens; None below 4 tokens, or where one is constant."""
    if len(one) < 4:
        return None
    kernels = [_kernel(states) for states in (one, other)]
    between, *alone = (hsic(*pair) for pair in (kernels, kernels[:1] * 2, kernels[1:] * 2))
    if min(alone) <= 0:
        return None
    return between / (alone[0] * alone[1]) ** 0.5


def _kernel(states: torch.Tensor) -> torch.Tensor:
    """X X^T without its diagonal, of centred states: their mean does not count, and would cost precision."""
    centred = states.double() - states.double().mean(0)
    return (centred @ centred.T).fill_diagonal_(0.0)


def hsic(first: torch.Tensor, second: torch.Tensor) -> float:
    """The unbiased estimate from two kernels (n, n) whose diagonals are 0."""
    n, rows = len(first), (first.sum(1), second.sum(1))
    sums = float(rows[0].sum() * rows[1].sum()) / ((n - 1) * (n - 2)) - 2 * float(rows[0] @ rows[1]) / (n - 2)
    return (float((first * second).sum()) + sums) / (n * (n - 3))
