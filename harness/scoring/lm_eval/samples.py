"""lm-eval's log of one document as plain numbers and texts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import UserError

MAIN_METRICS = ("acc", "exact_match")
"""The main metric of a task: the first of these that it has, else the task's first."""


@dataclass(frozen=True)
class Sample:
    """One document of a task, answered and scored.

    prompt       the rendered text of its first request
    completions  the choice that the policy prefers, or its generated texts (one per repeat)
    metrics      lm-eval's values for this document, without metrics that have no value per document
    weights      weights of the values other than 1 (the share of three instructions has weight 3)
    score        the task's main metric, negated where lower is better
    main         name of that metric
    """

    task: str
    doc_id: int
    doc_hash: str
    document: Mapping[str, Any]
    prompt: str
    completions: tuple[str, ...]
    reference: str
    metrics: Mapping[str, float]
    weights: Mapping[str, float]
    score: float
    main: str
    truncated: bool


def by_document(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """lm-eval's rows grouped by document; it logs a document once per filter of its answers."""
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["doc_id"], []).append(row)
    return list(grouped.values())


def sample_of(name: str, task: Any, rows: list[dict[str, Any]], truncated: bool) -> Sample:
    """One document of a task from its rows, one per filter.

    Where a task has several filters, metrics are named `metric,filter` as in lm-eval. Raises UserError where no metric
    has a value per document (corpus F1, BLEU).
    """
    numbers: dict[str, _Number] = {}
    for row in rows:
        suffix = f",{row['filter']}" if len(rows) > 1 else ""
        for metric in row["metrics"]:
            numbers |= {key + suffix: found for key, found in _numbers(task, metric, row[metric])}
    if not numbers:
        raise UserError(
            f"the task {name} has no metric with a value per document, only {', '.join(rows[0]['metrics'])}",
            fix="Leave it out, or give it another metric_list in your own YAML file.",
        )
    favoured = [key for wanted in MAIN_METRICS for key in numbers if key.split(",")[0] == wanted]
    main = [*favoured, *numbers][0]
    return Sample(
        task=name,
        doc_id=rows[0]["doc_id"],
        doc_hash=rows[0]["doc_hash"],
        document=rows[0]["doc"],
        prompt=str(rows[0]["arguments"][0][0]),
        completions=_completions(task, rows[0]),
        reference=_reference(task, rows[0]),
        metrics={key: number.value for key, number in numbers.items()},
        weights={key: number.weight for key, number in numbers.items() if number.weight != 1},
        score=numbers[main].value * numbers[main].direction,
        main=main,
        truncated=truncated,
    )


@dataclass(frozen=True)
class _Number:
    value: float
    weight: float = 1.0
    direction: Literal[1, -1] = 1


def _numbers(task: Any, metric: str, found: Any) -> Iterator[tuple[str, _Number]]:
    """A metric's values for one document, such that weighted means are meaningful.

    A corpus perplexity is exp of a mean: its documents get the terms of that mean, in nats (bits per byte: in bits) per
    word or byte, weighted by words or bytes. A list of booleans (IFEval's instructions) becomes a share.
    """
    rule = getattr(task.aggregation().get(metric), "__name__", "")
    found = found.item() if hasattr(found, "item") else found
    if rule in ("weighted_perplexity", "bits_per_byte"):
        logprob, count = float(found[0]), float(found[1])
        if count:
            name, unit = (metric, math.log(2)) if rule == "bits_per_byte" else (f"log_{metric}", 1.0)
            yield name, _Number(-logprob / count / unit, count, -1)
    elif rule == "perplexity":
        yield "log_probability", _Number(float(found))
    elif isinstance(found, list) and found and all(isinstance(one, bool) for one in found):
        yield metric, _Number(sum(found) / len(found), float(len(found)))
    elif isinstance(found, (bool, int, float)) and math.isfinite(found):
        yield metric, _Number(float(found), 1.0, 1 if task.higher_is_better().get(metric, True) else -1)


def _completions(task: Any, row: dict[str, Any]) -> tuple[str, ...]:
    if task.OUTPUT_TYPE == "generate_until":
        return tuple(str(text) for texts in row["resps"] for text in texts)
    if task.OUTPUT_TYPE != "multiple_choice":
        return ()
    asked = [pair for pair in zip(row["arguments"], row["resps"], strict=True) if pair[0][0]]
    best = max(asked, key=lambda pair: float(pair[1][0][0]))[0]
    return (str(best[1]).strip(),)


def _reference(task: Any, row: dict[str, Any]) -> str:
    """The right answer as text; lm-eval gives a text, several texts, or the index of a choice."""
    target = row["target"][0] if isinstance(row["target"], list) and row["target"] else row["target"]
    choices = row["arguments"] if task.OUTPUT_TYPE == "multiple_choice" else []
    if isinstance(target, int) and 0 <= target < len(choices):
        return str(choices[target][1]).strip()
    return str(target)


def placed_documents(tasks: Mapping[str, Any], limit: int | None) -> Iterator[tuple[str, int, str, Mapping[str, Any]]]:
    """(task, number, digest, document) of every document; the digest is that of lm-eval's samples."""
    from lm_eval.utils import handle_non_serializable, hash_string

    for name, task in tasks.items():
        for number, document in task.doc_iterator(limit=limit):
            logged = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
            yield name, number, hash_string(logged), document


def task_documents(tasks: Mapping[str, Any], limit: int | None) -> Iterator[tuple[str, int, str, str, str]]:
    """(task, number, digest, question with its choices, reference answer) of every document."""
    for name, number, digest, document in placed_documents(tasks, limit):
        yield name, number, digest, *_texts(tasks[name], document)


def _texts(task: Any, document: Mapping[str, Any]) -> tuple[str, str]:
    """Question and answer; where the choices are contexts, they are the question."""
    asked, answer = task.doc_to_text(document), task.doc_to_target(document)
    choices = list(task.doc_to_choice(document)) if task.OUTPUT_TYPE == "multiple_choice" else []
    parts = [asked] if isinstance(asked, str) else []
    parts += [choice for choice in choices if isinstance(choice, str) and choice not in "".join(parts)]
    if isinstance(answer, int) and 0 <= answer < len(choices):
        answer = choices[answer]
    return "\n".join(parts), answer if isinstance(answer, str) else ""
