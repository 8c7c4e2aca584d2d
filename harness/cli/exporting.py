"""The verb `export`: a results folder as tables, or as files that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.cli.screen import wide_console
from harness.engine.interchange.written import Stamp, file_name, stamp
from harness.engine.progress import print_line
from harness.errors import UserError, did_you_mean

TABLES = ("csv", "parquet", "latex", "markdown")
RECORDS = ("eee", "lm-eval", "inspect")
HUB = "hf-eval-results"
FORMATS = (*RECORDS, HUB, *TABLES)


def export_verb(folder: Path, out: Path | None, kind: str, date: str, datasets: Sequence[str]) -> None:
    """Write the files, by default into a folder with the results' name in the working directory."""
    if kind and kind not in FORMATS:
        raise UserError(f"--format is {kind!r}", fix=did_you_mean(kind, FORMATS))
    if datasets and kind != HUB:
        raise UserError(f"--dataset belongs to --format {HUB}", fix=f"Add --format {HUB}, or leave --dataset out.")
    if date and kind not in (*RECORDS, HUB):
        raise UserError("tables state no date", fix="Leave --date out, or name a format with --format.")
    target = out or Path(f"{folder.resolve().name}-{'tables' if kind in ('', *TABLES) else kind}")
    console = wide_console()
    try:
        if kind in RECORDS:
            paths = list(_records(folder, target, kind, stamp(date)))
        elif kind == HUB:
            paths = list(_hub(folder, target, datasets, stamp(date) if date else None))
        else:
            paths = _tables(folder, target, (kind,) if kind else TABLES)
    except OSError as error:
        what = f"the files cannot be written: {error.strerror}"
        raise UserError(what, where=str(target), fix="Name another folder with --out.") from None
    for path in paths[:6]:
        print_line(console, str(path))
    if len(paths) > 6:
        print_line(console, f"... {len(paths):,} files in {target}")
    print_line(console, f"\n{_next(kind, target)}")


def _tables(folder: Path, target: Path, kinds: Sequence[str]) -> list[Path]:
    from harness.report.collect import collect
    from harness.report.export import write_tables

    return write_tables(collect(folder), target, kinds)


def _records(folder: Path, target: Path, kind: str, when: Stamp) -> Iterator[Path]:
    from harness.report.exported_cells import exported_blocks

    for block in exported_blocks(folder):
        below = target / file_name(block.name) if block.name else target
        yield from _writer(kind)(block.cells(), below, when)


def _writer(kind: str) -> Callable[..., Iterator[Path]]:
    if kind == "eee":
        from harness.engine.interchange.every_eval_ever_files import write_every_eval_ever

        return write_every_eval_ever
    if kind == "lm-eval":
        from harness.engine.interchange.lm_eval_files import write_lm_eval

        return write_lm_eval
    from harness.engine.interchange.inspect_files import write_inspect

    return write_inspect


def _hub(folder: Path, target: Path, datasets: Sequence[str], when: Stamp | None) -> Iterator[Path]:
    from harness.report.collect import collect
    from harness.report.hub_results import hub_datasets, write_hub_results

    model = collect(folder)
    named = hub_datasets(datasets, [one.label for one in model.matrix.benchmarks])
    yield from write_hub_results(model, named, target, when)


def _next(kind: str, target: Path) -> str:
    """The kind of the files, and the next step with them."""
    if kind == "eee":
        return f"Schema 0.3 of Every Eval Ever. Next: bakeoff judge {target}"
    if kind == "lm-eval":
        return f"Next: bakeoff judge {target}"
    if kind == "inspect":
        return f"Next: inspect view --log-dir {target}, or bakeoff judge {target}"
    if kind == HUB:
        return "Each METHOD/.eval_results belongs at the top of that model's repository on the hub."
    said = "Values are in the metric's own unit (a share is 0.5, not 50); blank: not computable, see `reason`."
    if kind not in ("", "parquet"):
        return said
    table = repr(str(target / "scores.parquet"))
    paper = f", or \\input{{{target / 'matrix'}}} in a paper (booktabs)" if not kind else ""
    return f"{said}\nNext: pandas.read_parquet({table}){paper}"
