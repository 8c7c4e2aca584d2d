"""A base whose files are damaged, incomplete or of another configuration is refused, before or as it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.files import HARNESS
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate

SHIPPED = HARNESS / "microworld" / "models" / "tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "model"))


def divided(model: Path) -> None:
    (model / WEIGHTS).rename(model / "model-1.safetensors")
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda m: (m / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
        (lambda m: (m / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of"),
        (lambda m: (m / WEIGHTS).write_bytes((m / WEIGHTS).read_bytes()[:-8]), "is damaged: it has"),
        (lambda m: (m / WEIGHTS).write_bytes(b"PK\3\4 and something else"), "a header of .* is announced"),
        (lambda m: (m / WEIGHTS).write_bytes(b""), "is damaged: it has 0 bytes"),
        (lambda m: (m / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]"), "its header cannot be read"),
        (divided, "it lacks model-2.safetensors, which the index of its weights names"),
    ],
)
def test_damaged_files_are_found_as_the_run_is_planned(damage: Callable[[Path], Any], said: str, model: Path) -> None:
    spec = BaseSpec(str(model))
    assert locate(spec) == model
    damage(model)
    with pytest.raises(UserError, match=said) as refused:
        locate(spec)
    assert refused.value.where == str(model)
    assert refused.value.fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: {"num_hidden_layers": c["num_hidden_layers"] + 1}, r"lack \d+ of .*, which would be random"),
        (lambda c: {"num_hidden_layers": c["num_hidden_layers"] - 1}, r"does not ask for, which would be left out"),
        (lambda c: {"tie_word_embeddings": False}, r"lack 1 of the model's weights \(lm_head.weight\)"),
        (lambda c: {"intermediate_size": 2 * c["intermediate_size"]}, r"of another shape than its config.json asks"),
        (lambda c: {"model_type": "bert"}, r"lack \d+ of"),
    ],
)
def test_no_weight_of_a_base_is_random_or_left_out(
    change: Callable[[dict[str, Any]], dict[str, Any]], said: str, model: Path
) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **change(config)}))
    with pytest.raises(UserError, match=said):
        BaseModel(BaseSpec(str(model)), model).load()


def test_a_configuration_that_is_not_a_mapping_is_told_without_a_traceback(model: Path) -> None:
    (model / "config.json").write_text("[]")
    base = BaseModel(BaseSpec(str(model)), model)
    for read in (lambda: base.config, lambda: base.tokenizer):
        with pytest.raises(UserError, match="does not load"):
            read()
