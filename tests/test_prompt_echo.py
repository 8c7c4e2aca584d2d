"""Words that an answer copies from its prompt, by hand, and the rate of two policies whose answers are known."""

from __future__ import annotations

import pytest

from benchmarks.prompt_echo import PromptEcho, copied_share
from harness.files import HARNESS
from harness.policy.base_model import BaseModel, BaseSpec
from methods.echo import Echo


@pytest.mark.parametrize(
    ("answer", "prompt", "share"),
    [
        ("a b c d", "x a b c d y", 1.0),
        ("a b c d e", "x a b c d y", 0.8),
        ("a b c x d", "a b c d", 0.0),
        ("z a b c d z z z", "a b c d", 0.5),
        ("a b c d e f", "a b c d q b c d e f", 1.0),
        ("a b c", "a b c", 0.0),
        ("", "a b c d", 0.0),
        ("a b c d a b c d", "a b c d", 1.0),
    ],
)
def test_words_in_runs_of_four_that_the_prompt_has_are_copied(answer: str, prompt: str, share: float) -> None:
    assert copied_share(answer.split(), prompt.split(), 4) == share


def test_a_copy_of_the_prompt_echoes_every_prompt_that_has_four_words() -> None:
    base = BaseModel(BaseSpec("microworld/small"), HARNESS / "microworld" / "models" / "small")
    policy = Echo().load(base, base.folder, {})
    found = list(PromptEcho(limit=2, max_new_tokens=200).evaluate(policy, 0))
    assert found
    assert all(one.metrics == {"echo": 1.0, "copied": 1.0} for one in found)
