"""Checks before a run: do the training sets contain items of the benchmarks, and how does each base read a prompt?

Contamination warns; `strict` blocks. Rows that a method's fields name (replayed ones, those of a constant prompt) are
searched as the training sets are.

Results are kept in the store under the digests of both sides, so that nothing is compared twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.load import DataSpec, LoadedSet, load_set
from harness.engine.declarations import paths_of
from harness.engine.experiment import BenchmarkEntry
from harness.engine.limits import TimeOverError, time_limit
from harness.engine.plan import Plan, base_document
from harness.engine.plugin_code import sources_of
from harness.engine.registry import place_in_plugin, source_file
from harness.engine.soundness import Unsound
from harness.engine.store.keys import key_of, source_digests
from harness.errors import UserError, first_line
from harness.files import HARNESS, read_sealed, remember
from harness.method import fields_of
from harness.records import Demonstration, Message, digest_of

if TYPE_CHECKING:
    from harness.curation.contamination import Contamination, Match
    from harness.policy.base_model import BaseModel
    from harness.policy.model_checks import ModelCheck


MOST_NAMED = 3
PROMPT_FILES = (".yaml", ".yml", ".json")
LONGEST_CHECK = 120.0  # seconds, once the libraries and the tokenizer are loaded


def check_contamination(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Every training set, and what fields of methods read, against every benchmark: one entry each, in that order.

    folder  the store's root. Raises UserError where the experiment is strict and a set is flagged.
    """
    columns = [
        column
        for column in plan.experiment.benchmarks
        if column.label not in plan.unreachable and not isinstance(column.benchmark, Unsound)
    ]
    sets = (*plan.sets, *sets_of_fields(plan))
    found = [_entry(loaded, column, folder) for loaded in sets for column in columns]
    flagged = [entry for entry in found if entry["flagged"]]
    if flagged and plan.experiment.strict:
        raise UserError(
            f"the experiment is strict, and its training data contains test items: {line_of(flagged[0])}",
            where=str(plan.experiment.file),
            fix="Remove them with `bakeoff data decontaminate`, or leave out `strict: true`.",
        )
    return found


def sets_of_fields(plan: Plan) -> list[LoadedSet]:
    """Rows that the experiment's methods read apart from its training sets, each set once.

    A field declared `path` or `folder` may name a training set in a mapping with `data`, as `replay` of sft does, or
    a file of questions with their answers, as a constant prompt. Folders and names without `data` are something else.
    """
    nodes = {key: one for node, _ in plan.groups() for key, one in (*node.beneath.items(), (node.key, node))}
    found: dict[tuple[str, str], LoadedSet] = {}
    for node in nodes.values():
        for field, value in paths_of(node.method):
            if isinstance(value, Mapping) and isinstance(value.get("data"), str):
                loaded = load_set("demonstrations", DataSpec(value["data"]))
                named = {**loaded.manifest, "name": getattr(value["data"], "written", value["data"])}
                found.setdefault((field, named["digest"]), replace(loaded, kind=field, manifest=named))
            elif isinstance(value, str) and (rows := rows_of_prompt(Path(value).expanduser())):
                manifest = {"name": getattr(value, "written", value), "digest": digest_of(rows)}
                found.setdefault((field, manifest["digest"]), LoadedSet(field, rows, manifest))
    return list(found.values())


def rows_of_prompt(file: Path) -> tuple[Demonstration, ...]:
    """The questions of a YAML or JSON file with their answers, at any depth; none where it is another kind of file.

    The names of their keys are those that test sets have. A file that cannot be read is refused by what reads it.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from harness.curation.contamination import ANSWERED, ASKED, text_in

    if file.suffix.lower() not in PROMPT_FILES or not file.is_file():
        return ()
    try:
        waiting = [YAML(typ="safe", pure=True).load(file.read_text("utf-8"))]
    except (OSError, ValueError, YAMLError):
        return ()
    rows: list[Demonstration] = []
    while waiting:
        part = waiting.pop(0)
        waiting += [inner for inner in _inside(part) if isinstance(inner, (Mapping, list))]
        if isinstance(part, Mapping):
            said = [next((text_in(part[key]) for key in keys if part.get(key)), "") for keys in (ASKED, ANSWERED)]
            if all(said):
                turns = (Message("user", said[0]), Message("assistant", said[1]))
                rows.append(Demonstration(turns, f"{file.name}:{len(rows) + 1}"))
    return tuple(rows)


def _inside(part: Any) -> Iterable[Any]:
    return part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()


def base_checks(base: BaseModel, folder: Path) -> list[dict[str, Any]]:
    """Every check of a base's tokenizer and template: name, found, remedy, passed.

    folder  the store's root, which keeps the result under the base's digest and the code of the checks
    """
    document = {**base_document(base), "checks": source_digests(HARNESS / "policy" / "model_checks.py")}
    path = folder / "models" / f"{key_of(document)}.json"
    known = read_sealed(path)
    if known is not None:
        return list(known)
    found = [asdict(check) for check in checked_model(base)]
    if folder.exists():  # a plan of a store that does not exist yet leaves nothing behind
        remember(path, found)
    return found


def checked_model(base: BaseModel, seconds: float = LONGEST_CHECK) -> list[ModelCheck]:
    """The checks of a base. Raises UserError where they do not end, as with a template that loops for ever.

    Importing the libraries and loading the tokenizer, which take minutes on a busy machine, do not count.
    """
    from harness.policy.model_checks import check_model

    with suppress(UserError):  # it is among the checks
        _ = base.config, base.tokenizer
    begun = ["chat template"]
    try:
        with time_limit(seconds):
            return check_model(base, begun.append)
    except TimeOverError:
        what = f"its tokenizer was loaded, and then the check of its {begun[-1]} did not end within {seconds:g} seconds"
        fix = (
            "A chat template with a loop without an end does that: give another one with chat_template: FILE. On a "
            "machine that does much else at once, try again."
        )
        raise UserError(what, where=base.spec.label, fix=fix) from None


def remedies_of(plan: Plan, folder: Path) -> Iterator[str]:
    """A line for each base and finding that has a remedy or failed; one finding may fail several checks."""
    lines = (
        f"{base.spec.label}: {check['found']}" + (f": {check['remedy']}" if check["remedy"] else "")
        for base in plan.bases
        for check in base_checks(base, folder)
        if check["remedy"] or not check["passed"]
    )
    return iter(dict.fromkeys(lines))


def line_of(entry: dict[str, Any]) -> str:
    """One entry in words."""
    share = f"{len(entry['matched'])} of {entry['items']} items of {entry['benchmark']} are in {entry['set']}"
    named = ", ".join(match["item"] for match in entry["matched"][:MOST_NAMED])
    return f"{share} ({named}{', ...' if len(entry['matched']) > MOST_NAMED else ''})"


def warnings_of(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The warnings to show before the run."""
    for entry in entries:
        if why := entry.get("why"):
            yield f"{entry['benchmark']}: its items could not be compared with {entry['set']}: {why}"
        if entry["matched"]:
            lead = "CONTAMINATED" if entry["flagged"] else "contamination"
            yield f"{lead}: {line_of(entry)}; the report gives scores with and without them"


def _entry(loaded: LoadedSet, column: BenchmarkEntry, folder: Path) -> dict[str, Any]:
    """The items of one benchmark that one set contains.

    items: None where the benchmark's items are not known; `why`, where giving them raised an error.
    """
    document = {
        "rows": loaded.manifest["digest"],
        "benchmark": column.plugin,
        "fields": fields_of(column.benchmark),
        "version": column.benchmark.version,
        "data": column.benchmark.data_digest(),
        "source": sources_of(column.benchmark),
        "rule": source_digests(HARNESS / "curation" / "contamination.py"),
    }
    path = folder / "contamination" / f"{key_of(document)}.json"
    measured = read_sealed(path)
    if measured is None:
        try:
            measured = _measured(loaded, column)
            remember(path, measured)
        except (Exception, SystemExit) as error:  # of the benchmark's `test_set`; nothing is known, so nothing is kept
            line = place_in_plugin(error, source_file("benchmarks", column.plugin))
            why = f"{type(error).__name__}: {first_line(error)} ({line})"
            measured = {"items": None, "matched": [], "flagged": False, "why": why}
    place = {"set": loaded.manifest["name"], "kind": loaded.kind, "quality": loaded.quality}
    return {**place, "benchmark": column.label, **measured}


def _measured(loaded: LoadedSet, column: BenchmarkEntry) -> dict[str, Any]:
    from harness.curation.contamination import find_contamination

    tests = column.benchmark.test_set()
    if tests is None or not tests.items:
        return {"items": None, "matched": [], "flagged": False}
    found = find_contamination(loaded.records, [tests])
    return {"items": len(tests.items), "matched": list(_matched(found, loaded)), "flagged": bool(found.flagged())}


def _matched(found: Contamination, loaded: LoadedSet) -> Iterator[dict[str, Any]]:
    """The first row that contains each item, by item."""
    seen: dict[str, Match] = {}
    for match in found.matches:
        seen.setdefault(match.item, match)
    for item, match in sorted(seen.items()):
        yield {**asdict(match), "item": item, "row": loaded.records[match.row].id}
