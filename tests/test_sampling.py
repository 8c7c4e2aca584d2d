"""Drawing: against `transformers.generate`, against a loop without cache or batch, and against known laws."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from scipy import stats
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from harness.errors import UserError
from harness.policy.causal import CausalPolicy
from harness.policy.drawing import draw_tokens, nucleus
from harness.policy.encoding import TextEncoder
from harness.policy.noise import stream_of
from harness.policy.types import Prompt, Sampling
from harness.records import Message

torch.set_num_threads(1)
WORDS = [f"w{index}" for index in range(40)]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% if m.role == 'assistant' %}<end>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


def word_tokenizer() -> Any:
    """Every word and every white space is a token, so text and ids determine each other."""
    vocabulary = ["<pad>", "<eos>", "<unk>", "<u>", "<a>", "<end>", "<mark>", " ", "\n", *WORDS]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"w\d+|\s|\S"), behavior="isolated")
    core.decoder = decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<u>", "<a>", "<end>", "<mark>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_llama(vocabulary: int = 49, seed: int = 0, context: int = 64) -> Any:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.4,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def policy() -> CausalPolicy:
    return CausalPolicy(tiny_llama(), TextEncoder(word_tokenizer(), max_length=64))


def some_prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Prompts of 1 to 12 words, some with an assistant prefix, some as conversations, one of them twice."""
    draw = random.Random(seed)
    found = []
    for index in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
        prefix = " ".join(draw.choices(WORDS, k=draw.randint(1, 3))) if index % 3 == 0 else ""
        if index % 2:
            found.append(Prompt(messages=(Message("user", text),), assistant_prefix=prefix))
        else:
            found.append(Prompt(text=text, assistant_prefix=prefix and " " + prefix))
    return [*found[:-1], found[0]]


def drawn_plainly(policy: CausalPolicy, prompt: Prompt, sampling: Sampling, key: str, sample: int) -> list[int]:
    """One sample alone: a full forward pass per token, no cache, no padding."""
    encoded = policy.encode(prompt)
    ids, drawn = [*encoded.prompt, *encoded.prefix], []
    stream = torch.tensor([stream_of(sampling.salt, sampling.seed, key, sample)])
    for position in range(sampling.max_new_tokens):
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([ids])).logits[:, -1].float()
        token = int(draw_tokens(logits, sampling, stream, position))
        if token in policy.encoder.stop_ids:
            break
        ids.append(token)
        drawn.append(token)
    return drawn


def test_greedy_samples_equal_transformers_generate(policy: CausalPolicy) -> None:
    prompts = some_prompts(9)
    drawn = policy.sample(prompts, Sampling(max_new_tokens=20), [str(index) for index in range(9)])
    for prompt, (completion,) in zip(prompts, drawn, strict=True):
        encoded = policy.encode(prompt)
        context = torch.tensor([[*encoded.prompt, *encoded.prefix]])
        written = policy.model.generate(
            context,
            attention_mask=torch.ones_like(context),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=sorted(policy.encoder.stop_ids),
            pad_token_id=0,
        )[0, context.shape[1] :].tolist()
        expected = [token for token in written if token not in policy.encoder.stop_ids]
        assert list(completion.token_ids) == expected
        assert completion.finish == ("stop" if len(expected) < len(written) else "length")


def test_samples_of_one_prefill_equal_samples_drawn_one_at_a_time_without_a_cache(policy: CausalPolicy) -> None:
    prompts = some_prompts(6)
    sampling = Sampling(max_new_tokens=12, temperature=0.9, top_p=0.9, samples=4, seed=5, salt="x")
    keys = [f"item {index}" for index in range(6)]
    for prompt, key, completions in zip(prompts, keys, policy.sample(prompts, sampling, keys), strict=True):
        texts = {completion.text for completion in completions}
        assert len(texts) > 1, "at this temperature four equal samples mean that they share their noise"
        for sample, completion in enumerate(completions):
            assert list(completion.token_ids) == drawn_plainly(policy, prompt, sampling, key, sample)


def test_many_samples_read_the_prompt_once(policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    prefill = policy.prefill
    monkeypatch.setattr(policy, "prefill", lambda prompts: (rows.append(len(prompts)), prefill(prompts))[1])
    prompt = Prompt(text="w1 w2 w3")
    policy.sample([prompt, prompt], Sampling(4, temperature=1.0, samples=8), ["a", "b"])
    assert rows == [1]


@pytest.mark.parametrize("max_rows", [2, 256, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (1, 5))])
def test_text_does_not_depend_on_batch_size_or_order(
    policy: CausalPolicy, max_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, keys = some_prompts(11), [f"k{index}" for index in range(11)]
    sampling = Sampling(max_new_tokens=16, temperature=1.0, top_p=0.95, samples=2, seed=1)
    expected = dict(zip(keys, policy.sample(prompts, sampling, keys), strict=True))
    order = random.Random(max_rows).sample(range(11), 11)
    monkeypatch.setattr(policy, "max_rows", max_rows)
    found = policy.sample([prompts[at] for at in order], sampling, [keys[at] for at in order])
    assert dict(zip([keys[at] for at in order], found, strict=True)) == expected


def test_equal_keys_share_their_noise_and_other_keys_seeds_and_salts_do_not(policy: CausalPolicy) -> None:
    def text(**changed: Any) -> str:
        settings = {"max_new_tokens": 30, "temperature": 1.5, "key": "one", **changed}
        key = settings.pop("key")
        return policy.sample([Prompt(text="w1 w2")], Sampling(**settings), [key])[0][0].text

    assert text() == text()
    assert len({text(), text(key="two"), text(seed=1), text(salt="s")}) == 4


def test_one_key_per_prompt_is_demanded(policy: CausalPolicy) -> None:
    with pytest.raises(ValueError, match="2 prompts and 1 keys"):
        policy.sample([Prompt(text="w1")] * 2, Sampling(1), ["a"])


class Scripted(CausalPolicy):
    """A model whose next token is written down: position after the prompt -> token."""

    script: Sequence[str] = ()

    def _forward(self, state: Any, tokens: torch.Tensor, mask: torch.Tensor, *, last_only: bool) -> Any:
        logits, state = super()._forward(state, tokens, mask, last_only=last_only)
        logits = torch.full_like(logits, -50.0)
        for row, position in enumerate((state.positions - 1).tolist()):
            token = self.encoder.tokenizer.convert_tokens_to_ids(self.script[min(position, len(self.script) - 1)])
            logits[row, -1, token] = 50.0
        return logits, state


def scripted(script: Sequence[str], **sampling: Any) -> Any:
    policy = Scripted(tiny_llama(), TextEncoder(word_tokenizer(), max_length=64, extra_stop_ids=[9]))
    policy.script = script
    return policy.sample([Prompt(text="w3")], Sampling(**{"max_new_tokens": 6, **sampling}), ["k"])[0][0]


@pytest.mark.parametrize("end", ["<eos>", "<end>", "w0"])
def test_the_tokenizers_end_the_templates_end_and_the_models_own_end_all_stop(end: str) -> None:
    completion = scripted(["w1", " ", "w2", end, "w5"])
    assert (completion.text, completion.finish) == ("w1 w2", "stop")
    assert len(completion.token_ids) == 3


def test_an_answer_that_ends_at_once_is_empty() -> None:
    completion = scripted(["<end>"])
    assert (completion.text, completion.token_ids, completion.finish) == ("", (), "stop")


def test_an_answer_without_an_end_has_all_its_tokens() -> None:
    completion = scripted(["w1", " "], max_new_tokens=5)
    assert (completion.text, completion.finish) == ("w1    ", "length")


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("w2",), "w1 "),
        ((" w2",), "w1"),
        (("2 w4",), "w1 w"),
        (("w4", "w2"), "w1 "),
        (("\n",), "w1 w2 w4"),
        (("1",), "w"),
    ],
)
def test_a_stop_string_ends_the_answer_and_is_cut_wherever_its_tokens_lie(stop: tuple[str, ...], text: str) -> None:
    completion = scripted(["w1", " ", "w2", " ", "w4", "\n", "w5", "w6"], stop=stop, max_new_tokens=8)
    assert (completion.text, completion.finish) == (text, "stop_string")
    assert len(completion.token_ids) < 8


def test_a_stop_string_that_is_a_special_token_ends_the_answer() -> None:
    """lm-eval's tasks stop at strings such as `<|im_end|>`, which decoding skips."""
    completion = scripted(["w1", "<mark>", "w2"], stop=("<mark>",))
    assert (completion.text, completion.finish) == ("w1", "stop_string")


def test_a_stop_string_is_seen_across_special_tokens_that_write_nothing() -> None:
    completion = scripted(["w1", " ", *["<mark>"] * 9, "w2", "w5"], stop=(" w2",), max_new_tokens=14)
    assert (completion.text, completion.finish) == ("w1", "stop_string")


def test_a_long_prompt_loses_its_left_end_and_is_flagged(policy: CausalPolicy) -> None:
    words = [WORDS[index % 40] for index in range(100)]
    kept = 64 - 10
    sampling = Sampling(max_new_tokens=10, temperature=1.0)
    (long,), (short,) = policy.sample(
        [Prompt(text="".join(words)), Prompt(text="".join(words[-kept:]))], sampling, ["same", "same"]
    )
    assert long.truncated
    assert not short.truncated
    assert long.token_ids == short.token_ids


def test_more_new_tokens_than_the_context_holds_is_the_users_error(policy: CausalPolicy) -> None:
    with pytest.raises(UserError, match="leave no room in a context of 64"):
        policy.sample([Prompt(text="w1")], Sampling(max_new_tokens=64), ["k"])


LAW = torch.tensor([0.40, 0.25, 0.15, 0.10, 0.06, 0.04], dtype=torch.float64)


def counts(sampling: Sampling, draws: int = 60_000) -> Any:
    """How often each token is drawn from LAW."""
    logits = LAW.log().float().expand(draws, -1)
    streams = torch.tensor([stream_of("", sampling.seed, f"item {row}", 0) for row in range(draws)])
    return torch.bincount(draw_tokens(logits, sampling, streams, 3), minlength=len(LAW)).numpy()


@pytest.mark.parametrize(
    ("temperature", "top_p", "law"),
    [
        (1.0, 1.0, LAW),
        (0.5, 1.0, LAW**2 / (LAW**2).sum()),
        (2.0, 1.0, LAW**0.5 / (LAW**0.5).sum()),
        (1.0, 0.7, torch.tensor([0.40, 0.25, 0.15, 0, 0, 0], dtype=torch.float64) / 0.80),
        # at temperature 1/2 the first token holds .16 of .2602, the first two .2225 of it, which is .8551
        (0.5, 0.85, torch.tensor([0.16, 0.0625, 0, 0, 0, 0], dtype=torch.float64) / 0.2225),
        (1.0, 0.05, torch.tensor([1.0, 0, 0, 0, 0, 0], dtype=torch.float64)),
    ],
)
def test_draws_follow_the_law_after_temperature_then_top_p(temperature: float, top_p: float, law: torch.Tensor) -> None:
    seen = counts(Sampling(1, temperature=temperature, top_p=top_p, seed=2))
    assert not seen[(law == 0).numpy()].any()
    if (law > 0).sum() > 1:
        kept = (law > 0).numpy()
        assert stats.chisquare(seen[kept], law.numpy()[kept] * seen.sum()).pvalue > 0.001
    else:
        assert seen[0] == seen.sum()


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass() -> None:
    law = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.3, 0.5]])
    # two equal logits have exactly one half each on every processor; elsewhere rounding decides at the very boundary
    assert torch.isfinite(nucleus(torch.zeros(1, 2), 0.5)).tolist() == [[True, False]]
    assert torch.isfinite(nucleus(law.log(), 0.49)).tolist() == [[False, True, False], [False, False, True]]
    assert torch.isfinite(nucleus(law.log(), 0.6)).tolist() == [[True, True, False], [False, True, True]]
    assert torch.isfinite(nucleus(law.log(), 0.999)).all()


def test_temperature_zero_takes_the_likeliest_token_whatever_the_noise() -> None:
    assert counts(Sampling(1, temperature=0.0), draws=50)[0] == 50


def test_sliding_windows_see_the_same_tokens_in_a_ragged_batch_as_alone() -> None:
    """Assistant prefixes of unequal length must leave no holes that a window would count as tokens."""
    torch.manual_seed(1)
    config = transformers.MistralConfig(
        vocab_size=49,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=6,
        initializer_range=0.4,
    )
    policy = CausalPolicy(transformers.MistralForCausalLM(config), TextEncoder(word_tokenizer(), max_length=64))
    prompts = [Prompt(text="w1w2w3w4", assistant_prefix="w5" * count) for count in (1, 9, 4)]
    sampling = Sampling(max_new_tokens=12, temperature=1.0)
    together = policy.sample(prompts, sampling, ["a", "b", "c"])
    for prompt, key, (completion,) in zip(prompts, "abc", together, strict=True):
        assert list(completion.token_ids) == drawn_plainly(policy, prompt, sampling, key, 0)
