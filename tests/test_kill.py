"""Killed at any moment and started again, a run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import outside
import pytest
from command_line import bakeoff
from conftest import ROOT
from test_joint import METHODS, add_meeting

from harness.engine import cost
from harness.report.verify import verify

KILLS = 20
EVENTS = 100
FIRST = {"methods": METHODS, "benchmarks": "[outside_bench, meeting]"}
CHANGED = {"methods": f"{METHODS[:-1]}, {{outside: {{strength: 3.0}}, as: three}}]",
           "benchmarks": "[{outside_bench: {items: 5}}, meeting]"}  # fmt: skip
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
SETTINGS = ["methods=[base, {sft: {learning_rate: 5e-4, epochs: 1}}, {lora: {rank: 2, epochs: 1}}]",
            "bases=[microworld/small]", "data_sizes=[200]", "reference=sft", "knowledge.limit=60",
            "instruction_following.limit=12"]  # fmt: skip


def command(folder: Path) -> list[str]:
    code = "from harness.cli.main import main; main()"
    words = ["run", "demo.yaml", "--store", str(folder / "store"), "--out", str(folder / "results")]
    return [sys.executable, "-c", code, *words, *[word for setting in SETTINGS for word in ("--set", setting)]]


def finished(folder: Path) -> dict[Path, int]:
    """Every done marker with the time it was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "store").glob("*/*/done")}


def run_for(folder: Path, seconds: float) -> bool:
    """Run, kill after so many seconds; whether it was killed. What was finished before must be untouched."""
    before = finished(folder)
    process = subprocess.Popen(
        command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.wait(timeout=seconds) == 0
        killed = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed = True
    after = finished(folder)
    assert {path: after.get(path) for path in before} == before, "a finished cell was made again"
    return killed


def check_equal(one: Path, other: Path) -> None:
    for name in ("rows.parquet", "samples.parquet"):
        assert (one / "results" / name).read_bytes() == (other / "results" / name).read_bytes(), name


@pytest.mark.slow
def test_killed_at_20_random_moments_the_rows_are_byte_identical_and_no_finished_cell_is_redone(tmp_path: Path) -> None:
    """A store is run again after each kill until it is complete and checked; then the next one begins empty.

    Moments are drawn over the time of a whole run, start-up included. That time shrinks where runs end unkilled,
    since a busy machine may have slowed the first one down.
    """
    started = time.monotonic()
    assert not run_for(tmp_path / "whole", 3600)
    longest = time.monotonic() - started
    draw, kills, stores, restarted = random.Random(0), 0, 0, 0
    while kills < KILLS:
        folder, started = tmp_path / f"killed-{stores}", time.monotonic()
        restarted += bool(finished(folder))
        if run_for(folder, draw.uniform(0.05, 1.0) * longest):
            kills += 1
            continue
        check_equal(tmp_path / "whole", folder)
        longest = max(0.6 * longest, time.monotonic() - started)
        stores += 1
    assert not run_for(folder, 3600)
    check_equal(tmp_path / "whole", folder)
    print(f"\n{kills} runs were killed, {stores + 1} stores completed; {restarted} runs found finished work")
    assert restarted > 3


@pytest.fixture
def prepared(outside_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outside package with a benchmark that compares policies; whatever is measured is 1, so costs have one value.

    `fresh` and `changed` hold undisturbed results; the latter's store and folder had the first experiment before.
    """
    add_meeting(outside_folder)

    def one(self: Any, *error: object) -> None:
        self.seconds = self.mb = 1.0

    monkeypatch.setattr(cost.Stopwatch, "__exit__", one)
    monkeypatch.setattr(cost.PeakMemory, "__exit__", one)
    assert run_in(outside_folder, "fresh", FIRST) == 0
    shutil.copytree(outside_folder / "fresh", outside_folder / "changed")
    assert run_in(outside_folder, "changed", CHANGED) == 0
    return outside_folder


def run_in(folder: Path, place: str, options: dict[str, str]) -> int:
    file = outside.experiment(folder, **options)
    return bakeoff("run", file, "--store", folder / place / "store", "--out", folder / place / "out").returncode


def killed_at(event: int, folder: Path, place: str, options: dict[str, str]) -> int:
    """Run in a process that is killed before the event of that number; returns how many it counted (if it lived).

    Events are what changes a file or folder of the store or the results; 0 kills nothing.
    """
    counts = folder / "events"
    counts.write_text("0")
    if (child := os.fork()) == 0:
        try:
            count_events(event, folder / place, counts)
            os._exit(run_in(folder, place, options))
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert status == (signal.SIGKILL if event else 0), status
    return int(counts.read_text())


def count_events(event: int, place: Path, counts: Path) -> None:
    number = 0

    def hook(name: str, given: tuple[Any, ...]) -> None:
        nonlocal number
        writes = name == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or name in CHANGES) and str(given[0]).startswith(str(place)):
            number += 1
            if number == event:
                os.kill(os.getpid(), signal.SIGKILL)
            if not event:
                handle = os.open(counts, os.O_WRONLY | os.O_TRUNC)
                os.write(handle, str(number).encode())
                os.close(handle)

    sys.addaudithook(hook)


def begin(folder: Path, place: str, changed: bool) -> None:
    shutil.rmtree(folder / place, ignore_errors=True)
    if changed:
        shutil.copytree(folder / "fresh", folder / place)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def kill_and_finish(folder: Path, kills: int) -> None:
    for changed, options in ((False, FIRST), (True, CHANGED)):
        begin(folder, "case", changed)
        events = killed_at(0, folder, "case", options)
        assert events > 50
        wanted = content(folder / ("changed" if changed else "fresh"))
        assert content(folder / "case") == wanted
        for event in sorted(random.Random(0).sample(range(1, events + 1), kills // 2)):
            begin(folder, "case", changed)
            killed_at(event, folder, "case", options)
            before = finished(folder / "case")
            assert run_in(folder, "case", options) == 0
            assert content(folder / "case") == wanted, f"killed before event {event} of {events}"
            assert [check for check in verify(folder / "case" / "out") if check.word != "ok"] == []
            assert before.items() <= finished(folder / "case").items(), "a finished cell was made again"
            assert not list((folder / "case" / "store" / "temporary").iterdir())
            run_in(folder, "case", options)
            assert content(folder / "case") == wanted
        print(f"{kills // 2} kills at {events} events, {'changed' if changed else 'fresh'}")


def test_killed_at_4_of_its_events_a_run_ends_as_an_undisturbed_one(prepared: Path) -> None:
    kill_and_finish(prepared, 4)


@pytest.mark.slow
def test_killed_at_100_of_its_events_a_run_ends_as_an_undisturbed_one(prepared: Path) -> None:
    kill_and_finish(prepared, EVENTS)
