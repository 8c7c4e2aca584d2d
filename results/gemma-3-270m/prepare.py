"""Make the data of this study from public sets, in this folder's `data/`.

    python results/gemma-3-270m/prepare.py FOLDER

FOLDER holds, unchanged: ultrafeedback_sft1k/ultrafeedback_1k.json and self_instruct/seed_tasks.jsonl (demonstrations),
llama_factory_demo/dpo_en_demo.json (preference pairs), ifeval/input_data.jsonl, ifeval_variants/ (validation),
mmlu/test/, truthfulqa/TruthfulQA.csv and noveltybench/curated.jsonl. Nothing of them is committed. Rows are chosen by
their length in characters and by a hash of their text, so that everybody who has the sets gets the same files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "data"
LONGEST = 450  # characters of a prompt with its answer, and of a prompt of IFEval: about 110 tokens
LONGEST_PAIR = 1500  # characters of a prompt with both answers


def main(folder: Path) -> None:
    """Write every file of `data/`."""
    HERE.mkdir(exist_ok=True)
    _write("demonstrations", _demonstrations(folder))
    _write("pairs", _pairs(folder))
    prompts = _rows(folder / "ifeval/input_data.jsonl")
    _write("ifeval", _hashed([row for row in prompts if len(row["prompt"]) <= LONGEST], "prompt")[:100])
    variants = [row for name in ("format", "keyword_include", "keyword_exclude") for row in _variants(folder, name)]
    chosen = _hashed(variants, "prompt")[:32]
    _write("ifeval_validation", [{**row, "key": number} for number, row in enumerate(chosen)])  # keys repeat by file
    _write("mmlu", _mmlu(folder)[:250])
    _write("truthfulqa", _truthfulqa(folder)[:200])
    passages = _passages(folder)
    _write("text", passages[:30])
    _write("text_validation", passages[30:45])
    novel = [{"prompt": row["prompt"]} for row in _rows(folder / "noveltybench/curated.jsonl")]
    _write("open_ended", _hashed(novel, "prompt")[:40])


def _demonstrations(folder: Path) -> list[dict[str, str]]:
    """Short demonstrations: answers of a strong model, and tasks that people wrote with their answers."""
    found = []
    for row in _rows(folder / "ultrafeedback_sft1k/ultrafeedback_1k.json"):
        found.append((_joined(row["instruction"], row["input"]), row["output"].strip()))
    for row in _rows(folder / "self_instruct/seed_tasks.jsonl"):
        case = row["instances"][0]
        found.append((_joined(row["instruction"], case["input"]), case["output"].strip()))
    rows = [{"prompt": a, "completion": b} for a, b in found if b and len(a) + len(b) <= LONGEST]
    return _hashed(rows, "prompt")


def _pairs(folder: Path) -> list[dict[str, str]]:
    rows = []
    for row in json.loads((folder / "llama_factory_demo/dpo_en_demo.json").read_text(encoding="utf-8")):
        if len(row["conversations"]) == 1:
            prompt = row["conversations"][0]["value"]
            rows.append({"prompt": prompt, "chosen": row["chosen"]["value"], "rejected": row["rejected"]["value"]})
    return _hashed([row for row in rows if sum(map(len, row.values())) <= LONGEST_PAIR], "prompt")


def _variants(folder: Path, name: str) -> Iterable[Mapping[str, Any]]:
    stem = f"ifeval_single_{'instr_' if name == 'format' else ''}{name}"
    return _rows(folder / f"ifeval_variants/{stem}.jsonl")


def _mmlu(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted((folder / "mmlu/test").glob("*.csv")):
        subject = path.name.removesuffix("_test.csv")
        for row in csv.DictReader(path.open(encoding="utf-8", newline="")):
            if len(row["question"]) <= 400:
                choices = [row[f"choice{number}"] for number in range(4)]
                rows.append({"question": row["question"], "choices": choices, "answer": int(row["answer"])})
                rows[-1]["subject"] = subject
    return _hashed(rows, "question")


def _truthfulqa(folder: Path) -> list[dict[str, Any]]:
    """One true answer and up to four false ones, in a shuffled order: the set's single-answer form."""
    rows = []
    for row in csv.DictReader((folder / "truthfulqa/TruthfulQA.csv").open(encoding="utf-8", newline="")):
        false = [one.strip() for one in row["Incorrect Answers"].split(";") if one.strip()][:4]
        choices = [row["Best Answer"].strip(), *false]
        random.Random(row["Question"]).shuffle(choices)
        answer = choices.index(row["Best Answer"].strip())
        rows.append({"question": row["Question"], "choices": choices, "answer": answer, "category": row["Category"]})
    return _hashed(rows, "question")


def _passages(folder: Path) -> list[dict[str, str]]:
    """Historical documents that MMLU quotes before its questions: text that people wrote."""
    path = folder / "mmlu/test/high_school_us_history_test.csv"
    rows = csv.DictReader(path.open(encoding="utf-8", newline=""))
    lines = {line.strip().strip('"') for row in rows for line in row["question"].splitlines()}
    quoted = {line for line in lines if 500 <= len(line) <= 1500}
    return _hashed([{"text": text} for text in sorted(quoted)], "text")


def _joined(instruction: str, case: str) -> str:
    return f"{instruction.strip()}\n\n{case.strip()}".strip()


def _hashed(rows: Sequence[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
    """The rows in the order of the SHA-256 of one field, each text once."""
    once = {row[field]: dict(row) for row in rows}
    return [once[key] for key in sorted(once, key=lambda text: hashlib.sha256(text.encode()).hexdigest())]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
