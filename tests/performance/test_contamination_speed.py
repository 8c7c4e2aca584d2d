"""Decontamination of 100,000 training rows against 15,000 test items: the goal is 60 s and 2 GB on 2 cores.

pytest -m slow -s tests/performance/test_contamination_speed.py
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from conftest import ROOT

from harness.curation.contamination import find_contamination
from harness.engine.cost import peak_memory_mb
from harness.records import Demonstration, Message, TestItem, TestSet


def texts(count: int, words: int, seed: int) -> Iterator[str]:
    """Texts of skewed words, one in twenty with a passage of a common pool: some n-grams are shared."""
    draw = random.Random(seed)
    vocabulary = [f"{chr(97 + at % 26)}{at}" for at in range(30_000)]
    pool = random.Random(-1)
    passages = [" ".join(pool.choices(vocabulary, k=60)) for _ in range(2000)]
    for _ in range(count):
        body = [vocabulary[int(30_000 * draw.random() ** 3)] for _ in range(int(words * (0.5 + draw.random())))]
        if draw.random() < 0.05:
            body.append(draw.choice(passages))
        yield " ".join(body)


def measure(rows: int) -> None:
    items = tuple(TestItem(str(at), text) for at, text in enumerate(texts(15_000, 60, 1)))
    records = (
        Demonstration((Message("user", text), Message("assistant", "Yes.")), str(at))
        for at, text in enumerate(texts(rows, 98, 2))
    )
    start = time.perf_counter()
    made = sum(1 for _ in texts(rows, 98, 2))
    making = time.perf_counter() - start
    start = time.perf_counter()
    found = find_contamination(records, [TestSet("t", items)])
    took = time.perf_counter() - start - making
    memory = peak_memory_mb("cpu")
    print(f"{made} {took:.1f} {memory:.0f} {len(found.matches)}")


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_compared_within_a_minute_and_two_gigabytes() -> None:
    figures = []
    for rows in (25_000, 100_000):
        done = subprocess.run(
            [sys.executable, __file__, str(rows)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment(),
        )
        figures.append([float(word) for word in done.stdout.split()])
        print(f"\n{rows:,} rows: {figures[-1][1]} s, peak {figures[-1][2]:.0f} MB, {figures[-1][3]:.0f} matches")
    small, large = figures
    assert large[1] < 60
    assert large[2] < 2048
    # bounded: four times the rows in hardly more memory
    assert large[2] < small[2] * 1.3 + 50
    assert small[3] > 0


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


if __name__ == "__main__":
    measure(int(sys.argv[1]))
