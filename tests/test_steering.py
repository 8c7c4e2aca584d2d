"""Steering against its equation by hand, in prompts and while decoding; strength 0 is the base to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_hidden_states import FAMILIES, make

from harness.engine.config import load_experiment
from harness.engine.contract.bench import Bench
from harness.engine.contract.scores import expect_near, scored
from harness.engine.contract.tiny import DATA, KEYS, PROMPTS
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.method import FitContext
from harness.policy.edited import EditedPolicy
from harness.policy.hidden_states import decoder_blocks
from harness.policy.types import Prompt, Sampling
from harness.records import TrainingData
from methods.steering import VECTOR, Steering


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(Steering(), tmp_path_factory.mktemp("steering"))


def fitted(method: Steering, bench: Bench, out: Path, data: TrainingData = DATA, rows: int = 4) -> torch.Tensor:
    out.mkdir()
    method.fit(bench.base, data, {}, out, FitContext(0, rows))
    (vector,) = load_file(out / VECTOR).values()
    return vector


def hidden(bench: Bench, text: str, block: int) -> torch.Tensor:
    """The output of a block (T, d) for a text alone."""
    model = bench.base.policy().model
    ids = torch.tensor([bench.base.encoder.tokens(text)])
    # the first of these is the embedding, and the last is normalised: blocks below the last are as they left them
    return model(ids, output_hidden_states=True).hidden_states[block + 1][0]


def test_the_vector_is_the_mean_difference_over_the_answers_tokens(bench: Bench, tmp_path: Path) -> None:
    """Each answer read alone, without batch or padding: the mean over its words, without its end of turn."""
    vector = fitted(Steering(strength=2.0, layer=0), bench, tmp_path / "two")
    expected = torch.zeros(16)
    for pair in DATA.preferences:
        for answer, sign in ((pair.chosen, 1), (pair.rejected, -1)):
            words = len(answer.split())
            states = hidden(bench, f"<u> {pair.prompt[0].content} <a> {answer}", 0)
            expected += sign * states[-words:].mean(0)
    torch.testing.assert_close(vector, 2 * expected / len(DATA.preferences), rtol=0, atol=1e-5)
    alone = fitted(Steering(strength=2.0, layer=0), bench, tmp_path / "alone", rows=1)
    torch.testing.assert_close(vector, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompts", [True, False])
def test_an_edit_lives_through_extend_and_leaves_the_shared_model(family: str, prompts: bool, bench: Bench) -> None:
    """Token by token as in one pass in which the block's bias, so to speak, is moved: the oracle is a plain hook."""
    model = make(FAMILIES[family])
    move = torch.linspace(-1, 1, 16)
    policy = EditedPolicy(model, bench.base.encoder, {1: lambda states: states + move}, prompts=prompts)
    tokens = torch.randint(3, 32, (1, 6))
    every = torch.ones(1, 1, dtype=torch.bool)

    def moved(module: object, arguments: object, output: torch.Tensor) -> torch.Tensor:
        states = output[0] if isinstance(output, tuple) else output
        at = torch.arange(6) >= (0 if prompts else 3)
        changed = states + at[None, :, None] * move
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = decoder_blocks(model)[1].register_forward_hook(moved)
    whole = model(tokens).logits
    handle.remove()
    plain = model(tokens).logits
    with torch.inference_mode():
        encoded = policy.encoder.encode(Prompt(text="one two three"))
        object.__setattr__(encoded, "prompt", tuple(tokens[0, :3].tolist()))
        logits, state = policy.prefill([encoded])
        torch.testing.assert_close(logits[0], whole[0, 2], rtol=0, atol=1e-4)
        for at in range(3, 6):
            logits, state = policy.extend(state, tokens[:, at : at + 1], every)
            torch.testing.assert_close(logits[0, 0], whole[0, at], rtol=0, atol=1e-4)
    assert (whole - plain).abs().max() > 1e-2
    assert torch.equal(model(tokens).logits, plain)


def test_strength_0_is_the_base_to_the_last_bit_and_more_is_not(bench: Bench, tmp_path: Path) -> None:
    base = bench.base.policy()
    for strength in (0.0, 1.0):
        method = Steering(strength=strength)
        fitted(method, bench, tmp_path / str(strength))
        policy = method.load(bench.base, tmp_path / str(strength), {})
        drawn = [one.sample(PROMPTS, Sampling(6, temperature=1.0, seed=2), KEYS) for one in (policy, base)]
        assert (scored(policy) == scored(base)) == (strength == 0)
        assert (drawn[0] == drawn[1]) == (strength == 0)


def test_a_share_of_the_depth_is_a_block_and_the_prompt_may_be_left_as_it_is(bench: Bench, tmp_path: Path) -> None:
    assert [Steering(layer=layer).block_of(bench.base.config) for layer in (0, 1, 0.0, 0.4, 0.5, 0.9)] == [
        0, 1, 0, 0, 1, 1
    ]  # fmt: skip
    method = Steering(strength=4.0, prompt=False)
    fitted(method, bench, tmp_path / "answer")
    policy, base = method.load(bench.base, tmp_path / "answer", {}), bench.base.policy()
    # the first token of an answer is predicted from the prompt, which is not edited
    first = [one.score(PROMPTS[:3], ["cat says", "dog says", "bird says"]) for one in (policy, base)]
    assert [score.token_logprobs[0] for score in first[0]] == [score.token_logprobs[0] for score in first[1]]
    with pytest.raises(AssertionError):
        expect_near(*first, "the second token is edited")


@pytest.mark.parametrize("layer", [-1, 1.0, 1.5, -0.1])
def test_a_layer_that_no_model_has_is_refused_before_anything_is_planned(layer: float) -> None:
    with pytest.raises(UserError, match=f"layer is {layer}"):
        Steering(layer=layer).check()


def test_a_layer_beyond_the_model_and_no_pairs_are_one_line(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="layer 2 is beyond the model, which has 2") as found:
        fitted(Steering(layer=2), bench, tmp_path / "beyond")
    assert found.value.fix == "Choose among 0 to 1."
    with pytest.raises(UserError, match="no preference pairs are given"):
        fitted(Steering(), bench, tmp_path / "none", TrainingData())


def test_a_pair_that_is_cut_before_its_answer_is_refused_at_plan(bench: Bench) -> None:
    assert Steering().refused(DATA, bench.base.encoder) == {}
    refused = Steering(max_length=6).refused(DATA, bench.base.encoder)
    assert len(refused) == len(DATA.preferences)
    assert "of which no token is left" in next(iter(refused.values()))


def test_the_vector_is_made_once_for_all_seeds_and_its_micro_batch_is_in_the_key(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    data = "data: {preferences: microworld/call-or-ask}"
    methods = "[base, steering, {interpolate: {methods: [base]}}]"
    file.write_text(
        f"name: x\nbases: [microworld/small]\n{data}\nmethods: {methods}\nbenchmarks: [knowledge]\n"
        "seeds: [0, 1]\nbaseline: base\nmicro_batch: 4\n"
    )
    nodes = {cell.entry.label: cell.node for cell in make_plan(load_experiment(file), tmp_path / "store").cells}
    told = {label: (node.document["seed"], node.document["micro_batch"]) for label, node in nodes.items()}
    assert told == {"base": (None, None), "steering": (None, 4), "interpolate": (None, None)}
