"""Three models decode as one: the two identities, the loop without caches, and vocabularies that must agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TrainingData
from methods.lora import Lora
from methods.proxy_tuning import ProxyPolicy, ProxyTuning, check_bases, shared_tokens
from methods.sft import Sft

WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
PROMPTS = [
    Prompt(messages=(Message("user", "w1 w2 w3"),)),
    Prompt(messages=(Message("user", "w4"),), assistant_prefix="w5 w6"),
    Prompt(text="w7 w8 w9 w10 w11"),
    Prompt(messages=(Message("user", "w1"), Message("assistant", "w2"), Message("user", "w3"))),
]
ANSWERS = ["w1 w2", "w3", "w4 w5 w6", "w7"]
KEYS = ["a", "b", "c", "d"]
GREEDY = Sampling(max_new_tokens=8)


def write_model(folder: Path, seed: int, hidden: int = 16, width: int = len(WORDS), context: int = 48) -> Path:
    torch.manual_seed(seed)
    shape = {
        "hidden_size": hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "eos_token_id": 0,
    }
    config = transformers.LlamaConfig(vocab_size=width, max_position_embeddings=context, initializer_range=0.3, **shape)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, words: list[str] = WORDS, end: str = "<eos>") -> None:
    table = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=table, eos_token=end, unk_token="<unk>")
    fast.chat_template = TEMPLATE.replace("<eos>", end)
    fast.save_pretrained(folder)


Make = Callable[..., CausalPolicy]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A policy of a new random model."""

    def policy(seed: int, **shape: int) -> CausalPolicy:
        folder = write_model(tmp_path / f"{seed}-{shape}", seed, **shape)
        write_tokenizer(folder)
        return BaseModel(BaseSpec(str(folder)), folder).policy()

    return policy


def test_an_expert_that_is_the_anti_expert_gives_the_base_bit_for_bit(make: Make) -> None:
    base, small = make(0), make(1, hidden=8)
    proxy = ProxyPolicy(base, small, small, alpha=1.7)
    assert proxy.score(PROMPTS, ANSWERS) == base.score(PROMPTS, ANSWERS)
    hot = Sampling(max_new_tokens=6, temperature=1.0, samples=3)
    assert proxy.sample(PROMPTS, hot, KEYS) == base.sample(PROMPTS, hot, KEYS)


def test_a_base_that_is_the_anti_expert_gives_the_expert(make: Make) -> None:
    base, expert = make(0), make(1)
    proxy = ProxyPolicy(base, expert, base, alpha=1.0)
    for one, other in zip(proxy.score(PROMPTS, ANSWERS), expert.score(PROMPTS, ANSWERS), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)
    assert proxy.sample(PROMPTS, GREEDY, KEYS) == expert.sample(PROMPTS, GREEDY, KEYS)


def test_alpha_zero_is_the_base(make: Make) -> None:
    base = make(0)
    proxy = ProxyPolicy(base, make(1, hidden=8), make(2, hidden=8), alpha=0.0)
    assert proxy.score(PROMPTS, ANSWERS) == base.score(PROMPTS, ANSWERS)


def without_cache(proxy: ProxyPolicy, prompt: Prompt, tokens: int, alpha: float) -> list[int]:
    """The paper's loop, reading everything anew for every token."""
    encoded = proxy.encode(prompt)
    drawn: list[int] = []
    while len(drawn) < tokens:
        ids = torch.tensor([[*encoded.prompt, *encoded.prefix, *drawn]])
        with torch.no_grad():
            base, expert, anti_expert = (part.model(ids).logits[0, -1] for part in proxy.parts)
        token = int((base + alpha * (expert - anti_expert)).argmax())
        if token == 0:
            break
        drawn.append(token)
    return drawn


def test_greedy_samples_equal_a_loop_without_caches(make: Make) -> None:
    alpha = 0.8
    proxy = ProxyPolicy(make(0), make(1, hidden=8), make(2, hidden=8), alpha)
    drawn = proxy.sample(PROMPTS, GREEDY, KEYS)
    expected = [without_cache(proxy, prompt, 8, alpha) for prompt in PROMPTS]
    assert [list(completions[0].token_ids) for completions in drawn] == expected
    assert expected != [list(c[0].token_ids) for c in proxy.parts[0].sample(PROMPTS, GREEDY, KEYS)]


def test_a_ragged_batch_equals_its_rows_one_by_one(make: Make) -> None:
    proxy = ProxyPolicy(make(0), make(1, hidden=8), make(2, hidden=8), alpha=1.0)
    hot = Sampling(max_new_tokens=6, temperature=1.0, samples=2)
    alone = [proxy.sample([p], hot, [k])[0] for p, k in zip(PROMPTS, KEYS, strict=True)]
    assert proxy.sample(PROMPTS, hot, KEYS) == alone
    scores = [proxy.score([p], [a])[0] for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    for one, other in zip(proxy.score(PROMPTS, ANSWERS), scores, strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)


def test_wider_padding_of_one_model_is_cut_away(make: Make) -> None:
    base, wide = make(0), make(1, width=len(WORDS) + 8)
    assert wide.vocabulary > base.vocabulary == ProxyPolicy(base, wide, wide, 1.0).vocabulary
    assert ProxyPolicy(base, wide, wide, 1.0).score(PROMPTS, ANSWERS) == base.score(PROMPTS, ANSWERS)
    widest = ProxyPolicy(wide, base, make(2), 1.0)
    assert widest.vocabulary == len(WORDS)
    drawn = widest.sample(PROMPTS, Sampling(max_new_tokens=8, temperature=2.0, samples=8), KEYS)
    assert max(token for completions in drawn for c in completions for token in c.token_ids) < len(WORDS)


def test_the_shortest_context_cuts_and_flags_for_all(make: Make) -> None:
    base, short = make(0), make(1, context=8)
    long = Prompt(text=" ".join(["w1", "w2", "w3"] * 4))
    (score,) = ProxyPolicy(base, short, short, 1.0).score([long], ["w4 w5"])
    assert score.truncated
    assert not base.score([long], ["w4 w5"])[0].truncated
    assert base.encoder.max_length == 48


class Shouting(CausalPolicy):
    """An expert with a template of its own."""

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        return self.encoder.encode(Prompt(text="w19 w19 " + self.encoder.prompt_text(prompt)), completion)


@pytest.mark.parametrize("by", ["template", "encode"])
def test_a_part_with_a_template_of_its_own_reads_through_it(make: Make, by: str) -> None:
    base, small = make(0), make(1)
    if by == "encode":
        expert: CausalPolicy = Shouting(small.model, small.encoder)
    else:
        encoder = TextEncoder(small.encoder.tokenizer, max_length=48, template="{{ 'w19 w19 ' }}" + TEMPLATE)
        expert = CausalPolicy(small.model, encoder)
    questions, answers = PROMPTS[:1], ["w1 w2"]
    (alone,) = expert.score(questions, answers)
    (steered,) = ProxyPolicy(base, expert, base, 1.0).score(questions, answers)
    assert steered.token_logprobs == pytest.approx(alone.token_logprobs, abs=1e-5)
    assert abs(alone.logprob - small.score(questions, answers)[0].logprob) > 1e-3


def bases(folder: Path, small_words: list[str] = WORDS) -> BaseModel:
    for name, words in (("large", WORDS), ("small", small_words)):
        write_tokenizer(write_model(folder / name, len(name)), words)
    small = BaseModel(BaseSpec("small"), folder / "small")
    return BaseModel(BaseSpec("large"), folder / "large", small=small)


def test_bases_whose_tokens_differ_are_refused_with_the_first_tokens(tmp_path: Path) -> None:
    swapped = [*WORDS[:6], WORDS[7], WORDS[6], *WORDS[8:]]
    with pytest.raises(UserError, match=r"differ in 2 tokens.*'w2' is 6 and 7, 'w3' is 7 and 6") as refused:
        check_bases(bases(tmp_path, swapped))
    assert refused.value.where == "large and small"


@pytest.mark.parametrize("larger", ["large", "small"])
def test_a_vocabulary_that_continues_the_other_is_cut_to_what_both_have(tmp_path: Path, larger: str) -> None:
    """The longer one has two tokens more, and a model of that width: with alpha 0 the shared tokens' logits decide."""
    longer = [*WORDS, "w20", "w21"]
    words = {"large": WORDS, "small": WORDS, larger: longer}
    for name in words:
        folder = write_model(tmp_path / name, len(name), width=len(words[name]))
        write_tokenizer(folder, words[name])
    small = BaseModel(BaseSpec("small"), tmp_path / "small")
    base = BaseModel(BaseSpec("large"), tmp_path / "large", small=small)
    assert check_bases(base) is small
    assert shared_tokens(base) == len(WORDS)
    policy = ProxyTuning().load(base, tmp_path, {"expert": Input(tmp_path, small, small.policy)})
    assert policy.vocabulary == len(WORDS)  # type: ignore[attr-defined]
    drawn = policy.sample(PROMPTS, Sampling(max_new_tokens=8, temperature=3.0, samples=8), KEYS)
    assert max(token for completions in drawn for c in completions for token in c.token_ids) < len(WORDS)
    # expert and anti-expert agree, so it is the base, among the shared tokens alone
    for prompt, answer, score in zip(PROMPTS, ANSWERS, policy.score(PROMPTS, ANSWERS), strict=True):
        encoded = base.encoder.encode(prompt, answer)
        ids = [*encoded.prompt, *encoded.prefix, *encoded.completion]
        logits = base.policy().model(torch.tensor([ids])).logits[0, :, : len(WORDS)].log_softmax(-1)
        first = len(ids) - len(encoded.completion)
        expected = [float(logits[at - 1, ids[at]]) for at in range(first, len(ids))]
        assert score.token_logprobs == pytest.approx(expected, abs=1e-5)
    if larger == "large":
        with pytest.raises(UserError, match="'w20' is not among the 24 tokens"):
            policy.score(PROMPTS[:1], ["w20"])
        # a prompt may hold it: every model reads what its own tokenizer makes of the words
        policy.sample([Prompt(text="w20 w1")], GREEDY, ["a"])


def test_a_base_whose_turns_end_with_a_token_of_its_own_is_refused(tmp_path: Path) -> None:
    base = bases(tmp_path)
    write_tokenizer(base.folder, [*WORDS, "<end>"], end="<end>")
    # it names another end, which both have
    (base.folder / "generation_config.json").unlink()
    with pytest.raises(UserError, match="share 24 tokens, and none of them ends a turn"):
        check_bases(base)


def test_emulated_fine_tuning_by_log_probabilities_is_proxy_tuning(make: Make) -> None:
    """log p = log p_base + (log p_expert - log p_anti) - log Z (2310.12962), position by position, without caches."""
    base, expert, anti = make(0), make(1), make(2)
    scores = ProxyPolicy(base, expert, anti, 1.0).score(PROMPTS, ANSWERS)
    for prompt, answer, score in zip(PROMPTS, ANSWERS, scores, strict=True):
        encoded = base.encoder.encode(prompt, answer)
        ids = [*encoded.prompt, *encoded.prefix, *encoded.completion]
        logs = [part.model(torch.tensor([ids])).logits[0].double().log_softmax(-1) for part in (base, expert, anti)]
        combined = (logs[0] + logs[1] - logs[2]).log_softmax(-1)
        first = len(ids) - len(encoded.completion)
        expected = [float(combined[at - 1, ids[at]]) for at in range(first, len(ids))]
        assert score.token_logprobs == pytest.approx(expected, abs=1e-5)


def test_a_missing_small_base_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    base = bases(tmp_path)
    base.small = None
    with pytest.raises(UserError, match="needs a small base model"):
        ProxyTuning().fit(base, TrainingData(), {}, tmp_path, FitContext(0, 4))


def test_its_expert_is_an_artifact_of_the_small_base(tmp_path: Path) -> None:
    expert = Lora(rank=4)
    method = ProxyTuning(alpha=0.5, expert=expert)
    assert method.requires() == {"expert": ArtifactSpec(expert, on="small_base")}
    base = bases(tmp_path)
    assert method.fit(base, TrainingData(), {}, tmp_path / "nothing", FitContext(0, 4)) == FitReport()
    assert base.small is not None
    inputs = {"expert": Input(tmp_path, base.small, base.small.policy)}
    policy = method.load(base, tmp_path, inputs)
    assert isinstance(policy, ProxyPolicy)
    assert policy.parts == (base.policy(), base.small.policy(), base.small.policy())
    assert (policy.alpha, policy.device) == (0.5, torch.device("cpu"))


class OnlyAnswers(Policy):
    """A policy without logits."""

    def sample(self, prompts, sampling, keys):  # type: ignore[no-untyped-def]
        return []


def test_an_expert_without_logits_is_refused(tmp_path: Path) -> None:
    base = bases(tmp_path)
    with pytest.raises(UserError, match="without logits"):
        ProxyTuning().load(base, tmp_path, {"expert": Input(tmp_path, base, OnlyAnswers)})


def test_the_default_expert_is_fine_tuning() -> None:
    assert ProxyTuning().expert == Sft()
    ProxyTuning().check()
