"""Records of Every Eval Ever (schema 0.2 and 0.3): an aggregate JSON file, and its samples as JSON lines next to it.

The aggregate names the model, the library and each result's direction; its `detailed_evaluation_results` names the
samples. A sample's `evaluation.score` is the score. Each evaluation is a benchmark, each `evaluation_result_id` of it a
metric, of which the first in the aggregate is tested.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engine.interchange.carried import CARRIED, with_carried
from harness.engine.interchange.json_lines import json_line_rows, well_formed
from harness.engine.interchange.scored import (
    LoggedMetric,
    Scored,
    Source,
    Texts,
    finite,
    only_one,
    same_item_twice,
    without_scores,
)
from harness.errors import UserError, first_line

_CUT_OFF = "The file was cut off, or follows another version of the schema (0.2 and 0.3 can be read)."
_MARKS = ("evaluation_id", "evaluation_results", "model_info")


@dataclass
class _Read:
    """The samples of one evaluation so far.

    scores  result id -> item -> its score and its row; places: item -> its metadata, such as its cluster
    """

    scores: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)
    places: dict[str, Mapping[str, str]] = field(default_factory=dict)
    texts: dict[str, Texts] = field(default_factory=dict)


def aggregates(path: Path, others: Collection[Path] = ()) -> dict[Path, Mapping[str, Any]]:
    """The aggregate files at or below a path, with their contents; `others` are of another format.

    Raises UserError for a damaged one: any JSON that the user names, or that has samples next to it.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    asked = (file for file in files if file.suffix == ".json" and file not in others and file.is_file())
    read = {file: _aggregate(file, named=file == path) for file in asked}
    return {file: told for file, told in read.items() if told is not None}


def _aggregate(file: Path, *, named: bool) -> Mapping[str, Any] | None:
    """The content of an aggregate; None for any other file."""
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if named or file.with_name(f"{file.stem}_samples.jsonl").exists():
            what = f"it is not a whole JSON object: {first_line(error)}"
            raise UserError(what, where=str(file), fix=_CUT_OFF) from None
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
        with well_formed(str(file), _CUT_OFF):
            own = list(_of_aggregate(file, told, name, seed, texts // len(found)))
        yield from own


def _model(told: Mapping[str, Any]) -> str:
    info = told["model_info"]
    return str(info.get("id") or info.get("name") if isinstance(info, dict) else info)


def _of_aggregate(file: Path, told: Mapping[str, Any], named: str, seed: int | None, texts: int) -> Iterator[Scored]:
    method = named or _model(told)
    detailed = told.get("detailed_evaluation_results") or {}
    samples = file.parent / Path(str(detailed.get("file_path") or f"{file.stem}_samples.jsonl")).name
    if not samples.is_file():
        raise without_scores(file, f"its samples, {samples.name}, are not next to it, so that only averages are here")
    library = told.get("eval_library") or {}
    scored_by = f"{library.get('name', 'unknown')} {library.get('version', '')}".strip()
    source = Source(samples, "Every Eval Ever", {"schema": str(told.get("schema_version", "")), "library": scored_by})
    results = {(str(one["evaluation_name"]), str(one.get("evaluation_result_id", ""))): one for one in _results(told)}
    carried = (library.get("additional_details") or {}).get(CARRIED)
    rows = None if detailed.get("total_rows") is None else int(detailed["total_rows"])
    for label, read in _samples(samples, str(told["evaluation_id"]), rows, texts, bool(carried)).items():
        order = [result for name, result in results if name == label]
        if order and "" in read.scores:  # samples without the id of a result are of the first one
            results[label, ""] = results[label, order[0]]
        own = sorted(read.scores, key=lambda name: order.index(name) if name in order else len(order))
        asked = {"scored by": scored_by}
        if settings := results.get((label, own[0]), {}).get("generation_config"):
            asked["generation"] = json.dumps(settings, sort_keys=True)
        items = list(read.places)
        places = read.places.values()
        groups = [place.get("group", "") for place in places] if carried else ""
        found = Scored(
            method=method,
            benchmark=label,
            seed=seed,
            source=source,
            items=items,
            clusters=[place.get("cluster", item) for item, place in read.places.items()] if carried else items,
            groups=groups,
            metrics=tuple(_metric(read, name, items, results.get((label, name), {}), len(own)) for name in own),
            protocol=asked,
            texts=read.texts,
        )
        yield with_carried(found, carried, named, seed, str(file))


def _results(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in told["evaluation_results"] if isinstance(one, dict) and "evaluation_name" in one]


def _metric(read: _Read, result: str, items: list[str], told: Mapping[str, Any], count: int) -> LoggedMetric:
    """The scores of one result; where an evaluation has only one, its name is `score` unless the aggregate names it."""
    config = told.get("metric_config") or {}
    scores, heavy = read.scores[result], read.weights.get(result)
    known = (scores.get(item) for item in items)
    return LoggedMetric(
        result or "score",
        [one[0] if one else None for one in known],
        [heavy.get(item, 1.0) for item in items] if heavy else None,
        not config.get("lower_is_better"),
        str(config.get("evaluation_description") or "the score of each sample"),
    )


def _samples(file: Path, evaluation: str, rows: int | None, texts: int, ours: bool) -> dict[str, _Read]:
    """Evaluation -> its samples. Raises UserError with the row, and where the file has fewer rows than recorded.

    ours  whether `bakeoff export` wrote the file, so that a sample's metadata has its cluster, group and weight
    """
    found: dict[str, _Read] = {}
    counted = 0
    for number, size, told in json_line_rows(file, _CUT_OFF):
        where = f"{file}, row {number}"
        with well_formed(where, _CUT_OFF):
            row, score = _sample(told, where, evaluation)
            read = found.setdefault(str(row["evaluation_name"]), _Read())
            result, item = str(row.get("evaluation_result_id") or ""), str(row["sample_id"])
            scores = read.scores.setdefault(result, {})
            if item in scores:
                raise same_item_twice(item, where, f"row {scores[item][1]}")
            scores[item] = (score, number)
            counted += 1
            place = row["metadata"] if ours and isinstance(row.get("metadata"), dict) else {}
            if item not in read.places:
                read.places[item] = place
                texts -= size
                if texts > 0 and (said := _texts(row)) != ("", (), ""):
                    read.texts[item] = said
            if "weight" in place:
                read.weights.setdefault(result, {})[item] = _weight(place["weight"], where)
    if not counted:
        raise without_scores(file, "it is empty")
    if rows is not None and rows != counted:
        what = f"it holds {counted:,} samples of {rows:,} that its aggregate records"
        raise UserError(what, where=str(file), fix="The file was cut off or changed: get it again.")
    return found


def _weight(given: Any, where: str) -> float:
    try:
        return finite(float(given), where, "the weight")
    except (TypeError, ValueError):
        return finite(given, where, "the weight")


def _sample(row: dict[str, Any], where: str, evaluation: str) -> tuple[dict[str, Any], float]:
    """A line as a row that has all that is read of it, and its score."""
    given, own = row["evaluation"]["score"], row.get("evaluation_id", evaluation)
    _texts(row), row["evaluation_name"], row["sample_id"], (row.get("metadata") or {}).get("weight")
    if own != evaluation:
        what = f"it is of the evaluation {own!r}, and the aggregate is of {evaluation!r}"
        raise UserError(what, where=where, fix="Put each aggregate next to its own samples.")
    return row, finite(given, where)


def _texts(row: Mapping[str, Any]) -> Texts:
    asked = row["input"]
    answers = tuple(map(str, (row.get("output") or {}).get("raw") or ()))
    return str(asked.get("raw", "")), answers, ", ".join(map(str, asked.get("reference") or ()))
