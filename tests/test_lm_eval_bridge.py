"""The bridge against lm-eval's own HFLM on the same model, and what it hands to policies and to benchmarks."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from harness.errors import UserError
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message
from harness.scoring.lm_eval import bridge
from harness.scoring.lm_eval.samples import MAIN_METRICS

torch.set_num_threads(1)
CORPUS = ["the cat sat on the mat. the cat's mat sat there; that other theme: theatre, the rest."] * 4
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
CLOSED = TURNS + "{% if add_generation_prompt %}<assistant>{% endif %}"
BROKEN = TURNS.replace("<{{ m.role }}>", "<{{ m.role }}>\n") + "{% if add_generation_prompt %}<assistant>\n{% endif %}"


def word_tokenizer(template: str) -> Any:
    words = ["the", "cat", "sat", "on", "mat", "other", "there", "rest", ".", "?", ":", " ", "\n", "Question", "Answer"]
    special = ["<pad>", "<eos>", "<unk>", "<user>", "<assistant>", "<system>", "<end>"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, *words])}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s|\w+|\S"), behavior="isolated")
    core.decoder = decoders.Fuse()
    return finished(core, template, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def merging_tokenizer(template: str, *, bos: bool = False) -> Any:
    """Byte-level BPE whose merges run across words; with `bos`, every encoded text opens with <s>.

    Its merges cross boundaries but swallow no answer, which HFLM scores 0 or fails on (test_encoding.py).
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "<eos>", "<user>", "<assistant>", "<system>", "<end>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return finished(core, template, eos_token="<eos>", bos_token="<s>" if bos else None)


def finished(core: Tokenizer, template: str, **special: Any) -> Any:
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        additional_special_tokens=["<user>", "<assistant>", "<system>", "<end>"],
        clean_up_tokenization_spaces=False,
        **special,
    )
    tokenizer.chat_template = template
    return tokenizer


TOKENIZERS = {
    "words": lambda: word_tokenizer(CLOSED),
    "merges": lambda: merging_tokenizer(CLOSED),
    "merges with BOS": lambda: merging_tokenizer(CLOSED, bos=True),
    "merges with BOS in the template too": lambda: merging_tokenizer("{{ bos_token }}" + CLOSED, bos=True),
}


def pair(tokenizer: Any, max_length: int = 96) -> tuple[CausalPolicy, Any]:
    """One tiny model as our policy and as lm-eval's HFLM."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer) + 3,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ends = tokenizer.convert_tokens_to_ids(["<eos>", "<end>"])
    model.generation_config.eos_token_id = ends
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=max_length)
    return CausalPolicy(model, TextEncoder(tokenizer, max_length=max_length)), theirs


@pytest.fixture(scope="module", params=TOKENIZERS)
def both(request: pytest.FixtureRequest) -> tuple[CausalPolicy, Any]:
    return pair(TOKENIZERS[request.param]())


ROWS = [
    {"question": "the cat sat", "stem": "the mat", "choices": ["on", "there", "the rest", "sat on it"], "answer": 0},
    {"question": "on the mat sat", "stem": "the cat", "choices": ["sat", "rest", "other", "there"], "answer": 1},
    {"question": "the other cat", "stem": "that", "choices": ["mat", "the cat", "on", "rest ."], "answer": 3},
]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}?\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "num_fewshot": 0,
    "metric_list": [{"metric": "acc", "aggregation": "mean"}],
}
WRITTEN = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "stem",
    "num_fewshot": 0,
    "generation_kwargs": {"until": ["mat", " the"], "max_gen_toks": 12},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
}


def yaml_task(folder: Path, name: str, config: dict[str, Any]) -> str:
    """A task file with its rows beside it."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    where = {"data_files": {"test": str(data), "train": str(data)}, "cache_dir": str(folder / "cache")}
    whole = {"task": name, "dataset_path": "json", "dataset_kwargs": where, "test_split": "test", **config}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole))
    return str(folder / f"{name}.yaml")


def responses(model: Any, tasks: dict[str, Any], **settings: Any) -> list[tuple[Any, Any]]:
    """(arguments, responses) of every request, as lm-eval itself logs them."""
    result = evaluate(lm=model, task_dict={"tasks": tasks}, bootstrap_iters=0, **settings)
    return [
        (arguments, given[0])
        for name in tasks
        for sample in result["samples"][name]
        for arguments, given in zip(sample["arguments"], sample["resps"], strict=True)
    ]


@pytest.mark.parametrize("config", [{}, {"gen_prefix": "stem"}, {"gen_prefix": "the answer:"}], ids=str)
@pytest.mark.parametrize("chat", [False, True])
def test_choices_get_the_log_likelihoods_that_hflm_gives_them(
    both: tuple[CausalPolicy, Any], tmp_path: Path, chat: bool, config: dict[str, Any]
) -> None:
    policy, theirs = both
    tasks = bridge.load_tasks([yaml_task(tmp_path, "choice", {**CHOICE, **config})])
    ours = responses(bridge.BridgeLM(policy), tasks, apply_chat_template=chat)
    expected = responses(theirs, tasks, apply_chat_template=chat)
    assert len(ours) == 12
    for (asked, (found, greedy)), (same, (wanted, was_greedy)) in zip(ours, expected, strict=True):
        assert asked == same
        assert found == pytest.approx(wanted, abs=1e-5)
        assert greedy == was_greedy


@pytest.mark.parametrize("tokenizer", [name for name in TOKENIZERS if "merges" in name])
def test_the_questions_here_have_merges_across_the_boundary(tokenizer: str) -> None:
    encode = TOKENIZERS[tokenizer]().encode
    context = "Question: the cat sat?\nAnswer: the mat"
    assert encode(f"{context} on")[: len(encode(context))] != encode(context)


@pytest.mark.parametrize("chat", [False, True])
def test_greedy_texts_equal_hflms(both: tuple[CausalPolicy, Any], tmp_path: Path, chat: bool) -> None:
    policy, theirs = both
    tasks = bridge.load_tasks([yaml_task(tmp_path, "written", WRITTEN)])
    ours = responses(bridge.BridgeLM(policy), tasks, apply_chat_template=chat)
    assert ours == responses(theirs, tasks, apply_chat_template=chat)
    assert any(text for _, text in ours)


def test_rolling_log_likelihoods_equal_hflms(both: tuple[CausalPolicy, Any]) -> None:
    """Shorter than one window, just as long, and several windows.

    The long text does not repeat itself: HFLM takes windows that differ only in where they are cut for equal.
    """
    policy, theirs = both
    words = random.Random(0).choices(["the", "cat", "sat", "on", "mat", "other", "there", "rest", "."], k=300)
    texts = ["the cat", "the cat sat on the mat. " * 5, " ".join(words)]
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    ours = bridge.BridgeLM(policy).loglikelihood_rolling(requests)
    assert ours == pytest.approx(theirs.loglikelihood_rolling(requests, disable_tqdm=True), abs=1e-4, rel=1e-6)


def test_contexts_that_are_empty_blank_or_too_long_score_as_in_hflm(both: tuple[CausalPolicy, Any]) -> None:
    policy, theirs = both
    start = policy.encoder.tokenizer.decode([policy.encoder.prefix_token])
    asked = [
        ("", "the cat"),
        ("", " the cat"),
        ("", f"{start}the cat"),
        ("the cat ", "sat"),
        ("the cat \n", " sat"),
        ("the other cat sat on the mat. " * 30, " there"),
    ]
    requests = [Instance("loglikelihood", {}, arguments, 0, ("t", at, 1)) for at, arguments in enumerate(asked)]
    model = bridge.BridgeLM(policy)
    ours, expected = model.loglikelihood(requests), theirs.loglikelihood(requests, disable_tqdm=True)
    assert [found for found, _ in ours] == pytest.approx([wanted for wanted, _ in expected], abs=1e-5)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]
    assert model.truncated == {("t", 5)}


def test_white_space_after_a_generation_prompt_is_scored_with_the_prompt_unlike_hflm(tmp_path: Path) -> None:
    """The wanted difference: HFLM's score is ours plus that of the line break, which the template writes."""
    policy, theirs = pair(word_tokenizer(BROKEN))
    tasks = bridge.load_tasks([yaml_task(tmp_path, "choice", CHOICE)])
    ours = responses(bridge.BridgeLM(policy), tasks, apply_chat_template=True)
    expected = responses(theirs, tasks, apply_chat_template=True)
    for ((context, _), (found, _)), (_, (wanted, _)) in zip(ours, expected, strict=True):
        assert context.endswith("<assistant>\n")
        (line_break,) = policy.score([Prompt(text=context.removesuffix("\n"))], ["\n"])
        assert found + line_break.logprob == pytest.approx(wanted, abs=1e-5)
        assert line_break.logprob < -0.01


def test_fewshot_contexts_equal_hflms_and_repeat(both: tuple[CausalPolicy, Any], tmp_path: Path) -> None:
    policy, theirs = both
    config = {**CHOICE, "num_fewshot": 1, "fewshot_split": "train"}
    tasks = bridge.load_tasks([yaml_task(tmp_path, "choice", config)])
    for chat in (False, True):
        runs = [list(bridge.run_tasks(policy, tasks, num_fewshot=2, chat_template=chat)) for _ in range(2)]
        assert runs[0] == runs[1]
        tasks["choice"].set_config("num_fewshot", 2)
        tasks["choice"].set_fewshot_seed(1234)
        expected = responses(theirs, tasks, apply_chat_template=chat, fewshot_as_multiturn=True)
        tasks["choice"].set_config("num_fewshot", 1)
        assert [sample.prompt for sample in runs[0]] == [asked[0] for asked, _ in expected[::4]]


class Recorder(CausalPolicy):
    """Notes what it is asked."""

    def score(self, prompts: Any, completions: Any) -> Any:
        self.scored = list(zip(prompts, completions, strict=True))
        return super().score(prompts, completions)

    def sample(self, prompts: Any, sampling: Any, keys: Any) -> Any:
        self.asked = getattr(self, "asked", [])
        self.asked.append((list(prompts), sampling, list(keys)))
        return super().sample(prompts, sampling, keys)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    policy, _ = pair(word_tokenizer(CLOSED))
    return Recorder(policy.model, policy.encoder)


def test_a_policy_is_asked_with_messages_and_the_beginning_of_the_answer(recorder: Recorder) -> None:
    tasks = bridge.task_of("t", ROWS, **{**CHOICE, "doc_to_text": "question", "gen_prefix": "stem"})
    samples = list(bridge.run_tasks(recorder, tasks, chat_template=True, system_instruction="the rest"))
    first = recorder.scored[0]
    conversation = (Message("system", "the rest"), Message("user", "the cat sat"))
    assert first == (Prompt(messages=conversation, assistant_prefix="the mat"), " on")
    assert samples[0].prompt == "<system>the rest<end><user>the cat sat<end><assistant>the mat"
    list(bridge.run_tasks(recorder, tasks))
    assert recorder.scored[0] == (Prompt(text="the cat sat the mat"), " on")


def test_a_template_that_refuses_system_messages_gets_theirs_with_the_question() -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CLOSED
    policy, _ = pair(word_tokenizer(refusing))
    model = bridge.BridgeLM(policy)
    chat = [{"role": "system", "content": "the rest"}, {"role": "user", "content": "sat?"}]
    assert model.apply_chat_template(chat) == "<user>the rest\n\nsat?<end><assistant>"


def test_repeats_are_different_samples_of_one_request_with_the_callers_seed(recorder: Recorder) -> None:
    config = {
        **WRITTEN,
        "repeats": 3,
        "generation_kwargs": {"until": [], "max_gen_toks": 9, "do_sample": True, "temperature": 2.0},
        "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": 3}, {"function": "take_first"}]}],
    }
    recorder.asked = []
    samples = list(bridge.run_tasks(recorder, bridge.task_of("t", ROWS, **config), seed=7))
    ((prompts, sampling, keys),) = recorder.asked
    assert sampling == Sampling(9, temperature=2.0, samples=3, seed=7)
    assert keys == ["t/0/0", "t/1/0", "t/2/0"]
    expected = CausalPolicy.sample(recorder, prompts, sampling, keys)
    for sample, completions in zip(samples, expected, strict=True):
        assert sample.completions == tuple(completion.text for completion in completions)
        assert len(set(sample.completions)) > 1
    other = list(bridge.run_tasks(recorder, bridge.task_of("t", ROWS, **config), seed=8))
    assert [sample.completions for sample in other] != [sample.completions for sample in samples]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"until": "x", "max_gen_toks": 5}, Sampling(5, stop=("x",))),
        ({}, Sampling(256)),
        ({"max_new_tokens": 7, "do_sample": False, "temperature": 0.7, "top_k": 9}, Sampling(7)),
        ({"temperature": 0.7, "top_p": 0.9, "until": ["", "b"]}, Sampling(256, 0.7, 0.9, ("b",))),
        ({"do_sample": True, "top_k": 0, "num_beams": 1}, Sampling(256, 1.0)),
    ],
)
def test_generation_settings_mean_what_they_mean_in_lm_eval(
    recorder: Recorder, asked: dict[str, Any], expected: Sampling
) -> None:
    assert bridge.BridgeLM(recorder)._sampling(asked, samples=1) == expected


def test_settings_that_sampling_does_not_have_are_refused_and_length_can_be_capped(recorder: Recorder) -> None:
    with pytest.raises(UserError, match="top_k"):
        bridge.BridgeLM(recorder)._sampling({"do_sample": True, "top_k": 40}, samples=1)
    # beams and penalties change even what is likeliest
    with pytest.raises(UserError, match="num_beams, repetition_penalty"):
        bridge.BridgeLM(recorder)._sampling({"do_sample": False, "num_beams": 5, "repetition_penalty": 1.2}, samples=1)
    assert bridge.BridgeLM(recorder, max_new_tokens=4)._sampling({}, 1).max_new_tokens == 4


@pytest.mark.parametrize("gold", [7, -1, "no choice", [0, 9]])
def test_a_right_answer_that_is_not_a_choice_is_named_before_anything_is_asked(recorder: Recorder, gold: Any) -> None:
    tasks = bridge.task_of(
        "t", ROWS, **{**CHOICE, "doc_to_target": lambda document: gold if document == ROWS[1] else 0}
    )
    with pytest.raises(UserError, match="is not among its") as caught:
        list(bridge.run_tasks(recorder, tasks))
    assert caught.value.where == "t, document 1"


def test_warnings_of_lm_eval_reach_the_user_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with bridge._quiet():
            logging.getLogger("lm_eval.api.task").warning("a label is odd")
            logging.getLogger("lm_eval").warning("microworld: Custom kwargs can be passed to `--metadata`")
            logging.getLogger("lm_eval.api.task").info("and this is chatter")
    assert capsys.readouterr().err.splitlines() == ["lm-eval: a label is odd"]


def test_samples_carry_the_choice_the_answer_and_the_numbers(recorder: Recorder) -> None:
    samples = list(bridge.run_tasks(recorder, bridge.task_of("t", ROWS, **CHOICE), limit=2))
    assert [(sample.task, sample.doc_id) for sample in samples] == [("t", 0), ("t", 1)]
    for row, sample in zip(ROWS, samples, strict=False):
        scores = recorder.score([Prompt(text=sample.prompt)] * 4, [" " + choice for choice in row["choices"]])
        best = max(range(4), key=lambda at: scores[at].logprob)
        assert sample.completions == (row["choices"][best],)
        assert sample.reference == row["choices"][row["answer"]]
        assert sample.metrics == {"acc": float(best == row["answer"])}
        assert (sample.main, sample.score) == ("acc", sample.metrics["acc"])
        assert sample.document["question"] == row["question"]


def test_perplexities_become_terms_whose_weighted_mean_is_lm_evals_number(recorder: Recorder) -> None:
    """exp(sum of -log p / sum of words) is the corpus perplexity, so each text carries its own term."""
    names = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    config = {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "question",
        "metric_list": [{"metric": name} for name in names],
    }
    tasks = bridge.task_of("t", ROWS, **config)
    result = evaluate(lm=bridge.BridgeLM(recorder), task_dict={"tasks": tasks}, bootstrap_iters=0)["results"]["t"]
    samples = list(bridge.run_tasks(recorder, tasks))

    def mean(name: str) -> float:
        total = sum(sample.weights[name] for sample in samples)
        return sum(sample.metrics[name] * sample.weights[name] for sample in samples) / total

    for name in names[:2]:
        assert torch.tensor(mean(f"log_{name}")).exp().item() == pytest.approx(result[f"{name},none"], rel=1e-5)
    assert mean("bits_per_byte") == pytest.approx(result["bits_per_byte,none"], rel=1e-5)
    assert all(sample.score == -sample.metrics[sample.main] for sample in samples)


def test_a_rolling_score_of_a_prompted_policy_is_refused(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "gives", frozenset({"score", "sample"}))
    with pytest.raises(UserError, match="acts on conversations only"):
        bridge.BridgeLM(recorder).loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("text",), 0)])


def test_filters_name_their_metrics_and_the_first_one_stands_for_the_task(recorder: Recorder) -> None:
    filters = [
        {"name": "strict", "filter": [{"function": "take_first"}]},
        {"name": "loose", "filter": [{"function": "lowercase"}, {"function": "take_first"}]},
    ]
    tasks = bridge.task_of("t", ROWS, **WRITTEN, filter_list=filters)
    for sample in bridge.run_tasks(recorder, tasks):
        assert set(sample.metrics) == {"exact_match,strict", "exact_match,loose"}
        assert sample.main == "exact_match,strict"


def test_a_list_of_truths_is_a_share_that_counts_as_many_as_it_has(recorder: Recorder) -> None:
    config = {
        **WRITTEN,
        "process_results": lambda doc, results: {"first": False, "each": [True, False, True, True]},
        "metric_list": [{"metric": "first"}, {"metric": "each", "aggregation": lambda values: 0.0}],
    }
    config["metric_list"] = [{**one, "aggregation": "mean", "higher_is_better": True} for one in config["metric_list"]]
    task = bridge.task_of("t", ROWS[:1], **config)
    task["t"]._aggregation_list["each"] = lambda values: 0.0
    (sample,) = bridge.run_tasks(recorder, task)
    assert sample.metrics == {"first": 0.0, "each": 0.75}
    assert sample.weights == {"each": 4.0}
    assert sample.main == "first" not in MAIN_METRICS


def test_a_task_without_any_number_per_document_is_refused(recorder: Recorder) -> None:
    config = {**CHOICE, "metric_list": [{"metric": "mcc"}]}
    with pytest.raises(UserError, match="no metric with a value per document, only mcc"):
        list(bridge.run_tasks(recorder, bridge.task_of("t", ROWS, **config)))


class Sampler(Policy):
    """Answers, but cannot say how likely an answer is."""

    gives = frozenset({"sample"})

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def sample(self, prompts: Any, sampling: Any, keys: Any) -> list[tuple[Completion, ...]]:
        return [(Completion("the mat", (1,), "stop"),) for _ in prompts]


def test_a_policy_that_only_samples_answers_written_tasks_and_is_refused_for_choices(recorder: Recorder) -> None:
    sampler = Sampler(recorder.encoder)
    samples = list(bridge.run_tasks(sampler, bridge.task_of("t", ROWS, **WRITTEN)))
    assert [sample.score for sample in samples] == [1.0, 0.0, 0.0]
    with pytest.raises(UserError, match="t compares log-probabilities, and Sampler only samples"):
        list(bridge.run_tasks(sampler, bridge.task_of("t", ROWS, **CHOICE)))


def test_tasks_that_run_generated_code_are_refused(recorder: Recorder) -> None:
    with pytest.raises(UserError, match="runs generated code"):
        list(bridge.run_tasks(recorder, bridge.task_of("t", ROWS, **WRITTEN, unsafe_code=True)))


def test_local_tasks_load_by_path_and_by_name_without_reading_lm_evals_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = yaml_task(tmp_path, "mine", CHOICE)
    monkeypatch.setattr(bridge, "_manager", only_local(bridge._manager))
    assert list(bridge.load_tasks([path])) == ["mine"]
    assert list(bridge.load_tasks(["mine"], include_path=str(tmp_path))) == ["mine"]
    with pytest.raises(UserError, match="the task file does not exist"):
        bridge.load_tasks([str(tmp_path / "missing.yaml")])
    broken = yaml_task(tmp_path, "broken", {**CHOICE, "dataset_kwargs": {"data_files": {"test": "/no/such.jsonl"}}})
    with pytest.raises(UserError, match=r"broken.*its data cannot be loaded"):
        bridge.load_tasks([broken])


def only_local(manager: Any) -> Any:
    def build(include_path: str, *, everything: bool) -> Any:
        assert not everything, "lm-eval's own tasks were read"
        return manager(include_path, everything=False)

    return build


def test_an_unknown_name_names_its_neighbours_and_unreachable_data_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml_task(tmp_path, "arc_simple", CHOICE)
    hub = {**CHOICE, "dataset_path": "somebody/arc", "dataset_kwargs": {}}
    yaml_task(tmp_path, "arc_easy", hub)
    known = bridge._manager(str(tmp_path), everything=False)
    monkeypatch.setattr(bridge, "_manager", lambda include_path, *, everything: known)
    with pytest.raises(UserError, match="lm-eval has no task 'arc_esy'") as unknown:
        bridge.load_tasks(["arc_esy"])
    assert unknown.value.fix.startswith("Nearest: arc_easy")
    with pytest.raises(UserError, match="its data cannot be loaded") as offline:
        bridge.load_tasks(["arc_easy"])
    assert offline.value.where == "arc_easy"
    assert "HF_HUB_OFFLINE" in offline.value.fix


@pytest.mark.slow
def test_lm_evals_own_tasks_are_known_by_name_and_an_unknown_name_does_not_list_them_all() -> None:
    with pytest.raises(UserError, match="lm-eval has no task 'arc_esy'") as unknown:
        bridge.load_tasks(["arc_esy"])
    assert "arc_easy" in unknown.value.fix
    assert len(unknown.value.fix) < 300, "14,000 names are no help"
    with pytest.raises(UserError, match="its data cannot be loaded"):
        bridge.load_tasks(["arc_easy"])
