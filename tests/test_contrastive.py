"""Contrastive decoding against its equation by hand, its plausibility constraint, and strength 0: the strong model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from harness.engine.contract.bench import Bench
from harness.engine.contract.tiny import KEYS, PROMPTS
from harness.errors import UserError
from harness.policy.drawing import WIDE, draw_plainly, draw_tokens
from harness.policy.types import Sampling
from methods.best_of_n import BestOfN
from methods.contrastive import Contrastive, ContrastivePolicy


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(Contrastive(), tmp_path_factory.mktemp("contrastive"))


def policy_of(bench: Bench, strength: float, plausibility: float = 0.1) -> ContrastivePolicy:
    return ContrastivePolicy(bench.base.policy(), bench.small.policy(), strength, plausibility)


def test_the_equation_by_hand(bench: Bench) -> None:
    """p_strong = (.6, .3, .06, .04), p_weak = (.8, .1, .05, .05), plausibility .1: .06 is the least, so .04 goes.

    The ratios .75, 3 and 1.2 sum to 4.95. Without the constraint the second would still win; at .6 the first alone is
    left.
    """
    strong, weak = torch.tensor([[0.6, 0.3, 0.06, 0.04]]).log() + 3, torch.tensor([[0.8, 0.1, 0.05, 0.05]]).log() - 1
    policy = policy_of(bench, 1.0, 0.1 - 1e-6)
    policy._width = 4
    found = policy._cut_and_combined([strong, weak]).softmax(-1)
    torch.testing.assert_close(found, torch.tensor([[0.75, 3.0, 1.2, 0.0]]) / 4.95)
    policy.plausibility = 0.6
    assert policy._cut_and_combined([strong, weak]).softmax(-1).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    policy.plausibility = 0.0
    ratios = torch.tensor([[0.75, 3.0, 1.2, 0.8]])
    torch.testing.assert_close(policy._cut_and_combined([strong, weak]).softmax(-1), ratios / ratios.sum())
    policy.strength, half = 0.5, torch.tensor([[0.6, 0.3, 0.06, 0.04]]) / torch.tensor([[0.8, 0.1, 0.05, 0.05]]).sqrt()
    torch.testing.assert_close(policy._cut_and_combined([strong, weak]).softmax(-1), half / half.sum())


def test_strength_0_is_the_strong_model_to_the_last_bit(bench: Bench) -> None:
    policy, strong = policy_of(bench, 0.0), bench.base.policy()
    assert policy.score(PROMPTS, ["red"] * 4) == strong.score(PROMPTS, ["red"] * 4)
    for temperature in (0.0, 1.0):
        sampling = Sampling(6, temperature=temperature, seed=1, samples=3)
        assert policy.sample(PROMPTS, sampling, KEYS) == strong.sample(PROMPTS, sampling, KEYS)


def test_a_sample_is_what_decoding_without_caches_gives(bench: Bench) -> None:
    """Greedy, token by token over the whole text, from both models' own forward passes."""
    policy = policy_of(bench, 1.0)
    strong, weak = (one.policy().model for one in (bench.base, bench.small))
    for prompt, (answer,) in zip(PROMPTS, policy.sample(PROMPTS, Sampling(5), KEYS), strict=True):
        ids = list(policy.encode(prompt).prompt)
        drawn = []
        while len(drawn) < 5:
            with torch.inference_mode():
                one, other = (model(torch.tensor([ids])).logits[0, -1].log_softmax(-1) for model in (strong, weak))
            kept = one >= one.max() + math.log(0.1)
            token = int((one - other).masked_fill(~kept, -math.inf).argmax())
            if token in policy.encoder.stop_ids:
                break
            ids.append(token)
            drawn.append(token)
        assert answer.token_ids == tuple(drawn)


def test_no_implausible_token_is_ever_drawn(bench: Bench) -> None:
    policy, strong = policy_of(bench, 1.0, 0.5), bench.base.policy()
    prompt = PROMPTS[0]
    logits, _ = strong.prefill([strong.encode(prompt)])
    kept = {at for at, value in enumerate(logits[0].tolist()) if value >= float(logits.max()) + math.log(0.5)}
    (answers,) = policy.sample([prompt], Sampling(1, temperature=2.0, samples=200), ["a"])
    first = {answer.drawn_ids[0] for answer in answers}
    assert first <= kept
    assert len(kept) < 16


def test_tokens_of_probability_0_are_left_out_at_wide_vocabularies_too() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, WIDE + 5, generator=generator) * 3
    logits = logits.masked_fill(logits < logits.amax(-1, keepdim=True) - 2, -math.inf)
    streams, positions = torch.arange(8), torch.zeros(8, dtype=torch.long)
    for top_p in (1.0, 0.9):
        sampling = Sampling(1, temperature=0.8, top_p=top_p)
        tokens = draw_tokens(logits, sampling, streams, positions)
        assert torch.equal(tokens, draw_plainly(logits, sampling, streams, positions))
        assert logits.gather(1, tokens[:, None]).isfinite().all()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Contrastive(plausibility=1.5), "plausibility is 1.5"),
        (Contrastive(strength=-1.0), "strength is -1.0"),
        (Contrastive(weak=BestOfN()), "weak is best_of_n, which gives no log-probabilities"),
    ],
)
def test_fields_without_a_meaning_are_refused(method: Contrastive, said: str) -> None:
    with pytest.raises(UserError, match=said):
        method.check()


def test_an_experiment_without_a_small_base_is_one_line(tmp_path: Path) -> None:
    from harness.engine.config import load_experiment
    from harness.engine.plan import make_plan

    file = tmp_path / "experiment.yaml"
    file.write_text("name: x\nbases: [microworld/large]\nmethods: [contrastive]\nbenchmarks: [instruction_following]\n")
    with pytest.raises(UserError, match="contrastive needs a small base, and the experiment names none"):
        make_plan(load_experiment(file), tmp_path / "store")
