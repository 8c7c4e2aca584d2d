"""A path that the user names -> the reader for it: `PATH`, `METHOD=PATH` or `METHOD/SEED=PATH`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engine.interchange.every_eval_ever import aggregates, read_every_eval_ever
from harness.engine.interchange.inspect_logs import inspect_logs, read_inspect
from harness.engine.interchange.lm_eval_logs import is_log_folder, read_lm_eval
from harness.engine.interchange.score_tables import read_score_table
from harness.engine.interchange.scored import TEXTS, LeftOut, Scored, only_one, without_scores
from harness.errors import UserError

_NAMED = re.compile(r"(?P<method>[^=]+?)(?:/(?P<seed>\d+))?=(?P<path>.+)")


@dataclass(frozen=True)
class Given:
    """One argument of the user: a path, and the method and training seed that it is said to be of."""

    path: Path
    method: str = ""
    seed: int | None = None


def given(word: str) -> Given:
    """An argument; one that is a path as it is has no name. Raises UserError where the path does not exist."""
    told = None if Path(word).exists() else _NAMED.fullmatch(word)
    found = Given(Path(word))
    if told:
        found = Given(Path(told["path"]), told["method"], int(told["seed"]) if told["seed"] else None)
    if not found.path.exists():
        fix = "Name a folder or file of scores, or METHOD=PATH: `bakeoff judge base=logs/base sft=logs/sft`."
        raise UserError("no such file or folder", where=str(found.path), fix=fix)
    return found


def read_scores(words: Iterable[str]) -> Iterator[Scored | LeftOut]:
    """All scores of the user's arguments, in their order."""
    asked = [given(word) for word in words]
    for one in asked:
        yield from _read(one, TEXTS // len(asked))


def _read(asked: Given, texts: int) -> Iterator[Scored | LeftOut]:
    path = asked.path
    logs = inspect_logs(path)
    records = aggregates(path, logs) if path.is_dir() or path.suffix == ".json" else {}
    if logs:
        yield from read_inspect(path, logs, asked.method, asked.seed, texts)
    if records:
        yield from read_every_eval_ever(path, records, asked.method, asked.seed, texts)
    if path.is_dir() and is_log_folder(path):
        yield from read_lm_eval(path, asked.method, asked.seed, texts)
    elif path.suffix.lower() in (".csv", ".parquet") and path.is_file():
        yield from _named(list(read_score_table(path)), asked)
    elif not logs and not records:
        raise without_scores(path, _lacking(path))


def _lacking(path: Path) -> str:
    """Why nothing could be read of a path."""
    if path.is_dir():
        return "neither a log of lm-eval or Inspect nor a record of Every Eval Ever is below it"
    if path.suffix == ".jsonl":
        return f"samples are read with the files next to them: name the folder, {path.parent}"
    if path.suffix == ".json":
        return "it is neither a log of Inspect nor a record of Every Eval Ever; of lm-eval's results, name the folder"
    return f"files that end in {path.suffix or 'nothing'} are not read"


def _named(found: list[Scored], asked: Given) -> Iterator[Scored]:
    """The scores under the name and seed that the user gave."""
    if asked.method:
        only_one((one.method for one in found), asked.path)
    for one in found:
        seed = one.seed if asked.seed is None else asked.seed
        yield replace(one, method=asked.method or one.method, seed=seed)
