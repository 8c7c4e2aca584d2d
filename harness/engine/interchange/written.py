"""Shared by the writers of foreign formats: names of models and files, the stated time, and digests of scores."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii

from harness.engine.interchange.scored import NOT_STATED, Scored, Texts
from harness.errors import UserError

NO_TEXTS: Texts = ("", (), "")
quoted = encode_basestring_ascii
"""A text as JSON."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Stamp:
    """The time that exported files state. A format that requires one gets the start of 1970 where none is given.

    The time of the export itself is never written: equal results give equal bytes.
    """

    time: datetime.datetime

    @property
    def iso(self) -> str:
        return self.time.isoformat()

    @property
    def epoch(self) -> str:
        """Seconds since 1970."""
        return str(int(self.time.timestamp()))

    @property
    def in_name(self) -> str:
        """As in lm-eval's file names."""
        return self.time.strftime("%Y-%m-%dT%H-%M-%S.%f")


def stamp(given: str = "") -> Stamp:
    """The time that the user states, such as 2026-11-28 or 2026-11-28T10:00:00; without a zone it is UTC."""
    if not given:
        return Stamp(datetime.datetime.fromtimestamp(0, datetime.UTC))
    try:
        found = datetime.datetime.fromisoformat(given)
    except ValueError:
        fix = "Write it as 2026-11-28 or 2026-11-28T10:00:00."
        raise UserError(f"--date is {given!r}, which is not a date", fix=fix) from None
    found = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    return Stamp(found.astimezone(datetime.UTC))


def file_name(text: str) -> str:
    """The text as a name of a file or folder on any system."""
    return _UNSAFE.sub("_", text).strip("._") or "unnamed"


def model_id(one: Scored) -> str:
    """developer/model: a trained model is named by its base, method and seed."""
    base = str(one.source.facts.get("base", NOT_STATED))
    known = base != NOT_STATED and not base.startswith(("/", "."))
    developer, _, name = base.partition("/") if known and "/" in base else ("local", "", base.rsplit("/", 1)[-1])
    parts = [
        *([name] if base != NOT_STATED else []),
        one.method,
        *([f"seed{one.seed}"] if one.seed is not None else []),
    ]
    return f"{file_name(developer)}/{'.'.join(map(file_name, parts))}"


def content_digest(one: Scored) -> str:
    """SHA-256 of a cell's place, items and scores: what the ids of its records are derived from."""
    found = hashlib.sha256(json.dumps([model_id(one), one.method, one.seed, one.benchmark]).encode())
    found.update(json.dumps(list(one.items)).encode())
    for metric in one.metrics:
        found.update(json.dumps([metric.name, list(metric.values)]).encode())
    return found.hexdigest()


def mean_of(values: Sequence[float | None], weights: Sequence[float] | None) -> float:
    """The weighted mean of the values that are there."""
    pairs = [
        (value, weight)
        for value, weight in zip(values, weights or [1.0] * len(values), strict=True)
        if value is not None
    ]
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def values_in_json(one: Scored, form: str) -> Iterator[str]:
    """For each item its metrics and their values, without the braces; `form` has VALUE in the place of each."""
    before, after = form.split("VALUE")
    names = [f"{quoted(metric.name)}: {before}" for metric in one.metrics]
    for values in zip(*(metric.values for metric in one.metrics), strict=True):
        told = zip(names, values, strict=True)
        yield ", ".join(f"{name}{value!r}{after}" for name, value in told if value is not None)


def place_in_json(one: Scored, at: int) -> str:
    """An item's cluster and group, and its weights where they are not 1, without the braces."""
    place = f'"cluster": {quoted(str(one.clusters[at]))}, "group": {quoted(str(one.groups[at]))}'
    heavy = {metric.name: metric.weights[at] for metric in one.metrics if metric.weights and metric.weights[at] != 1}
    return f'{place}, "weights": {json.dumps(heavy)}' if heavy else place
