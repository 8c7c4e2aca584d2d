"""The number an answer closes with: GSM8K's own answers, and the known mistakes of a search for digits."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
from saying import HOSTILE

from harness.scoring.answers.finders import answer_of
from harness.scoring.answers.numbers import final_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # signs: the last number by regex loses that of negative numbers (facts.md, section 2)
        ("-13", "-13"),
        ("x = -13", "-13"),
        ("He is at (-18).", "-18"),
        ("a loss of -$5", "-5"),
        ("a loss of $-5", "-5"),
        ("It is \u22125 degrees", "-5"),
        ("16-3", "3"),
        ("3-5 apples", "5"),
        ("(16)-3", "3"),
        ("- 3 apples", "3"),
        # thousands, decimals, what ends a sentence
        ("She makes $1,200.50 in all.", "2401/2"),
        ("1,234,567", "1234567"),
        ("\\boxed{1{,}200}", "1200"),
        ("one of 1,2", "2"),
        ("18.00", "18"),
        ("It costs $.50", "1/2"),
        ("It is 5.", "5"),
        # currency and units
        ("$18", "18"),
        ("\\$18", "18"),
        ("USD18", "18"),
        ("18€ each", "18"),
        ("10\\%", "10"),
        ("18 m^2", "18"),
        ("18 grams of CO2", "18"),
        ("**18**", "18"),
        ("1/2 of it", "1/2"),
        # which number counts
        ("#### 18", "18"),
        ("16 - 3 = 13\n#### -13", "-13"),
        ("#### 18\n\nQuestion: Tom has 5 apples.\n#### 5", "18"),
        ("####\n7", "7"),
        ("The answer is 18. I used 3 steps.", "18"),
        ("The answer is 3 * 6 = 18 dollars.", "18"),
        ("The answer is 5. No: the answer is 6, not 5.", "6"),
        ("Final answer: **42**", "42"),
        ("the final answer is:\n\n18 eggs", "18"),
        ("The answer is unknown. It is 7 or 8", "8"),
        ("so \\boxed{18} eggs, for 3 days", "18"),
        ("first 3, then 4, in all 7", "7"),
        # headings are not answers
        ("#### Step 1: eggs\n16-7=9\n\n#### Step 2: money\n9*2=$18\n\n**Answer: 18**", "18"),
        ("#### Step 1\n16-7=9\n#### Step 2\n9*2=18\n#### 18", "18"),
        ("#### 1. Count\n9 eggs\n\nSo $\\boxed{18}$", "18"),
        ("#### **1) Count**\n9\n#### **2) Pay**\n9*2\n#### $18", "18"),
        ("#### (1) Count\n9 eggs\n#### (2) Pay\nShe gets 18", "18"),
        ("#### 1 - Count\n9\n#### 1st check\n#### 18 dollars", "18"),
        ("#### Solution\nThe answer is 18.\nIn 3 days.", "18"),
        ("#### 18. She is happy.\n#### 5", "18"),
        ("### 1. Count\n3\n#### 2. Pay\n9\nIn total 18", "18"),
        ("#### **$18**", "18"),
        ("#### \\boxed{18}", "18"),
        ("#### -$5", "-5"),
        ("#### USD 18 in 3 days", "18"),
        ("#### \\frac12 of 3", "1/2"),
        ("#### 9 * 2 = 18", "18"),
        ("##### 18", "18"),
        ("<think>20? #### 20 no.</think>\n#### 18", "18"),
        # boxes
        ("\\boxed{\\frac{1}{2}} of 7", "1/2"),
        ("\\boxed{-\\tfrac{3}{4}}", "-3/4"),
        ("$\\boxed{18\\text{ eggs in 3 days}}$ or 4", "18"),
        ("\\boxed{\\text{18 m}^{2}}", "18"),
        ("\\boxed{\\$1{,}200.50}", "2401/2"),
        ("\\boxed{x = 18} since 3", "18"),
        ("\\boxed{18} \\boxed{}", "18"),
        ("\\boxed 5 of 7", "5"),
        ("\\fbox{5} of 7", "5"),
        # fractions
        ("The answer is \\(\\dfrac{36}{2}\\).", "18"),
        ("The answer is $1\\frac{1}{2}$ cups for 3", "3/2"),
        ("The answer is 1 1/2 cups.", "3/2"),
        ("\\frac12", "1/2"),
        ("\\frac{2.5}{5}", "1/2"),
        ("\u00bd of it", "1/2"),
        ("It takes 2\u00bd hours", "5/2"),
        # groups of digits
        ("18\\,000", "18000"),
        ("18\u202f000", "18000"),
        ("18\u2009000.5 m", "36001/2"),
        ("1\u00a0234\u00a0567", "1234567"),
        ("18,\\!000", "18000"),
        ("18~000", "18000"),
        ("18'000", "18000"),
        ("5\\,000\\,\\text{km}", "5000"),
        ("in 3\\,\\text{h} it is 5\\,\\text{km}", "5"),
        # units and currency
        ("18\\text{ cm}^{2}", "18"),
        ("18 m^-2", "18"),
        ("7 g of CO_{2}", "7"),
        ("7 g of CO_2", "7"),
        ("- $ 18", "18"),
        ("-$ 18", "-18"),
        ("\u20b918", "18"),
        ("US$18", "18"),
        ("CHF18", "18"),
        ("Rs. 18", "18"),
        ("**Answer**: 18 in 3 days", "18"),
        ("The answer is:\n\\[\n18\n\\]\nfor 3 days", "18"),
        # a lone heading is no answer; a number of things is one
        ("#### 2 Pay\n9*2=18\n\nThe answer is 18", "18"),
        ("#### 1 Count\n9\n#### 2 Pay\n18 in all", "18"),
        ("#### 2: Pay\n9*2=18", "18"),
        ("####2. Pay\n9*2=18", "18"),
        ("#### 2 Steps to the sum\n#### 18", "18"),
        ("#### 2 Apples", "2"),
        ("#### 2 Apples\n\nQuestion: Tom has 5 pears.", "2"),
        ("#### 18 Dollars\nThanks for 3 days", "18"),
        # equations
        ("The answer is $18 = 9 \\times 2$", "18"),
        ("#### 9 * 2 = 18 in 3 days", "18"),
        # powers
        ("\\boxed{2^{10}}", "1024"),
        ("#### 10^6", "1000000"),
        ("The answer is 2**10.", "1024"),
        ("\\boxed{1.5 \\times 10^3}", "1500"),
        ("#### 1.5 \\cdot 10^{-3}", "3/2000"),
        ("1.5 \u00d7 10\u00b3", "1500"),
        ("#### 1e6", "1000000"),
        ("#### 1.5E-3 m", "3/2000"),
        ("#### -2^2", "-4"),
        ("2^{-1}", "1/2"),
        ("**Step 2** 3 eggs", "3"),
        ("The area is 5^2 = 25 m^2", "25"),
        ("\\sqrt{16}", "4"),
        # more fractions and groups of digits
        ("#### 3 / 4", "3/4"),
        ("3\u20444", "3/4"),
        ("\\frac{1}{\\frac{1}{2}}", "2"),
        ("\\frac{2^3}{4}", "2"),
        ("\\frac{\\$10}{4}", "5/2"),
        ("#### 1 200 000", "1200000"),
        ("The answer is 18 000 dollars.", "18000"),
        ("1.200.000", "1200000"),
        ("1_000", "1000"),
        ("12,34,567", "1234567"),
        ("#### \u20135", "-5"),
        ("#### \uff11\uff18", "18"),
    ],
)
def test_the_number_that_an_answer_closes_with(text: str, number: str) -> None:
    assert final_number(text) == Fraction(number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 18 because 9*2 = 18 and 16-7=9", "18"),
        ("The answer is 7, since x = 3 and y = 4.", "7"),
        ("The answer is 7 when x = 3", "7"),
        ("The answer is 3 * 6 = 18 because 20 - 2 = 18", "18"),
        ("The answer is as follows: 4 + 14 = 18", "18"),
        ("### Answer\n18 eggs at 2 dollars", "18"),
        ("2 + 2 = 4\n\n**Final answer**\n\n4 apples, for 3 days", "4"),
        ("It is <answer>18</answer> (confidence 95)", "18"),
        ("The answer is minus 7", "-7"),
        ("The answer is negative $7.", "-7"),
        ("The answer is 10 minus 3 = 7", "7"),
    ],
)
def test_a_reason_behind_an_answer_is_not_the_answer(text: str, number: str) -> None:
    assert str(final_number(text)) == number


@pytest.mark.parametrize(
    "text", ["", "no number", "CO2", "$ - .", "9" * 100, "####", "\\boxed{}", "answer is", "10^{999999999}"]
)
def test_what_holds_no_number_has_no_answer(text: str) -> None:
    assert final_number(text) is None


def test_equal_numbers_are_one_answer_for_verifiers_too() -> None:
    assert {answer_of("final_number", text) for text in ("18", "$18.00", "#### 18", "It is 18.0.")} == {"18"}
    assert answer_of("final_number", "-5") == "-5"
    assert answer_of("final_number", "nothing") is None


@pytest.mark.parametrize(("split", "rows"), [("train", 7473), ("test", 1319)])
def test_every_answer_of_gsm8k_gives_its_own_number(shared_data: Path, split: str, rows: int) -> None:
    """The oracle is what stands behind the last ####, without commas."""
    lines = (shared_data / "gsm8k" / f"{split}.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == rows
    for answer in answers:
        gold = answer.rpartition("####")[2].strip()
        assert final_number(answer) == Fraction(gold.replace(",", "")), answer
        assert final_number(f"The answer is ${gold}.") == final_number(gold) == final_number(answer)


@pytest.mark.parametrize(
    "piece",
    [
        "#### 1. a\n",
        "\\frac{1",
        "#" * 9 + " ",
        "\\boxed{{",
        "1 1/2",
        "1 ",
        "^{",
        "1,",
        "1/",
        "1,111",
        "-",
        "$",
        "answer is ",
        "####",
        "\\boxed{",
        "answer  ",
        "1^",
        "10^9",
        "1 000 ",
        "1.000.",
        "2 * 10",
        "\\sqrt{",
        "#### 2 Pay\n",
    ],
)
def test_a_long_answer_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    final_number(piece * (2**20 // len(piece)))
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_read(text: str) -> None:
    started = time.process_time()
    final_number(text)
    assert time.process_time() - started < 2
