"""Examples stand before the question as turns; where the context is short, whole examples go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, TrainingData
from methods.prompting import Prompting, drawn

WORDS = ["<eos>", "<unk>", "system", "user", "assistant", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
SINGLE = tuple(
    Demonstration((Message("user", f"w{at}"), Message("assistant", f"w{at + 1} w{at + 2}")), f"d{at}")
    for at in range(8)
)
DATA = TrainingData((*SINGLE[:4], Demonstration(SINGLE[0].messages + SINGLE[1].messages, "long"), *SINGLE[4:]))
QUESTION = Prompt(messages=(Message("user", "w9"),))


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    folder = tmp_path / "base"
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=24, **shape)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def policy_of(method: Prompting, base: BaseModel, folder: Path):
    folder.mkdir(exist_ok=True)
    method.fit(base, DATA, {}, folder, FitContext(0, 4))
    return method.load(base, folder, {})


def read(policy, prompt: Prompt = QUESTION) -> str:
    return policy.encoder.tokenizer.decode(policy.encode(prompt).prompt)


def test_the_examples_and_the_instruction_stand_before_the_question(base: BaseModel, tmp_path: Path) -> None:
    method = Prompting(demonstrations=2, instruction="w18 w19")
    policy = policy_of(method, base, tmp_path / "two")
    first, second = (example.messages for example in drawn(DATA.demonstrations, 2, 0))
    expected = f"system w18 w19 user {first[0].content} assistant {first[1].content} <eos>"
    expected += f" user {second[0].content} assistant {second[1].content} <eos> user w9 assistant"
    assert read(policy) == expected
    turns = (Message("system", "w18 w19"), *first, *second, *QUESTION.messages)
    assert policy.score([QUESTION], ["w1"]) == base.policy().score([Prompt(messages=turns)], ["w1"])


def test_a_system_text_of_the_question_joins_the_instruction(base: BaseModel, tmp_path: Path) -> None:
    policy = policy_of(Prompting(demonstrations=1, instruction="w18"), base, tmp_path / "one")
    asked = Prompt(messages=(Message("system", "w17"), *QUESTION.messages))
    assert read(policy, asked).startswith("system w18 w17 user")
    assert read(policy, asked).endswith("<eos> user w9 assistant")


def test_bare_text_and_zero_examples_are_the_base(base: BaseModel, tmp_path: Path) -> None:
    bare = Prompt(text="w1 w2 w3")
    four = policy_of(Prompting(), base, tmp_path / "four")
    assert four.score([bare], ["w4"]) == base.policy().score([bare], ["w4"])
    none = policy_of(Prompting(demonstrations=0), base, tmp_path / "none")
    assert none.score([QUESTION], ["w4"]) == base.policy().score([QUESTION], ["w4"])


def test_a_short_context_drops_whole_examples_from_the_front_and_flags_it(base: BaseModel, tmp_path: Path) -> None:
    """Three examples of six tokens and a question of three make 21 of 24; 10 new tokens leave room for one."""
    policy = policy_of(Prompting(demonstrations=3), base, tmp_path / "three")
    whole = policy.encode(QUESTION)
    assert len(whole.prompt) == 21
    assert not whole.fitted(24, 3).truncated
    last = drawn(DATA.demonstrations, 3, 0)[-1].messages
    cut = whole.fitted(24, 10)
    assert cut.truncated
    assert cut.prompt == base.encoder.encode(Prompt(messages=(*last, *QUESTION.messages))).prompt
    assert (cut.reserve, cut.source) == (10, QUESTION)
    ((sampled,),) = policy.sample([QUESTION], Sampling(max_new_tokens=10), ["a"])
    assert sampled.truncated


def test_a_question_that_fits_without_examples_only_is_never_cut_itself(base: BaseModel, tmp_path: Path) -> None:
    policy = policy_of(Prompting(demonstrations=3), base, tmp_path / "three")
    cut = policy.encode(QUESTION, "w1").fitted(24, 21)
    assert cut.prompt == base.encoder.encode(QUESTION).prompt
    assert cut.truncated


def test_the_examples_follow_from_the_selection_seed_alone(base: BaseModel, tmp_path: Path) -> None:
    artifacts = []
    for seed, selection in ((0, 0), (1, 0), (0, 1)):
        folder = tmp_path / f"{seed}-{selection}"
        folder.mkdir()
        report = Prompting(selection_seed=selection).fit(base, DATA, {}, folder, FitContext(seed, 4))
        content = json.loads((folder / "prompt.json").read_text())
        assert len(content["examples"]) == 4 == len(set(report.notes["examples"]))
        assert "long" not in report.notes["examples"]
        artifacts.append((folder / "prompt.json").read_bytes())
    assert artifacts[0] == artifacts[1] != artifacts[2]


def test_too_few_demonstrations_are_an_error_that_counts_them(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="demonstrations is 9, and only 8 of the data have one question"):
        Prompting(demonstrations=9).fit(base, DATA, {}, tmp_path, FitContext(0, 4))


def test_an_answer_that_is_not_to_be_trained_is_never_shown_as_an_example() -> None:
    kept = [one for at, one in enumerate(SINGLE) if at % 2]
    barred = [Demonstration((d.messages[0], replace(d.messages[1], trained=False)), d.id) for d in SINGLE[::2]]
    for seed in range(10):
        assert {one.id for one in drawn((*barred, *kept), 3, seed)} <= {one.id for one in kept}
    with pytest.raises(UserError, match="only 4 of the data have one question and one trained answer"):
        drawn((*barred, *kept), 5, 0)
