"""Make the data of this study and of results/gemma-3-270m_verified, in the `data/` of both.

    python results/gemma-3-270m_verified_validation/prepare.py

The prepare.py of results/gemma-3-270m_methods_validation has to run first: demonstrations, prompts and texts are
copied from it. New are sums of two numbers from 2 to 20, "What is 5 + 11?", in an order that a seed decides: 48 to
train on, 32 for validation, 100 for the test. Two numbers occur together once: where 5 + 11 is in one set, 11 + 5 is
in none. A copy of such a prompt is a wrong answer.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path

HERE = Path(__file__).parent
FIRST = HERE.parent / "gemma-3-270m_methods"
TEST = HERE.parent / "gemma-3-270m_verified"
SMALLEST, LARGEST = 2, 20
TRAINED_ON, VALIDATION, TESTED = 48, 32, 100


def main() -> None:
    """Write every file of both `data/`."""
    for here in (HERE, TEST):
        (here / "data").mkdir(parents=True, exist_ok=True)
        shutil.copy(FIRST / "data/demonstrations.jsonl", here / "data")
    for name in ("ifeval", "text"):
        shutil.copy(FIRST / f"data/{name}.jsonl", TEST / "data")
        shutil.copy(HERE.parent / f"{FIRST.name}_validation/data/{name}_validation.jsonl", HERE / "data")
    draw = random.Random(0)
    sums = [tuple(draw.sample(two, 2)) for two in combinations_with_replacement(range(SMALLEST, LARGEST + 1), 2)]
    draw.shuffle(sums)
    for here in (HERE, TEST):
        _write(here / "data/problems.jsonl", sums[:TRAINED_ON])
    _write(HERE / "data/sums_validation.jsonl", sums[TRAINED_ON:][:VALIDATION])
    _write(TEST / "data/sums.jsonl", sums[TRAINED_ON + VALIDATION :][:TESTED])


def _write(path: Path, sums: Sequence[Sequence[int]]) -> None:
    rows = [{"question": f"What is {one} + {other}?", "answer": f"{one + other}"} for one, other in sums]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    print(f"{path.parent.parent.name}: {path.stem}, {len(rows)} rows")


if __name__ == "__main__":
    main()
