"""Write nested subsets of the microworld's pairs: the first 25, 100 and 400 rows, half of each kind.

python results/pairs/prepare.py FOLDER      (experiment.yaml reads results/pairs/*.jsonl)
"""

import json
import sys
from pathlib import Path

from harness.microworld.datasets import load
from harness.records import PreferencePair

SIZES = (25, 100, 400)  # complete and incomplete requests alternate, so each subset holds both


def main(folder: Path) -> None:
    """One file per size; smaller ones are the first rows of larger ones."""
    rows = [row for row in load("call-or-ask") if isinstance(row, PreferencePair)]
    for size in SIZES:
        lines = [json.dumps({
            "id": row.id, "prompt": [{"role": one.role, "content": one.content} for one in row.prompt],
            "chosen": row.chosen, "rejected": row.rejected,
        }) for row in rows[:size]]  # fmt: skip
        (folder / f"pairs_{size}.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
