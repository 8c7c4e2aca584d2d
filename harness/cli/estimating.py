"""`plan --estimate`: tables of what each fit and each cell will take, and what fits in which memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from harness.cli.running import command
from harness.cli.screen import wide_console
from harness.engine.config import load_experiment
from harness.engine.estimate import Estimator, Work
from harness.engine.plan import Cell, Plan
from harness.engine.progress import print_line, spelled
from harness.engine.refusals import plan_of_usable_rows, skipped_rows
from harness.engine.showable import counted
from harness.engine.store.mirror import local_folder_of
from harness.engine.store.store import Place, Store
from harness.errors import UserError
from harness.report.render.tabular import BLANK

WIDTH, NARROW = 216, 80
NOTES = (
    "GB are 10^9 bytes; * fits with activation_checkpointing alone. A fit holds weights, gradients, averages of the "
    "optimizer, activations and blocks of logits, and on a CPU what the C library retains of freed ones; it needs the "
    "most that is held at once. It reads a micro-batch at once, and on a CPU of a large model a piece of one (rows x "
    "tokens in --wide). A cell holds the policy and the shared base. Sampled tokens are the most that may be drawn; "
    "answers often end earlier. Seconds follow from one short measurement on this machine as it is now, and were not "
    "checked against whole runs. The formulas are in docs/running.md."
)


def estimate_verb(file: Path, place: Place, settings: Sequence[str], memory: str, *, wide: bool) -> None:
    """Print the estimates of an experiment's fits and cells, with all parts where `wide`. Writes nothing."""
    import transformers

    sizes = _sizes(memory)
    store = Store(local_folder_of(place))
    plan = plan_of_usable_rows(load_experiment(file, settings), store.root, weights=False)
    transformers.logging.disable_progress_bar()
    estimator = Estimator(plan)
    console = wide_console(WIDTH if wide else NARROW)
    with warnings.catch_warnings():
        # peft reads a name of transformers that is going out of use
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
        fits = [(node.title, estimator.fit(node)) for node in estimator.nodes]
        cells = [(_title(cell), estimator.cell(cell)) for cell in plan.cells]
    left = (
        [work for node, (_, work) in zip(estimator.nodes, fits, strict=True)
         if work.peak != 0 and not store.done("artifacts", node.key)],
        [work for cell, (_, work) in zip(plan.cells, cells, strict=True)
         if not cell.why and not store.done("outcomes", cell.key)],
    )  # fmt: skip
    if wide:
        console.print(_fit_table(fits, sizes))
        console.print(_cell_table(cells, sizes))
    else:
        console.print(_short_table("fit", fits, sizes))
        console.print(_short_table("cell", cells, sizes))
    for line in skipped_rows(plan):
        print_line(console, line)
    for line in _remarks([*fits, *cells]):
        print_line(console, line)
    if said := in_total(*left, machine_of(plan)):
        print_line(console, said)
    print_line(console, NOTES)
    print_line(console, f"Nothing was written. Next: {command('run', file, place, settings)}")


def machine_of(plan: Plan) -> str:
    """The devices of the bases, and the threads of a CPU."""
    threads = plan.experiment.threads
    names = {"cpu": f"a CPU with {threads} thread{'' if threads == 1 else 's'}"}
    return " and ".join(sorted({names.get(base.spec.device, base.spec.device) for base in plan.bases}))


def in_total(fits: Sequence[Work], cells: Sequence[Work], machine: str) -> str:
    """How long what is not done takes, one after another; "" where no second is known."""
    works = [*fits, *cells]
    known = [work.seconds for work in works if work.seconds is not None]
    if not known:
        return ""
    missing = sum(work.seconds is None for work in works)
    what = f"{counted(len(fits), 'fit')} and {counted(len(cells), 'cell')} that are not done"
    more = f", and more for {missing} of them, whose seconds are not known" if missing else ""
    return f"In total: about {spelled(sum(known))} for {what}, one after another, as timed now on {machine}{more}."


def _sizes(memory: str) -> list[float]:
    try:
        sizes = [float(part) for part in memory.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) <= 0:
        raise UserError(f"--memory is {memory!r}", fix="Give sizes in GB, such as --memory 24,80.")
    return sizes


def _title(cell: Cell) -> str:
    place = (cell.node.base.spec.label, cell.data.title)
    return ", ".join(part for part in (cell.title, *place) if part)


def _fit_table(fits: Sequence[tuple[str, Work]], sizes: Sequence[float]) -> Table:
    heads = ("parameters", "trained", "at once", "weights", "gradients", "optimizer", "activations", "checkpointed",
             "logits", "retained")  # fmt: skip
    table = _table("fit", (*heads, "GB needed", "tokens", "sampled", "FLOPs", "seconds", *_fits_in(sizes)))
    for title, work in fits:
        if work.peak is None:
            table.add_row(title, *[BLANK] * (len(table.columns) - 1))
            continue
        parts = [gigabytes(work.parts.get(name)) for name in
                 ("weights", "gradients", "optimizer", "activations", "checkpointed", "loss", "retained")]  # fmt: skip
        verdicts = [verdict(work, size) for size in sizes]
        sizes_of = (
            _count(work.parameters),
            _count(work.trained),
            "{} x {}".format(*work.at_once) if work.trained else BLANK,
        )
        table.add_row(title, *sizes_of, *parts, gigabytes(work.peak), *_work(work), *verdicts)
    return table


def _cell_table(cells: Sequence[tuple[str, Work]], sizes: Sequence[float]) -> Table:
    names = ("weights", "cache", "logits", "reading")
    table = _table("cell", (*names, "GB needed", "tokens", "sampled", "FLOPs", "seconds", *_fits_in(sizes)))
    for title, work in cells:
        parts = [gigabytes(work.parts.get(name)) for name in names]
        table.add_row(title, *parts, gigabytes(work.peak), *_work(work), *(verdict(work, size) for size in sizes))
    return table


def _short_table(first: str, works: Sequence[tuple[str, Work]], sizes: Sequence[float]) -> Table:
    table = _table(first, ("GB needed", "tokens", "FLOPs", "seconds", "fits in GB"))
    for title, work in works:
        tokens, _, operations, seconds = _work(work)
        table.add_row(title, gigabytes(work.peak), tokens, operations, seconds, _room(work, sizes))
    return table


def _room(work: Work, sizes: Sequence[float]) -> str:
    """The sizes into which the work fits, with * where it does with activation_checkpointing alone."""
    marks = {"yes": "", "checkpointed": "*"}
    found = [(size, verdict(work, size)) for size in sizes]
    fitting = ", ".join(f"{size:g}{marks[said]}" for size, said in found if said in marks)
    return fitting or (BLANK if work.peak is None else "none")


def _table(first: str, heads: Sequence[str]) -> Table:
    table = Table()
    table.add_column(first)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _fits_in(sizes: Sequence[float]) -> list[str]:
    return [f"in {size:g} GB" for size in sizes]


def _work(work: Work) -> tuple[str, str, str, str]:
    seconds = BLANK if work.seconds is None else f"{work.seconds:,.3g}"
    return _count(work.read), _count(work.drawn), f"{work.operations:.2g}" if work.operations else BLANK, seconds


def _count(number: float) -> str:
    """1,234 or 1.2M; a blank for nothing."""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:,.0f}" if number else BLANK


def gigabytes(size: float | None) -> str:
    return BLANK if size is None else f"{size / 1e9:.2f}"


def verdict(work: Work, size: float) -> str:
    """Whether the work fits into so many GB: yes, no, or only with activation_checkpointing."""
    if work.peak is None:
        return BLANK
    if work.peak <= size * 1e9:
        return "yes"
    smaller = work.checkpointed is not None and work.checkpointed <= size * 1e9
    return "checkpointed" if smaller else "no"


def _remarks(works: Sequence[tuple[str, Work]]) -> Iterator[str]:
    """The reasons of blanks, each once with where it applies."""
    places: dict[str, list[str]] = {}
    for title, work in works:
        if work.why:
            places.setdefault(work.why, []).append(title)
    for why, titles in places.items():
        more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        what = "no seconds" if any(work.peak is not None and work.why == why for _, work in works) else "blank"
        yield f"{what}: {titles[0]}{more}: {why}"
