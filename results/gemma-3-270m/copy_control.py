"""The score of a copy of the prompt on IFEval, and the methods' scores on the prompts that a copy does not satisfy.

    python results/gemma-3-270m/copy_control.py results/gemma-3-270m

Writes without_copies.csv next to this file: method, seed, item and score, for `bakeoff judge`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.ifeval import IFEval, judged
from harness.engine.results.schema import read_rows

HERE = Path(__file__).parent


def main(folder: Path) -> None:
    """Print both scores, and write the rows."""
    items = IFEval(data=str(HERE / "data/ifeval.jsonl"))._items()
    copied = {item.key for item in items if judged(item, item.prompt).metrics()["prompt_strict"]}
    print(f"a copy of the prompt satisfies {len(copied)} of {len(items)} prompts (prompt_strict)")
    rows = read_rows(folder)
    rows = rows[(rows["benchmark"] == "ifeval") & (rows["metric"] == "prompt_strict")]
    for method, own in rows.groupby("method", observed=True):
        inside = own["item"].isin(copied)
        both = (100 * own[chosen]["value"].mean() for chosen in (inside, ~inside))
        print("{}: {:.1f} % of the prompts that a copy satisfies, {:.1f} % of the others".format(method, *both))
    others = rows[~rows["item"].isin(copied)]
    table = others[["method", "seed", "item", "value"]].rename(columns={"value": "score"})
    table.to_csv(HERE / "without_copies.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
