"""A folder that `lm_eval --log_samples --output_path` wrote: samples_TASK_DATE.jsonl, and results_DATE.json next to it.

Each line is a document under one filter of its answers. Values, item names and the choice of the tested metric are
those of bakeoff's own benchmark `lm_eval` (`harness/scoring/lm_eval/samples.py`), so that the same answers get the same
scores by either way. The tasks of a group such as mmlu are one benchmark with a group of items for each task.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.engine.interchange.carried import CARRIED, with_carried
from harness.engine.interchange.json_lines import json_line_rows, well_formed
from harness.engine.interchange.scored import (
    LeftOut,
    LoggedMetric,
    Scored,
    Source,
    finite,
    only_one,
    same_item_twice,
    without_scores,
)
from harness.errors import UserError, first_line
from harness.scoring.lm_eval.samples import Sample, sample_of

_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_(?P<date>{_DATE})\.jsonl")
_RULES = {"word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity",
          "bits_per_byte": "bits_per_byte"}  # fmt: skip
_SHARES = ("acc", "acc_norm", "exact_match")
_TEMPLATE = ("description", "doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter", "fewshot_delimiter")


@dataclass(frozen=True)
class LoggedTask:
    """A task as its log describes it; `sample_of` asks no more of a task than this."""

    name: str
    config: Mapping[str, Any]
    higher: Mapping[str, bool]

    @property
    def OUTPUT_TYPE(self) -> str:  # noqa: N802  # lm-eval's name
        """How it asks: multiple_choice, generate_until, ..."""
        return str(self.config.get("output_type", ""))

    def aggregation(self) -> dict[str, Any]:
        """Metric -> an object with the name of the rule that sums its values up."""
        listed = {one["metric"]: one.get("aggregation") for one in self.config.get("metric_list") or ()}
        return {metric: SimpleNamespace(__name__=rule) for metric, rule in {**_RULES, **listed}.items()}

    def higher_is_better(self) -> dict[str, bool]:
        """Metric -> whether more is better."""
        return dict(self.higher)


@dataclass(frozen=True)
class _Run:
    """The log of one run of lm-eval: its results file, empty where there is none, and its samples by task."""

    results: Mapping[str, Any]
    samples: Mapping[str, Path]
    folder: Path

    @property
    def model(self) -> str:
        name = str(self.results.get("model_name") or self.folder.name)
        return name if not name.startswith(("/", ".")) else Path(name).name

    @property
    def tops(self) -> dict[str, str]:
        """Task -> the outermost group that it was asked in."""
        groups: Mapping[str, Any] = self.results.get("group_subtasks") or {}
        above = {child: group for group, children in groups.items() for child in children}
        found = {}
        for task in self.samples:
            top, seen = task, {task}
            while above.get(top, top) not in seen:
                top = above[top]
                seen.add(top)
            found[task] = top
        return found


def is_log_folder(path: Path) -> bool:
    """Whether a folder holds logs of lm-eval, or results of one that logged no samples."""
    return any(_SAMPLES.fullmatch(file.name) for file in path.rglob("samples_*.jsonl")) or any(
        path.rglob("results_*.json")
    )


def read_lm_eval(path: Path, name: str, seed: int | None, texts: int) -> Iterator[Scored | LeftOut]:
    """The scores of every run below a folder.

    name   of the method, "" for the models' own names; texts: the characters of prompts and answers to keep
    """
    runs = list(_runs(path))
    if not runs:
        raise without_scores(path, "lm-eval was run without --log_samples, so that only its averages are here")
    method = {run.folder: run.model for run in runs}
    if name:
        only_one(method.values(), path)
    files = sum(len(run.samples) for run in runs)
    for run in runs:
        for task, file in sorted(run.samples.items()):
            yield from _of_task(run, task, file, name, seed, texts // files)


def _runs(path: Path) -> Iterator[_Run]:
    """Samples and results of one date in one folder are one run."""
    found: dict[tuple[Path, str], dict[str, Path]] = {}
    for file in sorted(path.rglob("samples_*.jsonl")):
        if told := _SAMPLES.fullmatch(file.name):
            found.setdefault((file.parent, told["date"]), {})[told["task"]] = file
    for (folder, date), samples in found.items():
        results = sorted(folder.glob(f"*_{date}.json"))
        yield _Run(_results(results[0]) if results else {}, samples, folder)


def _results(file: Path) -> Mapping[str, Any]:
    """The statements of a run about itself. Raises UserError where it is damaged or of another kind."""
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"it is not whole: {first_line(error)}", where=str(file), fix=_NO_RESULTS) from None
    known = found if isinstance(found, dict) else {}
    for name, kind in _KINDS.items():
        parts = known.get(name) or {}
        if not isinstance(parts, dict) or not all(isinstance(part, kind) for part in parts.values()):
            raise UserError(f"its {name!r} is not as lm-eval writes it", where=str(file), fix=_NO_RESULTS)
    return known


_NO_RESULTS = "Run lm-eval again, or remove the file: what it states is then unknown."
_KINDS = {"configs": dict, "higher_is_better": dict, "n-samples": dict, "group_subtasks": list, "versions": object,
          "n-shot": object, "config": object}  # fmt: skip


def _of_task(run: _Run, task: str, file: Path, named: str, seed: int | None, texts: int) -> Iterator[Scored | LeftOut]:
    """The documents of a task, in the order of the log."""
    results = run.results
    config = (results.get("configs") or {}).get(task) or {}
    logged = LoggedTask(task, config, (results.get("higher_is_better") or {}).get(task) or {})
    source = Source(file, "lm-eval samples", _facts(run))
    documents = _documents(file, texts)
    counted = ((results.get("n-samples") or {}).get(task) or {}).get("effective")
    if counted is not None and counted != len(documents):
        what = f"it holds {len(documents):,} documents of {counted:,} that lm-eval scored"
        raise UserError(what, where=str(file), fix="The log was cut off or changed: run lm-eval again.")
    samples = []
    for rows in documents.values():
        with well_formed(f"{file}, row {rows[0]['row']}", _CUT_OFF):
            try:
                samples.append(sample_of(task, logged, rows, False))
            except UserError as error:
                yield LeftOut(source, task, error.what)
                return
            for name, value in samples[-1].metrics.items():
                finite(value, f"{file}, row {rows[0]['row']}", f"its {name}")
    carried = (config.get("metadata") or {}).get(CARRIED)
    own = [rows[0]["doc"] for rows in documents.values()]
    if carried and not (isinstance(carried, dict) and "benchmark" in carried and all(own)):
        what = "a document lacks its item, cluster or group, or the results lack the name of the benchmark"
        raise UserError(what, where=str(file), fix="The export was changed: export the results again.")
    items = [one["item"] for one in own] if carried else [f"{task}/{s.doc_id}/{s.doc_hash}" for s in samples]
    found = Scored(
        method=named or run.model,
        benchmark=str(carried["benchmark"]) if carried else run.tops[task],
        seed=seed,
        source=source,
        items=items,
        clusters=[one["cluster"] for one in own] if carried else items,
        groups=[one["group"] for one in own] if carried else task,
        metrics=_metrics(samples, logged, documents),
        protocol=_protocol(run, task, config, documents),
        texts=_kept(samples, items, documents),
    )
    yield with_carried(found, carried, named, seed, str(file))


def _documents(file: Path, texts: int) -> dict[int, list[dict[str, Any]]]:
    """Document -> its rows, one for each filter, without the document itself. Raises UserError with the row.

    Prompts and answers are dropped once they have more characters than `texts`: a log may be larger than the memory.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    for number, size, told in json_line_rows(file, _CUT_OFF):
        where = f"{file}, row {number}"
        row = _row(told, where) | {"row": number}
        own = found.setdefault(row["doc_id"], [])
        if earlier := next((other for other in own if other["filter"] == row["filter"]), None):
            raise same_item_twice(str(row["doc_id"]), where, f"row {earlier['row']}")
        texts -= size
        own.append(row if texts > 0 else {**row, **_NO_TEXTS})
    if not found:
        raise without_scores(file, "it is empty")
    return found


def _row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A line as lm-eval's row in memory: requests as a list, a target that is the number of a choice as a number."""
    with well_formed(where, _CUT_OFF):
        asked = row["arguments"].values() if isinstance(row["arguments"], dict) else row["arguments"]
        row["arguments"] = [list(one.values()) if isinstance(one, dict) else list(one) for one in asked]
        row["choices"] = sum(bool(one[0]) for one in row["arguments"]) or 1
        # only of a file of `bakeoff export` is the document read
        row["doc"] = row["doc"] if isinstance(row["doc"], dict) and row["doc"].keys() >= _PLACED else _NO_DOCUMENT
        row["doc_hash"], row["filter"] = str(row["doc_hash"])[:8], sys.intern(str(row.get("filter", "none")))
        hash(row["doc_id"])
        # logs of older versions do not list their metrics
        row.setdefault("metrics", [name for name in row if name not in _OWN])
        row["metrics"] = [sys.intern(metric) for metric in row["metrics"]]
        for metric in row["metrics"]:
            if not isinstance(row[metric], (list, dict)):
                finite(row[metric], where, f"its {metric}")
        if isinstance(row["target"], str) and row["target"].isdecimal():
            row["target"] = int(row["target"])
        return {name: row[name] for name in (*_NEEDED, *row["metrics"])}


_CUT_OFF = "The log was cut off, or another version of lm-eval wrote it (0.4.3 and later can be read)."
_PLACED = {"item", "cluster", "group"}
_NEEDED = ("doc_id", "doc_hash", "doc", "target", "arguments", "resps", "filter", "metrics", "prompt_hash", "choices")
_OWN = {*_NEEDED, "filtered_resps", "target_hash", "task_name"}
_NO_DOCUMENT: dict[str, Any] = {}
_NO_TEXTS = {"arguments": [["-", ""]], "resps": [[["0"]]], "target": "", "textless": True}


def _metrics(
    samples: list[Sample], task: LoggedTask, documents: Mapping[int, list[dict[str, Any]]]
) -> tuple[LoggedMetric, ...]:
    """The main metric first; then the others, and the level of random answers where there is one."""
    mains = sorted({one.main for one in samples})
    names = dict.fromkeys([*mains, *(name for one in samples for name in one.metrics)])
    found = []
    for name in names:
        own = (rows[0]["doc"].get("weights", {}) for rows in documents.values())
        weights = [heavy.get(name, one.weights.get(name, 1.0)) for heavy, one in zip(own, samples, strict=True)]
        found.append(
            LoggedMetric(
                name,
                [one.metrics.get(name) for one in samples],
                weights if any(weight != 1 for weight in weights) else None,
                _higher(name, task),
                "as lm-eval scored each document",
            )
        )
    if chance := _chance(task, mains[0], documents):
        found.append(LoggedMetric("chance", chance))
    return tuple(found)


def _higher(name: str, task: LoggedTask) -> bool:
    metric = name.split(",")[0]
    if name == "log_probability":
        return True
    return not metric.startswith("log_") and metric != "bits_per_byte" and task.higher.get(metric, True)


def _chance(task: LoggedTask, main: str, documents: Mapping[int, list[dict[str, Any]]]) -> list[float] | None:
    """One over the number of choices of each document; None where the score is not a share of right choices."""
    own_rule = task.config.get("process_results")
    if task.OUTPUT_TYPE != "multiple_choice" or own_rule or main.split(",")[0] not in _SHARES:
        return None
    return [1 / rows[0]["choices"] for rows in documents.values()]


def _facts(run: _Run) -> dict[str, str]:
    """The statements of the results file about the whole run."""
    known = {
        "model": run.results.get("model_name"),
        "lm-eval": run.results.get("lm_eval_version"),
        "transformers": run.results.get("transformers_version"),
    }
    return {name: str(value) for name, value in known.items() if value}


def _protocol(
    run: _Run, task: str, config: Mapping[str, Any], documents: Mapping[int, list[dict[str, Any]]]
) -> dict[str, str]:
    """How the task was asked; without a results file only the prompts are known."""
    results = run.results
    prompts = "".join(sorted(str(rows[0]["prompt_hash"]) for rows in documents.values()))
    found = {"prompts": _short(prompts)}
    if not results:
        return found
    settings = config.get("generation_kwargs")
    asked = {
        "task version": (results.get("versions") or {}).get(task),
        "few-shot examples": (results.get("n-shot") or {}).get(task),
        "task template": _short(json.dumps([config.get(name) for name in _TEMPLATE], sort_keys=True)),
        "generation": json.dumps(settings, sort_keys=True) if settings else None,
        "chat template": str(results["chat_template_sha"])[:12] if results.get("chat_template_sha") else "none",
        "system instruction": str(results.get("system_instruction_sha") or "none")[:12],
        "examples as turns": results.get("fewshot_as_multiturn") if results.get("chat_template_sha") else None,
        "precision": (results.get("config") or {}).get("model_dtype"),
        "scored by": f"lm-eval {results['lm_eval_version']}" if results.get("lm_eval_version") else None,
    }
    return found | {name: str(value) for name, value in asked.items() if value is not None}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _kept(
    samples: list[Sample], items: list[str], documents: Mapping[int, list[dict[str, Any]]]
) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Prompts and answers of the documents whose texts were kept."""
    whole = zip(items, samples, documents.values(), strict=True)
    return {
        item: (one.prompt, one.completions, one.reference) for item, one, rows in whole if "textless" not in rows[0]
    }
