"""Scores: against a plain forward pass, on nine model families, ragged or alone, in chunks, with gradients."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from harness.errors import UserError
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder
from harness.policy.logprobs import score_tokens
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling, Score
from harness.records import Message

torch.set_num_threads(1)
WORDS = [f"w{index}" for index in range(40)]


def word_tokenizer() -> Any:
    """Every word and every white space is a token, so text and ids determine each other."""
    vocabulary = ["<pad>", "<eos>", "<unk>", " ", "\n", *WORDS]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"w\d+|\s|\S"), behavior="isolated")
    core.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


SMALL = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
OPT = {
    **{key: SMALL[key] for key in SMALL if key not in ("intermediate_size", "initializer_range")},
    "ffn_dim": 48,
    "init_std": 0.3,
    "word_embed_proj_dim": 32,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "mistral": lambda: transformers.MistralConfig(**GROUPED, sliding_window=6),
    "qwen2": lambda: transformers.Qwen2Config(**GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**GROUPED, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**GROUPED, head_dim=8, sliding_window=6, query_pre_attn_scalar=8),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **GROUPED,
        head_dim=8,
        sliding_window=6,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "gpt2": lambda: transformers.GPT2Config(**GPT2),
    "opt": lambda: transformers.OPTConfig(**OPT),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SMALL),
}
# rotary, absolute and sliding positions; the others differ from these in what the engine does not see
KINDS = ("llama", "gpt2", "gemma3")
ONE_OF_EACH_KIND = [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in FAMILIES]


def model_of(family: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(FAMILIES[family]()).eval()


def policy_of(family: str) -> CausalPolicy:
    return CausalPolicy(model_of(family), TextEncoder(word_tokenizer(), max_length=64))


@pytest.fixture(scope="module")
def policy() -> CausalPolicy:
    return policy_of("llama")


def plain_logprobs(policy: CausalPolicy, prompt: Prompt, completion: str) -> torch.Tensor:
    """Log-probabilities (T,) of the completion's tokens: one row, one pass, no cache, no padding, no mask."""
    encoded = policy.encode(prompt, completion)
    context = [*encoded.prompt, *encoded.prefix]
    ids = torch.tensor([[*context, *encoded.completion]])
    with torch.no_grad():
        logits = policy.model(input_ids=ids, use_cache=False).logits[0].double()
    following = logits[len(context) - 1 : -1].log_softmax(-1)
    return following[torch.arange(len(encoded.completion)), torch.tensor(encoded.completion)]


def some_requests(count: int = 12, seed: int = 0) -> tuple[list[Prompt], list[str]]:
    """Ragged prompts, some asked twice with other completions, some with a prefix, some conversations."""
    draw = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))

    prompts: list[Prompt] = []
    for index in range(count):
        if index % 4 == 3:
            prompts.append(prompts[-1])
        elif index % 4 == 2:
            prompts.append(Prompt(messages=(Message("user", words(4)),)))
        else:
            prompts.append(Prompt(text=words(12), assistant_prefix=" " + words(3) if index % 3 else ""))
    return prompts, [" " + words(8) for _ in prompts]


def test_scores_equal_a_plain_forward_pass(policy: CausalPolicy) -> None:
    prompts, completions = some_requests(24)
    for prompt, completion, score in zip(prompts, completions, policy.score(prompts, completions), strict=True):
        expected = plain_logprobs(policy, prompt, completion)
        assert score.tokens == len(expected)
        assert torch.tensor(score.token_logprobs) == pytest.approx(expected.numpy(), abs=1e-5)
        assert score.logprob == pytest.approx(float(expected.sum()), abs=1e-5)
        assert not score.truncated


@pytest.mark.parametrize("family", ONE_OF_EACH_KIND)
def test_a_ragged_batch_equals_its_rows_alone_on_every_family(family: str) -> None:
    policy = policy_of(family)
    prompts, completions = some_requests(12)
    for prompt, completion, score in zip(prompts, completions, policy.score(prompts, completions), strict=True):
        assert score.logprob == pytest.approx(float(plain_logprobs(policy, prompt, completion).sum()), abs=1e-4)


@pytest.mark.parametrize("family", ONE_OF_EACH_KIND)
def test_ragged_greedy_samples_equal_generate_alone_on_every_family(family: str) -> None:
    policy = policy_of(family)
    prompts = some_requests(8, seed=1)[0]
    drawn = policy.sample(prompts, Sampling(max_new_tokens=14), [str(index) for index in range(8)])
    for prompt, (completion,) in zip(prompts, drawn, strict=True):
        encoded = policy.encode(prompt)
        context = torch.tensor([[*encoded.prompt, *encoded.prefix]])
        written = policy.model.generate(
            context,
            attention_mask=torch.ones_like(context),
            max_new_tokens=14,
            do_sample=False,
            eos_token_id=sorted(policy.encoder.stop_ids),
            pad_token_id=0,
        )[0, context.shape[1] :].tolist()
        assert list(completion.token_ids) == [token for token in written if token not in policy.encoder.stop_ids]


@pytest.mark.parametrize(
    "family", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "gemma2"))]
)
@pytest.mark.parametrize("budget", [1, 5 * 48 * 3])
def test_logits_in_chunks_give_the_same_scores(family: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(family)
    prompts, completions = some_requests(12)
    whole = policy.score(prompts, completions)
    widths: list[int] = []
    extend = policy.extend
    monkeypatch.setattr(
        policy, "extend", lambda state, tokens, mask: (widths.append(tokens.shape[1]), extend(state, tokens, mask))[1]
    )
    monkeypatch.setattr(policy, "budget", budget)
    monkeypatch.setattr(policy, "max_rows", 5)
    chunked = policy.score(prompts, completions)
    assert len(widths) > 12 / 5 + 1
    assert max(widths) <= max(1, budget // 48)
    for first, second in zip(whole, chunked, strict=True):
        assert second.token_logprobs == pytest.approx(first.token_logprobs, abs=1e-5)
        assert second.is_greedy == first.is_greedy


@pytest.mark.parametrize("max_rows", [1, 3, 256])
def test_scores_do_not_depend_on_batch_size_or_order(
    policy: CausalPolicy, max_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, completions = some_requests(12)
    expected = [score.logprob for score in policy.score(prompts, completions)]
    order = random.Random(max_rows).sample(range(12), 12)
    monkeypatch.setattr(policy, "max_rows", max_rows)
    found = policy.score([prompts[at] for at in order], [completions[at] for at in order])
    assert [score.logprob for score in found] == pytest.approx([expected[at] for at in order], abs=1e-5)


def test_equal_prompts_are_read_once(policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    prefill = policy.prefill
    monkeypatch.setattr(policy, "prefill", lambda prompts: (rows.append(len(prompts)), prefill(prompts))[1])
    policy.score([Prompt(text="w1 w2")] * 4 + [Prompt(text="w3")] * 2, [f" w{n}" for n in range(6)])
    assert rows == [2]


def test_differentiable_logprobs_equal_scores_and_reach_every_weight(policy: CausalPolicy) -> None:
    prompts, completions = some_requests(8)
    values = policy.logprobs(prompts, completions)
    for value, score in zip(values, policy.score(prompts, completions), strict=True):
        assert value.detach().numpy() == pytest.approx(score.token_logprobs, abs=1e-5)
    try:
        torch.cat(values).sum().backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in policy.model.parameters())
    finally:
        policy.model.zero_grad()


def test_gradients_equal_those_of_a_plain_forward_pass(policy: CausalPolicy) -> None:
    prompt, completion = Prompt(text="w1 w2", assistant_prefix=" w3"), " w4 w5"
    weight = policy.model.model.layers[0].mlp.up_proj.weight
    (ours,) = torch.autograd.grad(policy.logprobs([prompt], [completion])[0].sum(), weight)
    encoded = policy.encode(prompt, completion)
    ids = torch.tensor([[*encoded.prompt, *encoded.prefix, *encoded.completion]])
    labels = torch.full_like(ids, -100)
    labels[0, -len(encoded.completion) :] = torch.tensor(encoded.completion)
    loss = policy.model(input_ids=ids, labels=labels).loss * -len(encoded.completion)
    (expected,) = torch.autograd.grad(loss, weight)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_an_assistant_prefix_scores_like_a_longer_prompt(policy: CausalPolicy) -> None:
    texts, prefixes, answers = ["w1 w2", "w3", "w1 w2"], [" w4", " w5 w6 w7", " w8 w9"], [" w1", " w2 w3", " w0"]
    parted = policy.score([Prompt(text=a, assistant_prefix=b) for a, b in zip(texts, prefixes, strict=True)], answers)
    joined = policy.score([Prompt(text=a + b) for a, b in zip(texts, prefixes, strict=True)], answers)
    assert [s.token_logprobs for s in parted] == [pytest.approx(s.token_logprobs, abs=1e-5) for s in joined]


def test_a_long_choice_and_a_long_prompt_do_not_pad_all_the_others(
    policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    prefill, extend = policy.prefill, policy.extend
    monkeypatch.setattr(
        policy,
        "prefill",
        lambda prompts: (places.append(len(prompts) * max(len(one.prompt) for one in prompts)), prefill(prompts))[1],
    )
    monkeypatch.setattr(
        policy, "extend", lambda state, tokens, mask: (places.append(tokens.numel()), extend(state, tokens, mask))[1]
    )
    prompts = [Prompt(text=f"w{n} " + "w1 " * (20 if n == 3 else 4) + "w2") for n in range(8) for _ in range(4)]
    completions = [" w5" * (24 if at == 9 else 3) for at in range(32)]
    scores = policy.score(prompts, completions)
    read = {one.prompt: len(one.prompt) for one in map(policy.encode, prompts)}
    # each prompt once and each choice but its last token; every row as long as the longest would be 8 x 43 + 32 x 47
    assert sum(places) == sum(read.values()) + sum(score.tokens - 1 for score in scores)
    for prompt, completion, score in zip(prompts, completions, scores, strict=True):
        assert score.logprob == pytest.approx(float(plain_logprobs(policy, prompt, completion).sum()), abs=1e-4)


def test_a_prefix_is_never_read_with_the_prompt(policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of prompt positions must not touch the words that the answer begins with."""
    read: list[tuple[int, ...]] = []
    prefill = policy.prefill
    monkeypatch.setattr(
        policy, "prefill", lambda prompts: (read.extend(p.prompt for p in prompts), prefill(prompts))[1]
    )
    prompt = Prompt(messages=(Message("user", "w1"),), assistant_prefix="w7 w8")
    policy.score([prompt], [" w2"])
    policy.sample([prompt], Sampling(2), ["k"])
    text = policy.encoder.render(prompt.messages)
    assert read == [policy.encoder.tokens(text)] * 2


def test_a_greedy_sample_scores_as_greedy_and_another_token_does_not(policy: CausalPolicy) -> None:
    prompts = [Prompt(text="w1 w2"), Prompt(text="w9 w8 w7")]
    written = [drawn.text for (drawn,) in policy.sample(prompts, Sampling(5), ["a", "b"])]
    assert all(score.is_greedy for score in policy.score(prompts, written))
    other = ["w0" if not text.startswith("w0") else "w1" for text in written]
    assert not any(score.is_greedy for score in policy.score(prompts, other))


def test_a_long_context_loses_its_left_end_and_is_flagged(policy: CausalPolicy) -> None:
    words = [WORDS[index % 40] for index in range(100)]
    answer = "w1w2w3"
    long, exact, short = policy.score(
        [Prompt(text="".join(part)) for part in (words, words[-62:], words[-61:])], [answer] * 3
    )
    assert (long.truncated, exact.truncated, short.truncated) == (True, False, False)
    assert long.logprob == pytest.approx(exact.logprob, abs=1e-5)
    assert long.logprob != pytest.approx(short.logprob, abs=1e-5)


def test_token_scores_equal_scores_by_text(policy: CausalPolicy) -> None:
    prompts, completions = some_requests(10)
    pairs = [
        ((*encoded.prompt, *encoded.prefix), encoded.completion) for encoded in map(policy.encode, prompts, completions)
    ]
    by_text = policy.score(prompts, completions)
    assert [score.logprob for score in score_tokens(policy, pairs)] == pytest.approx(
        [score.logprob for score in by_text], abs=1e-5
    )


def test_bfloat16_runs_and_its_scores_are_summed_in_float32() -> None:
    """bf16 log-probabilities have three digits; ours must be the fp32 log-softmax of the model's bf16 logits."""
    policy = policy_of("llama")
    policy.model.to(torch.bfloat16)
    prompts, completions = some_requests(8)
    encoded = [policy.encode(prompt) for prompt in prompts[:2]]
    with torch.inference_mode():
        first, state = policy.prefill(encoded)
        later, _ = policy.extend(state, torch.tensor([[5], [6]]), torch.ones(2, 1, dtype=torch.bool))
    assert first.dtype == later.dtype == torch.float32
    scores = policy.score(prompts, completions)
    singles = [policy.score([prompt], [completion])[0] for prompt, completion in zip(prompts, completions, strict=True)]
    for score, single in zip(scores, singles, strict=True):
        assert score.logprob == pytest.approx(single.logprob, rel=0.05)
    digits = torch.tensor([value for score in scores for value in score.token_logprobs])
    assert (digits != digits.to(torch.bfloat16).float()).float().mean() > 0.9
    assert policy.sample(prompts[:2], Sampling(5, temperature=1.0), ["a", "b"])


def test_the_vocabulary_is_the_models_even_where_the_tokenizers_is_smaller(policy: CausalPolicy) -> None:
    assert policy.vocabulary == 48 > len(policy.encoder.tokenizer)


def test_scoring_leaves_the_weights_alone(policy: CausalPolicy) -> None:
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    policy.score(*some_requests(4))
    policy.sample(some_requests(4)[0], Sampling(3), list("abcd"))
    assert all(torch.equal(before[name], weight) for name, weight in policy.model.state_dict().items())


class Sampler(Policy):
    """Answers, but cannot say how likely an answer is."""

    gives: frozenset[Capability] = frozenset({"sample"})

    def sample(self, prompts: Any, sampling: Any, keys: Any) -> list[tuple[Completion, ...]]:
        return [(Completion("yes", (1,), "stop"),) for _ in prompts]


def test_a_policy_that_only_samples_says_so_when_it_is_asked_for_scores() -> None:
    with pytest.raises(UserError, match="Sampler gives no log-probabilities"):
        Sampler().score([Prompt(text="w1")], ["w2"])


def test_an_empty_request_list_gives_an_empty_answer(policy: CausalPolicy) -> None:
    nothing: list[Score] = []
    assert policy.score([], []) == nothing
    assert policy.sample([], Sampling(3), []) == []
