"""Damage and bad luck: what is stale, half-written, flipped or cut is named and made again, never believed."""

from __future__ import annotations

import os
from pathlib import Path

import outside
import pytest
from command_line import bakeoff

from harness.report.verify import verify

RESULTS = ("rows.parquet", "samples.parquet", "matrix.json", "costs.json", "contamination.json", "provenance.json",
           "experiment.yaml", "digests.json", "report.md", "report.html")  # fmt: skip


class KilledError(BaseException):
    """Stands for a kill: no code of ours catches it."""


@pytest.fixture
def folder(outside_folder: Path) -> Path:
    return outside_folder


def bench(items: int) -> str:
    return f"[{{outside_bench: {{items: {items}}}}}]"


def run(folder: Path, *more: object, **options: str) -> str:
    """What `bakeoff run` prints, with its exit code."""
    file = outside.experiment(folder, **options)
    done = bakeoff("run", file, "--store", folder / "store", "--out", folder / "out", *more)
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def not_ok(folder: Path) -> list[str]:
    return [f"{check.file}: {check.said}" for check in verify(folder / "out") if check.word != "ok"]


def kill_at(name: str, patch: pytest.MonkeyPatch) -> None:
    """Die at the moment when the result file of that name would take its place."""
    real = os.replace

    def replace(partial: Path, path: Path) -> None:
        if Path(path).match(f"out/{name}"):
            raise KilledError(name)
        real(partial, path)

    patch.setattr(os, "replace", replace)


@pytest.mark.parametrize("name", RESULTS)
def test_a_changed_experiment_killed_while_its_results_are_written_is_written_again(name: str, folder: Path) -> None:
    run(folder, benchmarks=bench(4))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(name, patch)
        with pytest.raises(KilledError):
            run(folder, benchmarks=bench(6))
    assert "the results folder was not up to date" in run(folder, benchmarks=bench(6))
    assert not_ok(folder) == []
    assert "items: 6" in (folder / "out" / "experiment.yaml").read_text()
    before = content(folder)
    assert "Nothing to do" in run(folder, benchmarks=bench(6))
    assert content(folder) == before, "a finished folder is not written again"


@pytest.mark.parametrize("name", RESULTS)
def test_a_damaged_or_missing_result_file_is_written_again(name: str, folder: Path) -> None:
    run(folder)
    path, before = folder / "out" / name, content(folder)
    for damaged in (before[name][: len(before[name]) // 2], b"", None):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        assert "exit 0" in run(folder)
        assert content(folder) == before
