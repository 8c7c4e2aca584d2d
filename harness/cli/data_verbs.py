"""The verbs of `bakeoff data`. Each yields the lines to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.curation.card import data_card, licences_of, with_joint, write_card
from harness.curation.contamination import Contamination, Embed, find_contamination, read_test_set
from harness.curation.inspect import chosen_rows, harmless, inspect_page, inspection, shown
from harness.curation.mixing import merge, mix
from harness.curation.pairs import Pairs, Samples, call_pairs, read_own_samples, verifier_pairs
from harness.curation.pipeline import CurationStep, FunnelLine, curate, parse_steps
from harness.curation.rendering import encoder_of, trained_texts
from harness.curation.writing.drafts import Generated, removed_row
from harness.curation.writing.evolve import evolve
from harness.curation.writing.refine import refine
from harness.curation.writing.requests import operators_of
from harness.curation.writing.self_instruct import self_instruct
from harness.curation.writing.writer import Writer
from harness.data.examples import Example, ExampleSet, canonical_row
from harness.data.load import named_examples
from harness.data.placed import skipped_lines
from harness.engine.yaml_lines import parse_yaml, read_small_text, short
from harness.errors import UserError, did_you_mean
from harness.files import check_out, sibling_file, write_lines, write_text
from harness.records import TestSet

DEFAULT_STEPS = ("judged_good", "exact_duplicates", "near_duplicates", "quality")


def inspect_verb(name: str, rows: int, on_error: str, split: str, model: str, html: Path | None) -> Iterator[str]:
    """The content of a file; with a model as its chat template renders it, with --html as a page, too."""
    found = named_examples(name, on_error, split)
    encoder = encoder_of(model) if model else None
    lines = [harmless(line) for line in inspection(found, encoder)]
    yield from lines
    chosen = chosen_rows(found.examples, rows)
    for one in chosen:
        yield ""
        yield from shown(one, encoder)
    if html:
        rendered = [(one.record.id, trained_texts(one, encoder)) for one in chosen]
        write_text(html, inspect_page(found.name, lines, rendered))
        yield f"\nThe page is {html}."


def curate_verb(
    names: Sequence[str], out: Path, steps: Path | None, n: int, seed: int, on_error: str, licences: Sequence[str]
) -> Iterator[str]:
    """Run the pipeline; write the set, the removed rows, and the card."""
    check_out(out, names)
    declared = _declared(steps, n)
    sets = [named_examples(name, on_error) for name in names]
    for one in sets:
        yield f"{one.name}: {len(one.examples):,} {one.detection.kind}, format {one.detection.format}"
        yield from skipped_lines(one.skipped)
    curated = curate(merge(sets), declared, seed)
    yield from funnel_lines(curated.funnel)
    card = data_card(curated.examples, curated.funnel, licences_of(licences, sets), seed)
    rows = ({"step": one.step, "reason": one.reason, "row": canonical_row(one.example)} for one in curated.removed)
    write_lines(sibling_file(out, "removed.jsonl"), rows)
    _write_set(out, curated.examples, card)
    yield f"{len(curated.examples):,} rows in {out}; removed rows and the data card are next to it."


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
    """Compare with every test set; with --out write the clean rows, and the others with their matches."""
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
            raise UserError("every row contains a test item", where=name, fix="Is it the test set itself?")
        write_lines(sibling_file(out, "removed.jsonl"), _matched_rows(rows, found))
        why = {"holds a test item": len(dirty)}
        step = FunnelLine(f"decontaminate size={size}", len(rows.examples), len(kept), 0, why)
        _write_set(out, kept, data_card(kept, [step], licences_of([], [rows]), 0))
        yield f"{len(kept):,} clean rows in {out}; {len(dirty):,} others in {sibling_file(out, 'removed.jsonl')}."
    if strict and found.flagged():
        raise UserError(f"more than {found.flag_above:.0%} of {', '.join(found.flagged())} is in the training set")


def _embedder(model: str) -> Embed | None:
    if not model:
        return None
    from harness.policy.embeddings import Embedder

    return Embedder(model)


def _test_sets(name: str, templates: Sequence[str]) -> Iterator[TestSet]:
    """The items of a file, or those of every benchmark of an experiment."""
    if not name.endswith((".yaml", ".yml")):
        yield read_test_set(name, templates)
        return
    from harness.engine.config import load_experiment

    for column in load_experiment(Path(name)).benchmarks:
        found = column.benchmark.test_set()
        if found is None:
            raise UserError(f"the items of the benchmark {column.label} are not known", where=name)
        yield replace(found, name=column.label, templates=(*found.templates, *templates))


def mix_verb(sources: Sequence[str], out: Path, n: int, seed: int, on_error: str) -> Iterator[str]:
    """Draw exactly n rows from FILE=WEIGHT sources."""
    weights = dict(_weighted(source) for source in sources)
    if len(weights) < len(sources):
        raise UserError("a source is named twice", fix="Name each source once, with its total weight.")
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
    _write_set(out, examples, data_card(examples, [], licences_of([], list(sets.values())), seed))
    yield f"{len(examples):,} rows in {out}; the data card is next to it."


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
    yield f"{len(found.contaminated_rows()):,} of {found.rows:,} rows contain a test item"


def _declared(file: Path | None, n: int) -> list[CurationStep]:
    """The steps of the file, or the standard ones; --n adds the choice of exactly n diverse rows."""
    steps: Any = list(DEFAULT_STEPS)
    if file:
        root = parse_yaml(read_small_text(file), file)
        if isinstance(root.value, dict):
            root.check_keys(["steps"])
        steps = root.value.get("steps") if isinstance(root.value, dict) else root.value
        if not isinstance(steps or [], list):
            raise root.error(f"the steps are not a list: {short(steps)}", fix=f"Example: steps: {DEFAULT_STEPS}")
    return parse_steps([*(steps or []), *([{"diverse": {"n": n}}] if n else [])], str(file or ""))


def _weighted(source: str) -> tuple[str, float]:
    name, _, weight = source.rpartition("=")
    try:
        return name or weight, float(weight) if name else 1.0
    except ValueError:
        fix = "Write FILE=WEIGHT, such as a.jsonl=2."
        raise UserError(f"the weight of {source!r} is {weight!r}", fix=fix) from None


def funnel_lines(funnel: Sequence[FunnelLine]) -> Iterator[str]:
    yield f"{'rows in':>9} {'out':>9}  step"
    for line in funnel:
        why = "; ".join(f"{count:,} {reason}" for reason, count in line.removed.items())
        changed = f" ({line.changed:,} changed)" if line.changed else ""
        yield f"{line.rows_in:9,} {line.rows_out:9,}  {line.step}{changed}{': ' if why else ''}{why}"


def _matched_rows(rows: ExampleSet, found: Contamination) -> Iterator[dict[str, Any]]:
    by_row: dict[int, list[dict[str, Any]]] = {}
    for match in found.matches:
        said = {"set": match.test_set, "item": match.item, "how": match.how, "coverage": round(match.coverage, 4)}
        by_row.setdefault(match.row, []).append(said)
    for row, matches in by_row.items():
        example: Example = rows.examples[row]
        yield {"matches": matches, "row": canonical_row(example)}


def pairs_verb(
    name: str, out: Path, samples: str, per_prompt: int, kinds: Sequence[str], seed: int, on_error: str
) -> Iterator[str]:
    """Pairs from function calls, or from problems with a verifier and completions; and the counts of each failure."""
    check_out(out, [name, *([samples] if samples else [])])
    rows = named_examples(name, on_error)
    drawn = read_own_samples(samples, on_error) if samples else None
    yield f"{name}: {len(rows.examples):,} {rows.detection.kind}, format {rows.detection.format}"
    yield from skipped_lines((*rows.skipped, *(drawn.skipped if drawn else ())))
    found = _pairs(rows, drawn, per_prompt, kinds, seed)
    yield from _count_lines(found, drawn)
    if not found.examples:
        raise UserError("no pair could be made", where=name, fix="Sample more completions, or name other rows.")
    written = FunnelLine("pairs", len(found.examples), len(found.examples), 0, {})
    _write_set(out, found.examples, data_card(found.examples, [written], licences_of([], [rows]), seed))
    yield f"{len(found.examples):,} pairs in {out}; the data card is next to it."


def _pairs(rows: ExampleSet, drawn: Samples | None, per_prompt: int, kinds: Sequence[str], seed: int) -> Pairs:
    if rows.detection.kind != "problems":
        return call_pairs(rows.examples, per_prompt, seed, kinds, drawn)
    if drawn is None:
        fix = "Give --samples FILE with a model's completions."
        raise UserError("problems need completions", where=rows.name, fix=fix)
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


MODES = ("evol", "self-instruct")


@dataclass(frozen=True)
class Evolution:
    """The options of `bakeoff data evolve`.

    mode       evol: rewrite every instruction;  self-instruct: continue a list of them
    operators  names of the operators to use (none: all);  prompts: a YAML file with the user's own
    requests   per round of self-instruct;  judge: ask the model whether a rewrite adds anything
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
    """New rows from the rows of a file, each with its parent, operator, round and model.

    NAME.partial.jsonl holds the rows of finished rounds until the end, since an endpoint may fail after hours.
    """
    plan.check()
    check_out(out, [name])
    chosen = operators_of(plan.operators, *_own_operators(plan.prompts))
    rows = named_examples(name, on_error)
    yield from _head(rows)
    keep = partial(_keep, sibling_file(out, "partial.jsonl"))
    if plan.mode == "evol":
        found = evolve(rows.examples, writer, chosen, rounds=plan.rounds, seed=seed, judge=plan.judge, after_round=keep)
    else:
        found = self_instruct(
            rows.examples, writer, rounds=plan.rounds, requests=plan.requests, seed=seed, after_round=keep
        )
    yield from _written(rows, found, out, writer.name, seed)
    sibling_file(out, "partial.jsonl").unlink(missing_ok=True)


def _own_operators(file: Path | None) -> tuple[object, str]:
    return (parse_yaml(read_small_text(file), file).value, str(file)) if file else (None, "")


def refine_verb(name: str, out: Path, writer: Writer, seed: int, on_error: str) -> Iterator[str]:
    """Each row with its improved versions, as a group."""
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
    removed = sibling_file(out, "removed.jsonl")
    write_lines(removed, (removed_row(draft, reason) for draft, reason in found.removed))
    if not found.examples:
        fix = "See the reasons there; a base model may be too weak."
        raise UserError("every draft was dropped", where=str(removed), fix=fix)
    licences = with_joint(licences_of([], [rows]), found.examples)
    card = data_card(found.examples, found.funnel, licences, seed)
    _write_set(out, found.examples, {**card, "written_by": model})
    yield f"{len(found.examples):,} rows in {out}; dropped drafts and the data card are next to it."


def _write_set(out: Path, examples: Sequence[Example], card: Mapping[str, Any]) -> None:
    write_lines(out, (canonical_row(one) for one in examples))
    write_card(out, card)
