"""What `bakeoff data VERB` does, once its words are parsed. Each returns the lines to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from harness.data.benchmark_items import read_test_set
from harness.data.card import data_card
from harness.data.contamination import Contamination, Embed, find_contamination
from harness.data.curate import Curated, FunnelLine, Step, curate, parse_steps
from harness.data.examples import Example, ExampleSet, canonical_row
from harness.data.faults import skipped_lines
from harness.data.files import beside, check_out, write_card, write_lines, write_text
from harness.data.inspect import chosen_rows, harmless, inspection, shown
from harness.data.inspect_html import inspect_page
from harness.data.licences import licences_of
from harness.data.mixing import merge, mix
from harness.data.named import named_examples
from harness.data.rendering import encoder_of, stretches
from harness.data.test_set import TestSet
from harness.errors import UserError

DEFAULT_STEPS = ("judged_good", "exact_duplicates", "near_duplicates", "quality")


def inspect_verb(name: str, rows: int, on_error: str, split: str, model: str, html: Path | None) -> Iterator[str]:
    """What is in the file; with a model as its chat template renders it, with --html as a page too."""
    found = named_examples(name, on_error, split)
    encoder = encoder_of(model) if model else None
    lines = [harmless(line) for line in inspection(found, encoder)]
    yield from lines
    chosen = chosen_rows(found.examples, rows)
    for one in chosen:
        yield ""
        yield from shown(one, encoder)
    if html:
        rendered = [(one.record.id, stretches(one, encoder)) for one in chosen]
        write_text(html, inspect_page(found.name, lines, rendered))
        yield f"\nThe page is {html}."


def curate_verb(
    names: Sequence[str], out: Path, steps: Path | None, n: int, seed: int, on_error: str, licences: Sequence[str]
) -> Iterator[str]:
    """Run the pipeline and write the set, what was removed, and the card."""
    check_out(out, names)
    declared = _declared(steps, n)
    sets = [named_examples(name, on_error) for name in names]
    for one in sets:
        yield f"{one.name}: {len(one.examples):,} {one.detection.kind}, format {one.detection.format}"
        yield from skipped_lines(one.skipped)
    curated = curate(merge(sets), declared, seed)
    yield from funnel_lines(curated.funnel)
    card = data_card(curated.examples, curated.funnel, licences_of(licences, sets), seed)
    write_lines(out, (canonical_row(one) for one in curated.examples))
    write_lines(beside(out, "removed.jsonl"), _removed_rows(curated))
    write_card(out, card)
    yield f"{len(curated.examples):,} rows in {out}; removed rows and the data card stand beside it."


def decontaminate_verb(
    name: str,
    against: Sequence[str],
    out: Path | None,
    size: int,
    templates: Sequence[str],
    on_error: str,
    strict: bool,
    embed: str = "",
    similar: float = 0.9,
) -> Iterator[str]:
    """Compare with every test set; with --out write the clean rows and the others, each with what it matches."""
    if out:
        check_out(out, [name, *against])
    rows = named_examples(name, on_error)
    yield from skipped_lines(rows.skipped)
    tests = [test for name in against for test in _test_sets(name, templates)]
    records = (one.record for one in rows.examples)
    found = find_contamination(records, tests, size=size, embed=_embedder(embed), similar=similar)
    yield from contamination_lines(found)
    if out:
        dirty = set(found.contaminated_rows())
        kept = [one for at, one in enumerate(rows.examples) if at not in dirty]
        if not kept:
            raise UserError("every row holds a test item", where=name, fix="Is it the test set itself?")
        write_lines(out, (canonical_row(one) for one in kept))
        write_lines(beside(out, "removed.jsonl"), _matched_rows(rows, found))
        step = FunnelLine(
            f"decontaminate size={size}", len(rows.examples), len(kept), 0, {"holds a test item": len(dirty)}
        )
        write_card(out, data_card(kept, [step], licences_of([], [rows]), 0))
        yield f"{len(kept):,} clean rows in {out}; {len(dirty):,} others in {beside(out, 'removed.jsonl')}."
    if strict and found.flagged():
        raise UserError(f"more than {found.flag_above:.0%} of {', '.join(found.flagged())} is in the training set")


def _embedder(model: str) -> Embed | None:
    if not model:
        return None
    from harness.data.embeddings import Embedder

    return Embedder(model)


def _test_sets(name: str, templates: Sequence[str]) -> Iterator[TestSet]:
    """The items of a file; of an experiment, those of every benchmark that tells its items."""
    if not name.endswith((".yaml", ".yml")):
        yield read_test_set(name, templates)
        return
    from harness.config import load_experiment

    for column in load_experiment(Path(name)).benchmarks:
        found = column.benchmark.test_set()
        if found is None:
            raise UserError(f"the benchmark {column.label} does not tell its items", where=name)
        yield replace(found, name=column.label, templates=(*found.templates, *templates))


def mix_verb(sources: Sequence[str], out: Path, n: int, seed: int, on_error: str) -> Iterator[str]:
    """Draw exactly n rows from FILE=WEIGHT sources."""
    weights = dict(_weighted(source) for source in sources)
    if len(weights) < len(sources):
        raise UserError("a source is named twice", fix="Name each once, with its whole weight.")
    check_out(out, list(weights))
    sets = {name: named_examples(name, on_error) for name in weights}
    by_set = iter(merge(list(sets.values())))
    merged = {name: [next(by_set) for _ in one.examples] for name, one in sets.items()}
    judged = [name for name, one in sets.items() if one.detection.kind == "judged"]
    if judged:
        raise UserError(f"{judged[0]} holds judged answers", fix="Curate it first: that keeps the good ones.")
    examples, shares = mix(merged, weights, n, seed)
    for share in shares:
        took = f"{share.taken:,} rows of {share.rows:,}, {share.epochs:.2f} epochs"
        yield f"{share.name}: {took}, weight {share.weight:g}"
        yield from skipped_lines(sets[share.name].skipped)
    write_lines(out, (canonical_row(one) for one in examples))
    write_card(out, data_card(examples, [], licences_of([], list(sets.values())), seed))
    yield f"{len(examples):,} rows in {out}; the data card stands beside it."


def contamination_lines(found: Contamination) -> Iterator[str]:
    """A line per test set, then the first matches."""
    flagged = set(found.flagged())
    for name, size in found.sizes.items():
        matched = found.matched_items(name)
        verdict = "FLAGGED" if name in flagged else "below the limit"
        how = Counter(match.how for match in found.matches if match.test_set == name)
        ways = ", ".join(f"{count} by {way}" for way, count in sorted(how.items()))
        yield (
            f"{name}: {len(matched):,} of {size:,} items ({found.share(name):.2%}) are in the training set: {verdict}"
            + (f" (pairs: {ways})" if ways else "")
        )
    yield f"{len(found.contaminated_rows()):,} of {found.rows:,} rows hold a test item"


def _declared(file: Path | None, n: int) -> list[Step]:
    """The steps of the file, or the usual ones; --n adds the choice of exactly n diverse rows."""
    steps: Any = list(DEFAULT_STEPS)
    if file:
        try:
            steps = yaml.safe_load(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(
                f"it cannot be read: {error}", where=str(file), fix="Write a YAML list of steps."
            ) from error
        steps = steps.get("steps") if isinstance(steps, dict) else steps
    return parse_steps([*(steps or []), *([{"diverse": {"n": n}}] if n else [])], str(file or ""))


def _weighted(source: str) -> tuple[str, float]:
    name, _, weight = source.rpartition("=")
    try:
        return name or weight, float(weight) if name else 1.0
    except ValueError:
        raise UserError(
            f"the weight of {source!r} is {weight!r}", fix="Write FILE=WEIGHT, such as a.jsonl=2."
        ) from None


def funnel_lines(funnel: Sequence[FunnelLine]) -> Iterator[str]:
    yield f"{'rows in':>9} {'out':>9}  step"
    for line in funnel:
        why = "; ".join(f"{count:,} {reason}" for reason, count in line.removed.items())
        changed = f" ({line.changed:,} changed)" if line.changed else ""
        yield f"{line.rows_in:9,} {line.rows_out:9,}  {line.step}{changed}{': ' if why else ''}{why}"


def _removed_rows(curated: Curated) -> Iterator[dict[str, Any]]:
    for one in curated.removed:
        yield {"step": one.step, "reason": one.reason, "row": canonical_row(one.example)}


def _matched_rows(rows: ExampleSet, found: Contamination) -> Iterator[dict[str, Any]]:
    by_row: dict[int, list[dict[str, Any]]] = {}
    for match in found.matches:
        said = {"set": match.test_set, "item": match.item, "how": match.how, "coverage": round(match.coverage, 4)}
        by_row.setdefault(match.row, []).append(said)
    for row, matches in by_row.items():
        example: Example = rows.examples[row]
        yield {"matches": matches, "row": canonical_row(example)}
