"""What proxy-tuned decoding costs beside its three models' own decoding: the goal is a ratio of 1.10 at most.

    pytest -m slow -s tests/performance/test_proxy_decoding.py

CPU seconds of one thread. Two figures: the ratio to three runs apart, which a busy machine blurs, and the share
of a run that is spent outside the three models, which it hardly does. Small models that take turns drive each other
out of the processor's caches, which is in the ratio of the first two and not in that of the third.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from methods.proxy_tuning import ProxyPolicy

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(4000))]
NEW_TOKENS, ROUNDS = 64, 5


def make(folder: Path, seed: int, hidden: int, layers: int) -> CausalPolicy:
    """A random model that never ends: the end token's logit stays at 0 where others are far above."""
    torch.manual_seed(seed)
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": 3 * hidden, "eos_token_id": 0}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), num_attention_heads=8, max_position_embeddings=256, initializer_range=0.1, **shape
    )
    model = transformers.LlamaForCausalLM(config)
    model.lm_head.weight.data[0] = 0
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder).policy()


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def seconds_inside(policies: Sequence[CausalPolicy], run: Callable[[], object]) -> float:
    """The part of a run that these policies' own steps take."""
    spent = []

    def timed(step: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object) -> object:
            kept: list[object] = []
            spent.append(seconds(lambda: kept.append(step(*arguments))))
            return kept[0]

        return wrapped

    steps = ("prefill", "extend", "select")
    for policy in policies:
        vars(policy).update({step: timed(getattr(policy, step)) for step in steps})
    run()
    for policy in policies:
        for step in steps:
            del vars(policy)[step]
    return sum(spent)


def generated(policy: CausalPolicy, prompts: list[Prompt]) -> list[list[int]]:
    """The same tokens through `transformers`' own loop; all prompts have one length."""
    ids = torch.tensor([policy.encode(prompt).prompt for prompt in prompts])
    settings = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    output = policy.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    return output[:, ids.shape[1] :].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "large", "small"), [(1, (256, 8), (128, 4)), (8, (256, 8), (128, 4)), (1, (768, 8), (512, 6))]
)
def test_three_models_decode_for_the_price_of_three(
    tmp_path: Path, batch: int, large: tuple[int, int], small: tuple[int, int]
) -> None:
    torch.set_num_threads(1)
    base = make(tmp_path / "base", 0, *large)
    expert, anti_expert = (make(tmp_path / f"small{seed}", seed, *small) for seed in (1, 2))
    proxy = ProxyPolicy(base, expert, anti_expert, alpha=1.0)
    prompts = [Prompt(text=" ".join(f"w{row * 100 + at}" for at in range(50))) for row in range(batch)]
    keys, greedy = [str(row) for row in range(batch)], Sampling(max_new_tokens=NEW_TOKENS)

    def tokens(policy: CausalPolicy | ProxyPolicy) -> list[list[int]]:
        return [list(completions[0].token_ids) for completions in policy.sample(prompts, greedy, keys)]

    for policy in proxy.parts:
        assert tokens(policy) == generated(policy, prompts)
    assert tokens(ProxyPolicy(base, expert, expert, alpha=1.0)) == tokens(base)
    assert {len(row) for row in tokens(proxy)} == {NEW_TOKENS}

    own, library, outside = [], [], []
    for _ in range(ROUNDS):
        inside: list[float] = []
        whole = seconds(lambda kept=inside: kept.append(seconds_inside(proxy.parts, lambda: tokens(proxy))))
        outside.append(1 - inside[0] / whole)
        combined = seconds(lambda: tokens(proxy))
        own.append(combined / sum(seconds(lambda p=part: tokens(p)) for part in proxy.parts))
        library.append(combined / sum(seconds(lambda p=part: generated(p, prompts)) for part in proxy.parts))
    weights = [sum(weight.numel() for weight in part.model.parameters()) / 1e6 for part in proxy.parts]
    print(
        f"\nbatch {batch}, models of {', '.join(f'{size:.1f}M' for size in weights)}: "
        f"{statistics.median(own):.3f} x the sum of their own decoding, "
        f"{statistics.median(library):.3f} x that of `generate`, "
        f"{statistics.median(outside):.1%} outside the three models"
    )
