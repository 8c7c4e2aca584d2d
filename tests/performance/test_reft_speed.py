"""What our LoReFT costs beside pyreft's training step and beside the base's decoding: the goals are 1.00 and 1.03.

    pytest -m slow -s tests/performance/test_reft_speed.py

CPU seconds of one thread, in rounds of alternating order in one process. A training step is
forward pass, loss and backward pass of the same rows through the same model, without the optimiser.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.engine.cost import decoding_cost
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from harness.training.loop import collate
from harness.training.trl import completion_loss
from methods._low_rank_edits import weights_of
from methods._pyreft_library import library_model, locations, run_library
from methods.loreft import Loreft, ReftPolicy
from methods.pyreft import Pyreft

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(4000))]
NEW_TOKENS, ROUNDS, PROMPT = 32, 31, 50


def make(folder: Path, hidden: int, layers: int) -> BaseModel:
    """A random model that never ends: the end token's logit stays at 0 where others are far above."""
    torch.manual_seed(0)
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": 3 * hidden, "eos_token_id": 0}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), num_attention_heads=4, max_position_embeddings=256, initializer_range=0.1, **shape
    )
    model = transformers.LlamaForCausalLM(config)
    model.lm_head.weight.data[0] = 0
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def compared(one: Callable[[], object], other: Callable[[], object]) -> str:
    """Seconds of one over the other's, round by round: the median, and the middle half of the rounds.

    Both halves of a round meet the same machine; its fastest moments may fall to one side alone.
    """
    ratios = []
    for number in range(ROUNDS):
        spent = {}
        for run in (one, other) if number % 2 else (other, one):
            start = time.process_time()
            run()
            spent[run] = time.process_time() - start
        ratios.append(spent[one] / spent[other])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} x ({low:.3f} to {high:.3f})"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyreft") is None, reason="pyreft is not installed")
@pytest.mark.parametrize(("hidden", "layers", "rows"), [(64, 4, 8), (256, 8, 8)])
def test_a_training_step_beside_the_librarys(tmp_path: Path, hidden: int, layers: int, rows: int) -> None:
    torch.set_num_threads(1)
    base = make(tmp_path, hidden, layers)
    ours, library = Loreft(prefix=5, suffix=5, rank=4), Pyreft(prefix=5, suffix=5, rank=4)
    ids = [[(row * 100 + at) % 4000 + 2 for at in range(PROMPT + 30)] for row in range(rows)]
    inputs = collate([{"input_ids": own, "labels": [-100] * PROMPT + own[PROMPT:]} for own in ids])
    own_model = base.load().requires_grad_(False)
    parts = ours.new_interventions([*range(layers)], hidden)
    keys = [*parts]
    reft = library_model(base.load().requires_grad_(False), {key: library._new_part(hidden) for key in keys})

    def our_step() -> float:
        with ours._edited_prompts(own_model, parts, inputs):
            loss = completion_loss(own_model, inputs, 30 * rows)
        loss.backward()
        return float(loss.detach())

    def library_step() -> float:
        places = locations(library, keys, [0] * rows, [PROMPT] * rows, spare=0)
        loss = completion_loss(lambda **batch: run_library(reft, places, **batch), inputs, 30 * rows)
        loss.backward()
        return float(loss.detach())

    assert our_step() == pytest.approx(library_step(), rel=0.2)
    found = compared(our_step, library_step)
    print(f"\ntraining step, {layers} layers of {hidden}, {rows} rows: {found} that of pyreft")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
def test_decoding_beside_the_base(tmp_path: Path, batch: int) -> None:
    torch.set_num_threads(1)
    base = make(tmp_path, 256, 8)
    settings = Loreft(prefix=5, suffix=5, rank=4)
    parts = settings.new_interventions([*range(8)], 256).requires_grad_(False)
    weights = {key: weights_of(part) for key, part in parts.items()}
    tuned, plain = ReftPolicy(base.policy().model, base.encoder, settings, weights), base.policy()
    prompts = [Prompt(text=" ".join(f"w{row * 100 + at}" for at in range(PROMPT))) for row in range(batch)]
    keys, greedy = [str(row) for row in range(batch)], Sampling(max_new_tokens=NEW_TOKENS)

    def decode(policy: CausalPolicy) -> list[int]:
        return [len(completions[0].token_ids) for completions in policy.sample(prompts, greedy, keys)]

    assert decode(tuned) == decode(plain) == [NEW_TOKENS] * batch
    whole = compared(lambda: decode(tuned), lambda: decode(plain))
    token = decoding_cost(tuned, plain, 600.0)["overhead_per_token"]
    print(f"\nbatch {batch}: {NEW_TOKENS} tokens with their prompt {whole} the base's; a token after it {token:.3f} x")
