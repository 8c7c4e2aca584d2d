"""The control that copies the prompt: what it answers, and the score that a copy gets from rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ifeval import IFEval
from harness.engine.contract import conduct
from harness.engine.contract.bench import Broken
from harness.files import HARNESS
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt, Sampling
from harness.records import Message
from methods.echo import Echo, EchoPolicy

ROWS = [
    ("no commas", "name a color . use no commas", "punctuation:no_comma", {}),
    ("a word", "name a color . use the word red", "keywords:existence", {"keywords": ["red"]}),
    ("a comma", "name a red , blue or green color . use no commas", "punctuation:no_comma", {}),
    ("twice", "use red twice", "keywords:frequency", {"keyword": "red", "frequency": 2, "relation": "at least"}),
]


@pytest.fixture(scope="module")
def policy() -> EchoPolicy:
    base = BaseModel(BaseSpec("microworld/small"), HARNESS / "microworld" / "models" / "small")
    return EchoPolicy(base.encoder)


def test_the_answer_is_the_last_turn_cut_at_stop_strings_and_length(policy: EchoPolicy) -> None:
    talk = Prompt((Message("user", "hello"), Message("assistant", "hi"), Message("user", "name a red color")))
    ((one, two),) = policy.sample([talk], Sampling(20, samples=2, temperature=1.0), ["k"])
    assert (one.text, one.finish) == ("name a red color", "stop")
    assert one == two
    ((cut,),) = policy.sample([talk], Sampling(20, stop=(" red",)), ["k"])
    assert (cut.text, cut.finish) == ("name a", "stop_string")
    ((short,),) = policy.sample([talk], Sampling(2), ["k"])
    assert (short.text, short.finish, len(short.token_ids)) == ("name a", "length", 2)
    ((bare,),) = policy.sample([Prompt(text="once")], Sampling(20), ["k"])
    assert bare.text == ""


def test_a_copy_satisfies_rules_whose_words_are_in_the_prompt(policy: EchoPolicy, tmp_path: Path) -> None:
    rows = [
        {"key": at, "prompt": prompt, "instruction_id_list": [rule], "kwargs": [arguments]}
        for at, (_, prompt, rule, arguments) in enumerate(ROWS)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = IFEval(data=str(file), max_new_tokens=40).evaluate(policy, 0)
    assert [outcome.metrics["prompt_strict"] for outcome in found] == [1.0, 1.0, 0.0, 0.0]


def test_fixed_answers_that_differ_fail_the_check(policy: EchoPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    base = BaseModel(BaseSpec("microworld/small"), HARNESS / "microworld" / "models" / "small").policy()
    bench = type("Given", (), {"method": Echo(), "policy": lambda self: base})()
    monkeypatch.setattr(conduct, "_sampling", lambda given: given.policy())
    with pytest.raises(Broken, match="one answer to each prompt, as answers_are_fixed declares"):
        conduct.sampling_follows_seed_and_temperature(bench)
