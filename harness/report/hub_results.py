"""The report's means as `.eval_results` of a model card, in the layout of the hub: METHOD/.eval_results/BENCHMARK.yaml.

The hub lists a result under the data set of a benchmark, which a results folder does not know: the user names it. A
file holds the mean of the benchmark's first metric over seeds and items; its notes hold the interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.interchange.written import Stamp, file_name
from harness.errors import UserError, did_you_mean
from harness.files import write_text
from harness.report.collect import Block, ReportModel
from harness.report.numbers.comparisons import Result

_NAMED = re.compile(r"(?P<benchmark>[^=]+)=(?P<id>[\w.-]+/[\w.-]+)(?:#(?P<task>\S+))?")


@dataclass(frozen=True)
class HubDataset:
    """A data set of the hub, and the task in it that a benchmark asks."""

    id: str
    task: str


def hub_datasets(words: Sequence[str], benchmarks: Sequence[str]) -> dict[str, HubDataset]:
    """Benchmark -> its data set, of words such as gsm8k=openai/gsm8k#main."""
    found = {}
    for word in words:
        told = _NAMED.fullmatch(word)
        if not told:
            fix = "Write BENCHMARK=OWNER/NAME#TASK, such as --dataset gsm8k=openai/gsm8k#main."
            raise UserError(f"--dataset {word} names no data set of the hub", fix=fix)
        if told["benchmark"] not in benchmarks:
            what = f"--dataset names the benchmark {told['benchmark']!r}, which these results do not have"
            raise UserError(what, fix=did_you_mean(told["benchmark"], benchmarks))
        found[told["benchmark"]] = HubDataset(told["id"], told["task"] or "default")
    if not found:
        what = "the hub lists a result under the data set of its benchmark, and none was named"
        fix = f"Add --dataset {next(iter(benchmarks), 'BENCHMARK')}=OWNER/NAME#TASK, once for each benchmark."
        raise UserError(what, fix=fix)
    return found


def write_hub_results(
    model: ReportModel, datasets: Mapping[str, HubDataset], out: Path, when: Stamp | None
) -> Iterator[Path]:
    """Write a file for each method and named benchmark; yields their paths."""
    for block in model.blocks:
        below = out / file_name(block.title) if len(model.blocks) > 1 else out
        for result in _first_results(block):
            dataset = datasets.get(result.metric.benchmark)
            for label, score in result.scores.items() if dataset else ():
                if score.estimate.value is None:
                    continue
                path = below / file_name(label) / ".eval_results" / f"{file_name(result.metric.benchmark)}.yaml"
                write_text(path, _yaml(_entry(result, label, dataset, when)))
                yield path


def _first_results(block: Block) -> Iterator[Result]:
    """Of each benchmark the first metric that is tested."""
    seen = set()
    for result in block.results:
        if result.metric.primary and result.metric.benchmark not in seen:
            seen.add(result.metric.benchmark)
            yield result


def _entry(result: Result, label: str, dataset: HubDataset | None, when: Stamp | None) -> list[dict[str, Any]]:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    assert dataset
    found = result.scores[label].estimate
    interval = "" if found.low is None else f", 95 % interval {found.low:.6g} to {found.high:.6g}"
    seeds = len(result.scores[label].seeds)
    notes = f"{result.metric.name}, mean of {seeds} seed{'s' * (seeds != 1)}{interval}, by bakeoff"
    date = when.iso if when else None
    entry = EvalResultEntry(dataset_id=dataset.id, task_id=dataset.task, value=found.value, date=date, notes=notes)
    return list(eval_result_entries_to_yaml([entry]))


def _yaml(value: Any) -> str:
    import io

    from ruamel.yaml import YAML

    text = io.StringIO()
    writer = YAML()
    writer.dump(value, text)
    return text.getvalue()
