"""Blocks of results: a run that is killed goes on after the last one, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import bakeoff
from conftest import ROOT
from rich.console import Console
from test_sampling import WORDS, tiny_llama, word_tokenizer

from harness.engine.progress import Progress
from harness.engine.store.kept import Blocks, kept_results
from harness.engine.store.store import Store
from harness.errors import UserError
from harness.files import read_sealed, write_sealed
from harness.policy.causal import CausalPolicy
from harness.policy.divergence import divergences
from harness.policy.encoding import TextEncoder
from harness.policy.finished import watched_by
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling, Score

torch.set_num_threads(1)
SAMPLING = Sampling(6, temperature=1.0, samples=2, seed=1)
ROWS = 4
PROMPTS = [Prompt(text=" ".join(WORDS[at : 2 * at + 1])) for at in range(11)]
KEYS = [f"item-{at}" for at in range(11)]


class Killed(BaseException):
    """The process ends here."""


class Mortal(CausalPolicy):
    """Counts the batches that it begins, and is killed in the one of number `dies`. No batch takes rows of the next."""

    joins = False

    def __init__(self, dies: int = 0) -> None:
        super().__init__(tiny_llama(), TextEncoder(word_tokenizer(), max_length=64))
        self.max_rows, self.batches, self.dies = ROWS, 0, dies

    def can_join(self, state: Any) -> bool:
        return self.joins

    def prefill(self, prompts: Any) -> Any:
        self.batches += 1
        if self.batches == self.dies:
            raise Killed
        return super().prefill(prompts)


def asked_of(policy: Policy) -> tuple[list[tuple[Completion, ...]], list[Score], list[tuple[float, ...]]]:
    """Answers, scores and divergences, as three requests of a benchmark."""
    drawn = policy.sample(PROMPTS, SAMPLING, KEYS)
    scores = policy.score(PROMPTS, [own[0].text for own in drawn])
    return drawn, scores, divergences(policy, Mortal(), PROMPTS, [own[0] for own in drawn])


def watched(folder: Path, policy: Mortal, every: float = 0.0) -> tuple[Any, Blocks, list[tuple[str, int, int, int]]]:
    told: list[tuple[str, int, int, int]] = []
    blocks = Blocks(Store(folder), "key", lambda *said: told.append(said), every=every)
    with watched_by(blocks):
        return asked_of(policy), blocks, told


def killed_in(folder: Path, batch: int) -> None:
    with pytest.raises(Killed):
        watched(folder, Mortal(dies=batch))


def files(folder: Path) -> list[Path]:
    return sorted((folder / "blocks" / "key").glob("*.json"))


WHOLE = 6 + 3 + 3
"""Batches: 11 prompts of two samples each in batches of 4 rows, then 11 scores and 11 answers read in batches of 4."""


def test_killed_in_any_batch_the_rest_is_computed_and_every_result_is_equal_to_the_bit(tmp_path: Path) -> None:
    plain = Mortal()
    expected = asked_of(plain)
    assert plain.batches == WHOLE
    for batch in range(1, WHOLE + 1):
        folder = tmp_path / str(batch)
        killed_in(folder, batch)
        assert len(files(folder)) == batch - 1
        again = Mortal()
        found, blocks, told = watched(folder, again)
        assert found == expected
        assert again.batches == WHOLE - (batch - 1)
        assert blocks.found == kept_before(batch)
        assert told[0] == ("answers", min(4 * (batch - 1), 22), 22, min(4 * (batch - 1), 22))


class Joining(Mortal):
    """Its batches take rows of the next ones: each reading of prompts counts."""

    joins = True


@pytest.mark.slow  # two minutes: it kills a run in each of its readings
def test_killed_in_any_reading_a_batch_that_took_rows_is_kept_whole_or_computed_again(tmp_path: Path) -> None:
    """An answer has 24 tokens at most, and one in five ends before: some batches take rows, and some end alike."""
    asked = PROMPTS, Sampling(24, temperature=1.0, samples=3, seed=2), KEYS
    whole, sizes = Joining(), []
    blocks = Blocks(Store(tmp_path / "whole"), "key", lambda *said: None, every=0)
    with watched_by(blocks):
        expected = whole.sample(*asked)
    for path in files(tmp_path / "whole"):
        ((_, _, rows),) = json.loads(read_sealed(path)["results"])
        sizes.append(len(rows))
    assert sum(sizes) == 33
    assert ROWS < max(sizes) < 33
    assert expected == Mortal().sample(*asked)
    for reading in range(1, whole.batches + 1):
        folder = tmp_path / str(reading)
        with pytest.raises(Killed), watched_by(Blocks(Store(folder), "key", lambda *said: None, every=0)):
            Joining(dies=reading).sample(*asked)
        again, blocks = Joining(), Blocks(Store(folder), "key", lambda *said: None, every=0)
        with watched_by(blocks):
            assert again.sample(*asked) == expected
        assert blocks.found in [sum(sizes[:at]) for at in range(len(sizes))]
        lost = reading - 1 + again.batches - whole.batches
        assert 0 <= lost <= whole.batches // 2


def kept_before(batch: int) -> int:
    """The results of the batches before one: of 22 answers four in each of six, of 11 texts four in each of three."""
    whole = [4, 4, 4, 4, 4, 2, 4, 4, 3, 4, 4, 3]
    return sum(whole[: batch - 1])


def test_killed_twice_a_run_keeps_the_blocks_of_both(tmp_path: Path) -> None:
    killed_in(tmp_path, 3)
    killed_in(tmp_path, 4)
    assert len(files(tmp_path)) == 2 + 3
    again = Mortal()
    assert watched(tmp_path, again)[0] == asked_of(Mortal())
    assert again.batches == WHOLE - 5


@pytest.mark.parametrize("damage", ["cut", "another cell", "not JSON", "empty"])
def test_a_damaged_block_is_computed_again(tmp_path: Path, damage: str) -> None:
    killed_in(tmp_path, 5)
    path = files(tmp_path)[1]
    if damage == "another cell":
        write_sealed(path, {**read_sealed(path), "cell": "other"})
    else:
        path.write_text({"cut": path.read_text()[:200], "not JSON": "x", "empty": ""}[damage])
    again = Mortal()
    found, blocks, _ = watched(tmp_path, again)
    assert found == asked_of(Mortal())
    assert blocks.found == 12
    assert again.batches == WHOLE - 3


def test_blocks_of_other_questions_are_not_used(tmp_path: Path) -> None:
    killed_in(tmp_path, 5)
    other = Blocks(Store(tmp_path), "key", lambda *said: None, every=0)
    asked = PROMPTS, Sampling(6, temperature=1.0, samples=2, seed=2), KEYS
    with watched_by(other):
        found = Mortal().sample(*asked)
    assert found == Mortal().sample(*asked)
    assert other.found == 0


def test_a_block_holds_the_whole_batches_of_some_seconds(tmp_path: Path) -> None:
    """Each batch takes one second by this clock, so every third one closes a block of three."""
    now = [0.0]

    class Timed(Mortal):
        def prefill(self, prompts: Any) -> Any:
            now[0] += 1.0
            return super().prefill(prompts)

    blocks = Blocks(Store(tmp_path), "key", lambda *said: None, every=3.0, clock=lambda: now[0])
    with watched_by(blocks):
        Timed().sample(PROMPTS, SAMPLING, KEYS)
    assert [json.loads(path.read_text())["value"]["seconds"] for path in files(tmp_path)] == [3.0, 3.0]
    assert kept_results(Store(tmp_path), "key") == 22
    assert Blocks(Store(tmp_path), "key", lambda *said: None).seconds == 6.0


def test_short_work_writes_no_block_unless_it_ends_with_an_error(tmp_path: Path) -> None:
    watched(tmp_path, Mortal(), every=60.0)
    assert not files(tmp_path)
    blocks = Blocks(Store(tmp_path), "key", lambda *said: None, every=60.0)
    with pytest.raises(Killed), blocks.following():
        asked_of(Mortal(dies=4))
    assert len(files(tmp_path)) == 1
    assert kept_results(Store(tmp_path), "key") == 12


def heard_by(clock: Callable[[], float]) -> tuple[Progress, StringIO]:
    heard = StringIO()
    return Progress(Console(file=heard, width=200), clock=clock, now=lambda: 0.0), heard


def test_a_line_says_how_much_is_done_how_fast_and_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 of 130 answers were kept, 30 more took 60 s: half an answer a second, so the other 60 take 120 s."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = [100.0]
    progress, _ = heard_by(lambda: now[0])
    assert progress.line() == ""
    progress.evaluating("sft/math/0")
    tell = progress.answering("sft/math/0")
    tell("answers", 40, 130, 40)
    assert progress.line() == "scoring sft/math/0: 40 of 130 answers after 0 s"
    now[0] += 60
    tell("answers", 70, 130, 40)
    assert progress.line() == ("scoring sft/math/0: 70 of 130 answers, 0.5 a second, about 2 min left (until 00:02)")
    now[0] += 540
    assert "one every 20 s, about 20 min left (until 00:20)" in progress.line()
    progress.finished("sft/math/0")
    assert progress.line() == ""


def test_the_rate_begins_again_with_another_request() -> None:
    now = [0.0]
    progress, _ = heard_by(lambda: now[0])
    tell = progress.answering("one")
    tell("answers", 0, 100, 0)
    now[0] = 1000.0
    tell("answers", 100, 100, 0)
    tell("texts", 0, 50, 0)
    now[0] = 1010.0
    tell("texts", 20, 50, 0)
    assert ": 20 of 50 texts, 2 a second, about 15 s left" in progress.line()


def test_the_bar_counts_from_the_first_second(tmp_path: Path) -> None:
    progress, _ = heard_by(time.monotonic)
    seen: list[tuple[float, float | None]] = []

    class Looking(Mortal):
        def prefill(self, prompts: Any) -> Any:
            task = progress.bars._tasks[progress.work]
            seen.append((task.completed, task.total))
            return super().prefill(prompts)

    progress.evaluating("one")
    with watched_by(Blocks(Store(tmp_path), "key", progress.answering("one"))):
        Looking().sample(PROMPTS, SAMPLING, KEYS)
    assert seen == [(4 * batch, 22) for batch in range(6)]


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_an_interval_that_is_not_a_time_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_LOG_SECONDS", text)
    with pytest.raises(UserError, match=f"BAKEOFF_LOG_SECONDS is '{text}'"):
        heard_by(time.monotonic)


def test_a_process_killed_at_a_random_moment_loses_at_most_the_batch_in_hand(tmp_path: Path) -> None:
    expected = asked_of(Mortal())
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if (child := os.fork()) == 0:
            watched(folder, Slow(folder / "begun"))
            os._exit(0)
        while not (folder / "begun").exists():
            time.sleep(0.001)
        time.sleep(random.Random(seed).uniform(0, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        again = Mortal()
        assert watched(folder, again)[0] == expected
        begun = (folder / "begun").read_text().count("batch")
        assert WHOLE <= begun + again.batches <= WHOLE + 1


class Slow(Mortal):
    """Takes 20 ms for a batch and writes down that it begins it."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self.notes = notes

    def prefill(self, prompts: Any) -> Any:
        with self.notes.open("a") as file:
            file.write("batch\n")
        time.sleep(0.02)
        return super().prefill(prompts)


PATCHED = """
import time
from harness.policy import sampling
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Steps
Steps.max_rows = 8
CausalPolicy.can_join = Steps.can_join
one_batch = sampling._sample_batch
def noted(*given):
    drawn = one_batch(*given)
    time.sleep(0.1)
    with open(NOTES, "a") as file:
        file.write("batch\\n")
    return drawn
sampling._sample_batch = noted
from harness.cli.main import main
main()
"""
CHOSEN = ["--set", "methods=[base]", "--set", "bases=[microworld/small]", "--set", "baseline=base", "--set",
          "reference=null", "--set", "benchmarks=[{knowledge_answers: {limit: 120}}]"]  # fmt: skip


def started(folder: Path) -> subprocess.Popen[str]:
    """A run of 15 batches of 8 answers, which take no rows; each takes at least 0.1 s and is a block."""
    words = ["run", "demo.yaml", *CHOSEN, "--store", str(folder / "store"), "--out", str(folder / "results")]
    code = f"NOTES = {str(folder / 'batches')!r}\n{PATCHED}"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "BAKEOFF_BLOCK_SECONDS": "0", "BAKEOFF_LOG_SECONDS": "0.3"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, text=True, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def blocks_in(folder: Path) -> list[Path]:
    return list((folder / "store" / "blocks").glob("*/*.json"))


def results_of(folder: Path) -> list[bytes]:
    return [(folder / "results" / name).read_bytes() for name in ("rows.parquet", "samples.parquet")]


def kill_and_continue(tmp_path: Path, seeds: Sequence[int]) -> None:
    whole = started(tmp_path / "whole")
    heard = whole.communicate(timeout=300)[0]
    assert whole.returncode == 0, heard
    assert re.search(r"scoring base/knowledge_answers/0: \d+ of 120 answers, \S+ a second, about \d+ s left", heard)
    assert not list((tmp_path / "whole" / "store" / "blocks").glob("*")), "the blocks of a finished cell are removed"
    folder, kills = tmp_path / "killed", 0
    for seed in seeds:
        draw = random.Random(seed)
        wanted, running = len(blocks_in(folder)) + draw.randint(1, 4), started(folder)
        while len(blocks_in(folder)) < wanted and running.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.12))
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        kills += 1
    kept = 8 * len(blocks_in(folder))
    said = bakeoff("explain", "demo.yaml", "base", *CHOSEN, "--store", folder / "store").stdout
    assert f"{kept} results in " in said
    held = bakeoff("gc", "--store", folder / "store").stdout
    assert "kept, since no experiment is named" in held
    last = started(folder)
    heard = last.communicate(timeout=300)[0]
    assert last.returncode == 0, heard
    assert f"{kept} results of a run that was stopped were kept" in heard
    assert results_of(folder) == results_of(tmp_path / "whole")
    computed = (folder / "batches").read_text().count("batch")
    assert computed <= 15 + kills, "each kill costs at most one block"
    assert not blocks_in(folder)


@pytest.mark.slow
def test_killed_at_three_random_moments_of_a_long_generation_a_run_loses_at_most_three_blocks(tmp_path: Path) -> None:
    kill_and_continue(tmp_path, [1, 2, 3])


def test_blocks_of_a_cell_that_no_named_experiment_has_can_be_freed(tmp_path: Path) -> None:
    killed_in(tmp_path / "store", 5)
    words = ("demo.yaml", *CHOSEN, "--store", tmp_path / "store")
    said = bakeoff("gc", *words, "--delete").stdout
    assert "results of a cell that is not done  key  freed" in said
    assert not (tmp_path / "store" / "blocks" / "key").exists()


def test_every_kind_of_request_is_told_from_its_beginning(tmp_path: Path) -> None:
    _, blocks, told = watched(tmp_path, Mortal())
    # a slow machine tells more than once that nothing is finished yet
    begun = dict.fromkeys(said[::2] for said in told if said[1] == 0)
    assert list(begun) == [("answers", 22), ("texts", 11), ("answers read", 11)]
    blocks.remove()
    assert not files(tmp_path)
