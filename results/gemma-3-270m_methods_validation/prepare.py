"""Make the data of this study and of results/gemma-3-270m_methods, in the `data/` of both.

    PYTHONPATH=. python results/gemma-3-270m_methods_validation/prepare.py MODEL FOLDER

MODEL is the folder of gemma-3-270m; FOLDER holds the public sets that results/gemma-3-270m/prepare.py names, which has
to run first: its prompts and texts are used again. Demonstrations: the first 56 with at most 200 characters. Preference
pairs: 24 of 201 to 300 characters, so on other prompts; the chosen answer is the demonstration's and the rejected one
is drawn from the base at temperature 1, at most 24 tokens, as in the first round of SPIN (Chen et al. 2024,
2401.01335). Replayed: the second halves of four passages that neither study scores, after their first halves. Nothing
of it is committed.
"""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.policy.causal import CausalPolicy
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt, Sampling
from harness.records import Message

HERE = Path(__file__).parent
FIRST = HERE.parent / "gemma-3-270m"
SHORT, LONG = 200, 300  # characters of a prompt with its answer: of a demonstration, and of a pair


def main(model: Path, folder: Path) -> None:
    """Write every file of both `data/`."""
    first = runpy.run_path(str(FIRST / "prepare.py"))
    rows = [row for row in first["_rows"](FIRST / "data/demonstrations.jsonl") if _length(row) <= LONG]
    pairs = [row for row in rows if _length(row) > SHORT][:24]
    validation, test = HERE / "data", HERE.parent / "gemma-3-270m_methods/data"
    validation.mkdir(exist_ok=True)
    _write("demonstrations", [row for row in rows if _length(row) <= SHORT][:56])
    _write("pairs", _pairs(model, pairs))
    passages = first["_passages"](folder)[45:]
    _write("replay", [_halves(row["text"]) for row in passages if len(row["text"]) <= 600])
    shutil.copytree(validation, test, dirs_exist_ok=True)
    for name in ("ifeval_validation", "text_validation"):
        shutil.copy(FIRST / f"data/{name}.jsonl", validation)
    for name in ("ifeval", "text"):
        shutil.copy(FIRST / f"data/{name}.jsonl", test)


def _pairs(model: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Pairs of a demonstration's answer and one that the base draws."""
    base = base_model_of(str(model))
    policy = CausalPolicy(base.load(), base.encoder)
    prompts = [Prompt(messages=(Message("user", row["prompt"]),)) for row in rows]
    drawn = policy.sample(
        prompts, Sampling(max_new_tokens=24, temperature=1.0, seed=0), [str(at) for at in range(len(rows))]
    )
    return [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": one.text.strip() or "?"}
        for row, (one,) in zip(rows, drawn, strict=True)
    ]


def _halves(text: str) -> dict[str, str]:
    """The words of a text, the second half as what follows the first."""
    words = text.split()
    return {"prompt": " ".join(words[: len(words) // 2]), "completion": " ".join(words[len(words) // 2 :])}


def _length(row: Mapping[str, str]) -> int:
    return len(row["prompt"]) + len(row["completion"])


def _write(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / f"data/{name}.jsonl").write_text(text, "utf-8")
    print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
