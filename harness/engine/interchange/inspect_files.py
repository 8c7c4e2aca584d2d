"""Cells as logs of Inspect, one JSON file for each, which its viewer and `read_eval_log` open.

JSON and not `.eval`: that one is a zip file with an entry for each sample, whose bytes differ at each writing, and
takes milliseconds a sample. `inspect log convert --to eval` makes it of ours. No package is needed to write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.engine.interchange.carried import CARRIED, carried_of
from harness.engine.interchange.scored import LoggedMetric, Scored
from harness.engine.interchange.written import (
    NO_TEXTS,
    Stamp,
    content_digest,
    file_name,
    mean_of,
    model_id,
    place_in_json,
    quoted,
    values_in_json,
)
from harness.engine.store.keys import library_versions
from harness.files import replacing

LOG_VERSION = 2


def write_inspect(cells: Iterable[Scored], out: Path, when: Stamp) -> Iterator[Path]:
    """Write a log for each cell into `out`; yields their paths."""
    date = when.time.strftime("%Y-%m-%dT%H-%M-%S+00-00")
    for one in cells:
        digest = content_digest(one)
        path = out / f"{date}_{file_name(one.benchmark).replace('_', '-')}_{digest[:22]}.json"
        with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(_header(one, digest, when))[:-1])
            file.write(', "samples": [\n')
            for at, sample in enumerate(_samples(one, digest)):
                file.write(f",\n{sample}" if at else sample)
            file.write("\n]}\n")
        yield path


def _header(one: Scored, digest: str, when: Stamp) -> dict[str, Any]:
    count = len(one.items)
    return {
        "version": LOG_VERSION,
        "status": "success",
        "eval": {
            "eval_id": digest[:22], "run_id": digest[22:44], "task_id": digest[:22], "created": when.iso,
            "task": one.benchmark, "task_version": one.protocol.get("task version") or 0,
            "dataset": {"name": one.benchmark, "samples": count}, "model": model_id(one), "config": {},
            "packages": library_versions(("bakeoff",)), "metadata": {CARRIED: carried_of(one)},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": count, "completed_samples": count, "scores": [_score(metric) for metric in one.metrics],
        },
        "stats": {"started_at": when.iso, "completed_at": when.iso, "model_usage": {}},
    }  # fmt: skip


def _score(metric: LoggedMetric) -> dict[str, Any]:
    mean = {"name": "mean", "value": mean_of(metric.values, metric.weights), "params": {}}
    return {"name": metric.name, "scorer": metric.name, "params": {}, "metrics": {"mean": mean}}


def _samples(one: Scored, digest: str) -> Iterator[str]:
    """The samples as JSON; their parts are put together as texts, since there may be millions."""
    model = quoted(model_id(one))
    for at, (item, scores) in enumerate(zip(one.items, values_in_json(one, '{"value": VALUE}'), strict=True)):
        prompt, said, right = one.texts.get(item, NO_TEXTS)
        asked, answers = quoted(prompt), [f'{{"role": "assistant", "content": {quoted(text)}}}' for text in said]
        messages = [*([f'{{"role": "user", "content": {asked}}}'] if prompt else []), *answers[:1]]
        choices = ", ".join(f'{{"message": {message}, "stop_reason": "stop"}}' for message in answers)
        yield (
            f'{{"id": {quoted(item)}, "epoch": 1, "input": {asked}, "target": {quoted(right)}, '
            f'"messages": [{", ".join(messages)}], "output": {{"model": {model}, "choices": [{choices}], '
            f'"completion": {quoted(said[0] if said else "")}}}, "scores": {{{scores}}}, '
            f'"metadata": {{{place_in_json(one, at)}}}, "store": {{}}, "events": [], "attachments": {{}}, '
            f'"uuid": "{digest[:12]}-{at}"}}'
        )
