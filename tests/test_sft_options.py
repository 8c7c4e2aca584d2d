"""The options of fine-tuning: each loss by hand or as TRL has it, and what each reduces to where it is off."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import transformers
import trl
from transformers.integrations.neftune import activate_neftune, deactivate_neftune

from harness.engine.config import load_experiment
from harness.engine.contract.tiny import DATA, write_model
from harness.engine.plan import make_plan
from harness.engine.search import searchable
from harness.errors import UserError
from harness.method import FitContext, FitReport, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.records import Demonstration, Message
from harness.training.labelled_rows import IGNORED, TrainingRows, training_rows
from harness.training.loop import collate
from harness.training.objectives import PROMPT, Objective, noisy_embeddings, plain_labels, weighted_labels
from methods.base import Base
from methods.lora import Lora
from methods.sft import Sft

METHOD = Sft(learning_rate=1e-2, epochs=2, batch_size=6, warmup_ratio=0.0)
DEMONSTRATIONS = DATA.demonstrations


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base") / "model"
    return BaseModel(BaseSpec("base"), write_model(folder, 16, 0))


@pytest.fixture(scope="module")
def plain(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return weights(METHOD, base, tmp_path_factory.mktemp("plain"))


def fitted(method: Sft, base: BaseModel, out: Path, micro_batch: int = 6, **inputs: Input) -> FitReport:
    out.mkdir(exist_ok=True)
    return method.fit(base, DATA, inputs, out, FitContext(0, micro_batch))


def weights(method: Sft, base: BaseModel, out: Path) -> bytes:
    fitted(method, base, out)
    return (out / "model.safetensors").read_bytes()


def rows_of(base: BaseModel, prompts: Any = None) -> TrainingRows:
    return training_rows(DEMONSTRATIONS, base.encoder, prompts=prompts)


def batch_of(base: BaseModel, count: int = 6, prompts: Any = None) -> dict[str, torch.Tensor]:
    rows = rows_of(base, prompts).rows[:count]
    return collate([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])


@pytest.mark.parametrize(
    "off",
    [
        {"kl": {"weight": 0.0}},
        {"loss_on": "answers"},
        {"loss_on": {"prompt": 0.0}},
        {"neftune": 0.0},
        {"start": Base()},
        {"replay": {"share": 0.0, "data": "microworld/curated-1k"}},
    ],
    ids=lambda off: next(iter(off)),
)
def test_an_option_that_is_off_leaves_every_bit(
    base: BaseModel, plain: bytes, tmp_path: Path, off: dict[str, Any]
) -> None:
    assert weights(replace(METHOD, **off), base, tmp_path) == plain


def test_the_objective_without_any_option_is_the_mean_of_minus_log_p(base: BaseModel) -> None:
    batch = batch_of(base)
    count = (batch["labels"] != IGNORED).sum()
    model = base.policy().model
    expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
    assert float(Objective()(model, batch, count)) == pytest.approx(float(expected), abs=1e-6)


def test_dynamic_fine_tuning_is_that_of_trl_on_the_same_rows(base: BaseModel, tmp_path: Path) -> None:
    model, rows = base.load(), rows_of(base).rows[:6]
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(str(tmp_path), loss_type="dft", use_cpu=True, bf16=False, report_to="none", max_length=None),
        data_collator=collate,
        train_dataset=datasets.Dataset.from_list([{"input_ids": r.input_ids, "labels": r.labels} for r in rows]),
        processing_class=base.tokenizer,
    )
    batch = batch_of(base)
    count = (batch["labels"] != IGNORED).sum()
    expected = trainer.compute_loss(model, dict(batch), num_items_in_batch=count)
    ours, plainly = Objective(dft=True).summed(base.load(), batch)
    assert float(ours / count) == pytest.approx(float(expected), abs=1e-6)
    shown = Objective(dft=True)(base.load(), batch, count)
    assert (
        float(shown)
        == pytest.approx(float(plainly / count), abs=1e-6)
        == pytest.approx(float(Objective()(base.load(), batch, count)), abs=1e-6)
    )
    one, other = base.load(), model
    Objective(dft=True)(one, batch, count).backward()
    expected.backward()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)


def test_prompts_are_labelled_but_for_the_first_token_and_turns_that_are_not_imitated(base: BaseModel) -> None:
    """`<u> what says the cat <a> cat red <eos> <u> one <a> two <eos>`, where `cat red` is not to be imitated."""
    talk = (Message("user", "what says the cat"), Message("assistant", "cat red", trained=False))
    row = Demonstration((*talk, Message("user", "one"), Message("assistant", "two")), "talk")
    (plainly,) = training_rows([row], base.encoder).rows
    (all_of_it,) = training_rows([row], base.encoder, prompts=plain_labels).rows
    (weighted,) = training_rows([row], base.encoder, prompts=weighted_labels).rows
    ids, nothing = plainly.input_ids, IGNORED
    assert len(ids) == 14
    assert plainly.labels == [nothing] * 12 + ids[12:]
    assert all_of_it.labels == [nothing, *ids[1:6], *[nothing] * 3, *ids[9:]]
    assert weighted.labels == [nothing, *(PROMPT - one for one in ids[1:6]), *[nothing] * 3,
                               *(PROMPT - one for one in ids[9:12]), *ids[12:]]  # fmt: skip


def test_the_weight_of_prompts_by_hand(base: BaseModel) -> None:
    """A weighted mean of -log p: 1 for answers, 0.25 for prompts. At 1 it is the loss on all tokens."""
    batch, model = batch_of(base, prompts=weighted_labels), base.policy().model
    log_probs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.log_softmax(-1)
    over, under = 0.0, 0.0
    for row, column in (batch["labels"][:, 1:] != IGNORED).nonzero().tolist():
        weight = 0.25 if batch["labels"][row, column + 1] < IGNORED else 1.0
        over -= weight * float(log_probs[row, column, batch["input_ids"][row, column + 1]])
        under += weight
    objective = Objective(prompt_weight=0.25)
    items = objective.weight_of(batch["labels"])
    assert float(items) == pytest.approx(under)
    assert float(objective(model, batch, items)) == pytest.approx(over / under, abs=1e-6)
    everything = batch_of(base, prompts=plain_labels)
    count = (everything["labels"] != IGNORED).sum()
    ones = Objective()(model, batch, Objective().weight_of(batch["labels"]))
    assert float(ones) == pytest.approx(float(Objective()(model, everything, count)), abs=1e-6)


@pytest.mark.parametrize("own", [{"loss": "dft"}, {"loss_on": {"prompt": 0.1}}, {"kl": {"weight": 0.5}}])
def test_losses_do_not_depend_on_the_micro_batch(base: BaseModel, tmp_path: Path, own: dict[str, Any]) -> None:
    curves = []
    for size in (2, 6):
        report = fitted(replace(METHOD, **own), base, tmp_path / str(size), size)
        curves.append([loss for _, loss in report.notes["loss"]])
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def test_the_divergence_from_the_base_by_hand_and_less_of_it_with_a_weight(base: BaseModel, tmp_path: Path) -> None:
    """KL(q || p) = sum q log(q / p) at each labelled position, from the models' own distributions."""
    batch, model = batch_of(base), base.load()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    said = [
        one(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)
        for one in (model, base.policy().model)
    ]
    count = (batch["labels"] != IGNORED).sum()
    by_hand = 0.0
    for row, column in (batch["labels"][:, 1:] != IGNORED).nonzero().tolist():
        p, q = (one[row, column].tolist() for one in said)
        by_hand += sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    plainly = Objective()(model, batch, count)
    with_kl = Objective(kl=0.5, reference=base.policy().model)(model, batch, count)
    assert float(with_kl - plainly) == pytest.approx(0.5 * by_hand / float(count), abs=1e-6)
    moved = []
    for name, kl in (("without", None), ("with", {"weight": 5.0})):
        fitted(replace(METHOD, kl=kl), base, tmp_path / name)
        tuned = METHOD.load(base, tmp_path / name, {}).model
        objectives = [Objective(kl=one, reference=base.policy().model)(tuned, batch, count) for one in (0.0, 1.0)]
        moved.append(float(objectives[1] - objectives[0]))
    assert 0 < moved[1] < moved[0] / 2


def test_noise_on_embeddings_is_that_of_transformers_where_nothing_is_padded(base: BaseModel) -> None:
    batch = batch_of(base, 1)
    model = base.load().train()
    read = {name: batch[name] for name in ("input_ids", "attention_mask")}
    transformers.set_seed(3)
    with noisy_embeddings(model, 5.0, batch):
        ours = model(**read).logits
    quiet = model(**read).logits
    handle = activate_neftune(model, 5.0)
    transformers.set_seed(3)
    theirs = model(**read).logits
    deactivate_neftune(model, handle)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, quiet, atol=1e-2)


def test_noise_does_not_count_padding(base: BaseModel) -> None:
    """In a row of 4 tokens and 16 dimensions noise of 8 is at most 8 / sqrt(64) = 1, whatever the row next to it."""
    mask = torch.tensor([[1] * 4 + [0] * 12, [1] * 16])
    with noisy_embeddings(model := base.load(), 8.0, {"attention_mask": mask}):
        ids = torch.zeros(2, 16, dtype=torch.long)
        noise = model.get_input_embeddings()(ids)
    noise = (noise - model.get_input_embeddings()(ids)).abs().detach()
    assert 0.9 < float(noise[0].max()) <= 1 + 1e-6
    assert 0.45 < float(noise[1].max()) <= 0.5 + 1e-6


def test_replayed_rows_make_up_their_share_and_their_digest_is_in_the_fields(base: BaseModel, tmp_path: Path) -> None:
    """Of 24 demonstrations and a share of 0.25 come 8 further rows, from a set of 3 that repeats."""
    lines = [{"prompt": f"what says the {one}", "completion": "red one"} for one in ("cat", "dog", "bird")]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    method = replace(METHOD, replay={"share": 0.25, "data": str(tmp_path / "general.jsonl")})
    assert set(method.replay or {}) == {"share", "data", "digest"}
    report = fitted(method, base, tmp_path / "out")
    assert (report.notes["rows"], report.notes["replayed"]) == (32, 8)


def test_another_set_takes_the_place_of_the_demonstrations(base: BaseModel, tmp_path: Path) -> None:
    """Of 24 demonstrations none is trained on, but the 3 rows of the other set."""
    lines = [{"prompt": f"what says the {one}", "completion": "red one"} for one in ("cat", "dog", "bird")]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    method = replace(METHOD, demonstrations={"data": str(tmp_path / "other.jsonl")})
    assert set(method.demonstrations or {}) == {"data", "digest"}
    assert fitted(method, base, tmp_path / "out").notes["rows"] == 3
    with pytest.raises(UserError, match=r"which is not \{data\}"):
        replace(METHOD, demonstrations={"file": "other.jsonl"})


def test_the_key_follows_the_replayed_rows_and_not_the_place_of_their_file(tmp_path: Path) -> None:
    keys = []
    for folder, answer in (("one", "red"), ("moved", "red"), ("changed", "blue")):
        (tmp_path / folder).mkdir()
        row = {"prompt": "what", "completion": answer}
        (tmp_path / folder / "general.jsonl").write_text(json.dumps(row) + "\n")
        file = tmp_path / folder / "e.yaml"
        file.write_text(
            "name: x\nbases: [microworld/small]\nbenchmarks: [knowledge]\nbaseline: sft\n"
            "data: {demonstrations: microworld/curated-1k}\n"
            "methods: [{sft: {replay: {share: 0.1, data: general.jsonl}}}]\n"
        )
        keys.append(make_plan(load_experiment(file), tmp_path / "store").cells[0].node.key)
    assert keys[0] == keys[1] != keys[2]


def test_it_goes_on_from_a_method_that_is_tuned_already(base: BaseModel, tmp_path: Path) -> None:
    start = replace(METHOD, epochs=4)
    fitted(start, base, tmp_path / "start")
    still = replace(METHOD, start=start, learning_rate=0.0)
    assert set(still.requires()) == {"start"}
    given = Input(tmp_path / "start", base, lambda: start.load(base, tmp_path / "start", {}))
    fitted(still, base, tmp_path / "out", start=given)
    wanted, found = (start.load(base, tmp_path / name, {}).model.state_dict() for name in ("start", "out"))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("last", ["a", "b", "c"])
def test_a_chain_of_starts_with_a_cycle_is_refused_in_one_line(tmp_path: Path, last: str) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(
        "name: x\nbases: [microworld/small]\nbenchmarks: [knowledge]\nbaseline: a\n"
        "data: {demonstrations: microworld/curated-1k}\nmethods:\n"
        f"  - {{sft: {{start: {last}}}, as: a}}\n  - {{sft: {{start: a}}, as: b}}\n  - {{sft: {{start: b}}, as: c}}\n"
    )
    with pytest.raises(UserError) as caught:
        load_experiment(file)
    assert caught.value.what in {
        "a is made of itself",
        "a and b are made of each other",
        "a and c are made of each other",
    }
    assert caught.value.where == f"{file}:7"
    assert "\n" not in caught.value.what


def test_a_demonstration_without_its_answer_is_refused_unless_prompts_are_trained(base: BaseModel) -> None:
    """`<u> what says the cat <a>` has six tokens."""
    short = replace(METHOD, max_length=6)
    assert len(short.refused(DATA, base.encoder)) == 24
    for loss_on in ("all", {"prompt": 0.1}):
        assert not replace(short, loss_on=loss_on).refused(DATA, base.encoder)
        rows = training_rows(DEMONSTRATIONS, base.encoder, 6, prompts=replace(short, loss_on=loss_on)._labels())
        assert {row.labelled for row in rows.rows} == {5}
    assert len(replace(short, loss_on={"prompt": 0.0}).refused(DATA, base.encoder)) == 24
    assert len(replace(short, max_length=1, loss_on="all").refused(DATA, base.encoder)) == 24


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"loss_on": {"prompts": 0.1}}, "loss_on is"),
        ({"loss_on": {"prompt": -0.1}}, "loss_on is"),
        ({"kl": {"weight": -1.0}}, "kl is"),
        ({"kl": {}}, "kl is"),
        ({"neftune": 5.0, "packing": True}, "neftune with packing"),
        ({"loss": "dft", "parallel": "fsdp"}, "parallel: fsdp with"),
    ],
)
def test_options_that_mean_nothing_are_refused(own: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(METHOD, **own).check()


def test_a_replay_that_is_not_a_share_of_a_set_is_refused() -> None:
    for given, complaint in (
        ({"share": 0.1}, "which is not"),
        ({"share": 1.0, "data": "microworld/curated-1k"}, "the share of replay is 1.0"),
        ({"share": 0.1, "data": "microworld/nothing"}, "no data set"),
    ):
        with pytest.raises(UserError, match=complaint):
            replace(METHOD, replay=given)


def test_only_a_noise_that_the_experiment_has_is_searched() -> None:
    assert "neftune" not in searchable(METHOD)
    assert "neftune" in searchable(replace(METHOD, neftune=5.0))
    assert searchable(Lora()) == searchable(replace(Lora(), rank=2))


def test_fine_tuning_in_two_parts_has_the_data_of_both(base: BaseModel) -> None:
    assert Sft(start=Sft()).requires()["start"].method == Sft()
    assert Sft().requires() == {}
    assert Sft().footprint(base.load()).forwards == 0
    assert Sft(kl={"weight": 0.1}).footprint(base.load()).forwards == 1
