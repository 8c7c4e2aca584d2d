"""`bakeoff judge` on damaged logs: faults planted at every place of a row, and one line with file and row for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_judge import log, row, table, two_methods

from harness.engine.interchange.cells import cells_of, methods_of
from harness.engine.interchange.every_eval_ever_files import write_every_eval_ever
from harness.engine.interchange.inspect_files import write_inspect
from harness.engine.interchange.paths import read_scores
from harness.engine.interchange.scored import Scored
from harness.engine.interchange.written import stamp
from harness.errors import UserError

ODD: tuple[Any, ...] = (None, True, "", "x", "1", [], [1], {}, {"a": 1}, -1, 10**40, float("nan"), float("inf"), [[[]]])
FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda whole: whole[: len(whole) * 2 // 3],
    "cut off within a letter": lambda whole: whole[: whole.index("é".encode()) + 1],
    "in Latin-1": lambda whole: whole.decode().encode("latin-1", "replace"),
    "in UTF-16": lambda whole: whole.decode().encode("utf-16"),
    "zeros at its end": lambda whole: whole + bytes(64),
    "a line that is a list": lambda whole: whole + b"[1, 2]\n",
    "a line that is a number": lambda whole: whole + b"3\n",
    "a line that is nested without end": lambda whole: whole + b"[" * 100_000 + b"\n",
    "a line twice": lambda whole: whole + whole.splitlines(keepends=True)[0],
    "a page of a web server": lambda whole: b"<html>\n<body>502</body>\n</html>\n",
    "nothing": lambda whole: b"",
    "blank lines alone": lambda whole: b"\n\n",
}


def lm_eval(folder: Path) -> Path:
    """The samples of a log of lm-eval with four documents."""
    rows = [row(at, at % 2 == 0, doc={"q": "é"}) for at in range(4)]
    samples = next(log(folder / "base", lambda at: True, rows=rows).rglob("samples_*"))
    samples.write_text(samples.read_text().replace("\\u00e9", "é"), "utf-8")
    return samples


def scored(folder: Path) -> list[Scored]:
    rows = [(*one[:3], one[3], "é") for one in two_methods(items=4)[:4]]
    found = read_scores([str(table(folder / "quiz.csv", rows, "method,seed,item,score,cluster"))])
    return [one for one in found if isinstance(one, Scored)]


def every_eval_ever(folder: Path) -> Path:
    """The samples of a record of Every Eval Ever with four items."""
    paths = list(write_every_eval_ever(scored_with_texts(folder), folder / "records", stamp()))
    (samples,) = (path for path in paths if path.suffix == ".jsonl")
    return samples


def scored_with_texts(folder: Path) -> Iterator[Scored]:
    for one in scored(folder):
        items = one.items.to_pylist()
        told = {"items": items, "clusters": items, "groups": [""] * 4, "texts": {items[0]: ("é?", ("é",), "é")}}
        told["carried"] = {"deterministic": False, "seed_group": "", "study": {}}
        metric = replace(one.metrics[0], values=[float(value) for value in one.metrics[0].values])
        yield replace(one, **told, metrics=(metric,))


def judged(path: Path) -> list[str]:
    """The methods that are read, or the UserError."""
    found = [one for one in read_scores([str(path)]) if isinstance(one, Scored)]
    cells_of(found)
    return methods_of(found, "")


def refused(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        judged(path)
    assert len(raised.value.what.splitlines()) == 1, raised.value.what
    assert raised.value.fix
    return raised.value.where


MAKERS = {"lm-eval": lm_eval, "eee": every_eval_ever}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_damaged_file_of_samples_is_refused_in_one_line(maker: str, kind: str, tmp_path: Path) -> None:
    samples = MAKERS[maker](tmp_path)
    whole = samples.read_bytes()
    assert judged(samples.parent)
    samples.write_bytes(FAULTS[kind](whole))
    where = refused(samples.parent)
    assert where.startswith(str(samples))
    assert ", row " in where or kind in ("nothing", "blank lines alone")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_byte_order_mark_blank_lines_and_line_ends_of_windows_are_read(maker: str, tmp_path: Path) -> None:
    samples = MAKERS[maker](tmp_path)
    whole = samples.read_bytes()
    samples.write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n") + b"\r\n")
    assert judged(samples.parent)


@pytest.mark.parametrize("maker", MAKERS)
def test_no_value_at_any_place_of_a_row_ends_in_a_traceback_or_in_a_score_that_is_not_finite(
    maker: str, tmp_path: Path
) -> None:
    samples = MAKERS[maker](tmp_path)
    first, *rest = samples.read_text("utf-8").splitlines()
    outcomes = set()
    for changed in planted(json.loads(first)):
        samples.write_text("\n".join([json.dumps(changed), *rest, ""]))
        outcomes.add(outcome(samples.parent))
    assert outcomes == {"read", "refused"}


def outcome(path: Path) -> str:
    """Whether the scores are read, all of them finite, or refused in one line that names a file below the path."""
    try:
        found = [one for one in read_scores([str(path)]) if isinstance(one, Scored)]
        cells_of(found)
    except UserError as error:
        said = error
    else:
        values = [value for one in found for metric in one.metrics for value in metric.values]
        assert all(value is None or abs(value) < float("inf") for value in values)
        return "read"
    assert len(said.what.splitlines()) == 1
    assert said.where.startswith(str(path))
    return "refused"


def planted(value: Any) -> Iterator[Any]:
    """The row with an odd value in the place of each of its parts, and without each of its parts."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: one for key, one in value.items() if key != name}
            yield from ({**value, name: odd} for odd in ODD)
            yield from ({**value, name: inner} for inner in planted(part))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield [*value[:at], *value[at + 1 :]]
            yield from ([*value[:at], odd, *value[at + 1 :]] for odd in ODD)
            yield from ([*value[:at], inner, *value[at + 1 :]] for inner in planted(part))


@pytest.mark.parametrize("maker", MAKERS)
def test_no_value_at_any_place_of_what_is_stated_about_a_run_ends_in_a_traceback(maker: str, tmp_path: Path) -> None:
    samples = MAKERS[maker](tmp_path)
    (stated,) = samples.parent.glob("*.json")
    whole = json.loads(stated.read_text())
    outcomes = set()
    for changed in planted(whole):
        stated.write_text(json.dumps(changed))
        outcomes.add(outcome(samples.parent))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_folder_in_the_place_of_the_samples_and_a_damaged_statement_are_refused(maker: str, tmp_path: Path) -> None:
    samples = MAKERS[maker](tmp_path)
    (stated,) = samples.parent.glob("*.json")
    stated.write_text(stated.read_text()[:50])
    assert refused(samples.parent) == str(stated)
    stated.unlink()
    samples.unlink()
    samples.mkdir()
    refused(samples.parent)


def test_a_single_file_of_a_log_names_the_folder_to_give(tmp_path: Path) -> None:
    samples = lm_eval(tmp_path)
    with pytest.raises(UserError, match=f"name the folder, {samples.parent}"):
        judged(samples)
    with pytest.raises(UserError, match="of lm-eval's results, name the folder"):
        judged(next(samples.parent.glob("results_*.json")))


def test_a_damaged_log_of_inspect_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="logs of Inspect are read by the extra `inspect`")
    (path,) = write_inspect(scored_with_texts(tmp_path), tmp_path / "logs", stamp())
    whole = path.read_text("utf-8").replace("\\u00e9", "é").encode()
    assert judged(path)
    for kind in ("cut off", "cut off within a letter", "in Latin-1", "zeros at its end"):
        path.write_bytes(FAULTS[kind](whole))
        assert refused(path) == str(path)
    told, outcomes = json.loads(whole), set()
    for changed in planted(told["samples"][0]):
        path.write_text(json.dumps({**told, "samples": [changed, *told["samples"][1:]]}))
        outcomes.add(outcome(path))
    assert outcomes == {"read", "refused"}
