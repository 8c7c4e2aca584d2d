"""Residual dropout falls on what each block adds, more in higher blocks, and only while training."""

from __future__ import annotations

import copy

import pytest
import torch

from harness.errors import UserError
from harness.policy.hidden_states import decoder_blocks
from methods._residual_dropout import additions, dropout_rates, residual_dropout
from tests.test_hidden_states import FAMILIES, make

TOKENS = torch.arange(3, 15).view(2, 6)


def through(model: torch.nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What every block gets, and what it returns, in one forward pass."""
    seen = []
    handles = [
        block.register_forward_hook(
            lambda module, given, kwargs, output: seen.append(
                ((given or (kwargs["hidden_states"],))[0], output[0] if isinstance(output, tuple) else output)
            ),
            with_kwargs=True,
        )
        for block in decoder_blocks(model)
    ]
    model(TOKENS)
    for handle in handles:
        handle.remove()
    return seen


def test_rates_rise_in_a_line_from_nothing_to_the_top() -> None:
    """LIMA's 0.3 over four blocks: 0, 0.1, 0.2, 0.3."""
    assert dropout_rates(4, 0.3) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert dropout_rates(1, 0.3) == [0.3]


@pytest.mark.parametrize("family", FAMILIES)
def test_at_rate_one_the_last_block_adds_nothing_and_the_first_all_it_did(family: str) -> None:
    config = copy.deepcopy(FAMILIES[family])
    for name in ("attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "attention_dropout", "hidden_dropout"):
        if hasattr(config, name):
            # the family's own dropout is off: ours alone is looked at
            setattr(config, name, 0.0)
    model = make(config).train()
    plain = through(model)
    assert not torch.equal(*plain[-1])
    with residual_dropout(model, 1.0):
        during = through(model)
    assert torch.equal(*during[-1])
    assert torch.equal(during[0][1], plain[0][1])
    assert not torch.equal(during[1][1], plain[1][1])


def test_nothing_is_dropped_while_answering_or_afterwards() -> None:
    model = make(FAMILIES["llama"])
    before = model(TOKENS).logits
    with residual_dropout(model, 0.5):
        assert torch.equal(model(TOKENS).logits, before)
        model.train()
        assert not torch.equal(model(TOKENS).logits, before)
    assert torch.equal(model(TOKENS).logits, before)


def test_a_block_whose_parts_are_not_known_is_refused() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = torch.nn.Identity()

    with pytest.raises(UserError, match="not known where Odd adds to the residual stream"):
        additions(Odd())
