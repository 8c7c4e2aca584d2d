"""Similarities within and between policies of up to 1,000,000 answers, prompt after prompt: twice as many take at most
2.2 times as long, in less than 2 GB.

pytest -m slow -s tests/performance/test_similarity_speed.py
python tests/performance/test_similarity_speed.py results/hivemind    draws growth.svg there from the same measurement
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from harness.engine.cost import PeakMemory, peak_memory_mb
from harness.report.render.curve_picture import Line, Place, draw_curves
from harness.scoring.diversity.crowd import Crowd
from harness.scoring.diversity.similarity import Moments, mean_within, share_between_above, unit_vectors

WIDTH, EACH, POLICIES, THRESHOLD = 384, 25, 2, 0.1
SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)
STYLE = (
    "svg { font: 12px sans-serif; background: #fff } .middle { text-anchor: middle } .end { text-anchor: end } "
    ".grid { stroke: #d9dde3 } .curve { fill: none; stroke-width: 2 } .c0 { stroke: #4269d0 } .c1 { stroke: #b9660c } "
    "text.c0, text.c1 { stroke: none } .dot.c0 { fill: #4269d0 } .dot.c1 { fill: #b9660c }"
)


def prompts(answers: int) -> Iterator[NDArray[numpy.float32]]:
    """Vectors (POLICIES x EACH, WIDTH) of one prompt after the other, as an embedder would give them."""
    generator = numpy.random.default_rng(0)
    for _ in range(answers // (EACH * POLICIES)):
        yield generator.standard_normal((EACH * POLICIES, WIDTH), dtype=numpy.float32)


def measured(answers: int) -> tuple[float, float]:
    """Seconds of (everything that a pair of policies is measured by, the moments of both as one set).

    CPU seconds, which a busy machine does not stretch as it does the clock. Drawing the vectors is left out.
    """
    spent, whole, count = 0.0, 0.0, 0
    for raw in prompts(answers):
        started = time.process_time()
        units = unit_vectors(raw)
        crowd = Crowd({"a": units[:EACH], "b": units[EACH:]})
        crowd.similarity("ab")
        crowd.within("ab")
        crowd.alike("ab", THRESHOLD)
        between = time.process_time()
        count += Moments.of(units).count
        whole += time.process_time() - between
        spent += between - started
    assert count == answers
    return spent, whole


def in_a_process_of_its_own(answers: int) -> tuple[float, float, float]:
    """(seconds of a pair's measures, of the moments, peak memory in MB)."""
    done = subprocess.run(
        [sys.executable, __file__, str(answers)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
    )
    pair, moments, memory = (float(word) for word in done.stdout.split())
    return pair, moments, memory


def all_sizes() -> list[tuple[int, float, float, float]]:
    found = []
    for answers in SIZES:
        found.append((answers, *in_a_process_of_its_own(answers)))
        print("{:,} answers: pairs {:.1f} s, moments {:.1f} s, peak {:.0f} MB".format(*found[-1]), flush=True)
    return found


@pytest.mark.slow
def test_twice_the_answers_take_at_most_2_2_times_as_long_up_to_a_million_in_two_gigabytes() -> None:
    """A throttled machine changes speed between sizes: a step that took too long is measured once more."""
    found = {answers: (pair, moments, memory) for answers, pair, moments, memory in all_sizes()}
    assert all(memory < 2048 for _, _, memory in found.values())
    for small, large in itertools.pairwise(SIZES):
        ratio = found[large][0] / found[small][0]
        if ratio > 2.2:
            ratio = in_a_process_of_its_own(large)[0] / in_a_process_of_its_own(small)[0]
        print(f"{small:,} -> {large:,}: {ratio:.2f} times as long")
        assert ratio <= 2.2


@pytest.mark.slow
def test_blocks_bound_the_memory_of_what_needs_pairs() -> None:
    """20,000 vectors have 2e8 pairs: their matrix would take 3.2 GB, the blocks 2,048 x 20,000."""
    units = unit_vectors(numpy.random.default_rng(1).normal(size=(20_000, 64)))
    started = time.process_time()
    with PeakMemory("cpu") as memory:
        before = peak_memory_mb("cpu")
        share = share_between_above(units, units, 0.0)
    grown = memory.mb - before
    print(f"\n20,000 vectors, all pairs: {time.process_time() - started:.1f} s, {grown:.0f} MB more")
    assert share == pytest.approx(0.5, abs=0.01)
    assert grown < 1024
    assert mean_within(units) == pytest.approx(0.0, abs=1e-3)


def draw(folder: Path) -> None:
    """growth.svg: seconds for each 100,000 answers; a level line is linear growth."""
    found = all_sizes()
    lines = [
        Line(name, tuple(Place(f"{row[0]:,}", row[at] * 100_000 / row[0]) for row in found))
        for name, at in (("a pair's measures", 1), ("moments of one set", 2))
    ]
    svg = draw_curves(lines, [f"{answers:,}" for answers in SIZES], "answers, 384 numbers each", "seconds for 100,000")
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, rest = svg.split("\n", 1)
    (folder / "growth.svg").write_text(f"{head}\n<style>{STYLE}</style>\n{rest}\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        both = measured(int(sys.argv[1]))
        print(*both, peak_memory_mb("cpu"))
    else:
        draw(Path(sys.argv[1]))
