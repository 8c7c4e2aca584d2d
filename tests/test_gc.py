"""`bakeoff gc`: a finished experiment loses its artifacts and nothing else, and what is still needed is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import outside
import pytest
from command_line import bakeoff

from harness.engine.store.store import Store

TWO = "[{outside: {strength: 1.0}, as: one}, {outside: {strength: 2.0}, as: two}]"


def run(folder: Path, **options: str) -> str:
    file = outside.experiment(folder, **options)
    done = bakeoff("run", file, "--store", folder / "store", "--out", folder / "out")
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def gc(folder: Path, *words: object) -> str:
    done = bakeoff("gc", *words, "--store", folder / "store")
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_experiment_is_reported_verified_and_run_again_to_the_same_bytes(outside_folder: Path) -> None:
    run(outside_folder, methods=TWO)
    store, results = outside_folder / "store", content(outside_folder / "out")
    before = content(store)
    heard = gc(outside_folder, outside_folder / "experiment.yaml")
    assert "To be freed: 2 of 2" in heard
    assert "Nothing was deleted. Next: bakeoff gc" in heard
    assert content(store) == before
    heard = gc(outside_folder, outside_folder / "experiment.yaml", "--delete")
    assert "Freed: 2 of 2" in heard
    assert content(store) == {name: text for name, text in before.items() if not name.startswith("artifacts")}
    assert "Nothing to do: 2 cells: 2 done" in run(outside_folder, methods=TWO)
    assert bakeoff("verify", outside_folder / "out").returncode == 0
    shutil.rmtree(outside_folder / "out")
    heard = run(outside_folder, methods=TWO)
    assert "fitting" not in heard
    assert content(outside_folder / "out") == results
    words = (outside_folder / "experiment.yaml", "one", "--store", store)
    assert "not in the store (pruned, or deleted); its outcome is done" in bakeoff("explain", *words).stdout
    assert "To be freed: 0 of 0" in gc(outside_folder)


def test_a_new_column_after_pruning_fits_again_and_the_old_cells_stay(outside_folder: Path) -> None:
    run(outside_folder)
    gc(outside_folder, "--delete")
    both = "[outside_bench, {outside_bench: {items: 3}, as: more}]"
    assert "(1 artifact fitted, 1 cell scored now)" in run(outside_folder, benchmarks=both)


def test_what_an_unfinished_cell_needs_is_kept(outside_folder: Path) -> None:
    """`two` is scored with one benchmark and not yet with the other; `one` with all that the experiment asks for."""
    both = "[outside_bench, {outside_bench: {breaks_at: 2}, as: broken}]"
    run(outside_folder, methods=TWO)
    run(outside_folder, methods="[{outside: {strength: 2.0}, as: two}]", benchmarks=both)
    named = gc(outside_folder, outside_folder / "experiment.yaml")
    assert "kept, since two/broken/0 is failed" in named
    assert "To be freed: 1 of 2" in named
    gc(outside_folder, outside_folder / "experiment.yaml", "--delete")
    (kept,) = (outside_folder / "store" / "artifacts").iterdir()
    assert '"strength": 2.0' in (kept / "number.json").read_text()


def test_an_artifact_that_no_cell_has_read_is_kept_even_where_no_experiment_is_named(outside_folder: Path) -> None:
    run(outside_folder, benchmarks="[{outside_bench: {breaks_at: 0}}]")
    heard = gc(outside_folder)
    assert "kept, since no cell has been scored with it yet" in heard
    assert "To be freed: 0 of 1" in heard


def test_what_killed_runs_left_is_freed_and_a_store_at_work_is_left_alone(outside_folder: Path) -> None:
    run(outside_folder)
    store = outside_folder / "store"
    (store / "temporary" / "abc.1").mkdir()
    (store / "temporary" / "abc.1" / "half").write_text("x")
    (store / "digests.json.1.partial").write_text("x")
    (marker,) = (store / "artifacts").glob("*/done")
    marker.unlink()
    heard = gc(outside_folder)
    assert heard.count("left by a killed run") == 2
    assert "left in artifacts by a killed run" in heard
    with Store(store).lock("key", print):
        assert "is at work on the store" in gc(outside_folder, "--delete")
    assert "Freed: 3 of 3" in gc(outside_folder, "--delete")
    assert not [*(store / "temporary").iterdir(), *store.glob("*.partial"), *(store / "artifacts").iterdir()]
    assert "Nothing to do" in run(outside_folder)


@pytest.mark.parametrize("words", [["nowhere.yaml"], ["--store", "n" * 300]])
def test_a_wrong_place_is_one_line(words: list[str], outside_folder: Path) -> None:
    done = bakeoff("gc", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
