"""Sampled answers without those that contain items of test sets, for `rft`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from harness.method import LocalPath
from harness.records import Demonstration, digest_of

# by name, since the items are in the content key by their digest, and the code that reads them need not be
READER = "harness.curation.contamination"


@cache
def _test_set(name: str) -> Any:
    return import_module(READER).read_test_set(name)


def with_digests(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each written in content keys with the digest of its items."""
    return tuple(_with_digest(name) for name in names)


def _with_digest(name: str) -> str:
    written, _, known = getattr(name, "written", name).partition(" @ ")
    if known:
        return name
    rows = [Demonstration((), f"{item.text}\n{item.answer}") for item in _test_set(str(name)).items]
    return LocalPath(str(name), f"{written} @ {digest_of(rows)}")


def clean_of(names: Sequence[str], answers: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
    """The answers in which no item of these test sets is found."""
    if not names or not answers:
        return tuple(answers)
    found = import_module(READER).find_contamination(answers, [_test_set(str(name)) for name in names])
    dropped = set(found.contaminated_rows())
    return tuple(answer for at, answer in enumerate(answers) if at not in dropped)
