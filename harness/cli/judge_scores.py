"""The verb `judge`: scores that others measured, in a results folder with its report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.screen import wide_console
from harness.engine.interchange.cells import cells_of, methods_of
from harness.engine.interchange.judged import write_judged
from harness.engine.interchange.paths import read_scores
from harness.engine.interchange.scored import LeftOut, Scored
from harness.engine.progress import print_line
from harness.engine.results.folder import held
from harness.engine.showable import counted
from harness.errors import UserError
from harness.files import read_json


def judge_verb(words: Sequence[str], folder: Path, baseline: str) -> None:
    """Read the scores, write folder and report, and print the answer."""
    from harness.report.compose import written_document
    from harness.report.render.opening_text import folded_lines, opening_lines

    start, console = time.monotonic(), wide_console()
    _check_free(folder)
    found = list(read_scores(words))
    scored = [one for one in found if isinstance(one, Scored)]
    left_out = [one for one in found if isinstance(one, LeftOut)]
    cells = cells_of(scored)
    if not cells:
        raise UserError("no scores were read", where=", ".join(words), fix="; ".join(one.why for one in left_out))
    labels = methods_of(scored, baseline)
    with held(folder):
        told = write_judged(folder, cells, left_out, labels)
        document = written_document(folder)
    benchmarks = {cell.place[2] for cell in cells}
    sizes = ((len(labels), "method"), (len(benchmarks), "benchmark"), (len(cells), "cell"))
    read = f"{counted(len(told['files']), 'file')}: {', '.join(counted(*size) for size in sizes)}"
    print_line(console, f"{read}; {time.monotonic() - start:.1f} s\n")
    for line in opening_lines(document.opening, console.width) if document.opening else ():
        print_line(console, line)
    print_line(console, "")
    for said in (*_remarks(told), f"Not stated in these files: {'; '.join(told['blank'])}."):
        for line in folded_lines(said, console.width):
            print_line(console, line)
    print_line(console, f"\nThe report is {folder / 'report.html'}. Next: bakeoff verify {folder}")


def _remarks(told: Mapping[str, Any]) -> list[str]:
    """Items that only some methods have, and what was left out."""
    uneven = [
        f"{entry['items'] - entry['in_all']:,} of {entry['items']:,} items of {benchmark} have scores of only some "
        "methods."
        for benchmark, entry in told["uneven"].items()
    ]
    return [*uneven, *(f"Left out of {one['file']}: {one['what']}: {one['why']}." for one in told["left_out"])]


def _check_free(folder: Path) -> None:
    """Raise UserError where the folder holds the results of an experiment, which would be lost."""
    if (folder / "matrix.json").is_file() and not read_json(folder / "matrix.json").get("judged"):
        what = "it holds the results of an experiment"
        raise UserError(what, where=str(folder), fix="Name another folder with --out.")
