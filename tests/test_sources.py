"""Finding a model: shipped, in a folder, or in the hub cache; and the digest that names its bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from harness.errors import UserError
from harness.policy.base_model import BaseSpec
from harness.policy.sources import locate, model_digest, parameter_count

SHIPPED = ROOT / "harness" / "microworld" / "models" / "small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_cache(home: Path, model: str) -> None:
    """The layout that huggingface_hub writes: snapshots/COMMIT linked from refs/main."""
    repository = home / "hub" / f"models--{model.replace('/', '--')}"
    shutil.copytree(SHIPPED, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


def test_a_model_in_the_hub_cache_is_loaded_by_its_id_offline_and_runs(tmp_path: Path) -> None:
    hub_cache(tmp_path, "somebody/tiny-model")
    code = (
        "from harness.policy.base_model import BaseModel, BaseSpec\nfrom harness.policy.sources import locate\n"
        "from harness.policy.types import Prompt, Sampling\n"
        "spec = BaseSpec('somebody/tiny-model')\nbase = BaseModel(spec, locate(spec))\n"
        "print(base.folder.name, base.policy().sample([Prompt(text='question :')], Sampling(3), ['a'])[0][0].finish)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == COMMIT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("microworld/smal", "microworld/small"),
        ("nobody/nothing-here", "not on this machine"),
        ("./nowhere", "no such folder"),
    ],
)
def test_a_model_that_is_nowhere_is_a_users_mistake(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        locate(BaseSpec(name))


def test_pickled_weights_are_refused_before_anything_reads_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(UserError, match="no safetensors weights"):
        locate(BaseSpec(str(tmp_path)))


def test_the_digest_follows_weights_and_tokenizer_but_not_notes_or_place(tmp_path: Path) -> None:
    cache = tmp_path / "digests.json"
    for name in ("one", "two"):
        shutil.copytree(SHIPPED, tmp_path / name)
    first = model_digest(tmp_path / "one", cache)
    assert model_digest(tmp_path / "two", cache) == first == model_digest(tmp_path / "one", cache)
    (tmp_path / "two" / "README.md").write_text("a note")
    assert model_digest(tmp_path / "two", cache) == first
    weights = tmp_path / "two" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_digest(tmp_path / "two", cache) != first


def test_parameters_are_counted_from_the_headers() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    assert parameter_count(SHIPPED) == sum(parameter.numel() for parameter in model.parameters())
