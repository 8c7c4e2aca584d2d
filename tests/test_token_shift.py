"""Ranks of an answer's tokens under the base: by hand, in a plain loop, and the classes of tokens in real texts."""

from __future__ import annotations

import pytest
import torch
import transformers
from test_divergence import PROMPTS, Fixed, plain, random_policy

from benchmarks._asked_once import KINDS
from benchmarks.token_shift import CLASSES, TokenShift, shares, token_classes
from harness.errors import UserError
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.divergence import ranks
from harness.policy.encoding import TextEncoder
from harness.policy.types import Completion, Sampling

torch.set_num_threads(1)
SHARES = ("unshifted", "marginal", "shifted")


def test_a_rank_counts_the_tokens_that_the_base_finds_likelier_and_ties_share_the_better_one() -> None:
    """Under 0.1, 0.4, 0.3, 0.1, 0.1 the tokens 0 to 4 have the ranks 3, 1, 2, 3, 3."""
    base, policy = Fixed(0.1, 0.4, 0.3, 0.1, 0.1), Fixed(0.2, 0.2, 0.2, 0.2, 0.2)
    answers = [Completion("", (0, 1, 2, 3), "stop", stop_id=4), Completion("", (2,), "length")]
    assert ranks(policy, base, PROMPTS[:2], answers) == [(3, 1, 2, 3, 3), (2,)]


def test_shares_by_hand() -> None:
    """Five tokens of ranks 1, 2, 3, 4, 90: one is unshifted, two marginal, two shifted, of which one is style."""
    found = shares((1, 2, 3, 4, 90), ("content", "content", "style", "style", "format"))
    assert [found[name] for name in SHARES] == [0.2, 0.4, 0.4]
    assert [found[f"shifted_{name}"] for name in CLASSES] == [0.2, 0.0, 0.0, 0.2]
    assert [found[f"share_{name}"] for name in CLASSES] == [0.4, 0.4, 0.0, 0.2]
    assert set(shares((), ()).values()) == {None}


@pytest.mark.parametrize("budget", [1, 1 << 26], ids=["in chunks", "whole"])
def test_ranks_of_ragged_batches_equal_a_plain_loop_over_the_base(budget: int) -> None:
    policy, base = random_policy(0), random_policy(1)
    base.budget = budget
    drawn = [answers[0] for answers in policy.sample(PROMPTS, Sampling(9), ["a", "b", "c"])]
    for prompt, answer, found in zip(PROMPTS, drawn, ranks(policy, base, PROMPTS, drawn), strict=True):
        context, ids = [*base.encode(prompt).prompt], [*answer.drawn_ids]
        read = plain(base, context + ids)[len(context) - 1 : -1]
        order = read.argsort(-1, descending=True)
        assert found == tuple(int((row == token).nonzero()) + 1 for row, token in zip(order, ids, strict=True))


def test_the_base_is_unshifted_and_another_model_of_random_weights_is_shifted_nearly_everywhere() -> None:
    policy = random_policy(4)
    policy.base = lambda: policy
    own = list(TokenShift(limit=2, max_new_tokens=6).evaluate(policy, seed=0))
    assert {outcome.metrics["unshifted"] for outcome in own} == {1.0}
    assert {outcome.group for outcome in own} == set(KINDS)
    policy.base = lambda: random_policy(5)
    other = list(TokenShift(limit=2, max_new_tokens=6).evaluate(policy, seed=0))
    assert [outcome.item for outcome in own] == [outcome.item for outcome in other]
    assert sum(outcome.metrics["shifted"] for outcome in other) / len(other) > 0.9
    for outcome in own + other:
        assert sum(outcome.metrics[name] for name in SHARES) == pytest.approx(1)
        assert sum(outcome.metrics[f"share_{name}"] for name in CLASSES) == pytest.approx(1)
        assert sum(outcome.metrics[f"shifted_{name}"] for name in CLASSES) == pytest.approx(outcome.metrics["shifted"])
        assert not TokenShift().stochastic


def test_tokens_of_the_microworld_are_classed() -> None:
    encoder = TextEncoder(make_tokenizer(), max_length=256)
    ids = encoder.tokens("hello the job of X is BAKER . - 12 <eos>")
    expected = "style style content style content style content format format number format"
    found = token_classes(encoder, ids)
    assert " ".join(found[:4] + found[5:]) == " ".join(expected.split()[:4] + expected.split()[5:])


def test_a_token_inside_a_word_has_the_class_of_the_word() -> None:
    """Pieces as byte-pair tokenizers cut them; `don't` and `2nd` are words, a dash between spaces is not."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["Ġmel", "ancholy", "Ġdo", "n", "'t", "Ġ-", "Ġ2", "nd", ".", "Ċ", "<eos>", "b"]
    core = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    encoder = TextEncoder(fast, max_length=64)
    ids = range(11)
    assert encoder.text([*ids]) == " melancholy don't - 2nd.\n"
    found = token_classes(encoder, [*ids])
    assert found == [*["content"] * 2, *["style"] * 3, "format", *["number"] * 2, *["format"] * 3]


def test_without_distributions_or_a_base_it_says_so() -> None:
    with pytest.raises(UserError, match="base model is not known"):
        next(TokenShift(limit=1).evaluate(random_policy(0), seed=0))
    with pytest.raises(UserError, match="3 tokens, and the other 2"):
        ranks(Fixed(0.2, 0.3, 0.5), Fixed(0.5, 0.5), PROMPTS[:1], [Completion("", (0,), "length")])
