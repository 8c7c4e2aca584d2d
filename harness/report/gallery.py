"""Results folders -> one page that leads to their reports: the question, the answer and the front of each study.

It reads what `bakeoff run` or `bakeoff report` wrote and computes no statistics. A picture is taken from report.html
only if it holds nothing but shapes and text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from harness.engine.progress import spelled
from harness.engine.results.provenance import day_of
from harness.errors import UserError
from harness.files import read_json, write_text
from harness.report.numbers.matrix import Matrix, read_matrix
from harness.report.render.bands import counted
from harness.report.render.html import page_environment
from harness.report.render.opening_text import sentence_in
from harness.report.render.text import one_line
from harness.report.verdict import experiment_question

SHAPES = {"svg", "g", "title", "path", "rect", "circle", "line", "text"}
LOOKS = {
    "class", "viewBox", "role", "aria-label", "d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy", "r",
    "textLength", "lengthAdjust",
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A results folder on the page; `address` is relative to it."""

    name: str
    address: str
    question: str
    answer: str
    svg: str
    facts: str


def write_index(folder: Path) -> Path:
    """Write index.html into `folder`, which holds results folders; returns its path. The same files, the same bytes.

    Raises UserError where no folder in it has a report.
    """
    write_text(folder / "index.html", index_page(folder))
    return folder / "index.html"


def index_page(folder: Path) -> str:
    """The page of the results folders in `folder`."""
    studies = list(_studies(folder))
    if not studies:
        fix = "Name a folder of results folders, such as `bakeoff index results`; each needs matrix.json and report.md."
        raise UserError("no folder in it has a report", where=str(folder), fix=fix)
    page = page_environment().get_template("index.html.j2").render(title=folder.resolve().name, studies=studies)
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def _studies(folder: Path) -> Iterator[Study]:
    for path in sorted(folder.glob("*/matrix.json")):
        own = path.parent
        if not (own / "report.md").is_file():
            continue
        matrix = read_matrix(own)
        web = own / "report.html"
        svg = _front(web.read_text("utf-8")) if web.is_file() else ""
        address = quote(f"{own.name}/{'report.html' if web.is_file() else 'report.md'}")
        answer = sentence_in((own / "report.md").read_text("utf-8"))
        asked = matrix.question or _heading(own / "README.md") or experiment_question(matrix)
        yield Study(matrix.name or own.name, address, asked, answer, svg, _facts(own, matrix))


def _heading(page: Path) -> str:
    """The heading of a study's own page, which asks more to the point than a sentence made of its methods."""
    if not page.is_file():
        return ""
    first = page.read_text("utf-8", errors="replace").partition("\n")[0]
    return one_line(first.removeprefix("# ")) if first.startswith("# ") else ""


def _facts(folder: Path, matrix: Matrix) -> str:
    """Base models, seeds, cells, the time of fitting and scoring, and the day and the commit of the code that ran.

    The day is the recorded one, or else that of the commit where this checkout has it; no clock is read.
    """
    bases = ", ".join(matrix.bases)
    said = [f"{bases}", counted(len(matrix.seeds), "seed"), counted(len(matrix.cells), "cell")]
    costs = folder / "costs.json"
    artifacts = read_json(costs).get("artifacts", []) if costs.is_file() else []
    spent = sum(float(one.get("fit_seconds") or 0) for one in artifacts)
    spent += sum(float(value or 0) for one in artifacts for value in (one.get("evaluate_seconds") or {}).values())
    said += [f"{spelled(spent)} of fitting and scoring"] if spent else []
    found = folder / "provenance.json"
    code = read_json(found).get("code", {}) if found.is_file() else {}
    commit = str(code.get("commit") or "") if isinstance(code, dict) else ""
    if re.fullmatch("[0-9a-f]{7,40}", commit):
        day = str(code.get("committed") or day_of(commit))
        said += [f"run by the code{f' of {day}' if day else ''}, commit {commit[:8]}"]
    return "; ".join(said) + "."


def _front(page: str) -> str:
    """The first picture of a report if it holds only shapes and text, otherwise ""."""
    found = re.search(r'<svg class="front".*?</svg>', page, re.DOTALL)
    if found is None:
        return ""
    try:
        root = ElementTree.fromstring(found.group())
    except ElementTree.ParseError:
        return ""
    plain = all(one.tag in SHAPES and set(one.attrib) <= LOOKS for one in root.iter())
    return found.group() if plain else ""
