"""Pieces of a micro-batch: which rows they have, and that a training does not depend on them."""

from __future__ import annotations

import math

import pytest
import torch
import transformers

from harness.method import FitContext
from harness.policy.base_model import BaseModel
from harness.training import pieces
from harness.training.labelled_rows import IGNORED, pack, training_rows
from harness.training.loop import Optimisation, collate, train
from harness.training.pieces import in_pieces, runs, tokens_at_once
from tests.test_training import DEMONSTRATIONS, base, demonstration  # noqa: F401

ROWS = [{"input_ids": [number] * count, "labels": [IGNORED] + [number] * (count - 1)} for number, count in
        ((4, 5), (5, 3), (6, 2), (7, 1))]  # fmt: skip


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (4, [(0, 1), (1, 2), (2, 4)]),  # 5 is over 4 by itself; 2 x 3 is; 2 x 2 is not
        (6, [(0, 1), (1, 3), (3, 4)]),
        (10, [(0, 2), (2, 4)]),
        (math.inf, [(0, 4)]),
    ],
)
def test_a_run_of_rows_has_no_more_tokens_than_allowed_with_its_padding(
    most: float, expected: list[tuple[int, int]]
) -> None:
    assert list(runs([5, 3, 2, 1], most)) == expected


def test_packed_rows_have_no_padding_to_be_counted() -> None:
    assert list(runs([5, 3, 2, 1], 6, packed=True)) == [(0, 1), (1, 4)]


def test_a_piece_has_its_rows_without_the_padding_of_others() -> None:
    found = in_pieces(collate(ROWS), 6)
    assert [piece["input_ids"].tolist() for piece in found] == [[[4] * 5], [[5] * 3, [6, 6, 0]], [[7]]]
    assert [piece["labels"].tolist()[0] for piece in found] == [[IGNORED, 4, 4, 4, 4], [IGNORED, 5, 5], [IGNORED]]


def test_packed_rows_are_divided_between_rows() -> None:
    found = in_pieces(pack(ROWS), 6)
    assert [piece["position_ids"].tolist() for piece in found] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 0, 1, 0]]]
    assert [piece["input_ids"].tolist() for piece in found] == [[[4] * 5], [[5, 5, 5, 6, 6, 7]]]


def test_a_batch_of_other_columns_is_left_whole() -> None:
    batch = collate(ROWS) | {"teacher_input_ids": torch.ones(4, 9)}
    assert in_pieces(batch, 1) == [batch]


def test_a_larger_model_reads_fewer_tokens_at_once() -> None:
    real = transformers.LlamaConfig(hidden_size=576, num_hidden_layers=30)
    assert tokens_at_once(real) == 2**23 // (576 * 30) == 485
    assert tokens_at_once(transformers.LlamaConfig(hidden_size=128, num_hidden_layers=6)) > 10_000


@pytest.mark.parametrize("packing", [False, True])
def test_pieces_change_the_trained_weights_and_losses_by_rounding_only(
    base: BaseModel,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    packing: bool,
) -> None:
    rows = training_rows([*DEMONSTRATIONS, demonstration("the", "cat says red one two three says red")], base.encoder)
    read: list[int] = []
    divided = in_pieces

    def counted(batch: dict[str, torch.Tensor], most: float) -> list[dict[str, torch.Tensor]]:
        found = divided(batch, most)
        read.append(len(found))
        return found

    monkeypatch.setattr("harness.training.trl.in_pieces", counted)
    trained, losses = [], []
    for states in (1 << 40, 1):
        monkeypatch.setattr(pieces, "STATES", states)
        model = base.load()
        losses.append(
            train(model, rows, base, Optimisation(1e-2, 2, 4, packing=packing), FitContext(0, 4)).notes["loss"]
        )
        trained.append(model)
    assert (min(read), max(read)) == (1, 4)
    assert [loss for _, loss in losses[0]] == pytest.approx([loss for _, loss in losses[1]], abs=1e-5)
    for one, two in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=2e-5)
