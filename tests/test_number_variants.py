"""Originals beside their variants: the paired difference, its control, and the same items for every method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from saying import HOSTILE, Sayer

from benchmarks.number_variants import NumberVariants
from harness.errors import UserError

TEMPLATE = {
    "question": "Ann has 30 dogs and 20 cats. How many pets?",
    "answer": "30 + 20 = 50\n#### 50",
    "question_annotated": "{name,Ann} has {n,30} dogs and {m,20} cats. How many pets?\n\n#init:\n"
    "- name = sample(names)\n- $n = [3, 3000]\n- $m = [2, 4, 6]\n\n#answer: n + m",
}


def written(folder: Path, count: int = 2) -> str:
    for at in range(count):
        (folder / f"{at:04}.json").write_text(json.dumps({**TEMPLATE, "id_orig": at}), "utf-8")
    return str(folder)


def outcomes_of(folder: Path, answers: Any, **fields: Any) -> list[Any]:
    benchmark = NumberVariants(templates=written(folder), **fields)
    numbers = {item.id: item.answer for item in benchmark.test_set().items}
    return list(benchmark.evaluate(Sayer(lambda prompt, key: answers(key, numbers[key])), seed=0))


def test_the_change_is_a_variants_score_minus_its_originals(tmp_path: Path) -> None:
    """Template 0's original is right and template 1's is wrong; of the variants, all are right."""
    found = outcomes_of(tmp_path, lambda key, answer: "no" if key == "gsm8k-1-original" else answer)
    assert [(o.item, o.cluster, o.group) for o in found[:2]] == [
        ("gsm8k-0-original", "gsm8k-0", "original"),
        ("gsm8k-0-variant-0-1", "gsm8k-0", "variant"),
    ]
    assert len(found) == 10
    changes = {o.item: o.metrics["change"] for o in found if o.group == "variant"}
    assert {item[:7]: value for item, value in changes.items()} == {"gsm8k-0": 0.0, "gsm8k-1": 1.0}
    assert not any("change" in o.metrics for o in found if o.group == "original")
    wrong = outcomes_of(tmp_path, lambda key, answer: answer if "original" in key else "0")
    assert {o.metrics["change"] for o in wrong if o.group == "variant"} == {-1.0}


def test_the_control_counts_variants_whose_numbers_are_no_larger(tmp_path: Path) -> None:
    """The original has 30, 20 and 50; a variant has 3 or 3000 dogs, so it is smaller or larger throughout."""
    found = outcomes_of(tmp_path, lambda key, answer: answer, variants=10)
    for one in found:
        if one.group == "variant":
            assert ("change_no_larger" in one.metrics) == ("3000" not in one.prompt)
    # (log10 31 + log10 21 + log10 51) / 3
    assert [o.metrics["magnitude"] for o in found if o.group == "original"] == pytest.approx([1.5071] * 2, abs=1e-3)
    assert {name for one in found for name in one.metrics} == {metric.name for metric in NumberVariants().metrics()}


def test_the_draw_decides_the_items_and_the_digest(tmp_path: Path) -> None:
    templates = written(tmp_path)
    first, again = NumberVariants(templates=templates), NumberVariants(templates=templates)
    assert first.data_digest() == again.data_digest() != NumberVariants(templates=templates, draw=1).data_digest()
    assert first.test_set() == again.test_set()
    assert len({item.id for item in first.test_set().items}) == 10


def test_templates_have_to_be_named_and_be_templates(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs templates"):
        NumberVariants().data_digest()
    (tmp_path / "0001.json").write_text(json.dumps({"question": "x"}), "utf-8")
    with pytest.raises(UserError, match="no texts question, answer"):
        NumberVariants(templates=str(tmp_path)).data_digest()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored(tmp_path: Path, text: str) -> None:
    # a digit in it could be right by chance
    said = text.replace("7", "x")
    assert {o.metrics["correct"] for o in outcomes_of(tmp_path, lambda key, answer: said, variants=1)} == {0.0}


def test_all_published_templates_make_items_that_their_own_answers_solve(shared_data: Path) -> None:
    benchmark = NumberVariants(templates=str(shared_data / "gsm_symbolic_templates" / "symbolic"), variants=1)
    numbers = {item.id: item.answer for item in benchmark.test_set().items}
    outcomes = list(benchmark.evaluate(Sayer(lambda prompt, key: numbers[key]), seed=0))
    assert len(outcomes) == 200
    assert all(outcome.metrics["correct"] == 1.0 for outcome in outcomes)
    assert len({outcome.cluster for outcome in outcomes}) == 100


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"question": "Something else entirely is asked in this text."}, "not the template with its own values"),
        ({"question_annotated": "{init}"}, "has two lines under #init"),
        ({"question_annotated": "{answer}"}, "has no finite decimal"),
        ({"answer": "#### 12345"}, "but the original's answer is 12345"),
    ],
)
def test_a_template_that_makes_no_pair_is_refused_by_name_and_the_others_are_asked(
    tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    annotated = TEMPLATE["question_annotated"]
    if changed.get("question_annotated") == "{init}":
        line = next(line for line in annotated.splitlines() if line.startswith("- $"))
        changed = {"question_annotated": annotated.replace(line, f"{line}\n{line}")}
    elif changed.get("question_annotated") == "{answer}":
        head, _, formula = annotated.partition("#answer:")
        changed = {"question_annotated": f"{head}#answer: ({formula.strip()}) * 7 / 1001"}
    folder = tmp_path / "templates"
    folder.mkdir()
    for name, row in (("a.json", TEMPLATE), ("b.json", {**TEMPLATE, "answer_annotated": "", **changed, "id_orig": 9})):
        (folder / name).write_text(json.dumps(row), "utf-8")
    benchmark = NumberVariants(templates=str(folder), variants=1)
    assert len(benchmark.test_set().items) == 2
    ((where, what),) = benchmark.scorer_facts().items()
    assert where.startswith("refused b.json")
    assert reason in what
