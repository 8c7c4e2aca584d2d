"""KTO: its loss by hand and as TRL has it, one z for an update, and both labels of judged answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import trl

from harness.data.load import DataSpec, load_set
from harness.engine.contract.tiny import DATA, write_model
from harness.errors import UserError
from harness.method import FitContext, FitReport, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.records import JudgedAnswer, TrainingData
from harness.training.models import trainable_copy
from methods.base import Base
from methods.kto import Kto, judged_losses

METHOD = Kto(start=Base(), learning_rate=1e-2, epochs=2, batch_size=8, warmup_ratio=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base") / "model"
    return BaseModel(BaseSpec("base"), write_model(folder, 16, 0))


def fitted(method: Kto, base: BaseModel, out: Path, micro_batch: int = 8, data: TrainingData = DATA) -> FitReport:
    out.mkdir(exist_ok=True)
    inputs = {"start": Input(base.folder, base, base.policy)}
    return method.fit(base, data, inputs, out, FitContext(0, micro_batch))


def test_the_loss_of_judged_answers_by_hand() -> None:
    """With beta 0.5, z 1 and h 3: good, 1 - sigmoid(0.5 (3 - 1)) = 0.268941; bad, 1 - sigmoid(0.5 (1 - 3)) = 0.731059,
    twice where bad answers weigh 2."""
    method = replace(METHOD, beta=0.5, undesirable=2.0)
    losses = judged_losses(method, torch.tensor([3.0, 3.0]), torch.tensor([True, False]), torch.tensor(1.0))
    assert losses.tolist() == pytest.approx([0.268941, 1.462117], abs=1e-6)


def summed(model: Any, ids: torch.Tensor, mask: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        log_probs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)[:, :-1]
    each = log_probs.gather(2, ids[:, 1:, None])[..., 0]
    return (each * answer[:, 1:]).sum(1)


def test_the_loss_is_that_of_trl_on_its_own_batch(base: BaseModel, tmp_path: Path) -> None:
    judged = DATA.judged[:8]
    rows = [
        {
            "prompt": [{"role": "user", "content": one.messages[0].content}],
            "completion": [{"role": "assistant", "content": one.messages[1].content}],
            "label": one.good,
        }
        for one in judged
    ]
    model, reference = (trainable_copy(base.policy()) for _ in range(2))
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    trainer = trl.KTOTrainer(
        model=model,
        ref_model=reference,
        args=trl.KTOConfig(
            str(tmp_path), beta=0.3, desirable_weight=1.2, undesirable_weight=0.7, use_cpu=True, bf16=False,
            per_device_train_batch_size=8, report_to="none", max_length=None,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=base.tokenizer,
    )  # fmt: skip
    batch = trainer._prepare_inputs(trainer.data_collator([*trainer.train_dataset]))
    expected = float(trainer.compute_loss(model, dict(batch)).detach())
    gained, shifted = (
        summed(model, *parts) - summed(reference, *parts)
        for parts in (
            (batch["input_ids"], batch["attention_mask"], batch["completion_mask"]),
            (batch["KL_input_ids"], batch["KL_attention_mask"], batch["KL_completion_mask"]),
        )
    )
    settings = replace(METHOD, beta=0.3, desirable=1.2, undesirable=0.7)
    good = torch.as_tensor(batch["label"]).bool()
    losses = judged_losses(settings, gained, good, shifted.mean().clamp(min=0))
    assert float(losses.mean()) == pytest.approx(expected, abs=1e-5)
    assert abs(expected - 0.5 * (1.2 + 0.7) / 2) > 1e-3


def test_the_first_loss_is_a_half_and_every_one_of_a_policy_that_does_not_move(base: BaseModel, tmp_path: Path) -> None:
    notes = fitted(replace(METHOD, learning_rate=0.0), base, tmp_path).notes
    assert [loss for _, loss in notes["loss"]] == pytest.approx([0.5] * len(notes["loss"]), abs=1e-6)
    assert (notes["rows"], notes["rows_good"]) == (36, 18)


def test_losses_do_not_depend_on_the_micro_batch_although_z_is_of_the_update(base: BaseModel, tmp_path: Path) -> None:
    curves = []
    for size in (2, 8):
        curves.append([loss for _, loss in fitted(METHOD, base, tmp_path / str(size), size).notes["loss"]])
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    assert curves[0][-1] < 0.45


def test_answers_of_one_label_are_refused(base: BaseModel, tmp_path: Path) -> None:
    only = TrainingData(judged=tuple(one for one in DATA.judged if one.good))
    with pytest.raises(UserError, match="do not have both labels"):
        fitted(METHOD, base, tmp_path, data=only)


def test_rows_with_a_label_and_pairs_are_judged_answers_of_both_labels(tmp_path: Path) -> None:
    rows = [{"prompt": "2 and 2", "completion": said, "label": label} for said, label in (("4", True), ("5", False))]
    (tmp_path / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_set("judged", DataSpec(str(tmp_path / "judged.jsonl"))).records
    assert [(one.messages[-1].content, one.good) for one in found if isinstance(one, JudgedAnswer)] == [
        ("4", True),
        ("5", False),
    ]
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"prompt": "2 and 2", "chosen": "4", "rejected": "5"}) + "\n")
    pairs = load_set("judged", DataSpec(str(tmp_path / "pairs.jsonl"))).records
    assert [(one.messages, one.good) for one in pairs] == [(one.messages, one.good) for one in found]
    assert [one.id.rpartition("/")[2] for one in pairs] == ["chosen", "rejected"]
    shipped = load_set("judged", DataSpec("microworld/call-or-ask")).records
    assert sum(one.good for one in shipped) * 2 == len(shipped) == 800
    (tmp_path / "plain.jsonl").write_text(json.dumps({"prompt": "2 and 2", "completion": "4"}) + "\n")
    with pytest.raises(UserError):
        load_set("judged", DataSpec(str(tmp_path / "plain.jsonl")))


def test_an_answer_without_a_token_left_is_refused(base: BaseModel, tmp_path: Path) -> None:
    short = replace(METHOD, max_length=6)
    assert len(short.refused(DATA, base.encoder)) == 36
    with pytest.raises(UserError, match="36 judged answers have no token"):
        fitted(short, base, tmp_path)


def test_weights_and_a_beta_that_mean_nothing_are_refused() -> None:
    for own, complaint in (({"beta": 0.0}, "beta is 0"), ({"desirable": 0.0, "undesirable": 0.0}, "are 0")):
        with pytest.raises(UserError, match=complaint):
            replace(METHOD, **own).check()
