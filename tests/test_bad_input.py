"""What goes wrong in a run: one clear message, exit code 2 or a failed cell, no traceback, nothing finished lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import outside
import pytest
from command_line import bakeoff, in_a_process_of_its_own
from conftest import ROOT

QUICK = ["--set", "bases=[microworld/small]", "--set", "reference=null", "--set", "knowledge.limit=8"]
QUICK += ["--set", "instruction_following.limit=1"]


def places(folder: Path, *words: str) -> list[str]:
    return ["run", *words, "--store", str(folder / "store"), "--out", str(folder / "results")]


def cells(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    listed = json.loads((folder / "results" / "matrix.json").read_text())["cells"]
    return {(cell["method"], cell["benchmark"]): (cell["state"], cell["why"]) for cell in listed}


def shipped(name: str) -> Path:
    return ROOT / "harness" / "microworld" / "models" / name


def with_two_tokens_exchanged(source: Path, target: Path) -> Path:
    """The model's folder with the ids of two words exchanged in its tokenizer."""
    shutil.copytree(source, target)
    file = target / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    words = tokenizer["model"]["vocab"]
    one, two = sorted(words, key=words.__getitem__)[100:102]
    words[one], words[two] = words[two], words[one]
    file.write_text(json.dumps(tokenizer))
    return target


def test_a_small_base_with_another_tokenizer_fails_its_cells_alone_and_names_tokens(tmp_path: Path) -> None:
    small = with_two_tokens_exchanged(shipped("small"), tmp_path / "other")
    words = places(tmp_path, "demo.yaml")
    methods = "methods=[base, {proxy_tuning: {expert: {prompting: {demonstrations: 1}}}, as: proxy}]"
    done = bakeoff(*words, *QUICK, "--set", f"small_base={small}", "--set", methods)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    state, why = cells(tmp_path)["proxy", "knowledge"]
    assert state == "failed"
    assert "the vocabularies differ in 2 tokens" in why
    assert "Choose a small base of the same family" in why
    assert cells(tmp_path)["base", "knowledge"] == ("done", "")


def test_a_benchmark_that_scores_is_not_applicable_to_a_policy_that_only_samples(tmp_path: Path) -> None:
    package = outside.install(tmp_path)
    method = (package / "outside_method.py").read_text()
    (package / "outside_method.py").write_text(
        method.replace("    libraries = ()", '    libraries = ()\n    gives = frozenset({"sample"})')
    )
    file = outside.experiment(tmp_path, benchmarks="[knowledge]")
    done = in_a_process_of_its_own(*places(tmp_path, str(file)), path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 cell: 1 n/a" in done.stdout
    assert cells(tmp_path)["outside", "knowledge"] == ("n/a", "outside gives no score")
    assert "outside gives no score" in (tmp_path / "results" / "report.html").read_text()


def test_an_answer_longer_than_the_context_fails_with_the_lengths(tmp_path: Path) -> None:
    words = places(tmp_path, "demo.yaml")
    longer = ["--set", "methods=[base]", "--set", "instruction_following.max_new_tokens=5000"]
    done = bakeoff(*words, *QUICK, *longer)
    assert done.returncode == 1, done.stdout + done.stderr
    state, why = cells(tmp_path)["base", "instruction_following"]
    assert state == "failed"
    assert "5000" in why
    assert "256" in why
    assert cells(tmp_path)["base", "knowledge"][0] == "done"


def test_a_prompt_longer_than_the_context_loses_its_left_end_and_its_row_is_flagged(tmp_path: Path) -> None:
    from harness.policy.base_model import BaseModel, BaseSpec
    from harness.policy.sources import locate
    from harness.policy.types import Prompt, Sampling

    spec = BaseSpec("microworld/small")
    policy = BaseModel(spec, locate(spec)).policy()
    ((long,), (short,)) = policy.sample([Prompt(text="cat " * 400), Prompt(text="cat")], Sampling(4), ["a", "b"])
    assert long.truncated
    assert not short.truncated


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Interrupted as soon as one cell is done, while another is being made."""
    outside.install(tmp_path)
    file = outside.experiment(tmp_path, methods="[{outside: {seconds: 1.5}}]", extra="seeds: [0, 1, 2, 3]\n")
    words = places(tmp_path, str(file))
    # whoever starts the tests in the background may have SIGINT ignored, and children inherit that
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += f"sys.path.insert(0, {str(tmp_path)!r}); "
    start += "from harness.engine import cost; from harness.policy import base_model; "
    start += "base_model.BaseModel.policy = lambda self: None; "
    start += "cost.decoding_cost = lambda *policies: dict.fromkeys(('seconds_per_token', 'overhead_per_token')); "
    command = [sys.executable, "-c", f"{start}from harness.cli.main import main; main()", *words]
    done_cells = lambda: list((tmp_path / "store").glob("outcomes/*/done"))  # noqa: E731
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not done_cells() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    kept = {path: path.stat().st_mtime_ns for path in done_cells()}
    assert 1 <= len(kept) < 4
    assert f"Interrupted. {len(kept)} of 4 cells are done and kept; the same command goes on." in said
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "4 done" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_real_full_disk_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    """The disk takes the outcomes of the base, and no artifact of sft: a megabyte of weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        methods = "methods=[base, {sft: {epochs: 1}}]"
        command = ["run", "demo.yaml", "--store", disk, "--out", tmp_path / "results", *QUICK, "--set", methods]
        done = bakeoff(*command, "--set", "data_sizes=[16]")
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert "the store cannot be written: no space left on the device" in done.stderr
        assert "Free some space" in done.stderr
        assert len(list(disk.glob("outcomes/*/done"))) == 2
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_value_that_the_shell_divided_is_named_with_the_quotes_that_it_needs() -> None:
    done = bakeoff("plan", "demo.yaml", "--set", "methods=[base,", "sft]", "--set", "seeds=[0, 1]")
    assert done.returncode == 2
    assert done.stderr == (
        "Error: --set methods=[base, ends inside brackets\n"
        "  A value with spaces needs quotes: --set 'methods=[base, sft]'\n"
    )
