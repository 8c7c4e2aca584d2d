"""Combining several sources: `merge` takes all of their rows, `mix` an exact number by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, isfinite

from harness.data.examples import Example, ExampleSet
from harness.data.readers import label_of
from harness.errors import UserError
from harness.policy.noise import stream_of


@dataclass(frozen=True)
class Share:
    """A source's part in a mix: its weight, its number of rows, and the number of rows taken."""

    name: str
    weight: float
    rows: int
    taken: int

    @property
    def epochs(self) -> float:
        """Rows taken per row of the source."""
        return self.taken / self.rows


def merge(sets: Sequence[ExampleSet]) -> tuple[Example, ...]:
    """All rows, one set after another. Where two sets share an id, ids are prefixed with the set's folder and file.

    Raises UserError where the sets are of different kinds; judged answers may be merged with demonstrations.
    """
    kinds = {"demonstrations" if one.detection.kind == "judged" else one.detection.kind for one in sets}
    if len(kinds) > 1:
        named = ", ".join(f"{one.name} ({one.detection.kind})" for one in sets)
        raise UserError(f"the sets are of different kinds: {named}", fix="Curate each kind separately.")
    rows = [(one.name, example) for one in sets for example in one.examples]
    if len({example.record.id for _, example in rows}) < len(rows):
        rows = [(name, _renamed(example, f"{label_of(name)}:{example.record.id}")) for name, example in rows]
        if len({example.record.id for _, example in rows}) < len(rows):
            raise UserError("two sets have the same folder, file and id", fix="Give each file once, or rename one.")
    return tuple(example for _, example in rows)


def mix(
    sources: Mapping[str, Sequence[Example]], weights: Mapping[str, float], n: int, seed: int
) -> tuple[tuple[Example, ...], tuple[Share, ...]]:
    """Exactly n rows, in an order drawn by seed, as close to the weights as whole rows allow.

    A source with too few rows is repeated; ids of copies end in `@2`, `@3` and so on.
    """
    counts = apportioned(weights, n)
    shares = tuple(Share(name, weights[name], len(sources[name]), counts[name]) for name in weights)
    taken = [one for name in weights for one in _drawn(name, sources[name], counts[name], seed)]
    order = sorted(range(len(taken)), key=lambda at: (stream_of("mix", seed, taken[at].record.id), at))
    return tuple(taken[at] for at in order), shares


def apportioned(weights: Mapping[str, float], n: int) -> dict[str, int]:
    """n divided in proportion to the weights (largest remainders; ties go to the earliest)."""
    if n < 1 or not weights or not all(isfinite(value) and value > 0 for value in weights.values()):
        raise UserError(f"n={n}, weights {dict(weights)}", fix="Give n of at least 1 and a positive weight per source.")
    total = sum(weights.values())
    exact = {name: n * weight / total for name, weight in weights.items()}
    counts = {name: floor(value) for name, value in exact.items()}
    left = n - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:left]:
        counts[name] += 1
    return counts


def _drawn(name: str, rows: Sequence[Example], count: int, seed: int) -> list[Example]:
    if not rows:
        raise UserError("it has no rows", where=name, fix="Leave it out.")
    ranked = sorted(range(len(rows)), key=lambda at: (stream_of("draw", seed, name, rows[at].record.id), at))
    passes = range(-(-count // len(rows)))
    drawn = [(rows[at], number + 1) for number in passes for at in ranked][:count]
    return [one if number == 1 else _renamed(one, f"{one.record.id}@{number}") for one, number in drawn]


def _renamed(example: Example, id: str) -> Example:
    return replace(example, record=replace(example.record, id=id))
