"""What `bakeoff data evolve` and `refine` do, once their words are parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.data.card import data_card
from harness.data.evolve import evolve
from harness.data.examples import ExampleSet, canonical_row
from harness.data.faults import skipped_lines
from harness.data.files import beside, check_out, write_card, write_lines
from harness.data.generation import Generated, removed_row
from harness.data.licences import licences_of, with_joint
from harness.data.named import named_examples
from harness.data.refine import refine
from harness.data.self_instruct import self_instruct
from harness.data.verbs import funnel_lines
from harness.data.writer import Writer
from harness.data.writing_requests import operators_of
from harness.errors import UserError, did_you_mean

MODES = ("evol", "self-instruct")


@dataclass(frozen=True)
class Evolution:
    """How new rows are made.

    mode       evol: rewrite every instruction;  self-instruct: continue a list of them
    operators  names of those to use (none: all);  prompts: a YAML file of the user's own
    requests   of each round of self-instruct;  judge: ask the model what a rewriting adds
    """

    mode: str = "evol"
    operators: Sequence[str] = ()
    prompts: Path | None = None
    rounds: int = 4
    requests: int = 8
    judge: bool = True

    def check(self) -> None:
        """Raise UserError where the options contradict one another."""
        if self.mode not in MODES:
            raise UserError(f"--mode is {self.mode!r}", fix=did_you_mean(self.mode, MODES))
        if self.mode != "evol" and (self.operators or self.prompts):
            raise UserError("--operator and --prompts are for --mode evol", fix="Leave them out.")


def evolve_verb(name: str, out: Path, writer: Writer, plan: Evolution, seed: int, on_error: str) -> Iterator[str]:
    """New rows from those of the file, each with its parent, operator, round and model.

    While it works, NAME.partial.jsonl holds the rows of the rounds that are done: an endpoint may fail after hours.
    """
    plan.check()
    check_out(out, [name])
    chosen = operators_of(plan.operators, plan.prompts)
    rows = named_examples(name, on_error)
    yield from _head(rows)
    keep = partial(_keep, beside(out, "partial.jsonl"))
    if plan.mode == "evol":
        found = evolve(rows.examples, writer, chosen, rounds=plan.rounds, seed=seed, judge=plan.judge, after_round=keep)
    else:
        found = self_instruct(
            rows.examples, writer, rounds=plan.rounds, requests=plan.requests, seed=seed, after_round=keep
        )
    yield from _written(rows, found, out, writer.name, seed)
    beside(out, "partial.jsonl").unlink(missing_ok=True)


def refine_verb(name: str, out: Path, writer: Writer, seed: int, on_error: str) -> Iterator[str]:
    """Each row with its better versions, as a group."""
    check_out(out, [name])
    rows = named_examples(name, on_error)
    yield from _head(rows)
    yield from _written(rows, refine(rows.examples, writer), out, writer.name, seed)


def _head(rows: ExampleSet) -> Iterator[str]:
    yield f"{rows.name}: {len(rows.examples):,} {rows.detection.kind}, format {rows.detection.format}"
    yield from skipped_lines(rows.skipped)


def _keep(partial_file: Path, found: Generated) -> None:
    write_lines(partial_file, (canonical_row(one) for one in found.examples))


def _written(rows: ExampleSet, found: Generated, out: Path, model: str, seed: int) -> Iterator[str]:
    yield from funnel_lines(found.funnel)
    removed = beside(out, "removed.jsonl")
    write_lines(removed, (removed_row(draft, reason) for draft, reason in found.removed))
    if not found.examples:
        raise UserError(
            "every draft was dropped", where=str(removed), fix="See the reasons there; a base model may not do."
        )
    write_lines(out, (canonical_row(one) for one in found.examples))
    licences = with_joint(licences_of([], [rows]), found.examples)
    card = data_card(found.examples, found.funnel, licences, seed)
    write_card(out, {**card, "written_by": model})
    yield f"{len(found.examples):,} rows in {out}; dropped drafts and the data card stand beside it."
