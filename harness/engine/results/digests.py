"""The digests with which a results folder can be verified: of every file, and of the plan behind the matrix.

digests.json holds, with no times:

    files   name -> sha256 of the data files, as the run wrote them
    report  files: name -> sha256 of report.md and report.html; by: the code and libraries that wrote them

It is written last, and its report's part after the report: a folder that a killed run left half-written has other
bytes than it records. The digests detect corruption and mistakes, not tampering: they are not signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.engine.registry import plugin_folder
from harness.engine.results.schema import CELL_COLUMNS, DATA_FILES, JOINT_FILES, OWN_FILES, REPORT_FILES
from harness.engine.store.keys import key_of, library_versions, source_digests
from harness.errors import UserError
from harness.files import HARNESS, read_json, sha256, write_json

DIGESTS = "digests.json"
_REPORT = HARNESS / "report"
_COMPUTING = ("numpy", "scipy", "pandas", "jinja2")  # the report's bytes depend on them, too


def write_digests(folder: Path) -> None:
    """Record the data files of `folder`; the report's digests follow when it is written."""
    names = [name for name in (*DATA_FILES, *JOINT_FILES, *OWN_FILES) if (folder / name).exists()]
    write_json(folder / DIGESTS, {"files": _digests(folder, names)})


def record_report(folder: Path) -> None:
    """Record the report of `folder`; nothing where the folder records no digests (an older one)."""
    if (folder / DIGESTS).exists():
        report = {"files": _digests(folder, REPORT_FILES), "by": report_writer()}
        write_json(folder / DIGESTS, {**read_json(folder / DIGESTS), "report": report})


def is_intact(folder: Path) -> bool:
    """Whether data files and report have the bytes that digests.json records: the run that wrote them was finished."""
    try:
        recorded = read_json(folder / DIGESTS)
        data, report = recorded["files"], recorded["report"]["files"]
        needed, written = {*DATA_FILES, *REPORT_FILES}, {**data, **report}
        return needed <= written.keys() and all(sha256(folder / name) == digest for name, digest in written.items())
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):  # missing or damaged
        return False


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: sha256(folder / name) for name in names}


def report_sources() -> dict[str, str]:
    """Module -> digest of all code that a report is computed and written with."""
    return source_digests(_REPORT / "compose.py")


def report_writer() -> dict[str, str]:
    """The report's code as one digest (comments do not count) and the versions of the libraries it computes with."""
    assets = {path.name: sha256(path) for path in sorted(_REPORT.rglob("*.j2"))}
    assets["claims.yaml"] = sha256(plugin_folder("methods") / "claims.yaml")
    code = key_of({"source": report_sources(), "assets": assets})
    return {"code": code, **library_versions(_COMPUTING)}


def matrix_digest(text: str, cells: Iterable[Mapping[str, Any]], joints: Iterable[Mapping[str, Any]]) -> str:
    """Digest of all that a results folder is made from: the experiment's text, and every cell's key and state.

    cells, joints  as matrix.json lists them, each with its `key`
    """
    parts = [f"{ {name: cell[name] for name in CELL_COLUMNS} } {_keyed(cell)}" for cell in cells]
    parts += [f"{joint['benchmark']} {joint['data_quality']} {joint['data_size']} {_keyed(joint)}" for joint in joints]
    return hashlib.sha256("\n".join([text, *parts]).encode()).hexdigest()[:24]


def _keyed(entry: Mapping[str, Any]) -> str:
    return f"{entry['key']} {entry['state']}: {entry['why']}"
