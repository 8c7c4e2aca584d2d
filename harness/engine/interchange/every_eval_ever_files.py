"""Cells as records of Every Eval Ever, schema 0.3: data/BENCHMARK/DEVELOPER/MODEL/UUID.json and UUID_samples.jsonl.

An aggregate holds an evaluation result for each metric; its samples hold a line for each item and metric. Ids are
derived from the scores, so that equal results give equal bytes. The schema's facts are in
`every_eval_ever.schema.json`, in our own words; a test validates with them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from harness.engine.interchange.carried import CARRIED, carried_of
from harness.engine.interchange.scored import LoggedMetric, Scored
from harness.engine.interchange.written import NO_TEXTS, Stamp, content_digest, file_name, mean_of, model_id
from harness.engine.store.keys import library_versions
from harness.files import replacing, sha256, write_json

SCHEMA = "0.3.0"
SCHEMA_FILE = Path(__file__).with_name("every_eval_ever.schema.json")


def write_every_eval_ever(cells: Iterable[Scored], out: Path, when: Stamp) -> Iterator[Path]:
    """Write an aggregate and its samples for each cell below `out`; yields their paths."""
    for one in cells:
        digest = content_digest(one)
        name = str(uuid.UUID(bytes=bytes.fromhex(digest)[:16], version=4))
        evaluation = f"{one.benchmark}/{model_id(one)}/{digest[:16]}"
        place = Path("data", file_name(one.benchmark), *model_id(one).split("/"))
        samples = out / place / f"{name}_samples.jsonl"
        rows = 0
        with replacing(samples) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            for line in _lines(one, evaluation):
                file.write(line)
                rows += 1
        told = _aggregate_of(one, evaluation, when)
        told["detailed_evaluation_results"] = {
            "format": "jsonl", "file_path": (place / samples.name).as_posix(), "hash_algorithm": "sha256",
            "checksum": sha256(samples), "total_rows": rows,
        }  # fmt: skip
        write_json(out / place / f"{name}.json", told)
        yield from (out / place / f"{name}.json", samples)


def _aggregate_of(one: Scored, evaluation: str, when: Stamp) -> dict[str, Any]:
    facts = dict(one.source.facts)
    return {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation,
        "retrieved_timestamp": when.epoch,
        "source_metadata": {
            "source_name": facts.get("study") or "bakeoff", "source_type": "evaluation_run",
            "source_organization_name": "not stated", "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "bakeoff", "version": library_versions(("bakeoff",))["bakeoff"],
            "additional_details": {CARRIED: json.dumps(carried_of(one), sort_keys=True, ensure_ascii=False)},
        },
        "model_info": {
            "name": one.method, "id": model_id(one),
            "additional_details": {
                "deployment_type": "unknown", "model_availability": "unknown",
                "base_model": str(facts.get("base", "")), "training_seed": str(one.seed),
            },
        },
        "evaluation_results": [_result(one, metric) for metric in one.metrics],
    }  # fmt: skip


def _result(one: Scored, metric: LoggedMetric) -> dict[str, Any]:
    found = [value for value in metric.values if value is not None]
    kind = {"score_type": "binary"} if {*found} <= {0.0, 1.0} else {
        "score_type": "continuous", "min_score": None, "max_score": None}  # fmt: skip
    return {
        "evaluation_result_id": metric.name,
        "evaluation_name": one.benchmark,
        "source_data": {"dataset_name": one.benchmark, "source_type": "other"},
        "metric_config": {
            "evaluation_description": metric.description, "metric_id": metric.name, "metric_name": metric.name,
            "lower_is_better": not metric.higher_is_better, **kind,
        },
        "score_details": {
            "score": mean_of(metric.values, metric.weights), "uncertainty": {"num_samples": len(found)},
            "details": {"items_without_score": str(len(metric.values) - len(found))},
        },
    }  # fmt: skip


def _lines(one: Scored, evaluation: str) -> Iterator[str]:
    """The samples as lines. The parts of an item are written once for all metrics: there may be millions of lines."""
    parts = [_parts(one, at, item) for at, item in enumerate(one.items)]
    for metric in one.metrics:
        head = json.dumps({
            "schema_version": SCHEMA, "evaluation_id": evaluation, "model_id": model_id(one),
            "evaluation_name": one.benchmark, "evaluation_result_id": metric.name,
        }, ensure_ascii=False)[:-1]  # fmt: skip
        weights = metric.weights or [1.0] * len(parts)
        for (asked, place), value, weight in zip(parts, metric.values, weights, strict=True):
            if value is not None:
                heavy = "" if weight == 1 else f', "weight": "{weight!r}"'
                right = "true" if value == 1 else "false"
                scored = f'"evaluation": {{"score": {value!r}, "is_correct": {right}}}'
                yield f"{head}, {asked}, {scored}, {place}{heavy}}}}}\n"


def _parts(one: Scored, at: int, item: str) -> tuple[str, str]:
    """The content of an item's line: what was asked and answered, and the beginning of its metadata."""
    prompt, said, right = one.texts.get(item) or NO_TEXTS
    told = _quoted(right) if right else ""
    whole = "\n".join([prompt, right] if right else [prompt]).encode("utf-8", "replace")
    digest = f'"{hashlib.sha256(whole).hexdigest()}"' if item in one.texts else "null"
    asked = (
        f'"sample_id": {_quoted(item)}, "sample_hash": {digest}, "interaction_type": "single_turn", '
        f'"input": {{"raw": {_quoted(prompt)}, "reference": [{told}]}}, '
        f'"output": {{"raw": [{", ".join(map(_quoted, said))}]}}, "answer_attribution": []'
    )
    place = f'"cluster": {_quoted(str(one.clusters[at]))}, "group": {_quoted(str(one.groups[at]))}'
    return asked, f'"metadata": {{{place}'


def _quoted(text: str) -> str:
    """A JSON string, where half a character (a lone surrogate) is its escape."""
    found = encode_basestring(text)
    return found if found.isascii() else found.encode("utf-8", "backslashreplace").decode()
