"""Restored blocks: all of them are the base and none the method, to the last bit; of edits, those that are left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.scores import scored
from harness.errors import UserError
from harness.method import Input, Method
from harness.policy.causal import CausalPolicy
from harness.policy.edited import EditedPolicy
from harness.policy.hidden_states import decoder_blocks
from methods.lora import Lora
from methods.loreft import Loreft, ReftPolicy
from methods.prompting import Prompting
from methods.restore import Restore
from methods.sft import Sft
from methods.steering import Steering

Benches = Callable[[Method], Bench]
BLOCKS = 2


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Benches:
    """A method on the tiny model of two blocks; the fit is shared by the tests of this file."""
    made: dict[Method, Bench] = {}

    def bench(method: Method) -> Bench:
        return made.setdefault(method, Bench(quick(method), tmp_path_factory.mktemp("restore")))

    return bench


def tuned(bench: Bench) -> Input:
    folder = bench.fit(0)[0]
    return Input(folder, bench.base, lambda: bench.method.load(bench.base, folder, {}))


def restored(bench: Bench, first: int = 0, last: int = 0, *, rest: bool = False) -> CausalPolicy:
    policy = Restore(bench.method, first, last, rest).load(bench.base, Path(), {"of": tuned(bench)})
    assert isinstance(policy, CausalPolicy)
    return policy


@pytest.mark.parametrize("method", [Sft(), Lora(), Loreft(prefix=2, suffix=2), Steering(strength=4.0)], ids=str)
def test_all_blocks_and_the_rest_are_the_base_and_nothing_is_the_method_to_the_last_bit(
    method: Method, benches: Benches
) -> None:
    bench = benches(method)
    own, base = scored(tuned(bench).load()), scored(bench.base.policy())
    assert own != base
    for first, last in ((BLOCKS, 0), (0, BLOCKS), (1, 1), (BLOCKS, BLOCKS)):
        assert scored(restored(bench, first, last, rest=True)) == base
    assert scored(restored(bench)) == own
    assert scored(tuned(bench).load()) == own, "the tuned model itself is left as it was"


@pytest.mark.parametrize(
    ("first", "last", "rest", "undone"), [(1, 0, False, {0}), (0, 1, False, {1}), (0, 0, True, {"rest"})]
)
def test_each_weight_is_that_of_the_base_where_it_is_restored_and_of_the_method_elsewhere(
    first: int, last: int, rest: bool, undone: set[object], benches: Benches
) -> None:
    bench = benches(Sft())
    models = [policy.model for policy in (restored(bench, first, last, rest=rest), bench.base.policy())]
    models.append(tuned(bench).load().model)  # type: ignore[attr-defined]
    blocks = {id(weight): at for at, it in enumerate(decoder_blocks(models[0])) for weight in it.parameters()}
    weights, base, own = (dict(model.named_parameters()) for model in models)
    for name, weight in weights.items():
        source = base if blocks.get(id(weight), "rest") in undone else own
        assert torch.equal(weight, source[name]), name
        assert not torch.equal(base[name], own[name]), name


def test_edits_outside_of_restored_blocks_are_kept(benches: Benches) -> None:
    reft = restored(benches(Loreft(prefix=2, suffix=2)), first=1)
    assert isinstance(reft, ReftPolicy)
    assert {key.split("-")[0] for key in reft.interventions} == {"1"}
    steered = restored(benches(Steering(strength=4.0)), last=1)
    assert isinstance(steered, EditedPolicy)
    whole = tuned(benches(Steering(strength=4.0))).load()
    assert isinstance(whole, EditedPolicy)
    assert set(steered.changes) == set(whole.changes) - {1}


def test_more_blocks_than_there_are_and_policies_without_blocks_of_their_own_are_refused(benches: Benches) -> None:
    with pytest.raises(UserError, match="last is 3, and the model has 2 blocks"):
        restored(benches(Sft()), last=3)
    with pytest.raises(UserError, match="whose blocks cannot be told apart"):
        restored(benches(Prompting()), first=1)
