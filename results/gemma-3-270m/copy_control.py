"""The methods' scores on the prompts that a copy (`echo`) satisfies, and on those that it does not.

    PYTHONPATH=. python results/gemma-3-270m/copy_control.py [FOLDER]

Reads rows.parquet of the folder (this one, if none is named), and writes without_copies.csv there, of several bases
without_copies_BASE.csv: method, seed, item and score, for `bakeoff judge`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.engine.results.schema import read_rows


def main(folder: Path) -> None:
    """Print both scores for each base, and write the rows."""
    rows = read_rows(folder)
    rows = rows[(rows["benchmark"] == "ifeval") & (rows["metric"] == "prompt_strict")]
    several = rows["base"].nunique() > 1
    for base, found in rows.groupby("base", observed=True):
        copied = set(found[(found["method"] == "echo") & (found["value"] == 1)]["item"])
        print(f"{base}: a copy of the prompt satisfies {len(copied)} of {found['item'].nunique()} prompts")
        for method, own in found.groupby("method", observed=True):
            inside = own["item"].isin(copied)
            both = (100 * own[chosen]["value"].mean() for chosen in (inside, ~inside))
            print("{}: {:.1f} % of the prompts that a copy satisfies, {:.1f} % of the others".format(method, *both))
        others = found[~found["item"].isin(copied)]
        table = others[["method", "seed", "item", "value"]].rename(columns={"value": "score"})
        table.to_csv(folder / (f"without_copies_{base}.csv" if several else "without_copies.csv"), index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
