"""Embeddings: padding moves nothing, equal texts are equal, and what is asked in other words is found by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest
from command_line import bakeoff
from numpy.typing import NDArray

from harness.curation.contamination import find_contamination
from harness.curation.step_kinds import k_center
from harness.errors import UserError
from harness.policy.embeddings import Embedder
from harness.records import Demonstration, Message, TestItem, TestSet

TEXTS = ["where does kalo live ?", "what is the weather in oslo on monday", "buy", "", "where does kalo live ?"]


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    embed = Embedder("microworld/small")
    together = embed(TEXTS)
    alone = numpy.concatenate([embed([text]) for text in TEXTS])
    assert numpy.allclose(together, alone, atol=1e-6)
    assert numpy.allclose(numpy.linalg.norm(together, axis=1), [1, 1, 1, 0, 1], atol=1e-5)
    assert numpy.allclose(together[0], together[4], atol=1e-6)


def test_a_model_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="microworld/larg"):
        Embedder("microworld/larg")


def test_the_rows_that_are_chosen_lie_far_apart_in_the_models_eyes() -> None:
    """Four texts twice each: the first four that are chosen are the four different ones."""
    texts = ["where does kalo live ?", "buy 3 plum", "paint the house red", "wake me at 9 on monday"] * 2
    chosen = k_center(texts, 4, seed=0, model="microworld/small")
    assert len({texts[at] for at in chosen}) == 4


def asking(*texts: str) -> list[Demonstration]:
    return [
        Demonstration((Message("user", text), Message("assistant", "yes")), f"r{at}") for at, text in enumerate(texts)
    ]


def directions(texts: Sequence[str]) -> NDArray[numpy.float32]:
    """Two directions in the plane: that of cats, and that of everything else; a kitten lies 20 degrees off."""
    angles = {"cat": 0.0, "kitten": numpy.pi / 9}
    found = [next((angle for word, angle in angles.items() if word in text), numpy.pi / 2) for text in texts]
    return numpy.stack([numpy.cos(found), numpy.sin(found)], axis=1).astype(numpy.float32)


def test_what_is_asked_in_other_words_matches_above_the_cosine_alone() -> None:
    """cos 20 degrees = 0.9397."""
    tests = [TestSet("pets", (TestItem("a", "does the cat sleep"), TestItem("b", "where is the door")))]
    rows = asking("is a kitten asleep", "what time is it")
    found = find_contamination(rows, tests, embed=directions, similar=0.93)
    assert [(match.item, match.row, match.how) for match in found.matches] == [
        ("a", 0, "embedding"),
        ("b", 1, "embedding"),
    ]
    assert found.matches[0].coverage == pytest.approx(0.9397, abs=1e-4)
    strict = find_contamination(rows, tests, embed=directions, similar=0.95)
    assert [match.item for match in strict.matches] == ["b"]


def test_the_command_line_compares_by_a_model_where_one_is_named(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text(json.dumps({"prompt": "where does kalo live", "completion": "oslo"}) + "\n")
    test.write_text(json.dumps({"prompt": "where does kalo live ?  please", "answer": "x"}) + "\n")
    plain = bakeoff("data", "decontaminate", train, "--against", test)
    assert "0 of 1 items" in plain.stdout
    words = ["--embed", "microworld/small", "--similar", 0.5]
    near = bakeoff("data", "decontaminate", train, "--against", test, *words)
    assert near.returncode == 0, near.stderr
    assert "1 of 1 items" in near.stdout
    assert "by embedding" in near.stdout
