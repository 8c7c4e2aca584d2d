"""The methods' scores on the prompts that a copy (`echo`) satisfies, and on those that it does not.

    PYTHONPATH=. python results/gemma-3-270m/copy_control.py

Reads rows.parquet in this folder, and writes without_copies.csv: method, seed, item and score, for `bakeoff judge`.
"""

from __future__ import annotations

from pathlib import Path

from harness.engine.results.schema import read_rows

HERE = Path(__file__).parent


def main() -> None:
    """Print both scores, and write the rows."""
    rows = read_rows(HERE)
    rows = rows[(rows["benchmark"] == "ifeval") & (rows["metric"] == "prompt_strict")]
    copied = set(rows[(rows["method"] == "echo") & (rows["value"] == 1)]["item"])
    print(f"a copy of the prompt satisfies {len(copied)} of {rows['item'].nunique()} prompts (prompt_strict)")
    for method, own in rows.groupby("method", observed=True):
        inside = own["item"].isin(copied)
        both = (100 * own[chosen]["value"].mean() for chosen in (inside, ~inside))
        print("{}: {:.1f} % of the prompts that a copy satisfies, {:.1f} % of the others".format(method, *both))
    others = rows[~rows["item"].isin(copied)]
    table = others[["method", "seed", "item", "value"]].rename(columns={"value": "score"})
    table.to_csv(HERE / "without_copies.csv", index=False)


if __name__ == "__main__":
    main()
