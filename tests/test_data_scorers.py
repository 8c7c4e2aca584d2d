"""The quality scorer of curation: IFD by hand, a reward model by hand, none, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from harness.curation.pipeline import curate, parse_steps
from harness.curation.quality import instruction_following_difficulty, quality_scores
from harness.data.examples import Example
from harness.data.load import named_examples
from harness.errors import UserError
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling, Score
from harness.records import Demonstration, Message


class Counting(Policy):
    """A token of an answer costs 1 nat after a prompt that holds it, and 2 nats anywhere else."""

    gives: ClassVar[frozenset[Capability]] = frozenset({"score"})

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        raise AssertionError("a scorer draws nothing")

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        found = []
        for prompt, completion in zip(prompts, completions, strict=True):
            known = " ".join(message.content for message in prompt.messages).split()
            costs = [1.0 if word in known else 2.0 for word in completion.split()]
            found.append(Score(-sum(costs), len(costs), False))
        return found


def row(id: str, asked: str, answer: str) -> Example:
    return Example(
        Demonstration((Message("user", asked), Message("assistant", answer)), id), "demonstrations", "messages"
    )


def test_ifd_is_the_ratio_of_two_perplexities() -> None:
    """Of four words two are in the prompt: ppl exp(1.5) given it and exp(2) alone, so exp(-0.5)."""
    rows = [row("half", "a b", "a b c d"), row("none", "x", "a b c d")]
    assert instruction_following_difficulty(rows, Counting()) == pytest.approx([math.exp(-0.5), 1.0])


def test_ifd_of_the_microworld_is_its_policys_own_figures() -> None:
    from harness.policy.sources import base_model_of

    rows = named_examples("microworld/curated-1k").examples[:6]
    policy = base_model_of("microworld/small").policy()
    for one, found in zip(rows, quality_scores(rows, "ifd", "microworld/small"), strict=True):
        assert isinstance(one.record, Demonstration)
        asked, answer = one.record.messages
        (given,) = policy.score([Prompt(messages=(asked,))], [answer.content])
        (alone,) = policy.score([Prompt()], [answer.content])
        wanted = math.exp(-given.logprob / given.tokens) / math.exp(-alone.logprob / alone.tokens)
        assert found == pytest.approx(wanted, rel=1e-5)


def test_curation_scores_bounds_and_chooses_by_the_score() -> None:
    rows = named_examples("microworld/curated-1k").examples[:30]
    steps = parse_steps([{"score": {"scorer": "ifd", "model": "microworld/small", "below": 1}},
                         {"best": {"n": 5, "column": "ifd"}}])  # fmt: skip
    found = curate(rows, steps)
    scores = quality_scores(rows, "ifd", "microworld/small")
    wanted = sorted((score for score in scores if score < 1), reverse=True)[:5]
    assert sorted((one.extra["ifd"] for one in found.examples), reverse=True) == pytest.approx(wanted, rel=1e-5)
    assert found.funnel[0].removed == {"ifd of 1 or more": sum(score >= 1 for score in scores)}


def test_the_scorer_none_changes_nothing() -> None:
    rows = (row("a", "q", "x"),)
    assert curate(rows, parse_steps([{"score": {"scorer": "none"}}])).examples == rows


def reward_model(folder: Path, labels: int) -> str:
    import torch
    import transformers

    from harness.policy.base_model import BaseSpec
    from harness.policy.sources import locate

    source = locate(BaseSpec("microworld/small"))
    config = transformers.AutoConfig.from_pretrained(source)
    config.num_labels = labels
    torch.manual_seed(0)
    transformers.LlamaForSequenceClassification(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


def test_a_reward_model_scores_each_row_by_itself(tmp_path: Path) -> None:
    import torch
    import transformers

    name = reward_model(tmp_path / "reward", 1)
    rows = named_examples("microworld/curated-1k").examples[:3]
    scores = quality_scores(rows, "reward", name)
    assert scores == pytest.approx([quality_scores([one], "reward", name)[0] for one in rows])
    assert len(set(scores)) == 3
    model = transformers.AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    chat = [{"role": m.role, "content": m.content} for m in rows[0].record.messages]  # type: ignore[union-attr]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        assert scores[0] == pytest.approx(float(model(**ids).logits[0, 0]), abs=1e-5)


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    rows = [row("a", "q", "x")]
    for name in (reward_model(tmp_path / "two", 2), "microworld/small"):
        with pytest.raises(UserError, match="it is not a reward model"):
            quality_scores(rows, "reward", name)
    with pytest.raises(UserError, match="unknown scorer 'idf'"):
        quality_scores(rows, "idf", "microworld/small")
    with pytest.raises(UserError, match="needs a model"):
        quality_scores(rows, "ifd", "")
