"""Perplexity: its units, what the text is asked after, and how long documents are cut."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saying import PlainText

from benchmarks._held_out_text import pieces
from benchmarks.perplexity import Perplexity
from harness.errors import UserError
from harness.microworld.corpus import KINDS, documents, held_out
from harness.microworld.word_lists import ATTRIBUTES
from harness.microworld.world import plain_words, the_world
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling, Score


class Uniform(Policy):
    """Finds each of 1,024 words equally likely: 10 bits a word."""

    gives = frozenset({"score"})

    def __init__(self) -> None:
        self.encoder = PlainText()  # type: ignore[assignment]
        self.asked: list[Prompt] = []

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        self.asked += prompts
        return [Score(-len(text.split()) * math.log(1024), len(text.split()), False) for text in completions]

    def sample(self, prompts: Any, sampling: Sampling, keys: Any) -> Any:
        raise AssertionError("perplexity asks for no samples")


def test_bits_are_per_byte_and_nats_per_token_weighted_by_length(tmp_path: Path) -> None:
    """`ab cd` is 5 bytes and 2 words: 20 bits / 5 = 4; `é` is 2 bytes and 1 word: 5. Together 30 / 7, not 4.5."""
    file = tmp_path / "text.txt"
    file.write_text("ab cd\n\n\n\né\n", "utf-8")
    found = list(Perplexity(data=str(file)).evaluate(Uniform(), seed=0))
    assert [one.metrics["bits_per_byte"] for one in found] == pytest.approx([4.0, 5.0])
    assert [one.metrics["nats_per_token"] for one in found] == pytest.approx([math.log(1024)] * 2)
    assert [one.weights for one in found] == [
        {"bits_per_byte": 5.0, "nats_per_token": 2.0},
        {"bits_per_byte": 2.0, "nats_per_token": 1.0},
    ]
    whole = sum(one.metrics["bits_per_byte"] * one.weights["bits_per_byte"] for one in found) / 7
    assert whole == pytest.approx(30 / 7)


def test_text_is_never_scored_after_an_empty_prompt_or_bare_text() -> None:
    """Methods that act on prompts leave both alone, and would seem to forget nothing."""
    policy = Uniform()
    list(Perplexity(limit=2).evaluate(policy, seed=0))
    assert {prompt.text for prompt in policy.asked} == {""}
    assert {prompt.messages[0].content for prompt in policy.asked} == {"please write"}
    assert len(set(policy.asked)) == 1


def test_the_microworlds_documents_are_of_every_kind_and_in_its_vocabulary() -> None:
    found = held_out("test", 40)
    counts = Counter(document.kind for document in found)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 30
    known = {*plain_words(), *the_world().people}
    assert {word.lower() for document in found for word in document.text.split()} <= known
    assert len({document.id for document in found}) == len(found)
    assert not {one.text for one in found} & {one.text for one in held_out("validation", 40) if one.kind == "story"}


def test_held_out_documents_with_much_in_them_are_not_in_the_corpus_that_trains() -> None:
    """Of 20,000 training documents, no story and no text of three facts or more is among them."""
    stream = documents()
    trained = {next(stream) for _ in range(20_000)}
    rich = [d.text for d in held_out("test", 40) if d.kind == "story" or (d.kind == "facts" and d.text.count(".") > 2)]
    assert len(ATTRIBUTES) == 5
    assert len(rich) > 40
    assert not trained & set(rich)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60), st.integers(1, 12))
def test_pieces_lose_nothing_but_white_space(text: str, longest: int) -> None:
    found = [piece.text for piece in pieces("d", text, longest)]
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= longest for piece in found)


def test_a_long_row_becomes_pieces_of_one_cluster(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"body": text}) for text in ("one two three", "", "four")))
    found = list(Perplexity(data=str(file), column="body", longest=8).evaluate(Uniform(), seed=0))
    assert [(one.item, one.cluster, one.completions[0]) for one in found] == [
        ("test-0-0", "test-0", "one two"),
        ("test-0-1", "test-0", "three"),
        ("test-2-0", "test-2", "four"),
    ]


def test_mistakes_say_what_would_be_right(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"body": "x"}))
    for fields, said in (
        ({"data": str(file)}, "Set column to one of: body"),
        ({"data": str(tmp_path / "no.txt")}, "the file does not exist"),
        ({"split": "train"}, "unknown split 'train'"),
    ):
        with pytest.raises(UserError, match=said):
            Perplexity(**fields).data_digest()
    with pytest.raises(UserError, match="longest is 0"):
        Perplexity(longest=0)


def test_the_digest_follows_the_text_and_the_request() -> None:
    plain = Perplexity(limit=3)
    assert plain.data_digest() == Perplexity(limit=3).data_digest()
    others = [Perplexity(limit=4), Perplexity(limit=3, request="say"), Perplexity(limit=3, split="validation")]
    assert len({plain.data_digest(), *(other.data_digest() for other in others)}) == 4
