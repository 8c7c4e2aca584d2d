"""The verbs that work on experiments (plan, explain, gc) and on results folders (verify, compare, claims)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.running import command, counts, remarks_on_data, store_options
from harness.cli.screen import printer, wide_console
from harness.engine.backends import backend_lines
from harness.engine.config import load_experiment
from harness.engine.experiment import Experiment
from harness.engine.gate import remedies_of
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Cell, Plan
from harness.engine.progress import Progress, print_line
from harness.engine.pruning import prune, survey
from harness.engine.refusals import check_before_run, skipped_rows
from harness.engine.showable import counted
from harness.engine.states import State, explain, find_cells, state_of
from harness.engine.store.mirror import local_folder_of, open_store
from harness.engine.store.store import Place, Store
from harness.engine.tuning import plans, scored_on, unfilled
from harness.errors import UserError

TITLE, LONGEST_TITLE = 32, 48  # columns of a cell's name


def plan_verb(file: Path, place: Place, settings: Sequence[str]) -> None:
    """Print every cell's state and the counts; for an experiment that tunes, the trials first."""
    store, say = open_store(place), printer()
    experiment = load_experiment(file, settings)
    for plan in _plans_so_far(experiment, store):
        states = [state_of(cell, store) for cell in plan.cells]
        for line in _cell_lines(plan.cells, states):
            say(line)
        for line in backend_lines((cell.entry.label, cell.backend) for cell in plan.cells if not cell.why):
            say(line)
        for joint in joint_cells(plan, store):
            say(f"{joint.title:{TITLE}}  {joint.state(store)}")
    for line in (*remedies_of(plan, store.root), *remarks_on_data(plan), *skipped_rows(plan)):
        say(line)
    check_before_run(plan, store.root)
    if told := scored_on(experiment):
        say(told)
    if experiment.tune and not plan.experiment.tune:
        say("The rows of tuned settings are planned once the trials are done.")
    done = all(state.name not in ("to run", "running") for state in states)
    more = ["--retry-failed"] if done and any(state.name == "failed" for state in states) else []
    say(f"\n{counts(states)}.\nNext: {command('run', file, place, settings, *more)}")


def _cell_lines(cells: Sequence[Cell], states: Sequence[State]) -> Iterator[str]:
    """A line for each cell with its state; a base model and data that all have in common are named once."""
    places = [", ".join(part for part in (one.node.base.spec.label, one.data.title) if part) for one in cells]
    several = len(set(places)) > 1
    if not several:
        yield from (f"on {place}:" for place in places[:1])
    longest = max([TITLE, *(len(cell.title) for cell in cells if len(cell.title) <= LONGEST_TITLE)])
    for cell, place, state in zip(cells, places, states, strict=True):
        backend = f"  [{cell.backend.title}]" if cell.backend.title else ""
        yield f"{cell.title:{longest}}  {f'{place}  ' if several else ''}{state}{backend}"


def power_verb(file: Path, place: Place, settings: Sequence[str], pilot: Path | None) -> None:
    """Print the chance that the experiment decides each of its questions, and what would raise it."""
    from harness.report.prospects import planned_run, tables

    store, console = open_store(place), wide_console()
    *_, plan = _plans_so_far(load_experiment(file, settings), store)
    run = planned_run(plan, store, pilot)
    with Progress(console, "designs") as progress:
        for part in tables(run, progress.working("simulating")):
            if isinstance(part, str):
                print_line(console, part)
            else:
                console.print(part)
    again = command("plan", file, place, settings, "--power", "--from", "FOLDER")
    first = "" if pilot else f"after a pilot, {again}; or "
    print_line(console, f"Nothing was written. Next: {first}{command('run', file, place, settings)}")


def explain_verb(file: Path, name: str, place: Place, settings: Sequence[str]) -> None:
    """Print why the named cells have their states; in an experiment that tunes, the trials' cells have names, too."""
    store, say = open_store(place), printer()
    known = _plans_so_far(load_experiment(file, settings), store)
    for cell in find_cells([cell for plan in known for cell in plan.cells], name):
        for line in explain(cell, store):
            say(line)


def gc_verb(files: Sequence[Path], place: Place, settings: Sequence[str], *, delete: bool) -> None:
    """Print what can be pruned from the store and what is kept; delete it where asked to."""
    if not isinstance(place, Path):
        fix = f"`--store {local_folder_of(place)}` prunes the local copy; delete the rest with the tools of its host."
        raise UserError("gc prunes a folder, and this store is a URL", where=f"--store {place}", fix=fix)
    say, store = printer(), open_store(place)
    known = [plan for file in files for plan in _plans_so_far(load_experiment(file, settings), store)]
    found = survey(store, known)
    chosen = [one for one in found if not one.why]
    for one in found:
        word = f"kept, since {one.why}" if one.why else "freed"
        say(f"{one.bytes / 2**20:10,.2f} MB  {one.title}  {one.path.name}  {word}")
    total = f"{len(chosen)} of {len(found)}, {sum(one.bytes for one in chosen) / 2**20:,.2f} MB"
    if delete:
        prune(store, chosen)
        say(f"\nFreed: {total}. Finished cells stay done; a new cell fits what it needs again.")
    elif chosen:
        words = ["bakeoff", "gc", *map(str, files), *store_options(place, settings), "--delete"]
        say(f"\nTo be freed: {total}. Nothing was deleted. Next: {shlex.join(words)}")
    else:
        say(f"\nTo be freed: {total}.")


def _plans_so_far(experiment: Experiment, store: Store) -> Iterator[Plan]:
    """The plan of the trials, and the experiment's own once the trials are done."""
    for plan in plans(experiment, store.root, store=store):
        yield plan
        if plan.experiment.tune is not experiment.tune and unfilled(plan, store):
            return


def verify_verb(folder: Path) -> int:
    """Print every check of a results folder; 1 where a check fails, otherwise 0."""
    from harness.report.render.text import one_line
    from harness.report.verify import verify

    say = printer()
    counted: Counter[str] = Counter()
    for check in verify(folder):
        counted[check.word] += 1
        say(f"{check.word:10} {one_line(check.file)}: {one_line(check.said, 400)}")
    total = ", ".join(f"{counted[word]} {word}" for word in ("ok", "NOT ok", "unchecked") if counted[word])
    say(f"\n{folder}: {total}. Nothing was written.")
    if counted["NOT ok"]:
        say("Next: get the named files again from their source, or run the experiment again.")
        return 1
    say(f"Next: bakeoff compare {folder} METHOD METHOD, or bakeoff export {folder}")
    return 0


def compare_verb(folder: Path, first: str, second: str | None) -> None:
    """Print a table for two methods of a folder, or for two folders."""
    from harness.report.compare import findings_line, pairing_table, remarks, two_methods, two_runs
    from harness.report.render.text import one_line

    if second is None and not Path(first).is_dir():
        fix = "Write `bakeoff compare FOLDER A B` for two methods, or `bakeoff compare FOLDER FOLDER` for two runs."
        raise UserError(f"{first!r} is compared with nothing: it is not a folder", where=str(folder), fix=fix)
    found = two_runs(folder, Path(first)) if second is None else two_methods(folder, first, second)
    console = wide_console()
    said: list[str] = []
    for pairing in found:
        console.print(pairing_table(pairing, console.width))
        print_line(console, one_line(findings_line(pairing), 1000) + "\n")
        for line in (line for line in remarks(pairing) if line not in said):
            said.append(line)
            print_line(console, one_line(line, 1000))
    whole = f"{folder / 'report.html'}" if second else f"{folder / 'report.html'} and {Path(first) / 'report.html'}"
    print_line(console, f"\nNothing was written. The full report is {whole}.\nNext: bakeoff export {folder}")


def claims_verb(folder: Path, file: Path | None) -> None:
    """Print the claims table of a results folder."""
    from rich.table import Table

    from harness.report.compare import plain_text
    from harness.report.findings.claims import claims_lines
    from harness.report.render.text import one_line

    tested, missing = claims_lines(folder, file)
    console = wide_console()
    if tested.rows:
        table = Table()
        heads = ("claim", "verdict", "effect", "expected", "p (Holm)", "tested as")
        for head in heads:
            table.add_column(head)
        for name, _, *cells in tested.rows:
            lines = ["\n".join(part for part in (c.text, c.detail, c.small) if part) for c in cells]
            table.add_row(*(plain_text(line, 400) for line in (name.text, *lines)))
        console.print(table)
    for claim, why in missing:
        print_line(console, one_line(f"not testable: {claim}: {why}", 1000))
    said = f"{counted(len(tested.rows), 'test')}, corrected together (5 % family-wise)"
    print_line(console, f"\n{said}; the intervals hold together with 95 %. Nothing was written.")
    print_line(console, f"The full report is {folder / 'report.html'}")


def field_claims_verb(folder: Path, out: Path | None) -> None:
    """Print the verdict on every claim of the field that a folder of studies gives; write the page if asked."""
    from rich.table import Table

    from harness.files import write_text
    from harness.report.compare import plain_text
    from harness.report.field_claims import FILE, judged_claims, page_of, read_field_claims, verdict_counts

    console = wide_console()
    table = Table("#", "claim", "verdict", "tests")
    judged, known = [], read_field_claims(folder / FILE)
    with Progress(console, "claims") as progress:
        told = progress.working("reading the studies")
        for one in judged_claims(folder):
            judged.append(one)
            told(len(judged), len(known.claims), one.claim.claim)
    for one in judged:
        table.add_row(str(one.claim.number), *(plain_text(t, 400) for t in (one.claim.claim, one.verdict, one.counts)))
    console.print(table)
    print_line(console, verdict_counts(judged))
    if out is not None:
        write_text(out, page_of(judged, known.about))
    where = f"The page is {out}." if out else f"Nothing was written.\nNext: bakeoff claims {folder} --out claims.md"
    print_line(console, where)
