"""What `bakeoff data pairs` does, once its words are parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.card import data_card
from harness.data.curate import FunnelLine
from harness.data.examples import ExampleSet, canonical_row
from harness.data.faults import skipped_lines
from harness.data.files import check_out, write_card, write_lines
from harness.data.licences import licences_of
from harness.data.named import named_examples
from harness.data.pairs import Pairs, call_pairs, verifier_pairs
from harness.data.samples import Samples, read_samples
from harness.errors import UserError


def pairs_verb(
    name: str, out: Path, samples: str, per_prompt: int, kinds: Sequence[str], seed: int, on_error: str
) -> Iterator[str]:
    """Pairs from function calls, or from problems with a verifier and completions; with the counts of each failure."""
    check_out(out, [name, *([samples] if samples else [])])
    rows = named_examples(name, on_error)
    drawn = read_samples(samples, on_error) if samples else None
    yield f"{name}: {len(rows.examples):,} {rows.detection.kind}, format {rows.detection.format}"
    yield from skipped_lines((*rows.skipped, *(drawn.skipped if drawn else ())))
    found = _pairs(rows, drawn, per_prompt, kinds, seed)
    yield from _count_lines(found, drawn)
    if not found.examples:
        raise UserError("no pair could be made", where=name, fix="Sample more completions, or name other rows.")
    written = FunnelLine("pairs", len(found.examples), len(found.examples), 0, {})
    write_lines(out, (canonical_row(one) for one in found.examples))
    write_card(out, data_card(found.examples, [written], licences_of([], [rows]), seed))
    yield f"{len(found.examples):,} pairs in {out}; the data card stands beside it."


def _pairs(rows: ExampleSet, drawn: Samples | None, per_prompt: int, kinds: Sequence[str], seed: int) -> Pairs:
    if rows.detection.kind != "problems":
        return call_pairs(rows.examples, per_prompt, seed, kinds, drawn)
    if drawn is None:
        raise UserError(
            "problems need completions", where=rows.name, fix="Give --samples FILE with what a model answered."
        )
    if kinds:
        raise UserError("--kind is for corrupted calls", where=rows.name, fix="Leave it out for problems.")
    return verifier_pairs(rows.examples, drawn, per_prompt, seed)


def _count_lines(found: Pairs, drawn: Samples | None) -> Iterator[str]:
    for failure, count in sorted(found.failures.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"{count:9,} {failure}"
    for reason, count in found.without.most_common():
        yield f"no pair from {count:,}: {reason}"
    if drawn and drawn.unused():
        yield f"{drawn.unused():,} ids or prompts of the samples belong to no row"
