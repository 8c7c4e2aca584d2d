"""Logs of Inspect (`.eval`, or `.json`), read by inspect_ai itself: the extra `inspect`.

A task is a benchmark, a scorer a metric; the first scorer is tested, and higher is taken to be better, which these logs
do not state. C, P, I and N are 1, 0.5, 0 and 0, as Inspect counts them. Several epochs of a sample are their mean. A
sample that a scorer did not score lacks that score, and one that failed is not among the items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.interchange.carried import CARRIED, with_carried
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

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_SHOWN = 40  # samples of an .eval file whose texts are read: each is a file inside of it
_MARKS = ('"version"', '"status"', '"eval"')


def inspect_logs(path: Path) -> list[Path]:
    """The logs at or below a path."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".eval" or (file.suffix == ".json" and _is_log(file))]


def _is_log(file: Path) -> bool:
    """Whether a JSON file begins as a log of Inspect does: the whole may be large."""
    try:
        with file.open(encoding="utf-8") as opened:
            head = opened.read(4000)
    except (OSError, UnicodeDecodeError):
        return False
    return all(mark in head for mark in _MARKS)


def read_inspect(path: Path, logs: Sequence[Path], name: str, seed: int | None, texts: int) -> Iterator[Scored]:
    """The scores of the logs that were found at or below a path.

    name  the method's; "" for the models' own
    """
    read = [(file, _opened(file)) for file in logs]
    if name:
        only_one((_model(log) for _, log in read), path)
    for file, log in read:
        yield _of_log(file, log, name, seed, texts // len(logs))


def _opened(file: Path) -> Any:
    """The header of a log. Raises UserError where it cannot be read, or its run did not end well."""
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        fix = "Run `pip install 'bakeoff[inspect]'`."
        raise UserError("logs of Inspect are read by the package inspect-ai", where=str(file), fix=fix) from None
    log = _whole(file, read_eval_log, str(file), header_only=True)
    if log.status != "success":
        what = f"its run did not end well: its status is {log.status!r}"
        raise UserError(what, where=str(file), fix="Finish it with `inspect eval-retry`, and judge the new log.")
    return log


def _whole(file: Path, read: Any, *args: Any, **named: Any) -> Any:
    """The result of a function of inspect_ai that reads the file. Raises UserError where the file is damaged."""
    try:
        return read(*args, **named)
    except Exception as error:  # of zip, of compression, of JSON or of the fields: whichever part is damaged
        what = f"it cannot be read by inspect_ai: {first_line(error) or type(error).__name__}"
        raise UserError(what, where=str(file), fix="It was cut off or damaged: get it again.") from None


def _model(log: Any) -> str:
    record = (log.eval.metadata or {}).get(CARRIED) or {}
    return str(record.get("method") if isinstance(record, Mapping) and record else log.eval.model)


def _of_log(file: Path, log: Any, named: str, seed: int | None, texts: int) -> Scored:
    samples = _samples(file, log)
    carried = (log.eval.metadata or {}).get(CARRIED)
    values = _values(file, samples)
    if not values:
        raise without_scores(file, "its samples have no scores")
    items = list(dict.fromkeys(str(sample.id) for sample in samples))
    places: dict[str, Mapping[str, Any]] = {str(one.id): one.metadata or {} for one in samples} if carried else {}
    source = Source(file, "log of Inspect", _facts(log))
    found = Scored(
        method=named or log.eval.model,
        benchmark=log.eval.task,
        seed=seed,
        source=source,
        items=items,
        clusters=[str(places.get(item, {}).get("cluster", item)) for item in items],
        groups=[str(places.get(item, {}).get("group", "")) for item in items] if carried else "",
        metrics=tuple(_metrics(log, values, items, places)),
        protocol=_protocol(log, samples),
        texts=_texts(file, samples, texts),
    )
    return with_carried(found, carried, named, seed, str(file))


def _samples(file: Path, log: Any) -> Sequence[Any]:
    """All samples; of an .eval file their summaries, which hold every score and are read at once."""
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    if file.suffix == ".eval":
        found = _whole(file, read_eval_log_sample_summaries, str(file))
    else:
        found = _whole(file, read_eval_log, str(file)).samples or []
    recorded = log.results.total_samples if log.results else None
    if recorded is not None and recorded != len(found):
        what = f"it holds {len(found):,} samples of {recorded:,} that it records"
        raise UserError(what, where=str(file), fix="The log was cut off or changed: get it again.")
    if not found:
        raise without_scores(file, "it has no samples")
    return list(found)


def _values(file: Path, samples: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Metric -> item -> its score, the mean where there are several epochs."""
    found: dict[str, dict[str, list[float]]] = {}
    rows: dict[tuple[str, int], int] = {}
    for row, sample in enumerate(samples, 1):
        item, where = str(sample.id), f"{file}, sample {row}"
        if (item, sample.epoch) in rows:
            raise same_item_twice(item, where, f"sample {rows[item, sample.epoch]}")
        rows[item, sample.epoch] = row
        for name, score in (sample.scores or {}).items():
            parts = score.value.items() if isinstance(score.value, dict) else [("", score.value)]
            for part, value in parts:
                given = _GRADES.get(value, value) if isinstance(value, str) else value
                number = finite(given, where, f"the score of {name}")
                found.setdefault(f"{name}/{part}" if part else name, {}).setdefault(item, []).append(number)
    return {name: {item: sum(numbers) / len(numbers) for item, numbers in own.items()} for name, own in found.items()}


def _metrics(
    log: Any, values: Mapping[str, Mapping[str, float]], items: Sequence[str], places: Mapping[str, Mapping[str, Any]]
) -> Iterator[LoggedMetric]:
    """The metrics in the order of the log's scorers; the weights are those of our own logs."""
    order = [score.name for score in log.results.scores] if log.results else []
    for name in sorted(values, key=lambda one: (_at(order, one.split("/")[0]), one)):
        weights = [places.get(item, {}).get("weights", {}).get(name, 1.0) for item in items]
        known = [values[name].get(item) for item in items]
        yield LoggedMetric(name, known, weights if any(one != 1 for one in weights) else None, True, f"scorer {name}")


def _at(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _facts(log: Any) -> dict[str, str]:
    known = {"model": log.eval.model, "inspect": (log.eval.packages or {}).get("inspect_ai")}
    return {name: str(value) for name, value in known.items() if value}


def _protocol(log: Any, samples: Sequence[Any]) -> dict[str, str]:
    """How the task was asked; the prompts are compared by what the summaries show of them."""
    settings = {**log.plan.config.model_dump(exclude_none=True),
                **log.eval.model_generate_config.model_dump(exclude_none=True)}  # fmt: skip
    version = (log.eval.packages or {}).get("inspect_ai")
    epochs = log.eval.config.epochs
    asked = {
        "task version": log.eval.task_version,
        "task arguments": json.dumps(log.eval.task_args, sort_keys=True, default=str) if log.eval.task_args else None,
        "solver": log.eval.solver,
        "generation": json.dumps(settings, sort_keys=True, default=str) if settings else None,
        "epochs": epochs if epochs and epochs > 1 else None,
        "prompts": _digest([f"{sample.id} {_asked(sample)}" for sample in samples]),
        "scored by": f"inspect {version}" if version else None,
    }
    return {name: str(value) for name, value in asked.items() if value is not None}


def _digest(texts: Sequence[str]) -> str:
    whole = "\n".join(sorted(set(texts)))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _asked(sample: Any) -> str:
    """The input as text; of a conversation, its turns."""
    if isinstance(sample.input, str):
        return sample.input
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in sample.input)


def _texts(file: Path, samples: Sequence[Any], most: int) -> dict[str, Texts]:
    """Prompts and answers of the first epoch of the first samples."""
    from inspect_ai.log import read_eval_log_sample

    found: dict[str, Texts] = {}
    first = [sample for sample in samples if sample.epoch == 1]
    for sample in first[:_SHOWN] if file.suffix == ".eval" else first:
        if file.suffix == ".eval":
            sample = _whole(file, read_eval_log_sample, str(file), id=sample.id, epoch=1)
        target = sample.target if isinstance(sample.target, str) else ", ".join(sample.target)
        said = tuple(choice.message.text for choice in sample.output.choices)
        texts = (_asked(sample), said or ((sample.output.completion,) if sample.output.completion else ()), target)
        most -= sum(map(len, (texts[0], *texts[1], texts[2])))
        if most <= 0:
            break
        if texts != ("", (), ""):
            found[str(sample.id)] = texts
    return found
