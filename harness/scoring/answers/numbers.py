"""The number that a worked answer closes with, read exactly, by which GSM8K's answers are compared.

It is looked for after the first `####` (a base model may go on with a problem of its own), in the last `\\boxed{}`,
after the last "answer is" or "answer:", and else at the last number. A bare search for digits gets these wrong:

    -$5, $-5, −5     the sign is lost            16-3       the sign of 3 is an operator
    1,200.50         is cut at the comma         1,2        is two numbers
    18.00 and 18     are the same                5.         the dot ends the sentence
    18 m^2, CO2      2 belongs to the unit       1/2        is neither 1 nor 2
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

LAST = 20_000  # characters at the end of a text, where its answer is
LONGEST_NUMBER = 60  # characters; a longer run of digits is not an answer, and slow to convert
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\].,$€£¥])[-−])?[$€£¥]?(?P<inner>(?<=[$€£¥])[-−])?"
    rf"(?<![A-Za-z^0-9.])(?P<number>{_DIGITS})(?P<below>/[0-9]+(?:\.[0-9]+)?)?"
)
CURRENCY = re.compile(r"(?<![A-Za-z])(?:USD|EUR|GBP|Rs\.?)(?=[0-9])")
ANSWER_IS = re.compile(r"answer(?:\s{1,3}is|\s{0,3}[:=])", re.I)
BOXED = "\\boxed{"


def final_number(text: str) -> Fraction | None:
    """The number that the text gives as its answer, or None where it contains no number."""
    for place in map(_plain, _places(text)):
        found = list(numbers_in(place))
        if found:
            # after "answer is", 3 * 6 = 18 means 18; otherwise the first number counts
            return found[-1] if "=" in place else found[0]
    found = list(numbers_in(_plain(text[-LAST:])))
    return found[-1] if found else None


def numbers_in(text: str) -> Iterator[Fraction]:
    """Every number of the text in order."""
    for found in NUMBER.finditer(text):
        number = _value(found)
        if number is not None:
            yield number


def canonical(number: Fraction) -> str:
    """The canonical form of a number: 18, -5, 2401/2."""
    return str(number)


def _places(text: str) -> Iterator[str]:
    """The places where an answer is announced: one line each, without a sentence that follows."""
    _, marker, behind = text.partition("####")
    if marker:
        yield _line(behind)
    text = text[-LAST:]
    _, box, behind = text.rpartition(BOXED)
    if box:
        yield behind[:200].replace("{,}", ",").partition("}")[0]
    ends = [found.end() for found in ANSWER_IS.finditer(text)]
    if ends:
        yield re.split(r"[.!?]\s", _line(text[ends[-1] :]), maxsplit=1)[0]


def _line(text: str) -> str:
    """The first line that is not blank, at most 500 characters of it."""
    return text[:2000].lstrip(" \t\r\n:*").split("\n", 1)[0][:500]


def _plain(text: str) -> str:
    """The text without LaTeX around numbers, and with a sign instead of a currency's letters."""
    return CURRENCY.sub("$", text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%"))


def _value(found: re.Match[str]) -> Fraction | None:
    digits, below = found["number"], (found["below"] or "/1")[1:]
    if len(digits) > LONGEST_NUMBER or len(below) > LONGEST_NUMBER:
        return None
    value, divisor = Fraction(digits.replace(",", "")), Fraction(below)
    if divisor:
        value /= divisor
    return -value if found["sign"] or found["inner"] else value
