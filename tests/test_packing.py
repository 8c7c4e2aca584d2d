"""Packed rows train as padded rows do, and a model that mixes them is refused."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel
from harness.training.labelled_rows import IGNORED, pack, require_apart, training_rows
from harness.training.loop import Optimisation, train
from tests.test_hidden_states import FAMILIES, make
from tests.test_training import DEMONSTRATIONS, base, demonstration  # noqa: F401


def test_packed_rows_lie_side_by_side_and_count_their_positions_anew() -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8, 9], "labels": [8, 9]}]
    packed = {name: part.tolist() for name, part in pack(rows).items()}
    assert packed["input_ids"] == [[5, 6, 7, 8, 9]]
    assert packed["position_ids"] == [[0, 1, 2, 0, 1]]
    # the first token of a row is never predicted from the row before it
    assert packed["labels"] == [[IGNORED, 6, 7, IGNORED, 9]]


@pytest.mark.parametrize("micro_batch", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_packing_changes_the_trained_weights_by_rounding_only(base: BaseModel, micro_batch: int) -> None:  # noqa: F811
    rows = training_rows([*DEMONSTRATIONS, demonstration("the", "cat says red one two three says red")], base.encoder)
    trained, losses = [], []
    for packing in (False, True):
        model = base.load()
        plan = Optimisation(1e-2, 2, 4, packing=packing)
        losses.append(train(model, rows, base, plan, FitContext(0, micro_batch)).notes["loss"])
        trained.append(model)
    assert [loss for _, loss in losses[0]] == pytest.approx([loss for _, loss in losses[1]], abs=1e-5)
    for one, two in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "mistral"])
def test_families_with_rotary_positions_keep_packed_rows_apart(family: str) -> None:
    require_apart(make(FAMILIES[family]), [[3, 4, 5, 6], [7, 8, 9]])


def test_a_model_that_reads_on_from_row_to_row_is_refused() -> None:
    class Running(torch.nn.Module):
        """A running sum over the sequence, whatever the positions say."""

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(16, 4)

        def forward(self, input_ids: torch.Tensor, **ignored: object) -> object:
            return type("Output", (), {"logits": self.table(input_ids).cumsum(1)})

    with pytest.raises(UserError, match="Running does not keep packed rows separate"):
        require_apart(Running(), [[3, 4, 5], [6, 7]])
