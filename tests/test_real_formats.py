"""Rows as others publish them train a real checkpoint for a few updates: through detection, template and masking."""

from __future__ import annotations

from pathlib import Path

import pytest
from stories260k import convert

from harness.data.load import DataSpec, load_set
from harness.method import FitContext, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.policy import Policy
from harness.policy.types import Prompt
from harness.records import Demonstration, TrainingData
from harness.training.labelled_rows import training_rows
from methods.base import Base
from methods.dpo import Dpo
from methods.sft import Sft
from tests.test_stories260k import TEMPLATE

ROWS = 12
SFT = Sft(learning_rate=1e-3, updates=2, batch_size=6, warmup_ratio=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    from conftest import SHARED

    if not (SHARED / "stories260k").is_dir():
        pytest.skip(f"the checkpoint of {SHARED / 'stories260k'} is not here")
    folder = tmp_path_factory.mktemp("base")
    (folder / "chat.jinja").write_text(TEMPLATE)
    model = convert(SHARED / "stories260k", folder / "model")
    return BaseModel(BaseSpec(str(model), chat_template=str(folder / "chat.jinja")), model)


def tokens(base: BaseModel, row: Demonstration, whole: bool = True) -> int:
    """The length of a conversation, or of what stands before its first answer."""
    turn = next(at for at, message in enumerate(row.messages) if message.role == "assistant")
    messages = row.messages if whole else row.messages[:turn]
    return len(base.encoder.tokens(base.encoder.render(messages, generation_prompt=not whole)))


def fitted(method: Method, base: BaseModel, data: TrainingData, out: Path) -> tuple[Policy, list[tuple[int, float]]]:
    out.mkdir()
    inputs = {role: Input(out, base, base.policy) for role in method.requires()}
    report = method.fit(base, data, inputs, out, FitContext(0, 2))
    return method.load(base, out, inputs), report.notes["loss"]


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("ultrafeedback_sft1k/ultrafeedback_1k.json", marks=pytest.mark.slow),
        "llama_factory_demo/identity.json",
        pytest.param("llama_factory_demo/glaive_toolcall_en_demo.json", marks=pytest.mark.slow),
    ],
)
def test_published_demonstrations_become_likelier_in_two_updates(
    file: str, base: BaseModel, shared_data: Path, tmp_path: Path
) -> None:
    records = load_set("demonstrations", DataSpec(str(shared_data / file))).records
    # a context of 512 tokens holds the short ones whole; a conversation that is too long is cut, and said to be
    whole = [row for row in records[:60] if tokens(base, row) < 480][: ROWS - 1]
    long = [row for row in records[:60] if tokens(base, row, whole=False) < 480 and tokens(base, row) > 560]
    cut = long[:1]
    data = TrainingData(tuple(whole + cut))
    assert len(whole) >= 5
    # a conversation whose turns cannot share a row is several rows, each of which may be cut
    assert bool(training_rows(data.demonstrations, base.encoder).truncated) == bool(cut)
    policy, curve = fitted(SFT, base, data, tmp_path / "artifact")
    assert len(curve) == 2
    prompts = [Prompt(messages=row.messages[:-1]) for row in whole]
    answers = [row.messages[-1].content for row in whole]
    assert {row.messages[-1].role for row in whole} == {"assistant"}
    tuned, untuned = (sum(s.logprob for s in p.score(prompts, answers)) for p in (policy, base.policy()))
    assert tuned > untuned


@pytest.mark.slow
def test_published_preference_pairs_widen_their_margin(base: BaseModel, shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "llama_factory_demo" / "dpo_en_demo.json"
    records = load_set("preferences", DataSpec(str(file))).records
    pairs = sorted(records, key=lambda row: len(row.prompt[0].content + row.chosen + row.rejected))
    method = Dpo(start=Base(), learning_rate=1e-3, batch_size=4, epochs=1, warmup_ratio=0.0)
    policy, curve = fitted(method, base, TrainingData(preferences=tuple(pairs[:8])), tmp_path / "artifact")
    assert len(curve) == 2
    assert curve[0][1] == pytest.approx(0.6931, abs=1e-3)
    prompts = [Prompt(messages=pair.prompt) for pair in pairs[:8]]
    margins = [
        sum(
            better.logprob - worse.logprob
            for better, worse in zip(
                by.score(prompts, [pair.chosen for pair in pairs[:8]]),
                by.score(prompts, [pair.rejected for pair in pairs[:8]]),
                strict=True,
            )
        )
        for by in (base.policy(), policy)
    ]
    assert margins[1] > margins[0]
