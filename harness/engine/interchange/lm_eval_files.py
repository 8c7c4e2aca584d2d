"""Cells as a log of lm-eval: METHOD/MODEL/results_DATE.json, and samples_TASK_DATE.jsonl with a line for each item.

A benchmark is a task, a method at one seed is a model. `doc` holds the item's name, cluster and group, which
`bakeoff judge` reads again. A metric's value on an item has the metric's name, as in lm-eval; items without a value
lack it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.engine.interchange.carried import CARRIED, carried_of
from harness.engine.interchange.scored import Scored
from harness.engine.interchange.written import (
    NO_TEXTS,
    Stamp,
    file_name,
    mean_of,
    model_id,
    place_in_json,
    quoted,
    values_in_json,
)
from harness.errors import UserError
from harness.files import replacing, write_json

_ROW = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash",
        "prompt_hash", "target_hash")  # fmt: skip


def write_lm_eval(cells: Iterable[Scored], out: Path, when: Stamp) -> Iterator[Path]:
    """Write a folder for each method and seed below `out`; yields the paths of its files."""
    models: dict[Path, dict[str, Any]] = {}
    for one in cells:
        method = f"{file_name(one.method)}.seed{one.seed}" if one.seed is not None else file_name(one.method)
        folder = out / method / model_id(one).replace("/", "__")
        results = models.setdefault(folder, _empty(one, when))
        task = file_name(one.benchmark)
        if task in results["configs"]:
            what = f"two benchmarks have the name {task!r} in lm-eval's files"
            raise UserError(
                what, where=str(folder), fix="Export them apart: `as:` in the experiment names a benchmark."
            )
        _add(results, one, task)
        path = folder / f"samples_{task}_{when.in_name}.jsonl"
        with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_lines(one))
        yield path
    for folder, results in models.items():
        write_json(folder / f"results_{when.in_name}.json", results)
        yield folder / f"results_{when.in_name}.json"


def _empty(one: Scored, when: Stamp) -> dict[str, Any]:
    names = ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "group_subtasks")
    return {
        **{name: {} for name in names},
        "config": {"model": "bakeoff", "model_args": {"base": str(one.source.facts.get("base", ""))}},
        "model_name": model_id(one),
        "model_source": "bakeoff",
        "date": float(when.epoch),
    }


def _add(results: dict[str, Any], one: Scored, task: str) -> None:
    count = len(one.items)
    results["results"][task] = {
        "alias": one.benchmark,
        **{f"{metric.name},none": mean_of(metric.values, metric.weights) for metric in one.metrics},
        "sample_len": count,
    }
    listed = [
        {"metric": metric.name, "aggregation": "mean", "higher_is_better": metric.higher_is_better}
        for metric in one.metrics
    ]
    record = {**carried_of(one), "benchmark": one.benchmark}
    results["configs"][task] = {
        "task": task, "output_type": "generate_until", "metric_list": listed, "metadata": {CARRIED: record},
    }  # fmt: skip
    results["versions"][task] = one.protocol.get("task version", "")
    results["higher_is_better"][task] = {metric.name: metric.higher_is_better for metric in one.metrics}
    results["n-samples"][task] = {"original": count, "effective": count}
    results["group_subtasks"][task] = []


def _lines(one: Scored) -> Iterator[str]:
    if taken := [metric.name for metric in one.metrics if metric.name in _ROW]:
        what = f"its metric {taken[0]!r} has the name of a field of lm-eval's samples"
        raise UserError(what, where=one.benchmark, fix="Export it as --format eee.")
    names = [(metric.values, quoted(metric.name)) for metric in one.metrics]
    for at, (item, known) in enumerate(zip(one.items, values_in_json(one, "VALUE"), strict=True)):
        prompt, said, right = one.texts.get(item, NO_TEXTS)
        answers, target = ", ".join(map(quoted, said)), quoted(right)
        metrics = ", ".join(name for values, name in names if values[at] is not None)
        # put together as texts, since there may be millions
        yield (
            f'{{"doc_id": {at}, "doc": {{"item": {quoted(item)}, {place_in_json(one, at)}}}, "target": {target}, '
            f'"arguments": {{"gen_args_0": {{"arg_0": {quoted(prompt)}, "arg_1": {{}}}}}}, '
            f'"resps": [[{answers}]], "filtered_resps": [{answers}], "filter": "none", "metrics": [{metrics}], '
            f'"doc_hash": "{_hash(item)}", "prompt_hash": "{_hash(prompt)}", "target_hash": "{_hash(right)}"'
            f"{known and f', {known}'}}}\n"
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
