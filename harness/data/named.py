"""Examples by any name that a user may give: the microworld's sets, a file, a folder, a hub id."""

from __future__ import annotations

from harness.data.detect import Detection
from harness.data.examples import Example, ExampleSet, read_examples
from harness.data.formats import CANONICAL, Kind
from harness.data.load import SHIPPED
from harness.data.records import Demonstration, PreferencePair, Record
from harness.errors import UserError, did_you_mean


def named_examples(name: str, on_error: str = "stop", split: str = "train") -> ExampleSet:
    """Like read_examples, and `microworld/NAME` besides."""
    if not name.startswith(SHIPPED):
        return read_examples(name, on_error, split)
    from harness.microworld import datasets

    known = datasets.names()
    if name.removeprefix(SHIPPED) not in known:
        raise UserError(f"no data set {name}", fix=did_you_mean(name, [SHIPPED + one for one in known]))
    records = datasets.load(name.removeprefix(SHIPPED), split)
    kind = _kind_of(records[0])
    written = CANONICAL[kind].name
    examples = tuple(Example(record, kind, written, _columns(record), name) for record in records)
    return ExampleSet(name, examples, Detection(written, kind, "the set ships with bakeoff", {written: len(records)}))


def _kind_of(record: Record) -> Kind:
    if isinstance(record, Demonstration):
        return "demonstrations"
    return "preferences" if isinstance(record, PreferencePair) else "problems"


def _columns(record: object) -> dict[str, str]:
    verifier = getattr(record, "verifier", "")
    return {"verifier": verifier} if verifier else {}
