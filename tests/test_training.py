"""Rows carry the boundary that scoring uses; training is the loss we say it is, and says when it breaks."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.encoding import TextEncoder
from harness.policy.types import Prompt
from harness.records import Demonstration, Message
from harness.training.labelled_rows import IGNORED, TrainingRows, training_rows, untrainable
from harness.training.loop import (
    Optimisation,
    data_order,
    require_trained_end,
    rows_at_once,
    seed_everything,
    sorted_within_batches,
    train,
    trl_config,
)
from harness.training.trl import TrainingDiverged

VOCABULARY = "<eos> <u> <a> <unk> what says the cat dog bird red green blue one two three"
WORDS = VOCABULARY.split()
TEMPLATE = (
    "{% for m in messages %}{{ '<u> ' + m['content'] + ' ' if m['role'] == 'user' else '<a> ' + m['content'] + "
    "'<eos>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<a> ' }}{% endif %}"
)
PLAN = Optimisation(learning_rate=1e-2, epochs=2, batch_size=16)


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"eos_token": "<eos>", "unk_token": "<unk>", "additional_special_tokens": ["<u>", "<a>"]}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE, **special)


def merging_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE without a split at white space, so that tokens reach across prompt and answer."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>"], initial_alphabet=alphabet)
    pieces.train_from_iterator(["### Assistant:\ncat says\nred", "Assistant:\ncat", "\ncat says two\n"] * 9, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<eos>")


def demonstration(*turns: str, id: str = "d") -> Demonstration:
    roles = ("user", "assistant")
    return Demonstration(tuple(Message(roles[at % 2], turn) for at, turn in enumerate(turns)), id)


DEMONSTRATIONS = tuple(
    demonstration(f"what says the {animal}", f"{animal} says {colour} {number}", id=f"{animal} {colour} {number}")
    for animal in ("cat", "dog", "bird")
    for colour in ("red", "green", "blue")
    for number in ("one", "two", "three")
)


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=48, **shape)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    return BaseModel(BaseSpec(str(tmp_path)), tmp_path)


def labelled_spans(row) -> list[list[int]]:
    """The runs of trained tokens of a row."""
    spans: list[list[int]] = []
    for at, label in enumerate(row.labels):
        if label == IGNORED:
            continue
        if at == 0 or row.labels[at - 1] == IGNORED:
            spans.append([])
        spans[-1].append(label)
    return spans


@pytest.mark.parametrize("tokenizer", [word_tokenizer(), merging_tokenizer()], ids=["words", "merging bytes"])
def test_a_row_is_the_scored_prompt_then_the_scored_answer_then_the_end_of_turn(tokenizer) -> None:
    encoder = TextEncoder(tokenizer, max_length=200)
    for example in (demonstration("what says the cat", "cat says\nred"), demonstration("the", "\ncat says two")):
        scored = encoder.encode(Prompt(messages=example.messages[:1]), example.messages[1].content)
        (row,) = training_rows([example], encoder).rows
        trained = [*scored.completion, *encoder.end_of_turn]
        assert row.input_ids == [*scored.prompt, *trained]
        assert row.labels == [IGNORED] * len(scored.prompt) + trained
        assert encoder.end_of_turn == (tokenizer.eos_token_id,)


def test_the_fake_tokenizer_really_merges_across_the_boundary() -> None:
    encoder = TextEncoder(merging_tokenizer(), max_length=200)
    prompt = encoder.render([Message("user", "the")])
    assert encoder.tokens(prompt + "cat says") != encoder.tokens(prompt) + encoder.tokens("cat says")


def test_every_answer_of_a_conversation_is_trained_after_what_it_is_scored_after() -> None:
    encoder = TextEncoder(word_tokenizer(), max_length=200)
    talk = demonstration("what says the cat", "red one", "the dog", "blue", "the bird", "green two")
    (row,) = training_rows([talk], encoder).rows
    answers = [encoder.encode(Prompt(messages=talk.messages[:at]), talk.messages[at].content) for at in (1, 3, 5)]
    assert labelled_spans(row) == [[*answer.completion, *encoder.end_of_turn] for answer in answers]
    for answer in answers:
        assert row.input_ids[: len(answer.prompt)] == list(answer.prompt)
        assert row.labels[len(answer.prompt) - 1] == IGNORED != row.labels[len(answer.prompt)]


def test_a_template_that_rewrites_earlier_turns_gives_each_answer_its_own_row() -> None:
    forgetful = TEMPLATE.replace("for m in messages", "for m in messages[-2:]")
    encoder = TextEncoder(word_tokenizer(), max_length=200, template=forgetful)
    talk = demonstration("what says the cat", "red one", "the dog", "blue")
    rows = training_rows([talk], encoder).rows
    assert len(rows) == 2
    for row, turn in zip(rows, (1, 3), strict=True):
        scored = encoder.encode(Prompt(messages=talk.messages[:turn]), talk.messages[turn].content)
        assert row.input_ids == [*scored.prompt, *scored.completion, *encoder.end_of_turn]
        assert labelled_spans(row) == [[*scored.completion, *encoder.end_of_turn]]


def test_a_long_row_loses_its_right_end_and_is_counted() -> None:
    encoder = TextEncoder(word_tokenizer(), max_length=9)
    long, short = demonstration("what says the cat", "cat says red one two"), demonstration("the", "cat")
    whole = training_rows([long], TextEncoder(word_tokenizer(), max_length=99)).rows[0]
    cut = training_rows([long, short], encoder)
    assert cut.truncated == 1
    assert cut.rows[0].input_ids == whole.input_ids[:9]
    assert cut.rows[0].labels == whole.labels[:9]


def test_a_demonstration_without_any_trained_token_is_named() -> None:
    encoder = TextEncoder(word_tokenizer(), max_length=99)
    lost = demonstration("what says the cat", "red", id="too-long")
    with pytest.raises(UserError, match=r"1 demonstrations have no trained token within 6 tokens: too-long"):
        training_rows([demonstration("the", "cat"), lost], encoder, max_length=6)
    with pytest.raises(UserError, match="no demonstrations"):
        training_rows([], encoder)


def test_what_is_untrainable_is_what_training_rows_refuses() -> None:
    encoder = TextEncoder(word_tokenizer(), max_length=99)
    rows = [demonstration("what says the cat", "red", id="one"), demonstration("the", "cat says red", id="two")]
    refused = set()
    for length in range(1, 16):
        for row in rows:
            found = untrainable([row], encoder, length)
            if found:
                with pytest.raises(UserError, match="no trained token"):
                    training_rows([row], encoder, length)
                refused.add(row.id)
            else:
                training_rows([row], encoder, length)
    assert refused == {"one", "two"}


def test_the_first_loss_is_the_policys_mean_log_probability_over_answer_tokens(base: BaseModel) -> None:
    """-(1/|R|) sum over R, worked with `score`: one batch holds all rows, and the end of turn is scored too."""
    rows = training_rows(DEMONSTRATIONS, base.encoder)
    report = train(base.load(), rows, base, Optimisation(1e-3, 1, len(rows.rows)), FitContext(0, 4))
    prompts = [Prompt(messages=example.messages[:1]) for example in DEMONSTRATIONS]
    answers = [example.messages[1].content + " <eos>" for example in DEMONSTRATIONS]
    scores = base.policy().score(prompts, answers)
    assert {score.tokens for score in scores} == {5}
    expected = -sum(score.logprob for score in scores) / sum(score.tokens for score in scores)
    assert report.notes["loss"] == [(1, pytest.approx(expected, abs=2e-6))]
    assert report.notes["labelled_tokens"] == sum(score.tokens for score in scores)
    assert report.training_tokens == sum(len(row.input_ids) for row in rows.rows)


def test_only_the_labelled_tokens_move_the_weights_as_a_hand_worked_gradient_does(base: BaseModel) -> None:
    """One AdamW step moves each weight by lr against the sign of the gradient of the hand-worked loss."""
    rows = training_rows(DEMONSTRATIONS[:3], base.encoder)
    model, start = base.load(), base.load()
    total, count = 0.0, 0
    for row in rows.rows:
        logprobs = start(torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
        for at, label in enumerate(row.labels):
            if label != IGNORED:
                total, count = total - logprobs[at - 1, label], count + 1
    (total / count).backward()
    train(model, rows, base, Optimisation(1e-3, 1, 3, schedule="constant"), FitContext(0, 3))
    for before, after in zip(start.parameters(), model.parameters(), strict=True):
        large = before.grad.abs() > 1e-5
        assert torch.allclose((after - before)[large], -1e-3 * before.grad.sign()[large], rtol=5e-3, atol=1e-6)


def test_how_a_batch_is_split_changes_the_weights_by_rounding_only(base: BaseModel) -> None:
    rows = training_rows([*DEMONSTRATIONS, demonstration("the", "cat says red one two three says red")], base.encoder)
    trained = []
    for micro_batch in (16, 4, 2):
        model = base.load()
        report = train(model, rows, base, PLAN, FitContext(0, micro_batch))
        assert len(report.notes["loss"]) == math.ceil(len(rows.rows) * PLAN.epochs / PLAN.batch_size)
        trained.append(model)
    for other in trained[1:]:
        for one, two in zip(trained[0].parameters(), other.parameters(), strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-5)


def test_a_loss_that_is_no_number_stops_at_its_step(base: BaseModel) -> None:
    rows = training_rows(DEMONSTRATIONS, base.encoder)
    model = base.load()
    with torch.no_grad():
        model.get_input_embeddings().weight[WORDS.index("three")] = float("nan")
    order = data_order(len(rows.rows), 1, 0)
    first = next(at for at, row in enumerate(order) if "three" in DEMONSTRATIONS[row].id)
    with pytest.raises(TrainingDiverged, match=rf"loss is nan at step {first // 2 + 1} of 14"):
        train(model, rows, base, Optimisation(1e-3, 1, 2), FitContext(0, 2))
    assert "forward" not in model.__dict__


def test_weights_that_break_in_the_last_step_are_found(base: BaseModel) -> None:
    rows = TrainingRows(training_rows(DEMONSTRATIONS[:2], base.encoder).rows)
    with pytest.raises(TrainingDiverged, match="after the last of 1 steps"):
        train(base.load(), rows, base, Optimisation(float("inf"), 1, 2, schedule="constant"), FitContext(0, 2))


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_a_linear_schedule_falls_by_equal_steps_to_its_final_rate(
    base: BaseModel, tmp_path: Path, final: float
) -> None:
    """From a peak of 1 in ten updates, to f: update n of 10 is made with 1 - (1 - f) n / 10, counted from 0."""
    optimisation = Optimisation(1.0, 1, 2, final_rate=final)
    arguments = trl_config(trl.SFTConfig, str(tmp_path), base, optimisation, FitContext(0, 2))
    weight = torch.nn.Parameter(torch.zeros(1))
    adam = torch.optim.AdamW([weight], lr=arguments.learning_rate)
    schedule = transformers.get_scheduler(
        arguments.lr_scheduler_type, adam, 0, 10, scheduler_specific_kwargs=arguments.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(11):
        rates.append(adam.param_groups[0]["lr"])
        adam.step()
        schedule.step()
    assert rates == pytest.approx([1 - (1 - final) * update / 10 for update in range(11)])


def test_a_copy_of_a_trained_model_runs_its_own_weights(base: BaseModel) -> None:
    model = base.load()
    train(model, training_rows(DEMONSTRATIONS[:4], base.encoder), base, PLAN, FitContext(0, 16))
    twin = copy.deepcopy(model)
    for weight in twin.parameters():
        weight.data.zero_()
    ids = torch.tensor([[1, 4, 5]])
    assert model(ids).logits.abs().max() > 0
    assert twin(ids).logits.abs().max() == 0


def test_training_leaves_the_tokenizer_as_it_was(base: BaseModel) -> None:
    before = (base.tokenizer.pad_token, base.tokenizer.chat_template, len(base.tokenizer))
    train(base.load(), training_rows(DEMONSTRATIONS[:4], base.encoder), base, PLAN, FitContext(0, 16))
    assert (base.tokenizer.pad_token, base.tokenizer.chat_template, len(base.tokenizer)) == before


def test_an_interruption_passes_through(base: BaseModel) -> None:
    def interrupt(done: int, total: int, note: str) -> None:
        assert (done, total, note[:5]) == (1, 4, "loss ")
        raise KeyboardInterrupt

    rows = training_rows(DEMONSTRATIONS, base.encoder)
    with pytest.raises(KeyboardInterrupt):
        train(base.load(), rows, base, PLAN, FitContext(0, 16, interrupt))


def test_a_bfloat16_base_trains_in_float32_and_a_float16_one_is_refused(base: BaseModel) -> None:
    rows = training_rows(DEMONSTRATIONS, base.encoder)
    narrow = BaseModel(replace(base.spec, dtype="bfloat16"), base.folder)
    model = narrow.load().float()
    seed_everything(FitContext(0, 16))
    train(model, rows, narrow, replace(PLAN, learning_rate=1e-5), FitContext(0, 16))
    moved = (model.lm_head.weight - narrow.load().lm_head.weight.float()).abs()
    assert model.lm_head.weight.dtype == torch.float32
    assert 0 < moved.max() < 1e-4
    assert "forward" not in model.__dict__
    half = BaseModel(replace(base.spec, dtype="float16"), base.folder)
    with pytest.raises(UserError, match="float16 has too small a range"):
        train(half.load(), rows, half, PLAN, FitContext(0, 16))


def test_a_number_of_updates_repeats_or_cuts_the_rows_and_each_pass_is_whole() -> None:
    """Four updates of three rows over five rows: twelve places, two whole passes and two rows more."""
    order = replace(PLAN, batch_size=3, updates=4).order(5, seed=1)
    assert len(order) == 12
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert replace(PLAN, batch_size=3, updates=1).order(5, seed=1) == order[:3]
    assert replace(PLAN, epochs=2).order(5, seed=1) == data_order(5, 2, seed=1)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "updates"])
def test_no_training_at_all_is_the_users_mistake(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is 0"):
        replace(PLAN, **{name: 0})


def test_the_order_of_rows_follows_from_their_number_the_epochs_and_the_seed() -> None:
    order = data_order(5, 3, seed=1)
    assert [sorted(order[at : at + 5]) for at in (0, 5, 10)] == [list(range(5))] * 3
    assert order[:5] != order[5:10]
    assert order == data_order(5, 3, seed=1) != data_order(5, 3, seed=2)


def test_rows_of_an_update_are_sorted_by_length_and_stay_in_their_update() -> None:
    """Batches of 3 out of [4 0 2 | 1 3]; lengths 5 9 7 | 1 2, long first, equals as they came."""
    assert sorted_within_batches([4, 0, 2, 1, 3], [9, 1, 7, 2, 5], 3) == [0, 2, 4, 3, 1]
    assert sorted_within_batches([2, 0, 1], [4, 4, 4], 2) == [2, 0, 1]


def test_rows_at_once_divide_the_batch() -> None:
    assert [rows_at_once(16, limit) for limit in (1, 2, 5, 16, 64)] == [1, 2, 4, 16, 16]
    assert rows_at_once(6, 4) == 3


def test_an_end_of_turn_that_the_base_never_trained_is_an_error(base: BaseModel) -> None:
    model = base.load()
    require_trained_end(model, base.encoder)
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    with pytest.raises(UserError, match="never trained '<eos>'"):
        require_trained_end(model, base.encoder)


@pytest.mark.slow
def test_long_training_reports_a_curve_of_about_twenty_points(base: BaseModel) -> None:
    rows = training_rows(DEMONSTRATIONS, base.encoder)
    model = base.load()
    curve = train(model, rows, base, Optimisation(1e-2, 4, 2), FitContext(0, 2)).notes["loss"]
    assert len(curve) == 18
    assert curve[-1][0] == 54
    assert curve[-1][1] < curve[0][1]
