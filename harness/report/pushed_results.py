"""A results folder as a repository of the hub: its own files alone, whatever else lies in the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.engine.hub import README, Parcel
from harness.engine.results.digests import DIGESTS, write_digests
from harness.engine.results.schema import DATA_FILES, EXCERPT_COLUMNS, JOINT_FILES, OWN_FILES, REPORT_FILES, write_table
from harness.errors import UserError
from harness.files import read_json, replacing
from harness.report.compose import write_report
from harness.report.render.text import escape_markdown
from harness.report.verify import EXPERIMENT, verify

_TEXTS = {"prompt", "completions", "reference"}


def results_parcel(folder: Path, repo: str) -> Parcel:
    """The files of a results folder. Raises UserError where it does not verify, with the first reason."""
    for check in verify(folder):
        if check.word == "NOT ok":
            fix = f"Only a folder that verifies is sent: see `bakeoff verify {folder}`."
            raise UserError(f"it does not verify: {check.said}", where=str(folder / check.file), fix=fix)
    names = (*DATA_FILES, *JOINT_FILES, *OWN_FILES, *REPORT_FILES, EXPERIMENT, DIGESTS, README)
    files: dict[str, Path | bytes] = {name: folder / name for name in names if (folder / name).is_file()}
    files.setdefault(README, _dataset_card(folder).encode())
    return Parcel(repo, "dataset", dict(sorted(files.items())), _texts_of(folder))


def _texts_of(folder: Path) -> tuple[str, ...]:
    """The benchmarks of which samples.parquet holds texts."""
    import pyarrow.compute as compute
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "samples.parquet", columns=["benchmark", *sorted(_TEXTS)])
    some = compute.or_(compute.not_equal(table["prompt"], ""), compute.not_equal(table["reference"], ""))
    some = compute.or_kleene(some, compute.greater(compute.list_value_length(table["completions"]), 0))
    return tuple(sorted(compute.unique(table.filter(some)["benchmark"]).to_pylist()))


def _dataset_card(folder: Path) -> str:
    """A card for results without a README; the licence is left to the owner."""
    name = str(read_json(folder / "matrix.json").get("name") or folder.resolve().name)
    return (
        "---\ntags:\n- bakeoff\n# license: left to you; texts of data sets keep their own\n---\n\n"
        f"# {escape_markdown(name)}\n\nResults of bakeoff. `report.html` and `report.md` hold the answer; "
        "`bakeoff verify FOLDER` checks the files after a download.\n"
    )


def without_texts(folder: Path, copy: Path) -> Path:
    """A copy of the results, of which no file holds a prompt, an answer or a reference; its report is written again."""
    import pyarrow.parquet

    copy.mkdir()
    for name in (*DATA_FILES, *JOINT_FILES, *OWN_FILES, EXPERIMENT, README):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, copy / name)
    samples = pyarrow.parquet.read_table(folder / "samples.parquet")
    for at, field in enumerate(samples.schema):
        if field.name in _TEXTS:
            blank = pyarrow.scalar("" if field.type == pyarrow.string() else [], field.type)
            samples = samples.set_column(at, field, pyarrow.repeat(blank, len(samples)))
    with replacing(copy / "samples.parquet") as partial:
        pyarrow.parquet.write_table(samples, partial, compression="zstd")
    if (copy / "excerpts.parquet").exists():
        write_table(copy / "excerpts.parquet", [], EXCERPT_COLUMNS, [])
    write_digests(copy)
    write_report(copy)
    return copy
