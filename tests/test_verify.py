"""`bakeoff verify` on a good results folder, and on one that something happened to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from command_line import bakeoff
from test_report import Fake

from harness.engine.results.digests import matrix_digest, report_sources, write_digests
from harness.errors import UserError
from harness.files import read_json, write_json
from harness.report import verify as module
from harness.report.compose import write_report
from harness.report.verify import Check, check_files, check_report, verify

EXPERIMENT = "name: fake\nnote: </pre><script>\n"


def bundle(folder: Path) -> Path:
    """A small results folder as `collect` and `write_report` leave it, its keys made up."""
    fake = Fake(skills={"plain": (0.3, 0.7), "tuned": (0.8, 0.69)}, items=12, seeds=(0, 1))
    fake.write(folder)
    matrix = read_json(folder / "matrix.json")
    matrix["cells"] = [{**cell, "key": f"key{at}"} for at, cell in enumerate(matrix["cells"])]
    matrix |= {"joint": [], "digest": matrix_digest(EXPERIMENT, matrix["cells"], [])}
    write_json(folder / "matrix.json", matrix)
    write_json(folder / "contamination.json", {"schema": 2, "checked": []})
    write_json(folder / "provenance.json", {**read_json(folder / "provenance.json"), "experiment": EXPERIMENT})
    write_digests(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("good") / "bundle")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(good, tmp_path / "bundle"))


def wrong(folder: Path) -> dict[str, list[str]]:
    """The files that are not ok, with what is said of each."""
    found: dict[str, list[str]] = {}
    for check in check_files(folder):
        if check.word == "NOT ok":
            found.setdefault(check.file, []).append(check.said)
    return found


def words(folder: Path, file: str) -> list[Check]:
    return [check for check in check_files(folder) if check.file == file]


def test_a_good_bundle_passes_every_check_and_nothing_is_written(good: Path) -> None:
    before = {path.name: path.read_bytes() for path in good.iterdir()}
    done = bakeoff("verify", good)
    assert done.returncode == 0, done.stdout
    assert "NOT ok" not in done.stdout
    assert "unchecked" not in done.stdout
    assert "rows.parquet: schema 2, 144 rows, sorted, no key twice" in done.stdout
    assert "report.html: its rows reproduce it byte for byte" in done.stdout
    assert f"Next: bakeoff compare {good}" in done.stdout
    assert {path.name: path.read_bytes() for path in good.iterdir()} == before


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "rows.parquet").read_bytes())
    data[len(data) // 3] ^= 1
    (folder / "rows.parquet").write_bytes(bytes(data))


def remove_a_row(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "rows.parquet")
    pyarrow.parquet.write_table(table.slice(0, table.num_rows - 1), folder / "rows.parquet", compression="zstd")


def edit_a_cost(folder: Path) -> None:
    path = folder / "costs.json"
    path.write_text(path.read_text().replace("12345", "12344", 1))


def swap_the_report(folder: Path) -> None:
    (folder / "report.md").write_text((folder / "report.md").read_text().replace("tuned", "plain"))


def fail_a_cell(folder: Path) -> None:
    matrix = read_json(folder / "matrix.json")
    matrix["cells"][0] |= {"state": "failed", "why": "I say so"}
    write_json(folder / "matrix.json", matrix)


def edit_the_experiment(folder: Path) -> None:
    (folder / "experiment.yaml").write_text(EXPERIMENT + "margin: 0.5\n")


def lose_the_samples(folder: Path) -> None:
    (folder / "samples.parquet").unlink()


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (flip_a_byte, "rows.parquet"),
        (remove_a_row, "rows.parquet"),
        (edit_a_cost, "costs.json"),
        (swap_the_report, "report.md"),
        (fail_a_cell, "matrix.json"),
        (edit_the_experiment, "experiment.yaml"),
        (lose_the_samples, "samples.parquet"),
    ],
)
def test_whatever_is_changed_is_found_and_named(harm: Callable[[Path], None], named: str, folder: Path) -> None:
    harm(folder)
    assert named in wrong(folder)
    if named != "costs.json":
        assert "costs.json" not in wrong(folder)


def test_what_is_not_ok_gives_exit_code_1_and_its_file_at_the_start_of_a_line(folder: Path) -> None:
    swap_the_report(folder)
    done = bakeoff("verify", folder)
    assert done.returncode == 1
    bad = [line.split(": ", 1)[1] for line in done.stdout.split("\n") if line.startswith("NOT ok     report.md: ")]
    assert bad == [
        "its bytes differ from those that were written (the digests differ)",
        "its rows give a different report",
    ]


@pytest.mark.parametrize("harm", [remove_a_row, swap_the_report, fail_a_cell])
def test_with_the_digests_mended_too_the_rest_still_tells(harm: Callable[[Path], None], folder: Path) -> None:
    """Who edits digests.json along with a file is given away by what files say of one another."""
    harm(folder)
    digests = read_json(folder / "digests.json")
    for part in (digests["files"], digests["report"]["files"]):
        part.update({name: module.sha256(folder / name) for name in part})
    write_json(folder / "digests.json", digests)
    assert any(check.word == "NOT ok" for check in verify(folder))


def test_an_older_folder_records_no_digests_which_is_no_failure(folder: Path) -> None:
    (folder / "digests.json").unlink()
    provenance = read_json(folder / "provenance.json")
    del provenance["experiment"]
    write_json(folder / "provenance.json", provenance)
    assert wrong(folder) == {}
    assert [check.word for check in words(folder, "digests.json")] == ["unchecked"]
    assert "no digests recorded" in words(folder, "digests.json")[0].said
    # its report, of the same rows, is compared all the same
    assert [check.word for check in check_report(folder)] == ["ok", "ok"]
    assert not (folder / "digests.json").exists()


def test_a_report_by_other_code_is_unchecked_and_by_this_code_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the report's code gives other bytes by right; its digest still guards the file."""
    monkeypatch.setattr(module, "report_writer", lambda: {"code": "of tomorrow", "numpy": "9"})
    (folder / "report.md").write_text("by an earlier version")
    digests = read_json(folder / "digests.json")
    digests["report"]["files"]["report.md"] = module.sha256(folder / "report.md")
    write_json(folder / "digests.json", digests)
    other = next(check for check in check_report(folder) if check.file == "report.md")
    assert other.word == "unchecked"
    assert "another version of: code, numpy" in other.said
    monkeypatch.undo()
    same = next(check for check in check_report(folder) if check.file == "report.md")
    assert same.word == "NOT ok"


def test_an_older_folders_commit_tells_whether_other_code_wrote_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit gives one report, unless files differed from it: then nothing names the code."""
    clean = {"commit": "abc", "dirty": "False"}
    monkeypatch.setattr("harness.engine.results.provenance.commit", lambda: clean)
    assert module._other_writer({}, {"code": clean}) == ""
    assert "commit def" in module._other_writer({}, {"code": {**clean, "commit": "def"}})
    monkeypatch.setattr("harness.engine.results.provenance.commit", lambda: {**clean, "dirty": "True"})
    assert "commit abc" in module._other_writer({}, {"code": {**clean, "dirty": "True"}})


def test_settings_of_the_command_line_are_no_change_of_the_experiment(folder: Path) -> None:
    provenance = read_json(folder / "provenance.json")
    provenance["experiment"] += "# --set seeds=[0]\n"
    write_json(folder / "provenance.json", provenance)
    (check,) = words(folder, "experiment.yaml")
    assert check.word == "ok"


def test_unsorted_and_repeated_rows_and_unknown_columns_are_each_told(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "rows.parquet")
    twice = table.take([1, 0, *range(1, table.num_rows)])
    pyarrow.parquet.write_table(twice, folder / "rows.parquet")
    assert wrong(folder)["rows.parquet"][0] == "its rows are not sorted by their key; 1 rows repeat the key of another"
    pyarrow.parquet.write_table(table.drop_columns(["weight"]), folder / "rows.parquet")
    assert "its columns are not the documented ones" in wrong(folder)["rows.parquet"][0]


def test_an_item_without_a_score_is_told_and_a_score_without_its_item_is_wrong(folder: Path) -> None:
    """A metric that could not be computed leaves a sample and no row; the other way round something is lost."""
    rows, samples = (pyarrow.parquet.read_table(folder / f"{name}.parquet") for name in ("rows", "samples"))
    pyarrow.parquet.write_table(rows.slice(1), folder / "rows.parquet")
    assert "of the 96 items of samples.parquet; 1 have no score" in [c.said for c in words(folder, "rows.parquet")]
    pyarrow.parquet.write_table(samples.slice(2), folder / "samples.parquet")
    assert "1 scored items have no sample" in wrong(folder)["rows.parquet"]


def test_a_file_of_another_schema_is_named(folder: Path) -> None:
    write_json(folder / "costs.json", {**read_json(folder / "costs.json"), "schema": 99})
    assert "schema 99; this bakeoff knows 2" in wrong(folder)["costs.json"]


def test_what_is_no_results_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a results folder"):
        list(verify(tmp_path))
    (tmp_path / "matrix.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="lists no cells"):
        list(verify(tmp_path))


def test_a_hostile_name_in_the_digests_reads_no_other_file_and_moves_no_cursor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`../secret` is looked for in the folder itself, and an escape sequence is shown by its name."""
    (folder.parent / "secret").write_text("x")
    digests = read_json(folder / "digests.json")
    digests["files"] |= {"../secret": module.sha256(folder.parent / "secret"), "\x1b[2Jgone": "0"}
    write_json(folder / "digests.json", digests)
    monkeypatch.setattr(module, "check_report", lambda folder: ())
    assert "../secret" in wrong(folder)
    said = bakeoff("verify", folder).stdout
    assert "gone: its digest is recorded, but the file does not exist" in said
    assert "\x1b" not in said


def test_the_code_of_a_report_is_all_that_computes_and_writes_it() -> None:
    rooms = ("report.collect", "report.findings.tables", "report.numbers.comparisons", "report.render.html")
    assert {f"harness.{room}" for room in (*rooms, "stats.contrasts", "stats.families")} <= report_sources().keys()
