"""Interpolated weights against their formulas by hand; the ends of the line are base and method to the last bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.scores import ROUNDING, expect_near, scored
from harness.engine.contract.tiny import DATA
from harness.errors import UserError
from harness.method import FitContext, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from methods.interpolate import ADAPTER, Interpolate, slerp
from methods.lora import Lora
from methods.prompting import Prompting
from methods.sft import Sft


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two tuned models of other seeds' data order, made once for all tests."""
    return Bench(quick(Sft()), tmp_path_factory.mktemp("interpolate"))


def tuned(bench: Bench, seed: int) -> Input:
    folder = bench.fit(seed)[0]
    return Input(folder, bench.base, lambda: bench.method.load(bench.base, folder, {}))


def combined(method: Interpolate, bench: Bench, out: Path, *inputs: Input) -> CausalPolicy:
    out.mkdir(exist_ok=True)
    roles = {f"tuned-{number}": one for number, one in enumerate(inputs)}
    report = method.fit(bench.base, DATA, roles, out, FitContext(0, 4))
    assert (report.trained_parameters, report.training_tokens) == (0, 0)
    policy = method.load(bench.base, out, roles)
    assert isinstance(policy, CausalPolicy)
    return policy


@pytest.mark.parametrize("how", ["linear", "slerp"])
def test_alpha_0_is_the_base_and_alpha_1_the_method_to_the_last_bit(how: str, bench: Bench, tmp_path: Path) -> None:
    one = tuned(bench, 0)
    for alpha, end in ((0.0, bench.base.policy()), (1.0, one.load())):
        method = Interpolate((bench.method,), alpha, how=how)  # type: ignore[arg-type]
        assert scored(combined(method, bench, tmp_path / str(alpha), one)) == scored(end)


def test_between_them_every_weight_is_on_the_line(bench: Bench, tmp_path: Path) -> None:
    one = tuned(bench, 0)
    policy = combined(Interpolate((bench.method,), 0.25), bench, tmp_path / "quarter", one)
    base, end = (dict(it.model.named_parameters()) for it in (bench.base.policy(), one.load()))
    for name, weight in policy.model.named_parameters():
        torch.testing.assert_close(weight, 0.75 * base[name] + 0.25 * end[name], rtol=0, atol=1e-6)


def test_several_methods_add_their_own_changes_and_a_negative_weight_takes_one_away(
    bench: Bench, tmp_path: Path
) -> None:
    inputs = [tuned(bench, 0), tuned(bench, 1)]
    method = Interpolate((bench.method, bench.method), 0.5, (1.0, -0.5))
    policy = combined(method, bench, tmp_path / "sum", *inputs)
    base, one, other = (dict(it.model.named_parameters()) for it in (bench.base.policy(), *(i.load() for i in inputs)))
    for name, weight in policy.model.named_parameters():
        expected = base[name] + 0.5 * (one[name] - base[name]) - 0.25 * (other[name] - base[name])
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6)
    mean = combined(Interpolate((bench.method,) * 2, 0.5), bench, tmp_path / "mean", *inputs)
    for name, weight in mean.model.named_parameters():
        torch.testing.assert_close(weight, (one[name] + other[name]) / 2, rtol=0, atol=1e-6)


def test_an_arc_of_90_degrees_passes_through_45_and_small_angles_keep_their_ends() -> None:
    """From (2, 0) to (0, 2), half of the arc is (sqrt 2, sqrt 2), where half of the line would be (1, 1)."""
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    torch.testing.assert_close(slerp(first, second, 0.5), torch.full((2,), math.sqrt(2)))
    near = torch.tensor([2.0, 2e-4])
    assert torch.equal(slerp(first, near, 0.0), first)
    assert torch.equal(slerp(first, near, 1.0), near)
    torch.testing.assert_close(slerp(first, near, 0.5), torch.tensor([2.0, 1e-4]))
    torch.testing.assert_close(slerp(first, 3 * first, 0.5), torch.tensor([4.0, 0.0]))
    assert torch.equal(slerp(torch.zeros(2), torch.zeros(2), 0.3), torch.zeros(2))


def test_slerp_of_two_methods_leaves_the_base_out(bench: Bench, tmp_path: Path) -> None:
    inputs = [tuned(bench, 0), tuned(bench, 1)]
    for alpha, end in zip((0.0, 1.0), inputs, strict=True):
        method = Interpolate((bench.method,) * 2, alpha, how="slerp")
        assert scored(combined(method, bench, tmp_path / str(alpha), *inputs)) == scored(end.load())


def test_an_adapter_is_scaled_and_equals_the_merge_within_rounding(bench: Bench, tmp_path: Path) -> None:
    """Half of the update B A is half of B; the merged weights take another path, hence ROUNDING."""
    lora = quick(Lora())
    folder = tmp_path / "lora"
    folder.mkdir()
    lora.fit(bench.base, DATA, {}, folder, FitContext(0, 4))
    one = Input(folder, bench.base, lambda: lora.load(bench.base, folder, {}))
    half = combined(Interpolate((lora,), 0.5), bench, tmp_path / "half", one)
    stored, scaled = (load_file(path / ADAPTER) for path in (folder, tmp_path / "half"))
    for name, tensor in stored.items():
        assert torch.equal(scaled[name], tensor / 2 if "lora_B" in name else tensor), name
    merged = combined(Interpolate((lora, lora), 0.5, (1.0, 0.0)), bench, tmp_path / "merged", one, one)
    assert not (tmp_path / "merged" / ADAPTER).exists()
    expect_near(scored(half), scored(merged), "a scaled adapter scores as merged weights")
    whole = combined(Interpolate((lora,), 1.0), bench, tmp_path / "whole", one)
    assert scored(whole) == scored(one.load())
    assert scored(combined(Interpolate((lora,), 0.0), bench, tmp_path / "none", one)) == scored(bench.base.policy())
    assert ROUNDING < 1e-4


def test_a_model_of_another_shape_and_a_policy_that_is_more_than_weights_are_one_line(
    bench: Bench, tmp_path: Path
) -> None:
    small = Input(tmp_path, bench.small, bench.small.policy)
    with pytest.raises(UserError, match=r"lm_head.weight is \[16, 16\] in the base and \[16, 8\] in sft") as found:
        combined(Interpolate((bench.method,)), bench, tmp_path / "shape", small)
    assert "\n" not in found.value.what
    prompted = Prompting(demonstrations=1)
    (tmp_path / "prompt").mkdir()
    prompted.fit(bench.base, DATA, {}, tmp_path / "prompt", FitContext(0, 4))
    one = Input(tmp_path, bench.base, lambda: prompted.load(bench.base, tmp_path / "prompt", {}))
    with pytest.raises(UserError, match="prompting makes a PromptedPolicy, and only the weights of one plain model"):
        combined(Interpolate((prompted,)), bench, tmp_path / "policy", one)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Interpolate(()), "methods is empty"),
        (Interpolate((Sft(),), weights=(1.0, 2.0)), "weights has 2 factors for 1 methods"),
        (Interpolate((Sft(),) * 3, how="slerp"), "how is slerp, with 3 methods"),
        (Interpolate((Sft(dropout=2.0),)), "dropout is 2.0"),
    ],
)
def test_counts_that_the_formula_does_not_have_are_refused(method: Interpolate, said: str) -> None:
    with pytest.raises(UserError, match=said):
        method.check()


def test_a_backend_loads_the_folder_or_the_adapter(tmp_path: Path) -> None:
    assert BaseModel(BaseSpec("x"), tmp_path).spec.dtype == "float32"
    assert Interpolate((Sft(),)).plain_weights("float32").kind == "artifact"  # type: ignore[union-attr]
    assert Interpolate((Lora(),)).plain_weights("float32").kind == "adapter"  # type: ignore[union-attr]
    assert Interpolate((Lora(),), how="slerp").plain_weights("float32").kind == "artifact"  # type: ignore[union-attr]
    assert "saved in float32" in str(Interpolate((Lora(),)).plain_weights("bfloat16"))
    assert replace(Interpolate((Lora(),)), saved_in="base").plain_weights("bfloat16").kind == "adapter"  # type: ignore[union-attr]
