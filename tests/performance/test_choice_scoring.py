"""What multiple choice costs beside lm-eval's own HFLM: the goal is 0.30 of its time at most, with equal scores.

    pytest -m slow -s tests/performance/test_choice_scoring.py

CPU seconds of one thread, side by side in one process, in rounds of alternating order. 50 million random weights;
prompts of 180 to 220 tokens with four options of ten. HFLM reads a prompt once per option and computes the output layer
at every position; our scoring reads it once and computes the output layer where an option is.
"""

from __future__ import annotations

import random
import statistics
import time

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(32_000 - 2))]
PROMPTS, OPTIONS, LENGTH, ROUNDS = 8, 4, 10, 3
SHAPE = {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1376, "num_attention_heads": 8}


def random_model() -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=len(WORDS), max_position_embeddings=256, eos_token_id=0, **SHAPE)
    return transformers.LlamaForCausalLM(config).eval()


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")


def questions() -> list[tuple[str, str]]:
    """(prompt, option) for every option of every prompt, prompt after prompt."""
    chance = random.Random(0)
    pairs = []
    for _ in range(PROMPTS):
        prompt = " ".join(chance.choices(WORDS[2:], k=chance.randint(180, 220)))
        pairs += [(prompt, " " + " ".join(chance.choices(WORDS[2:], k=LENGTH))) for _ in range(OPTIONS)]
    return pairs


@pytest.mark.slow
def test_multiple_choice_beside_lm_evals_own_model() -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from harness.scoring.lm_eval.bridge import BridgeLM

    torch.set_num_threads(1)
    model, tokenizer = random_model(), word_tokenizer()
    parameters = sum(weights.numel() for weights in model.parameters())
    assert 45e6 < parameters < 65e6
    ours = BridgeLM(CausalPolicy(model, TextEncoder(tokenizer, max_length=256)))
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16, max_length=256)
    requests = [Instance("loglikelihood", {}, pair, at) for at, pair in enumerate(questions())]
    spent: dict[object, list[float]] = {ours: [], theirs: []}
    found: dict[object, list[tuple[float, bool]]] = {}
    for number in range(ROUNDS):
        for one in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.process_time()
            found[one] = one.loglikelihood(requests, disable_tqdm=True)
            spent[one].append(time.process_time() - start)
    for (score, greedy), (other, other_greedy) in zip(found[ours], found[theirs], strict=True):
        assert score == pytest.approx(other, abs=1e-4)
        assert greedy == other_greedy
    ratio = statistics.median(spent[ours]) / statistics.median(spent[theirs])
    best = min(spent[ours]) / min(spent[theirs])
    seconds = statistics.median(spent[theirs])
    print(f"\n{parameters / 1e6:.0f} M: {ratio:.3f} of HFLM's {seconds:.1f} s (fastest rounds {best:.3f})")
    assert ratio <= 0.30
