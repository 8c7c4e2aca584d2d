"""Two real runs of lm-eval, judged, against the same cells run by bakeoff: the same differences and p-values."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from command_line import bakeoff
from test_lm_eval_benchmark import CHOICE, yaml_task

from harness.report.collect import collect
from harness.report.numbers.comparisons import Comparison, Result

WORDS = ["cat", "dog", "red", "blue", "north", "south", "seven", "nine", "river", "stone", "Paris", "Rome"]
ROWS = [
    {"question": f"Which word belongs to {WORDS[at % 12]} and {WORDS[(at * 5 + 1) % 12]}? Answer:",
     "choices": [WORDS[(at + step) % 12] for step in (2, 5, 7)], "answer": at * at % 3}
    for at in range(60)
]  # fmt: skip


def lm_eval_run(model: Path, tokenizer: Path, task: str, out: Path) -> Path:
    """A run as lm-eval's command line makes it, its log in `out`."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(out))
    results = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "tokenizer": str(tokenizer), "dtype": "float32"},
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        device="cpu",
        batch_size=8,
        log_samples=True,
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    return out


def quality_of(folder: Path) -> tuple[Result, Comparison]:
    (result,) = (one for one in collect(folder).blocks[0].results if one.metric.primary)
    return result, result.comparisons["sft"]


@pytest.mark.slow
def test_real_logs_of_lm_eval_give_the_differences_and_p_values_of_the_same_cells_run_by_us(tmp_path: Path) -> None:
    from harness.policy.sources import base_model_of

    task = yaml_task(tmp_path, "choice", CHOICE, ROWS)
    experiment = {
        "name": "ours", "bases": ["microworld/small"], "data": {"demonstrations": "microworld/curated-1k"},
        "methods": ["base", {"sft": {"learning_rate": 2e-3, "epochs": 1}}], "seeds": [0], "baseline": "base",
        "benchmarks": [{"lm_eval": {"tasks": [task], "role": "quality"}, "as": "choice"}], "threads": 1,
    }  # fmt: skip
    file = tmp_path / "ours.yaml"
    file.write_text(yaml.safe_dump(experiment))
    done = bakeoff("run", file, "--store", tmp_path / "store", "--out", tmp_path / "ours")
    assert done.returncode == 0, done.stdout + done.stderr
    base = base_model_of("microworld/small").folder
    (weights,) = (tmp_path / "store" / "artifacts").glob("*/**/model.safetensors")
    tuned = Path(shutil.copytree(weights.parent, tmp_path / "tuned"))
    logs = [
        f"base={lm_eval_run(base, base, task, tmp_path / 'logs' / 'base')}",
        f"sft={lm_eval_run(tuned, base, task, tmp_path / 'logs' / 'sft')}",
    ]
    done = bakeoff("judge", *logs, "--out", tmp_path / "judged")
    assert done.returncode == 0, done.stderr
    (ours, our), (theirs, their) = quality_of(tmp_path / "ours"), quality_of(tmp_path / "judged")
    assert (ours.metric.chance, theirs.metric.chance) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    for label in ("base", "sft"):
        assert ours.scores[label].estimate.value == theirs.scores[label].estimate.value
    assert our.items == their.items == 60
    assert our.estimate == their.estimate
    assert our.adjusted == their.adjusted
    assert our.estimate.discordant not in (None, (0, 0))
