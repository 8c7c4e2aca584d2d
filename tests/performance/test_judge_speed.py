"""`bakeoff judge` on 2 models x 60 tasks x 14,000 items: the goal is 20 s and 2 GB, report included.

The time of computing is bounded and not the wall, since other processes may share the cores. On one busy machine the
table took 11.4 s of computing and 1.55 GB, and 8.8 s and 1.0 GB since it is sorted by codes and empty lists are shared.

pytest -m slow -s tests/performance/test_judge_speed.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from conftest import ROOT

MODELS, TASKS, ITEMS = 2, 60, 14_000
DATE = "2026-01-02T03-04-05.678901"
MEASURED = """
import sys, time
from pathlib import Path
from harness.cli.judge_scores import judge_verb
from harness.engine.cost import peak_memory_mb
start, used = time.perf_counter(), time.process_time()
judge_verb(sys.argv[2:], Path(sys.argv[1]), "")
print(f"{time.perf_counter() - start:.1f} {time.process_time() - used:.1f} {peak_memory_mb('cpu'):.0f}")
"""


def answers(model: int, task: int, items: int) -> list[int]:
    """Right or wrong, item by item; the second model is right a little more often."""
    draws = numpy.random.default_rng([model, task])
    level = numpy.random.default_rng(task).uniform(0.3, 0.9, items)
    return [int(one) for one in draws.random(items) < level + 0.01 * model]


def write_scores(path: Path) -> list[str]:
    with path.open("w") as file:
        file.write("method,seed,benchmark,item,score\n")
        for model in range(MODELS):
            for task in range(TASKS):
                lines = (
                    f"m{model},0,t{task:02d},q{at:05d},{one}\n" for at, one in enumerate(answers(model, task, ITEMS))
                )
                file.writelines(lines)
    return [str(path)]


def write_logs(folder: Path, items: int) -> list[str]:
    """Logs of lm-eval: each line is a document of some 800 bytes with two choices."""
    for model in range(MODELS):
        inside = folder / f"m{model}" / f"m{model}"
        inside.mkdir(parents=True)
        tasks = [f"t{task:02d}" for task in range(TASKS)]
        told = {
            "model_name": f"m{model}", "lm_eval_version": "0.4.13", "versions": dict.fromkeys(tasks, 1.0),
            "configs": {task: {"output_type": "multiple_choice"} for task in tasks}, "n-shot": dict.fromkeys(tasks, 0),
            "higher_is_better": {task: {"acc": True} for task in tasks},
        }  # fmt: skip
        (inside / f"results_{DATE}.json").write_text(json.dumps(told))
        for at, task in enumerate(tasks):
            with (inside / f"samples_{task}_{DATE}.jsonl").open("w") as file:
                file.writelines(json.dumps(_row(n, one)) + "\n" for n, one in enumerate(answers(model, at, items)))
    return [str(folder / f"m{model}") for model in range(MODELS)]


def _row(at: int, right: int) -> dict[str, object]:
    asked = f"Question {at}: " + "a question of common length, with a context before it. " * 4
    scores = ["-1.25", "-2.5"] if right else ["-2.5", "-1.25"]
    return {
        "doc_id": at, "doc": {"question": asked, "choices": ["yes", "no"]}, "target": "0", "filter": "none",
        "arguments": {f"gen_args_{n}": {"arg_0": asked, "arg_1": word} for n, word in enumerate((" yes", " no"))},
        "resps": [[[one, "False"]] for one in scores], "filtered_resps": [[one, "False"] for one in scores],
        "metrics": ["acc"], "doc_hash": f"{at:064x}", "prompt_hash": f"{at:064x}", "target_hash": "0",
        "acc": float(right),
    }  # fmt: skip


def measured(out: Path, paths: list[str]) -> tuple[float, float, float]:
    """(seconds, seconds of computing, peak megabytes) in a process of its own."""
    command = [sys.executable, "-c", MEASURED, str(out), *paths]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    wall, used, memory = (float(word) for word in done.stdout.splitlines()[-1].split())
    return wall, used, memory


@pytest.mark.slow
def test_a_table_of_1_680_000_scores_is_judged_within_20_seconds_and_two_gigabytes(tmp_path: Path) -> None:
    wall, used, memory = measured(tmp_path / "out", write_scores(tmp_path / "scores.csv"))
    print(f"\ntable of {MODELS * TASKS * ITEMS:,} scores: {wall} s ({used} s of computing), peak {memory:.0f} MB")
    assert used < 20
    assert memory < 2048


@pytest.mark.slow
def test_logs_of_60_tasks_with_14_000_items_together_are_judged_within_20_seconds(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, ITEMS // TASKS)
    wall, used, memory = measured(tmp_path / "out", paths)
    print(f"\nlogs of {MODELS * TASKS * (ITEMS // TASKS):,} documents: {wall} s ({used} s), peak {memory:.0f} MB")
    assert used < 20
    assert memory < 2048
