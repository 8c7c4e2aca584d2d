"""The control of DPO: the chosen answers as demonstrations, from DPO's own start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext
from harness.policy.base_model import BaseModel
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from methods.base import Base
from methods.dpo import Dpo
from methods.sft import Sft
from methods.sft_on_chosen import SftOnChosen
from tests.test_dpo import DATA, PAIRS, Wrapped, base, started, write_base  # noqa: F401

METHOD = SftOnChosen(start=Base(), learning_rate=1e-2, epochs=3, batch_size=4)


def test_from_the_base_it_is_fine_tuning_on_the_chosen_answers_byte_for_byte(
    base: BaseModel,  # noqa: F811
    tmp_path: Path,
) -> None:
    demonstrations = tuple(Demonstration((*p.prompt, Message("assistant", p.chosen)), p.id) for p in PAIRS)
    for name in ("chosen", "same", "other"):
        (tmp_path / name).mkdir()
    report = METHOD.fit(base, DATA, started(base), tmp_path / "chosen", FitContext(0, 4))
    sft = Sft(learning_rate=1e-2, epochs=3, batch_size=4)
    same = sft.fit(base, TrainingData(demonstrations), {}, tmp_path / "same", FitContext(0, 4))
    # the rejected answers have no part in it
    swapped = TrainingData(preferences=tuple(replace(pair, rejected="w15") for pair in PAIRS))
    METHOD.fit(base, swapped, started(base), tmp_path / "other", FitContext(0, 4))
    chosen, *others = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("chosen", "same", "other"))
    assert others == [chosen, chosen]
    assert report == same


def test_it_begins_at_its_start(base: BaseModel, tmp_path: Path) -> None:  # noqa: F811
    other = write_base(tmp_path / "start", seed=7)
    (tmp_path / "out").mkdir()
    still = replace(METHOD, learning_rate=0.0)
    still.fit(base, DATA, started(base, other.policy), tmp_path / "out", FitContext(0, 4))
    policy = still.load(base, tmp_path / "out", {})
    prompts, answers = ["w1 w2", "w3"], ["w4", "w5 w6"]
    asked = [Prompt(text=text) for text in prompts]
    assert policy.score(asked, answers) == other.policy().score(asked, answers)
    assert policy.score(asked, answers) != base.policy().score(asked, answers)


def test_a_start_that_is_more_than_one_model_and_no_pairs_are_refused(
    base: BaseModel,  # noqa: F811
    tmp_path: Path,
) -> None:
    wrapped = Wrapped(base.policy().model, base.encoder)
    with pytest.raises(UserError, match="makes a Wrapped"):
        METHOD.fit(base, DATA, started(base, lambda: wrapped), tmp_path, FitContext(0, 4))
    with pytest.raises(UserError, match="no preference pairs"):
        METHOD.fit(base, TrainingData(), started(base), tmp_path, FitContext(0, 4))


def test_its_default_start_is_that_of_dpo() -> None:
    assert SftOnChosen().requires() == Dpo().requires() == {"start": ArtifactSpec(Sft())}
