"""What verify, compare and export do with results folders. None of them writes into a folder that it only reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console

from harness.errors import UserError
from harness.report.render.text import one_line
from harness.report.verify import verify

WIDTH = 160


def verify_verb(folder: Path) -> int:
    """Print every check of a results folder; 1 where something is not as it was written, otherwise 0."""
    console = Console(soft_wrap=True)
    counted: Counter[str] = Counter()
    for check in verify(folder):
        counted[check.word] += 1
        _say(console, f"{check.word:10} {one_line(check.file)}: {one_line(check.said, 400)}")
    total = ", ".join(f"{counted[word]} {word}" for word in ("ok", "NOT ok", "unchecked") if counted[word])
    _say(console, f"\n{folder}: {total}. Nothing was written.")
    if counted["NOT ok"]:
        _say(console, "Next: take the named files from where they come from again, or run the experiment again.")
        return 1
    _say(console, f"Next: bakeoff compare {folder} METHOD METHOD, or bakeoff export {folder}")
    return 0


def compare_verb(folder: Path, first: str, second: str | None) -> None:
    """Print a table for two methods of a folder, or for two folders."""
    from harness.report.compare import two_methods, two_runs
    from harness.report.terminal import pairing_table, remarks

    if second is None and not Path(first).is_dir():
        fix = "Write `bakeoff compare FOLDER A B` for two methods, or `bakeoff compare FOLDER FOLDER` for two runs."
        raise UserError(f"{first!r} is compared with nothing: it is no folder", where=str(folder), fix=fix)
    found = two_runs(folder, Path(first)) if second is None else two_methods(folder, first, second)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)  # a file or a pipe has no width of its own
    said: list[str] = []
    for pairing in found:
        console.print(pairing_table(pairing))
        for line in (line for line in remarks(pairing) if line not in said):
            said.append(line)
            _say(console, one_line(line, 1000))
    whole = f"{folder / 'report.html'}" if second else f"{folder / 'report.html'} and {Path(first) / 'report.html'}"
    _say(console, f"\nNothing was written. The whole report is {whole}. Next, as files: bakeoff export {folder}")


def export_verb(folder: Path, out: Path | None) -> None:
    """Write the tables, by default into a folder of the results' name in the working directory."""
    from harness.report.collect import collect
    from harness.report.export import write_tables

    console = Console()
    model = collect(folder)
    target = out or Path(f"{folder.resolve().name}-tables")
    try:
        written = write_tables(model, target)
    except OSError as error:
        what = f"the tables cannot be written: {error.strerror}"
        raise UserError(what, where=str(target), fix="Name another folder with --out.") from None
    for path in written:
        _say(console, str(path))
    _say(console, "\nUnits are the metric's own (a share is 0.5, not 50); blank: could not be computed, see `reason`.")
    table = repr(str(target / "scores.parquet"))
    _say(console, f"Next: pandas.read_parquet({table}), or \\input{{{target / 'matrix'}}} in a paper (booktabs)")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
