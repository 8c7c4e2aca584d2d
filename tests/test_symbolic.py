"""Templates of word problems: every variant meets its conditions and its answer, by Python's own arithmetic.

The oracle evaluates the template's own text with Python on exact fractions, which shares nothing with the
interpreter under test; the worked solution of each template ends in a second formula for the answer.
"""

from __future__ import annotations

import json
import re
import time
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from harness.errors import UserError
from harness.scoring.variants.domains import written
from harness.scoring.variants.expressions import ExpressionError, worked
from harness.scoring.variants.templates import SLOT, template_of
from harness.scoring.variants.variants import variants_of

TOY = {
    "question": "Ann has 3 dogs and 2 cats. How many pets has Ann?",
    "answer": "3 + 2 = 5\n#### 5",
    "id_orig": 7,
    "question_annotated": "{name,Ann} has {n,3} dogs and {m,2} cats. How many pets has {name,Ann}?\n\n#init:\n"
    "- name = sample(names)\n- $n = range(2, 10)\n- $m = range(2, 10)\n\n#conditions:\n- m < n\n\n#answer: n + m",
}


def changed(old: str, new: str) -> dict[str, Any]:
    assert old in TOY["question_annotated"]
    return {**TOY, "question_annotated": str(TOY["question_annotated"]).replace(old, new)}


def rows_of(shared_data: Path) -> list[dict[str, Any]]:
    files = sorted((shared_data / "gsm_symbolic_templates" / "symbolic").glob("*.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def whole(value: Any) -> bool:
    return Fraction(value).denominator == 1


PYTHON = {
    "int": int,
    "round": round,
    "Fraction": Fraction,
    "is_int": whole,
    "divides": lambda value, by: by != 0 and whole(Fraction(value) / Fraction(by)),
}


@cache
def compiled(text: str) -> tuple[CodeType, dict[str, Fraction]]:
    """The text with names for its numbers, since 60 / 7 of two literals would be a float."""
    text = re.sub(r"\$(?=\w)|(?<=\w)\[1\]", "", text).strip().strip("{}").strip()
    number = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
    numbers = {f"number{at}": Fraction(found[0]) for at, found in enumerate(number.finditer(text))}
    names = iter(numbers)
    return compile(number.sub(lambda found: next(names), text), "template", "eval"), numbers


def by_python(text: str, values: dict[str, Any]) -> Any:
    """The text of a trusted file, worked out by Python with every number a fraction."""
    code, numbers = compiled(text)
    return eval(code, {"__builtins__": {}, **PYTHON}, {**values, **numbers})


def conditions_of(row: dict[str, Any]) -> list[str]:
    _, _, part = row["question_annotated"].partition("#conditions:")
    lines = re.split(r"#answer", part)[0].splitlines()
    return [line.strip()[1:].strip() for line in lines if line.strip()]


def worked_answer(row: dict[str, Any]) -> str:
    return str(row["answer_annotated"]).rpartition("####")[2].strip()


def declared_answer(row: dict[str, Any]) -> str:
    found = re.search(r"#answer\s*[:=](.*)", row["question_annotated"], flags=re.S)
    assert found
    return found[1]


# their conditions are met by one draw in hundreds
SLOW = {0, 1, 7, 11, 15, 24, 25, 30, 39, 45, 58, 88, 94, 96}


@pytest.mark.slow
def test_ten_thousand_draws_over_all_templates_meet_their_conditions_and_answers(shared_data: Path) -> None:
    """The last line of the worked solution and the line #answer are two formulas of the same answer, but for one.

    That one is GSM8K 456: 15 red cards, 24 green and 39 yellow are 78 (GSM8K's own answer), #answer says 48.
    """
    rows, drawn, other = rows_of(shared_data), 0, set()
    assert len(rows) == 100
    for at, row in enumerate(rows):
        template, conditions = template_of(row, "a template"), conditions_of(row)
        for seed in range(1 if at in SLOW else 3):
            for variant in variants_of(template, 8 if at in SLOW else 39, seed):
                values = {k: Fraction(v) if isinstance(v, int) else v for k, v in variant.values.items()}
                for condition in conditions:
                    assert by_python(condition, values), (template.id, condition, values)
                assert by_python(worked_answer(row), values) == variant.answer, (template.id, values)
                if by_python(declared_answer(row), values) != variant.answer:
                    other.add(template.id)
                assert "{" not in variant.question
                drawn += 1
    assert drawn == 10_174
    assert other == {"gsm8k-456"}
    assert len({template_of(row, "").id for row in rows}) == 100


def test_the_formula_gives_the_originals_answer_where_its_numbers_are_written_in_digits(shared_data: Path) -> None:
    """The slots hold the original's own texts; where all that the formula needs is in digits, it is GSM8K's answer."""
    agreed, other = 0, []
    for row in rows_of(shared_data):
        template = template_of(row, "")
        given = {slot[1]: (slot[2] or "").strip() for slot in SLOT.finditer(template.slotted)}
        digits = {name: Fraction(text) for name, text in given.items() if re.fullmatch(r"\d+(\.\d+)?", text)}
        if template.formula.names <= set(digits):
            found = template.formula.holds({name: digits[name] for name in template.formula.names})
            gold = Fraction(template.answer.rpartition("####")[2].strip().replace(",", ""))
            agreed, other = agreed + (found == gold), other + ([template.id] if found != gold else [])
    assert (agreed, other) == (53, [])


def test_equal_seeds_draw_equal_variants_and_all_of_one_draw_differ() -> None:
    template = template_of(TOY, "toy")
    questions = [variant.question for variant in variants_of(template, 20, 1)]
    assert questions == [variant.question for variant in variants_of(template, 20, 1)]
    assert questions != [variant.question for variant in variants_of(template, 20, 2)]
    assert len(set(questions)) == 20


def test_every_allowed_pair_is_drawn_equally_often() -> None:
    """m < n within 2..9 leaves 28 pairs; 2,800 draws give each about 100, and 60 to 140 is four deviations."""
    template = template_of(TOY, "")
    counts: dict[tuple[int, int], int] = {}
    for seed in range(2800):
        (variant,) = variants_of(template, 1, seed)
        pair = (variant.values["n"], variant.values["m"])
        counts[pair] = counts.get(pair, 0) + 1
        assert variant.answer == sum(pair)
    assert set(counts) == {(n, m) for n in range(2, 10) for m in range(2, n)}
    assert min(counts.values()) > 60
    assert max(counts.values()) < 140


def test_an_equation_is_solved_rather_than_hit_by_chance() -> None:
    row = changed("- m < n", "- n == 3 * m - 1")
    started = time.process_time()
    pairs = {(v.values["n"], v.values["m"]) for v in variants_of(template_of(row, ""), 40, 0)}
    assert pairs == {(5, 2), (8, 3)}
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (changed("#answer: n + m", ""), "no #answer"),
        (changed("#answer: n + m", "#answer: n + k"), "k has no line under #init"),
        (changed("#answer: n + m", "#answer: n +"), "is not an expression"),
        (changed("#answer: n + m", "#answer: open('x')"), "the function 'open' is unknown"),
        (changed("- $m = range(2, 10)\n", ""), "has no line under #init"),
        (changed("sample(names)", "sample(animals)"), "the list animals is unknown"),
        (changed("- m < n", "- m.real < n"), "Attribute is not supported"),
        ({"question": "x"}, "no texts question, answer"),
    ],
)
def test_a_template_that_cannot_be_read_says_which_line(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        template_of(row, "0001.json")
    assert "0001.json" in str(refused.value)


def test_conditions_that_nothing_meets_end_the_search() -> None:
    with pytest.raises(UserError, match="no choice of m meets its own conditions"):
        variants_of(template_of(changed("- m < n", "- m < 0"), ""), 1, 0)
    row = {**TOY, "question_annotated": "{n,3}?\n#init:\n- $n = range(1, 3)\n#answer: n"}
    with pytest.raises(UserError, match="gave 2 different questions, not 3"):
        variants_of(template_of(row, ""), 3, 0)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "().__class__",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "f'{1}'",
        "9 ** 9 ** 9",
        "(10 ** 64) ** 64",
        "[0] * 10 ** 9",
        "'%999999999d' % 1",
        "'a' * 10 ** 9",
        "int('9' * 9999)",
        "1 / 0",
        "b'x'",
        "1e999",
        "(" * 1000 + ")" * 1000,
        "-" * 1900 + "1",
        "1" + "+1" * 3000,
        "x" * 5000,
        "int(value=1)",
        "int(*[1])",
        "1j",
        "(y := 1)",
        "\ud800",
        "1\x00",
        "",
    ],
)
def test_nothing_but_small_arithmetic_is_worked_out(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError):
        worked(text, {"int": int})[0]({})
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / 3 + 2 / 3", 1),
        ("0.1 + 0.2 == 0.3", True),
        ("7 // 2 * 2 + 7 % 2", 7),
        ("2 ** 10", 1024),
        ("1 < 2 < 3 and not 3 < 2", True),
        ("4 if u == 'week' else 5", 4),
        ("[1, 2, 3][1:]", [2, 3]),
        ("-(2 - 5)", 3),
    ],
)
def test_arithmetic_is_exact(text: str, value: Any) -> None:
    assert worked(text, {})[0]({"u": "week"}) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (Fraction(1, 2), "0.5"), (Fraction(-5, 4), "-1.25"), (Fraction(1, 3), "1/3"), (Fraction(1, 20), "0.05")],
)
def test_numbers_are_written_in_digits(value: Any, text: str) -> None:
    assert written(value) == text


def test_money_has_two_decimals_and_a_sentence_opens_with_a_capital() -> None:
    question = "{c,Red} costs ${p,1}. {c,Red}? It is {c,red}.\n#init:\n- c = ['blue']\n- $p = [2.5]\n#answer: p"
    (variant,) = variants_of(template_of({**TOY, "question_annotated": question}, ""), 1, 0)
    assert variant.question == "Blue costs $2.50. Blue? It is blue."
    assert variant.reference == "2.5"


def test_a_number_may_be_rounded_to_places() -> None:
    template = template_of(changed("#answer: n + m", "#answer: round(n / m, 2)"), "t.json")
    for variant in variants_of(template, 5, 0):
        assert float(variant.reference) == pytest.approx(variant.values["n"] / variant.values["m"], abs=0.00501)
