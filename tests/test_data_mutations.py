"""Mutated rows of every layout: each is read whole or refused in words, in time; no text is lost in silence."""

from __future__ import annotations

import csv
import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from mutated_rows import Row, layouts, mutated, published

from harness.curation.inspect import chosen_rows, inspection, shown
from harness.data.examples import Example, canonical_row, read_examples, unused_keys
from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.records import Problem, Record

MOST_SECONDS = 2.0
# keys whose text says what the rest is, and is not itself read by a model
SAID = {"role", "from", "type", "id", "tool_call_id", "index", "source", "verifier", "label", "kto_tag", "signature"}
KINDS = {"judged": "demonstrations"}
MARKS = {"weight", "train", "training", "trainable", "loss", "loss_mask", "masked"}
WORD = re.compile(r"[A-Za-z0-9]{4,}")
# words of notations that are read as turns
NOTATION = {"Human", "Assistant", "role", "content", "from", "value", "user", "human", "assistant", "system", "text"}


def record_text(record: Record) -> str:
    """All strings of the record, as they are and as JSON escapes them."""
    held = json.dumps(asdict(record), ensure_ascii=False)
    return held + json.dumps(held, ensure_ascii=False) + held.replace("\\", "") + json.dumps(asdict(record))


def texts_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text of a row with its place."""
    if isinstance(value, str):
        yield place, value
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from texts_in(one, (*place, key))


def lost(row: Row, example: Example) -> list[str]:
    """Texts of the row that are neither in its record nor under a key that is listed as not used."""
    held, listed = record_text(example.record), set(unused_keys([example]))
    worked = isinstance(example.record, Problem) and example.record.verifier == "number"
    found = []
    for place, text in texts_in(row):
        names = [key for key in place if isinstance(key, str)]
        keys = {names[0], *(f"{names[0]}: {name}" for name in names[1:])}
        keys |= {f"{names[0]}: content: {name}" for name in names[2:]}
        if (
            keys & listed
            or (SAID | MARKS) & {*names[1:], names[-1]}
            or (worked and names[0] in ("answer", "reference", "solution"))
        ):
            continue
        if any(word not in held for word in set(WORD.findall(text[:50_000])) - NOTATION):
            found.append(f"{'/'.join(map(str, place))}: {text[:80]!r}")
    return found


def attempt(read: Callable[[], Any]) -> Any:
    """What `read` returns, or the UserError that it raises."""
    try:
        return read()
    except UserError as error:
        return error


def outcome(path: Path, inspect: bool = True) -> Example | UserError:
    """What the readers of `data inspect` and of a run make of the file's first row; they must agree."""
    found = attempt(lambda: read_examples(str(path)))
    if isinstance(found, UserError):
        assert found.what
        assert found.where.startswith(str(path))
        return found
    example: Example = found.examples[0]
    if inspect:
        assert [*inspection(found), *(line for one in chosen_rows(found.examples, 1) for line in shown(one))]
    loaded = attempt(lambda: load_set(KINDS.get(example.kind, example.kind), DataSpec(str(path))))
    if isinstance(loaded, UserError):
        assert "`label` is false" in loaded.what
        assert example.kind == "judged" or "label" in loaded.what
    else:
        assert loaded.records[0] == example.record
        assert loaded.unused == unused_keys(found.examples)
    return example


def files_of(row: Row, other: Row, folder: Path, random: Random) -> Iterator[Path]:
    """The row as JSON lines, and in one further kind of file, in Parquet with the padding of another row."""
    line = json.dumps(row, ensure_ascii=random.random() < 0.7).encode("utf-8", "surrogatepass")
    (folder / "rows.jsonl").write_bytes(line + b"\n")
    yield folder / "rows.jsonl"
    kind = random.choice(["array", "gz", "parquet", "parquet", "csv"])
    if kind == "array":
        (folder / "rows.json").write_bytes(b"\xef\xbb\xbf[" + line + b"]\r\n")
        yield folder / "rows.json"
    elif kind == "gz":
        (folder / "rows.jsonl.gz").write_bytes(gzip.compress(line, 1))
        yield folder / "rows.jsonl.gz"
    elif kind == "parquet":
        try:
            pyarrow.parquet.write_table(
                pyarrow.Table.from_pylist([row, {**dict.fromkeys(row), **other}]), folder / "rows.parquet"
            )
        except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
            return
        yield folder / "rows.parquet"
    elif all(row) and all(isinstance(value, str) or "\ud800" not in str(value) for value in row.values()):
        with (folder / "rows.csv").open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            table = csv.writer(file)
            table.writerow(row)
            table.writerow("" if value is None else value for value in row.values())
        yield folder / "rows.csv"


def check(seed: int, rows: list[Row], folder: Path) -> tuple[bool, float]:
    """Whether the seed's mutated row is read, and the seconds of the slowest of its files."""
    random = Random(seed)
    row, other = mutated(rows, random), random.choice(rows)
    read: Record | None = None
    slowest = 0.0
    for path in files_of(row, other, folder, random):
        began = time.process_time()
        found = outcome(path, inspect=seed % 8 == 0)
        slowest = max(slowest, time.process_time() - began)
        if isinstance(found, UserError):
            continue
        if path.suffix == ".jsonl":
            read = found.record
            assert not lost(row, found), (seed, row)
            ours = folder / "ours.jsonl"
            ours.write_text(json.dumps(canonical_row(found)) + "\n", "utf-8")
            assert repr(read_examples(str(ours)).examples[0]) == repr(found), (seed, row)
        elif read is not None and path.suffix != ".csv":
            # a row without an id is called after its file
            named = {} if row.get("id") not in (None, "") else {"id": ""}
            assert {**asdict(found.record), **named} == {**asdict(read), **named}, (seed, row)
    return read is not None, slowest


def check_all(seeds: range, folder: Path, shared: list[Row]) -> None:
    rows = [*layouts(), *shared]
    for seed in range(16):  # libraries and tables of letters are loaded once
        check(seed, rows, folder)
    found = [check(seed, rows, folder) for seed in seeds]
    read, slowest = sum(one for one, _ in found), max(seconds for _, seconds in found)
    print(
        f"{len(found):,} rows: {read:,} read, {len(found) - read:,} refused, slowest {slowest:.2f} s of the processor"
    )
    # neither is everything refused nor is nothing
    assert len(found) / 5 < read < len(found) * 4 / 5
    assert slowest < MOST_SECONDS


def test_every_layout_loses_no_text(tmp_path: Path) -> None:
    for row in layouts():
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(row) + "\n")
        found = outcome(path)
        assert isinstance(found, Example), found
        assert not lost(row, found)


def test_mutated_rows_are_read_whole_or_refused(tmp_path: Path) -> None:
    check_all(range(400), tmp_path, [])


@pytest.mark.slow
def test_five_thousand_mutated_rows_are_read_whole_or_refused(tmp_path: Path) -> None:
    from conftest import SHARED

    check_all(range(1_000, 6_000), tmp_path, published(SHARED) if SHARED.is_dir() else [])
