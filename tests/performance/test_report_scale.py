"""The report on 20 methods x 20 benchmarks x 1,000 items x 5 seeds: the goal is 60 s and 2 GB on 2 cores.

pytest -m slow -s tests/performance/test_report_scale.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
from conftest import ROOT

from harness.engine.cost import peak_memory_mb
from harness.engine.results.schema import ROW_COLUMNS, SAMPLE_COLUMNS, SCHEMA_VERSION, write_table
from harness.files import write_json

METHODS, BENCHMARKS, ITEMS, SEEDS = 20, 20, 1000, 5


def write_results(folder: Path) -> None:
    """Made-up rows; every benchmark has one primary metric, the last five of them of knowledge."""
    import pyarrow
    import pyarrow.parquet

    generator = numpy.random.default_rng(0)
    methods = [f"method{at:02d}" for at in range(METHODS)]
    benchmarks = [f"benchmark{at:02d}" for at in range(BENCHMARKS)]
    shape = (METHODS, SEEDS, BENCHMARKS, ITEMS)
    difficulty = generator.normal(0, 1.5, (BENCHMARKS, ITEMS)) - 1
    skill = numpy.linspace(0, 2, METHODS)[:, None, None, None] + generator.normal(0, 0.1, (*shape[:3], 1))
    values = (generator.random(shape) < 1 / (1 + numpy.exp(-difficulty - skill))) * 1.0
    method, seed, benchmark, item = (axis.ravel() for axis in numpy.indices(shape))
    items = numpy.array([f"i{at:04d}" for at in range(ITEMS)])
    fixed = {"base": "world", "data_quality": "", "metric": "right", "group": ""}
    columns: dict[str, Any] = {
        "method": numpy.array(methods)[method], "seed": seed, "benchmark": numpy.array(benchmarks)[benchmark],
        "item": items[item], "cluster": items[item], "value": values.ravel(),
        "weight": numpy.ones(values.size), "data_size": numpy.zeros(values.size, int),
        **{name: numpy.full(values.size, value) for name, value in fixed.items()},
    }  # fmt: skip
    types = {"string": pyarrow.string(), "int64": pyarrow.int64(), "double": pyarrow.float64()}
    schema = pyarrow.schema(
        [(name, types[kind]) for name, (kind, _) in ROW_COLUMNS.items()],
        metadata={"bakeoff_schema": str(SCHEMA_VERSION)},
    )
    table = pyarrow.table({name: columns[name] for name in ROW_COLUMNS}, schema=schema)
    pyarrow.parquet.write_table(table, folder / "rows.parquet", compression="zstd")
    write_table(folder / "samples.parquet", [], SAMPLE_COLUMNS, [])
    write_json(folder / "matrix.json", _matrix(methods, benchmarks))


def _matrix(methods: list[str], benchmarks: list[str]) -> dict[str, Any]:
    metric = {"name": "right", "description": "", "primary": True, "higher_is_better": True, "by_group": False}
    return {
        "schema": SCHEMA_VERSION, "name": "scale", "baseline": methods[0], "reference": methods[-1], "margin": 0.02,
        "bases": ["world"], "small_base": None, "seeds": list(range(SEEDS)), "data_qualities": [""], "data_sizes": [0],
        "methods": [
            {"label": m, "plugin": m, "on": "base", "fields": {}, "summary": "", "deterministic": False, "badges": []}
            for m in methods
        ],
        "benchmarks": [
            {
                "label": b, "plugin": b, "version": 1, "fields": {}, "summary": "",
                "metrics": [{**metric, "chance": None, "role": "quality" if at < 15 else "knowledge"}],
            }
            for at, b in enumerate(benchmarks)
        ],
        "cells": [
            {"base": "world", "method": m, "data_quality": "", "data_size": 0, "seed": s, "benchmark": b,
             "state": "done", "why": ""}
            for m in methods for b in benchmarks for s in range(SEEDS)
        ],
    }  # fmt: skip


def measure(folder: Path) -> None:
    from harness.report.compose import write_report

    start = time.perf_counter()
    _, web = write_report(folder)
    took = time.perf_counter() - start
    memory = peak_memory_mb("cpu")
    print(f"{took:.1f} {memory:.0f} {web.stat().st_size / 1e6:.2f}")


@pytest.mark.slow
def test_two_million_rows_are_reported_within_a_minute_and_two_gigabytes(tmp_path: Path) -> None:
    write_results(tmp_path)
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "2"},
    )
    seconds, memory, size = (float(word) for word in done.stdout.split())
    print(f"\n2,000,000 rows: {seconds} s, peak {memory:.0f} MB, report.html of {size} MB")
    assert seconds < 60
    assert memory < 2048


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
