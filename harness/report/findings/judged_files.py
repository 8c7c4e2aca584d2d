"""The files of others that the scores were read from: what they state, what they do not, and what only some have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.engine.results.schema import JUDGED_FILE
from harness.files import read_json
from harness.report.collect import ReportModel
from harness.report.render import bands, tabular, text
from harness.report.render.document import Folded, Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, text_columns

MOST_FILES = 12


def judged_parts(model: ReportModel) -> Iterator[Part]:
    """The facts that are missing, the items that only some methods have, and every file with its digest."""
    told = read_json(model.folder / JUDGED_FILE)
    yield Paragraph(
        "Others measured these scores, and bakeoff only compares them. The files do not state: "
        f"{'; '.join(told['blank'])}. Higher is better unless a file says otherwise."
    )
    if told["uneven"]:
        yield Paragraph(_uneven_words(told["uneven"]), "warning")
        yield _uneven_table(told["uneven"], model)
    for left in told["left_out"]:
        yield Paragraph(f"Left out of {left['file']}: {left['what']}: {text.one_line(left['why'], 300)}.", "warning")
    files = _files_table(told["files"])
    title = f"The {bands.counted(len(told['files']), 'file')}"
    yield Folded(title, files) if len(told["files"]) > MOST_FILES else files


def _uneven_words(uneven: Mapping[str, Any]) -> str:
    lost = sum(entry["items"] - entry["in_all"] for entry in uneven.values())
    return (
        f"{lost:,} items of {text.listed(list(uneven)[:5])}{' and others' if len(uneven) > 5 else ''} have scores of "
        "only some methods. A comparison uses the items that both methods have, and is refused where more than 5 % "
        "are missing."
    )


def _uneven_table(uneven: Mapping[str, Any], model: ReportModel) -> Table:
    labels = [method.label for method in model.matrix.methods]
    head = (Column("benchmark", left=True), Column("items"), Column("of all methods"))
    rows = [
        tuple(
            TableCell(shown)
            for shown in (
                benchmark,
                tabular.count(float(entry["items"])),
                tabular.count(float(entry["in_all"])),
                *(f"{entry['lacking'][label]:,}" if label in entry["lacking"] else BLANK for label in labels),
            )
        )
        for benchmark, entry in uneven.items()
    ]
    columns = (*head, *(Column(label, "items missing") for label in labels))
    return Table(columns, tuple(rows), caption="Items that only some methods have")


def _files_table(files: list[Mapping[str, Any]]) -> Table:
    rows = []
    for one in files:
        stated = ", ".join(f"{name}: {value}" for name, value in sorted(one["states"].items()))
        shown = (one["name"], one["format"], ", ".join(one["methods"]) or BLANK, stated or BLANK, one["sha256"][:12])
        rows.append(tuple(TableCell(text.one_line(value, 200)) for value in shown))
    return Table(text_columns("file", "format", "methods", "states", "digest"), tuple(rows), caption="Files read")
