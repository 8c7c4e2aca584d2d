"""`bakeoff judge` on tables as people have them: separators, encodings, types of columns, and faults of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from harness.engine.interchange.paths import read_scores
from harness.engine.interchange.scored import Scored
from harness.errors import UserError

NAMES = "method,seed,item,score"
ROWS = ["base,0,q0,1", "base,0,q1,0", "sft,0,q0,0.5", "sft,0,q1,1"]
SCORES = {"base": [1.0, 0.0], "sft": [0.5, 1.0]}


def scores(path: Path) -> dict[str, list[float]]:
    found = [one for one in read_scores([str(path)]) if isinstance(one, Scored)]
    assert [one.items.to_pylist() for one in found] == [["q0", "q1"]] * len(found)
    return {one.method: list(one.metrics[0].values) for one in found}


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        list(read_scores([str(path)]))
    assert len(raised.value.what.splitlines()) == 1
    return str(raised.value)


TEXT = "\n".join([NAMES, *ROWS]) + "\n"
WRITTEN = {
    "plain": TEXT.encode(),
    "with a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "with semicolons": TEXT.replace(",", ";").encode(),
    "with tabs": TEXT.replace(",", "\t").encode(),
    "with the line ends of Windows": TEXT.replace("\n", "\r\n").encode(),
    "in UTF-16, as Excel writes Unicode": TEXT.replace(",", "\t").encode("utf-16"),
    "with blanks after the commas of its names": TEXT.replace(NAMES, NAMES.replace(",", ", ")).encode(),
    "with blanks before its scores": TEXT.replace(",1\n", ", 1\n").encode(),
    "with empty lines": TEXT.replace("\n", "\n\n").encode(),
    "without an end of the last line": TEXT.encode().rstrip(),
    "in quotation marks": "\n".join(
        f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in [NAMES, *ROWS]
    ).encode(),
    "with rows in another order": "\n".join([NAMES, *ROWS[::-1]]).encode(),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_table_is_read_whichever_program_wrote_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "quiz.csv"
    path.write_bytes(WRITTEN[kind])
    assert scores(path) == SCORES


def bytes_of(*rows: str, names: str = NAMES) -> bytes:
    return "\n".join([names, *rows, ""]).encode()


FAULTS: dict[str, tuple[bytes, str]] = {
    "in Latin-1": (bytes_of(*ROWS[:2]) + "bäse,0,q2,1\n".encode("latin-1"), "row 3: it is not text in UTF-8"),
    "names in Latin-1": ("méthod,item,score\nbase,q0,1\n".encode("latin-1"), "row 0: it is not text in UTF-8"),
    "a value missing": (bytes_of(ROWS[0], "base,0,q1"), "row 2: it has 3 values, and the first line names 4 columns"),
    "a value too many": (bytes_of(*ROWS, "sft,0,q2,1,5"), "row 5: it has 5 values"),
    "cut off within the last row": (bytes_of(*ROWS)[:-7], "row 4: it has 2 values"),
    "a quotation mark that is not closed": (bytes_of(ROWS[0], '"base,0,q1,1', *ROWS[2:]), "row 2: it has 1 value"),
    "zeros": (bytes_of(ROWS[0]) + b"\0" * 40, "row 2: it is not text"),
    "half of UTF-16": (TEXT.encode("utf-16")[:-1], "row 4: it cannot be read: 'utf-16-le' codec can't decode"),
    "a decimal comma": (bytes_of("base;0;q0;0,5", names=NAMES.replace(",", ";")), "row 1: the score is '0,5'"),
    "grouped digits": (bytes_of("base,0,q0,1_000"), "row 1: the score is '1_000', which is text"),
    "per cent": (bytes_of(ROWS[0], "base,0,q1,50%"), "row 2: the score is '50%', which is text"),
    "a score of NaN": (bytes_of(ROWS[0], "base,0,q1,NaN"), "row 2: the score is nan, which is not a finite number"),
    "an infinite score": (bytes_of("base,0,q1,-inf"), "row 1: the score is -inf, which is not a finite number"),
    "no score": (bytes_of(ROWS[0], "base,0,q1,"), "row 2: the score is '', which is text"),
    "an item twice": (bytes_of(*ROWS, ROWS[1]), "row 5: the item 'q1' comes twice for one method, benchmark and seed; "
                                                "the first is row 2"),
    "an item without a name": (bytes_of(ROWS[0], "base,0,,1"), "row 2: its item is empty"),
    "a method without a name": (bytes_of(ROWS[0], ",0,q1,1"), "row 2: its method is empty"),
    "half of a seed": (bytes_of(ROWS[0], "sft,0.5,q1,1"), "row 2: its seed is '0.5'"),
    "a huge seed": (bytes_of(ROWS[0], "sft,99999999999999999999,q1,1"), "row 2: its seed is '99999999999999999999'"),
    "some clusters": (bytes_of("a,q0,1,c", "a,q1,1,", names="method,item,score,cluster"), "row 2: its cluster is"),
    "a column twice": (bytes_of("a,q0,1,0", names="method,item,score,score"), "row 0: it has 2 columns called score"),
    "no names": (bytes_of(*ROWS[1:], names=ROWS[0]), "row 0: it has no column method, item, score, only"),
    "nothing": (b"", "row 0: it has no column method, item, score, only none"),
    "names alone": (bytes_of(), "it holds no scores: it has no rows"),
    "a zip file": (b"PK\x03\x04" + bytes(range(256)) * 4, "quiz.csv, row 0: it is not text in UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_csv_is_refused_in_one_line_with_file_and_row(kind: str, tmp_path: Path) -> None:
    path, (written, said) = tmp_path / "quiz.csv", FAULTS[kind]
    path.write_bytes(written)
    found = complaint(path)
    assert said in found
    assert str(path) in found


def columns(**changed: object) -> dict[str, object]:
    given = [row.split(",") for row in ROWS]
    plain = {"method": [row[0] for row in given], "seed": [0] * 4, "item": [row[2] for row in given]}
    return {**plain, "score": [float(row[3]) for row in given], **changed}


def write_parquet(path: Path, given: dict[str, object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(given), path)
    return path


Typed = dict[str, Callable[[], object]]
READ: Typed = {
    "seed": lambda: pyarrow.array([0.0] * 4),
    "method": lambda: pyarrow.array(["base", "base", "sft", "sft"]).dictionary_encode(),
    "item": lambda: pyarrow.array(["q0", "q1"] * 2, pyarrow.large_string()),
    "score": lambda: pyarrow.array([1, 0, 0.5, 1], pyarrow.float32()),
}


@pytest.mark.parametrize("name", READ)
def test_parquet_columns_of_other_types_are_read(name: str, tmp_path: Path) -> None:
    assert scores(write_parquet(tmp_path / "quiz.parquet", columns(**{name: READ[name]()}))) == SCORES


def test_seeds_that_pandas_wrote_as_nan_are_not_stated(tmp_path: Path) -> None:
    given = columns(seed=[float("nan")] * 4)
    (one, other) = read_scores([str(write_parquet(tmp_path / "quiz.parquet", given))])
    assert isinstance(one, Scored)
    assert isinstance(other, Scored)
    assert [one.seed, other.seed] == [None, None]


REFUSED: dict[str, tuple[str, Callable[[], object], str]] = {
    "a score of text": ("score", lambda: ["1", "0", "x", "1"], "row 3: the score is 'x', which is text"),
    "a score of null": ("score", lambda: [1.0, None, 1.0, 1.0], "row 2: the score is None, which is not a finite"),
    "a score of NaN": ("score", lambda: [1.0, float("nan"), 1.0, 1.0], "row 2: the score is nan"),
    "scores in lists": ("score", lambda: [[1.0]] * 4, "row 1: the score is [1.0], which is not a finite number"),
    "scores in structs": ("score", lambda: [{"value": 1.0}] * 4, "row 1: the score is {'value': 1.0}, which is not a"),
    "an item of null": ("item", lambda: ["q0", None, "q0", "q1"], "row 2: its item is empty"),
    "items of NaN": ("item", lambda: [0.0, float("nan"), 0.0, 1.0], "row 2: its item is empty"),
    "items in lists": ("item", lambda: [["q0"]] * 4, "its column item is of the type list<"),
    "methods in structs": ("method", lambda: [{"name": "base"}] * 4, "its column method is of the type struct<"),
    "items of bytes": ("item", lambda: [b"\xff"] * 4, "its column item is of the type binary"),
    "seeds that are dates": ("seed", lambda: pyarrow.array([0] * 4, pyarrow.date32()), "row 1: its seed is '1970"),
    "an item twice": ("item", lambda: ["q0", "q1", "q0", "q0"], "row 4: the item 'q0' comes twice"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_faulty_parquet_file_is_refused_in_one_line_with_file_and_row(kind: str, tmp_path: Path) -> None:
    name, made, said = REFUSED[kind]
    found = complaint(write_parquet(tmp_path / "quiz.parquet", columns(**{name: made()})))
    assert said in found
    assert str(tmp_path / "quiz.parquet") in found


def test_a_damaged_parquet_file_an_empty_one_and_a_folder_of_that_name_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "quiz.parquet", columns())
    whole = path.read_bytes()
    for damaged in (whole[:-20], b"", TEXT.encode(), whole[: len(whole) // 2] + b"\xff" * 30):
        path.write_bytes(damaged)
        assert f"{path}: it cannot be read: " in complaint(path)
    path.unlink()
    path.mkdir()
    assert f"{path}: it holds no scores: " in complaint(path)
    (tmp_path / "quiz.csv").mkdir()
    assert f"{tmp_path / 'quiz.csv'}: it holds no scores: " in complaint(tmp_path / "quiz.csv")
