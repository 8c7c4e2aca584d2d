"""The GPU kit runs from end to end on a CPU with a tiny shape, and says what it measured and what it did not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
import gpu_kit
import gpu_parts

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    assert gpu_kit.main([str(folder), "--device", "cpu", "--shape", "tiny"]) == 0
    return folder


def test_every_check_gives_its_figures(out: Path) -> None:
    found = json.loads((out / "gpu.json").read_text())
    checks = found["checks"]
    assert not [name for name, one in checks.items() if "failed" in one or "not reached" in one]
    for name in ("sft", "bare training", "lora", "loreft", "dpo", "grpo", "proxy_tuning"):
        assert checks[name]["tokens_per_second"] > 0, name
    assert checks["decoding"]["greedy_bare_tokens_per_second"] > 0
    assert checks["scoring"]["largest_difference_nats"] < 1e-3
    assert checks["proxy_tuning"]["equal_experts_cancel"]
    assert all(checks["determinism"][f"{name}_equal_bytes"] for name in ("sft", "lora", "loreft"))
    assert checks["determinism"]["sample_equal_tokens"]
    assert checks["determinism"]["share_equal_in_another_batch"] == 1
    assert checks["placement"]["as_expected"]
    assert any("lora" in line for line in checks["plan --estimate"]["said"])
    assert found["versions"]["torch"][0].isdigit()


def test_the_page_claims_nothing_about_a_gpu(out: Path) -> None:
    page = (out / "README.md").read_text()
    assert "claim nothing about a GPU" in page
    assert "| sft | tokens per second |" in page


def test_a_check_that_fails_is_recorded_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_checks

    def broken(rig: gpu_checks.Rig) -> dict[str, object]:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(gpu_checks, "CHECKS", {"first": broken, "placement": gpu_checks.placement})
    monkeypatch.setattr(gpu_kit, "estimate", lambda *arguments: {})
    assert gpu_kit.main([str(tmp_path), "--device", "cpu", "--shape", "tiny"]) == 1
    checks = json.loads((tmp_path / "gpu.json").read_text())["checks"]
    assert checks["first"] == {"failed": "RuntimeError: out of luck"}
    assert checks["placement"]["as_expected"]


def test_what_would_begin_too_late_is_not_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kit, "estimate", lambda *arguments: {})
    assert gpu_kit.main([str(tmp_path), "--device", "cpu", "--shape", "tiny", "--minutes", "0", "--only", "sft"]) == 0
    checks = json.loads((tmp_path / "gpu.json").read_text())["checks"]
    assert checks["sft"] == {"not reached": "0 minutes were over"}


def test_the_parts_are_wheels_of_the_versions_here_without_what_they_need() -> None:
    command = gpu_parts.command(Path("parts"), "3.12")
    assert "--no-deps" in command
    assert any(part.startswith("trl==1.") for part in command)
    assert not any(part.startswith(("torch==", "transformers==", "peft==")) for part in command)
    assert ".gpu_parts/" in (ROOT / ".gitignore").read_text().split()
