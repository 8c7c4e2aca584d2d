"""On a machine with a GPU: every check of the kit at a small shape (`pytest -m gpu tests/gpu`)."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_kit
import pytest
import torch

pytestmark = pytest.mark.gpu


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_every_check_runs_in_bfloat16_and_a_second_fit_has_the_same_bytes(tmp_path: Path) -> None:
    assert gpu_kit.main([str(tmp_path), "--device", "cuda", "--shape", "tiny"]) == 0
    checks = json.loads((tmp_path / "gpu.json").read_text())["checks"]
    for name in ("sft", "lora", "loreft"):
        assert checks["determinism"][f"{name}_equal_bytes"], name
    assert checks["sft"]["peak_gb"] > 0
