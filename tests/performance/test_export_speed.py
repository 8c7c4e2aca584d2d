"""`bakeoff export` of 2 million rows: the goal is 60 s for each format.

The time of computing is bounded and not the wall, since other processes may share the cores.

pytest -m slow -s tests/performance/test_export_speed.py
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy
import pytest

from harness.cli.exporting import FORMATS, HUB, export_verb
from harness.engine.interchange.cells import cells_of
from harness.engine.interchange.judged import write_judged
from harness.engine.interchange.scored import LoggedMetric, Scored, Source

METHODS, SEEDS, BENCHMARKS, ITEMS = 5, 2, 20, 5_000  # two metrics each: 2 million rows


def write_study(folder: Path, items: int) -> int:
    """A results folder with two metrics and short texts; the number of its rows."""
    folder.mkdir()
    source = Source(folder / "scores.csv", "made for this test")
    source.path.write_text("")
    names = [f"q{at:05d}" for at in range(items)]
    texts = {name: (f"Question {name}: what is the answer?", (f"the answer to {name}",), name) for name in names}
    draws = numpy.random.default_rng(0)
    found = [
        Scored(
            f"m{method}", f"t{benchmark:02d}", seed, source, names, names, "",
            (LoggedMetric("accuracy", draws.integers(0, 2, items).astype(float).tolist()),
             LoggedMetric("length", draws.random(items).tolist())),
            texts=texts,
        )
        for method in range(METHODS) for seed in range(SEEDS) for benchmark in range(BENCHMARKS)
    ]  # fmt: skip
    write_judged(folder, cells_of(found), [], [f"m{method}" for method in range(METHODS)])
    return 2 * items * METHODS * SEEDS * BENCHMARKS


@pytest.mark.slow
def test_2_million_rows_are_exported_within_a_minute_in_each_format(tmp_path: Path) -> None:
    rows = write_study(tmp_path / "study", ITEMS)
    assert rows == 2_000_000
    taken = {}
    for kind in (kind for kind in FORMATS if kind != HUB):
        start, used = time.perf_counter(), time.process_time()
        export_verb(tmp_path / "study", tmp_path / kind, kind, "", ())
        taken[kind] = time.process_time() - used
        print(f"\n{kind}: {rows:,} rows in {time.perf_counter() - start:.1f} s ({taken[kind]:.1f} s of computing)")
    assert max(taken.values()) < 60
