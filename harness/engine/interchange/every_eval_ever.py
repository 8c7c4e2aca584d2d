"""Records of Every Eval Ever (schema 0.2): an aggregate JSON file, and its samples as JSON lines next to it.

The aggregate names the model, the library and each evaluation's direction; its `detailed_evaluation_results` names the
samples. A sample's `evaluation.score` is the score. Each evaluation is a benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engine.interchange.scored import (
    LoggedMetric,
    Scored,
    Source,
    finite,
    only_one,
    same_item_twice,
    without_scores,
)
from harness.errors import UserError, first_line

_MARKS = ("evaluation_id", "evaluation_results", "model_info")


@dataclass
class _Read:
    """The samples of one evaluation so far: item -> its score and its row."""

    scores: dict[str, tuple[float, int]] = field(default_factory=dict)
    texts: dict[str, tuple[str, tuple[str, ...], str]] = field(default_factory=dict)


def aggregates(path: Path) -> dict[Path, Mapping[str, Any]]:
    """The aggregate files at or below a path, with their contents."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    read = {file: _aggregate(file) for file in files if file.suffix == ".json"}
    return {file: told for file, told in read.items() if told is not None}


def _aggregate(file: Path) -> Mapping[str, Any] | None:
    """The content of an aggregate; None for any other file."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and all(name in found for name in _MARKS) else None


def read_every_eval_ever(
    path: Path, found: Mapping[Path, Mapping[str, Any]], name: str, seed: int | None, texts: int
) -> Iterator[Scored]:
    """The scores of the aggregates that were found at or below a path.

    name  the method's; "" for the models' own
    """
    if name:
        only_one(map(_model, found.values()), path)
    for file, told in found.items():
        yield from _of_aggregate(file, told, name or _model(told), seed, texts // len(found))


def _model(told: Mapping[str, Any]) -> str:
    info = told["model_info"]
    return str(info.get("id") or info.get("name") if isinstance(info, dict) else info)


def _of_aggregate(file: Path, told: Mapping[str, Any], method: str, seed: int | None, texts: int) -> Iterator[Scored]:
    detailed = told.get("detailed_evaluation_results") or {}
    samples = file.parent / Path(str(detailed.get("file_path") or f"{file.stem}_samples.jsonl")).name
    if not samples.is_file():
        raise without_scores(file, f"its samples, {samples.name}, are not next to it, so that only averages are here")
    library = told.get("eval_library") or {}
    scored_by = f"{library.get('name', 'unknown')} {library.get('version', '')}".strip()
    source = Source(samples, "Every Eval Ever", {"schema": str(told.get("schema_version", "")), "library": scored_by})
    lower = {
        str(one.get("evaluation_name")): bool((one.get("metric_config") or {}).get("lower_is_better"))
        for one in told["evaluation_results"]
    }
    settings = {str(one.get("evaluation_name")): one.get("generation_config") for one in told["evaluation_results"]}
    rows = detailed.get("total_rows")
    for label, read in _samples(samples, str(told["evaluation_id"]), rows, texts).items():
        asked = {"scored by": scored_by}
        if settings.get(label):
            asked["generation"] = json.dumps(settings[label], sort_keys=True)
        items = list(read.scores)
        values = [score for score, _ in read.scores.values()]
        higher = not lower.get(label, False)
        yield Scored(
            method=method,
            benchmark=label,
            seed=seed,
            source=source,
            items=items,
            clusters=items,
            groups="",
            metrics=(LoggedMetric("score", values, None, higher, "the score of each sample"),),
            protocol=asked,
            texts=read.texts,
        )


def _samples(file: Path, evaluation: str, rows: int | None, texts: int) -> dict[str, _Read]:
    """Evaluation -> its samples. Raises UserError with the row, and where the file has fewer rows than recorded."""
    found: dict[str, _Read] = {}
    number = 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{file}, row {number}"
            label, item, score, said = _sample(line, where, evaluation)
            read = found.setdefault(label, _Read())
            if item in read.scores:
                raise same_item_twice(item, where, f"row {read.scores[item][1]}")
            read.scores[item] = (score, number)
            texts -= len(line)
            if texts > 0:
                read.texts[item] = said
    if not number:
        raise without_scores(file, "it is empty")
    if rows is not None and rows != number:
        what = f"it holds {number:,} samples of {rows:,} that its aggregate records"
        raise UserError(what, where=str(file), fix="The file was cut off or changed: get it again.")
    return found


def _sample(line: str, where: str, evaluation: str) -> tuple[str, str, float, tuple[str, tuple[str, ...], str]]:
    """(evaluation, item, score, texts) of a line."""
    try:
        row = json.loads(line)
        label, item, asked = str(row["evaluation_name"]), str(row["sample_id"]), row["input"]
        given, own = row["evaluation"]["score"], row.get("evaluation_id", evaluation)
        answers = tuple(map(str, (row.get("output") or {}).get("raw") or ()))
        said = (str(asked.get("raw", "")), answers, ", ".join(map(str, asked.get("reference") or ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else f"it is not a whole sample: {first_line(error)}"
        fix = "The file was cut off, or follows another version of the schema (0.2 can be read)."
        raise UserError(lacks, where=where, fix=fix) from None
    if own != evaluation:
        what = f"it is of the evaluation {own!r}, and the aggregate is of {evaluation!r}"
        raise UserError(what, where=where, fix="Put each aggregate next to its own samples.")
    return label, item, finite(given, where), said
