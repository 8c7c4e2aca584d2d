"""Power and error of the test between methods of one start, against tests that know more or use less.

    python tests/paired_power.py results/calibration [MATRICES]

writes paired.json: how often a true difference of 6 points is found by a test that knows the standard error, by the
pair's own seed variance alone (the seed-paired test), by the pooled one alone, and by the report's (the larger p);
and how often each is wrong where nothing differs, in one pair and in the family of all pairs. "At equal error": at the
level at which the test is wrong in 5 % of pairs. The matrices are those of tests/calibration.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy
from calibration import Array, Scenario, Tests, draw, intervals, max_t

CHUNK = 50
TESTS = {"own": "own", "pooled": "pooled", "reported": None}


@dataclass(frozen=True)
class Power:
    """Shares of matrices; `known` is the power with the standard error known, which no test of a run can have."""

    seeds: int
    methods: int
    matrices: int
    known: float
    test: str
    error: float
    family: float
    power: float
    at_equal_error: float


def powers(seeds: int, methods: int, matrices: int) -> list[Power]:
    """Seeds of sd 0.5 on the logit scale that correlate at 0.9 between methods of one start."""
    better = Scenario("60 x 1-5", seeds, "0.5 shared 0.9", 0.5, 0.06, methods=methods, kin=methods)
    equal = replace(better, better=0.0)
    normal = numpy.random.default_rng(1).standard_normal((2000, len(equal.pairs)))
    drawn = {scenario: _drawn(scenario, matrices) for scenario in (better, equal)}
    deviation = _first(drawn[equal]["reported"])[1].std()
    known = float((_first(drawn[better]["reported"])[1] > 1.96 * deviation).mean())
    found = []
    for name in TESTS:
        under, over = (_first(drawn[scenario][name]) for scenario in (equal, better))
        level = numpy.quantile(under[0], 0.05)
        wrong = numpy.concatenate([(max_t(one, normal)[0] < 0.05).any(axis=1) for one in drawn[equal][name]])
        won = over[1] > 0
        shares = (under[0] < 0.05, wrong, (over[0] < 0.05) & won, (over[0] < level) & won)
        found.append(Power(seeds, methods, matrices, known, name, *(float(one.mean()) for one in shares)))
    return found


def _drawn(scenario: Scenario, matrices: int) -> dict[str, list[Tests]]:
    generator = numpy.random.default_rng([3, *scenario.name.encode()])
    found: dict[str, list[Tests]] = {name: [] for name in TESTS}
    for _ in range(matrices // CHUNK):
        totals, sizes = draw(scenario, CHUNK, generator)
        for name, half in TESTS.items():
            found[name].append(intervals(totals, sizes, scenario, only=half))
    return found


def _first(tests: Sequence[Tests]) -> tuple[Array, Array]:
    """(p, value) of the first pair of every matrix."""
    return numpy.concatenate([one.p[:, 0] for one in tests]), numpy.concatenate([one.values[:, 0] for one in tests])


def main(folder: Path, matrices: int) -> None:
    found = []
    for seeds in (3, 5):
        for methods in (2, 5, 15):
            found += powers(seeds, methods, matrices)
            for one in found[-3:]:
                print(one, flush=True)
    (folder / "paired.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000)
