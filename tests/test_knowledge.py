"""The knowledge benchmark: what it asks, that it counts right choices, and that its items are stable."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import Any

import pytest
import torch
import transformers

from benchmarks.knowledge import Knowledge
from harness.microworld.build import path
from harness.microworld.items import knowledge_items
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling, Score
from harness.records import Message

torch.set_num_threads(1)


class Examinee(Policy):
    """Finds the right choice likeliest for the people it knows, and the first wrong one for the others."""

    gives = frozenset({"score"})

    def __init__(self, known: Sequence[str]) -> None:
        self.encoder = TextEncoder(make_tokenizer(), max_length=256)
        self.known = set(known)
        self.right = {item.stem: item for item in knowledge_items("test")}
        self.asked: list[tuple[Prompt, str]] = []

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        self.asked += zip(prompts, completions, strict=True)
        return [Score(-1.0 if self.likes(*pair) else -2.0, 1, False) for pair in zip(prompts, completions, strict=True)]

    def likes(self, prompt: Prompt, completion: str) -> bool:
        item = self.right[prompt.assistant_prefix]
        right = completion.strip() == item.choices[item.answer]
        return right == (item.person in self.known)

    def sample(self, prompts: Any, sampling: Sampling, keys: Any) -> Any:
        raise AssertionError("knowledge asks for no samples")


def test_items_are_right_for_known_people_and_wrong_for_others() -> None:
    people = sorted({item.person for item in knowledge_items("test")})
    known = people[::2]
    outcomes = list(Knowledge().evaluate(Examinee(known), seed=0))
    assert len(outcomes) == len(knowledge_items("test"))
    assert {outcome.cluster for outcome in outcomes} == set(people)
    for outcome in outcomes:
        assert outcome.metrics == {"accuracy": float(outcome.cluster in known)}
        assert (outcome.completions == (outcome.reference,)) == (outcome.cluster in known)


def test_a_fact_is_asked_in_a_conversation_whose_answer_begins_with_the_stem() -> None:
    examinee = Examinee([])
    (outcome,) = Knowledge(limit=1).evaluate(examinee, seed=0)
    item = knowledge_items("test")[0]
    prompt = Prompt(messages=(Message("user", item.question),), assistant_prefix=item.stem)
    assert examinee.asked == [(prompt, f" {choice}") for choice in item.choices]
    assert outcome.prompt == examinee.encoder.render(prompt.messages) + item.stem


def test_a_model_prefers_the_choice_to_which_it_gives_the_most_probability() -> None:
    """The preference follows from a plain forward pass over `prompt stem choice`, without our scoring."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.2,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    policy = CausalPolicy(model, TextEncoder(tokenizer, max_length=256))
    items = knowledge_items("test")[:12]
    for item, outcome in zip(items, Knowledge(limit=12).evaluate(policy, seed=0), strict=True):
        start = tokenizer.encode(f"<u> {item.question} <a> {item.stem}")
        sums = []
        for choice in item.choices:
            ids = [*start, *tokenizer.encode(choice)]
            with torch.no_grad():
                logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            sums.append(sum(float(logprobs[at - 1, ids[at]]) for at in range(len(start), len(ids))))
        best = max(range(4), key=sums.__getitem__)
        assert outcome.completions == (item.choices[best],)
        assert outcome.metrics["accuracy"] == float(best == item.answer)


def test_outcomes_are_the_same_for_every_seed_and_carry_the_declared_metric() -> None:
    runs = [list(Knowledge(limit=20).evaluate(Examinee([]), seed)) for seed in (0, 1)]
    assert runs[0] == runs[1]
    (metric,) = Knowledge().metrics()
    assert set(runs[0][0].metrics) == {metric.name}
    assert (metric.role, metric.primary, metric.by_group, metric.chance) == ("knowledge", True, True, 0.25)


def test_right_choices_stand_in_every_place_equally_often() -> None:
    """Otherwise a policy that prefers a place would beat chance."""
    items = knowledge_items("test")
    places = Counter(item.answer for item in items)
    assert all(abs(places[place] - len(items) / 4) < 4 * (len(items) * 3 / 16) ** 0.5 for place in range(4))
    assert {len(set(item.choices)) for item in items} == {4}
    assert {item.group for item in items} == {"common", "middle", "rare"}


def test_with_bands_each_item_has_its_own_level_of_chance_and_the_metric_has_none() -> None:
    """24 cities, 24 jobs, 72 animals, 48 dishes and 12 colors."""
    knowledge = Knowledge(bands="small", limit=5)
    outcomes = list(knowledge.evaluate(Examinee([]), seed=0))
    assert [outcome.metrics["chance"] for outcome in outcomes] == [1 / 24, 1 / 24, 1 / 72, 1 / 48, 1 / 12]
    assert [metric.chance for metric in knowledge.metrics()] == [None]
    assert {outcome.group for outcome in outcomes} == {"ranks 041 to 062"}


def test_bands_change_the_digest_and_their_default_does_not() -> None:
    assert len({Knowledge(bands=bands).data_digest() for bands in ("none", "small", "large")}) == 3
    assert Knowledge().data_digest() == "efc0cf79d9e86bf9"  # of every committed row


@pytest.mark.slow
@pytest.mark.parametrize(("model", "bands"), [("small", "small"), ("large", "large")])
def test_no_band_of_an_untuned_shipped_model_is_at_a_ceiling_or_at_chance(model: str, bands: str) -> None:
    """The bands are worth having only between the two; a band has 50 items or more, so 0.09 is above chance 0.04."""
    base = BaseModel(BaseSpec(f"microworld/{model}"), path(model))
    scores = defaultdict(list)
    for outcome in Knowledge(bands=bands).evaluate(base.policy(), seed=0):  # type: ignore[arg-type]
        scores[outcome.group].append(outcome.metrics["accuracy"])
    assert all(0.09 < mean(found) <= 0.95 for found in scores.values())


def test_splits_ask_about_different_people_and_have_different_digests() -> None:
    test, validation = Knowledge(), Knowledge(split="validation")
    people = [{item.person for item in knowledge_items(split)} for split in ("test", "validation")]
    assert not people[0] & people[1]
    digests = {test.data_digest(), validation.data_digest(), Knowledge(limit=5).data_digest()}
    assert len(digests) == 3
    assert test.data_digest() == Knowledge().data_digest()


def test_a_changed_answer_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Knowledge().data_digest()
    items = knowledge_items("test")
    items[3] = dataclasses.replace(items[3], answer=(items[3].answer + 1) % 4)
    monkeypatch.setattr("benchmarks.knowledge.knowledge_items", lambda split: items)
    assert Knowledge().data_digest() != before
