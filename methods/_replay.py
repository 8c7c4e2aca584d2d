"""Rows of another training set that `sft` mixes in, so that what the base knew is rehearsed, or trains on instead."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from harness.errors import UserError
from harness.records import Demonstration

FIX = "Example: replay: {share: 0.05, data: general.jsonl}"


@cache
def other_set(name: str) -> tuple[tuple[Demonstration, ...], str]:
    """The rows of a training set, and their digest."""
    # by name, since the rows are in the content key by their digest, and the code that reads them need not be
    loading = import_module("harness.data.load")
    found = loading.load_set("demonstrations", loading.DataSpec(name))
    return found.records, found.manifest["digest"]


def checked_replay(given: Mapping[str, Any]) -> dict[str, Any]:
    """The setting with the digest of its rows. Raises UserError where it is not {share, data}."""
    share, name = given.get("share"), given.get("data")
    if set(given) - {"digest"} != {"share", "data"} or not isinstance(name, str) or isinstance(share, bool):
        raise UserError(f"replay is {dict(given)!r:.80}, which is not {{share, data}}", fix=FIX)
    if not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise UserError(f"the share of replay is {share!r:.40}", fix=f"Give 0 or more and less than 1. {FIX}")
    return {"share": share, "data": name, "digest": other_set(name)[1]}


def checked_set(given: Mapping[str, Any]) -> dict[str, Any]:
    """The setting with the digest of its rows. Raises UserError where it is not {data}."""
    name = given.get("data")
    if set(given) - {"digest"} != {"data"} or not isinstance(name, str):
        fix = "Example: demonstrations: {data: harmless.jsonl}"
        raise UserError(f"demonstrations is {dict(given)!r:.80}, which is not {{data}}", fix=fix)
    return {"data": name, "digest": other_set(name)[1]}


def replayed(given: Mapping[str, Any] | None, rows: int, seed: int) -> tuple[Demonstration, ...]:
    """As many rows of the set as make up its share next to `rows` others, drawn by seed; a small set repeats."""
    if not given or not given["share"]:
        return ()
    known, _ = other_set(given["data"])
    count = max(1, round(rows * given["share"] / (1 - given["share"])))
    chance = random.Random(f"replay, {seed}")
    drawn: list[Demonstration] = []
    while len(drawn) < count:
        drawn += chance.sample(known, min(len(known), count - len(drawn)))
    return tuple(drawn)
