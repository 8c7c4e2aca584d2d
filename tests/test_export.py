"""`bakeoff export`: tables that say what the report says, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest
from command_line import bakeoff
from test_report import Fake

from harness.report.collect import ReportModel, collect
from harness.report.export import _csv_value, _write_csv, escape_latex, to_latex, write_tables
from harness.report.findings.tables import matrix_table
from harness.report.numbers.comparisons import Result
from harness.report.render.tabular import Column, Table, TableCell

LABEL = "a_b & c% [x]"
PLACE = ["base", "method", "benchmark", "metric", "group"]
BROKEN = {("harsh", seed, "tasks"): "failed:boom" for seed in (0, 1, 2)}
SKILLS = {"plain": (0.3, 0.7), LABEL: (0.8, 0.69), "harsh": (0.6, 0.3)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReportModel:
    """`harsh` failed on tasks and lacks half of its seeds' facts, so that some numbers are blank."""
    fake = Fake(skills=SKILLS, items=40, broken=BROKEN, lose=lambda method, seed, item: method == "harsh" and item < 9)
    return collect(fake.write(tmp_path_factory.mktemp("export")))


@pytest.fixture(scope="module")
def tables(model: ReportModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    written = write_tables(model, folder)
    names = {"scores.csv", "scores.parquet", "differences.csv", "differences.parquet", "matrix.tex", "matrix.md"}
    assert {path.name for path in written} == {path.name for path in folder.iterdir()} == names
    return folder


def results(model: ReportModel) -> list[tuple[str, Result]]:
    return [(block.base, result) for block in model.blocks for result in (*block.results, *block.groups)]


def row_of(frame: pandas.DataFrame, base: str, label: str, result: Result) -> pandas.Series:
    """The one row of a method on a metric and group."""
    place = (base, label, result.metric.benchmark, result.metric.name, result.group)
    found = frame[(frame[PLACE] == place).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def same(value: object, expected: object) -> bool:
    """Equal to the last bit; a blank stands for None alone."""
    return bool(pandas.isna(value)) if expected is None else value == expected


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_score_is_the_reports_own(kind: str, tables: Path, model: ReportModel) -> None:
    frame = _read(tables / f"scores.{kind}")
    count = 0
    for base, result in results(model):
        for label, score in result.scores.items():
            row, count = row_of(frame, base, label, result), count + 1
            for name in ("low", "high"):
                assert same(row[name], getattr(score.estimate, name))
            assert same(row["estimate"], score.estimate.value)
            assert same(row["seeds"], len(score.seeds) or None)
            assert same(row["items"], score.items or None)
    assert count == len(frame) > 10


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_difference_is_the_reports_own_and_a_missing_one_is_blank(
    kind: str, tables: Path, model: ReportModel
) -> None:
    """`harsh` has no row on tasks (failed) and too few items on facts: numbers blank, the reason told."""
    frame = _read(tables / f"differences.{kind}")
    count = 0
    for base, result in results(model):
        for label, comparison in result.comparisons.items():
            row, count = row_of(frame, base, label, result), count + 1
            for name in ("low", "high", "p"):
                assert same(row[name], getattr(comparison.estimate, name))
            assert same(row["estimate"], comparison.estimate.value)
            assert same(row["p_corrected"], comparison.adjusted)
            assert same(row["items"], comparison.items or None)
    assert count == len(frame)
    blank = frame[(frame["method"] == "harsh") & (frame["group"] == "")]
    assert blank[["estimate", "low", "high", "p", "p_corrected", "items"]].isna().all(axis=None)
    assert set(blank["reason"]) == {"no scores of harsh", "22 % of harsh's scores are missing (most: 5 %)"}
    better = frame[(frame["method"] == LABEL) & (frame["metric"] == "accuracy") & (frame["benchmark"] == "tasks")]
    assert set(better["finding"]) == {"better"}


def _read(path: Path) -> pandas.DataFrame:
    if path.suffix == ".parquet":
        return pandas.read_parquet(path)
    text = dict.fromkeys((*PLACE, "data_quality", "reason", "finding"), str)
    frame = pandas.read_csv(path, keep_default_na=False, na_values=[""], dtype=text, float_precision="round_trip")
    return frame.fillna(dict.fromkeys(text, ""))


def test_the_matrix_shows_the_reports_cells_and_says_what_its_intervals_are(tables: Path, model: ReportModel) -> None:
    latex, markdown = ((tables / name).read_text("utf-8") for name in ("matrix.tex", "matrix.md"))
    whole = matrix_table(model.blocks[0], model.matrix)
    for row in whole.rows:
        for cell in row[1:3]:
            assert escape_latex(cell.text) in latex
            assert escape_latex(cell.detail) in latex
            assert f"{cell.text} {cell.detail}".strip() in markdown.replace("**", "").replace("\\", "")
    for said in (latex, markdown):
        assert "pointwise 95" in said
        assert "3 seeds" in said
        assert "after the correction for 4 tests" in said
    assert len(whole.columns) > 3
    assert "overhead" not in latex + markdown


def test_one_seeds_caption_speaks_of_these_trained_runs(tmp_path: Path) -> None:
    folder = Fake(skills=SKILLS, items=20, seeds=(0,)).write(tmp_path / "run")
    write_tables(collect(folder), tmp_path / "out")
    for name in ("matrix.tex", "matrix.md"):
        assert "these trained runs and not the methods" in (tmp_path / "out" / name).read_text("utf-8")


def test_latex_reads_no_text_as_markup(tables: Path) -> None:
    """Every row has its columns and no more, and what TeX would act on stands escaped (by hand: a_b & c% [x])."""
    latex = (tables / "matrix.tex").read_text("utf-8")
    assert r"a\_b \& c\% {[}x{]}" in latex
    body = latex.split(r"\toprule")[1].split(r"\bottomrule")[0]
    for line in body.strip().split("\n"):
        if line != r"\midrule":
            assert len(re.findall(r"(?<!\\)&", line)) == 2
            assert line.endswith(r" \\")
            assert not re.search(r"(?<!\\)[%#_]", line)
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")


def test_each_special_character_of_latex_is_set_as_itself() -> None:
    r"""By hand, from The TeXbook's list of special characters; `[` and `*` would be taken by the `\\` before them."""
    assert escape_latex(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert escape_latex("$#^~") == r"\$\#\textasciicircum{}\textasciitilde{}"
    assert escape_latex("*[−1, 2]–\n<") == r"{*}{[}$-$1, 2{]}-- \textless{}"
    table = Table((Column("m", left=True),), ((TableCell("\\\\[9cm] \\write18{ls}"),),), caption="50 % & }")
    assert r"\textbackslash{}\textbackslash{}{[}9cm{]} \textbackslash{}write18\{ls\}" in to_latex(table, "t")
    assert r"\caption{50 \% \& \}}" in to_latex(table, "t")


def test_a_text_is_no_formula_and_a_negative_number_is_one(tmp_path: Path) -> None:
    """What OWASP lists as the beginnings of a formula, as a group that a data set may have."""
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\x1b[31m=1", "\u202e=1", "\r=1"):
        assert _csv_value(text)[0] not in "=+-@\t\r\x1b\u202e"
    assert [_csv_value(value) for value in (-0.5, None, 3, "-", "a-b", "plain")] == [
        -0.5,
        None,
        3,
        "'-",
        "a-b",
        "plain",
    ]
    _write_csv(
        tmp_path / "t.csv", {"group": ("string", ""), "estimate": ("double", "")}, [{"group": "-x", "estimate": -2}]
    )
    assert (tmp_path / "t.csv").read_text() == "group,estimate\n'-x,-2\n"


def test_latex_names_a_control_character() -> None:
    assert escape_latex("a\x1b[31m") == r"a\textbackslash{}x1b{[}31m"


def test_the_verb_writes_where_it_is_asked_and_nothing_into_the_folder(tmp_path: Path) -> None:
    folder = Fake(skills=SKILLS, items=20, seeds=(0,)).write(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = bakeoff("export", folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "out" / "differences.csv") in done.stdout
    assert "Next: pandas.read_parquet(" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert bakeoff("export", folder, "--out", tmp_path / "out").returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == again
    refused = bakeoff("export", folder, "--out", folder / "rows.parquet")
    assert (refused.returncode, "Name another folder with --out" in refused.stderr) == (2, True)
    assert bakeoff("export", tmp_path / "nowhere").returncode == 2
