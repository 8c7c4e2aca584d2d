"""The number that a worked answer closes with, read exactly, by which GSM8K's answers are compared.

It is looked for after the first `####` that a number follows (a base model may go on with a problem of its own), in the
last `\\boxed{}`, after the last "answer is" or "answer:", and else at the last number. Headings such as "#### Step 1"
and "#### 1. Count" are not answers. A bare search for digits gets these wrong:

    -$5, $-5, −5     the sign is lost            16-3       the sign of 3 is an operator
    1,200.50         is cut at the comma         1,2        is two numbers
    18.00 and 18     are the same                5.         the dot ends the sentence
    18 m^2, CO_{2}   2 belongs to the unit       1/2        is neither 1 nor 2
    18\\,000         is one number               1\\frac{1}{2}   is 3/2
    2^{10}, 10³      are powers                  1.5e3, 1.5 \\times 10^3   are 1500

Words of magnitude (5 million, 5k) are not multiplied: many questions ask for a number of millions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from math import isqrt

from harness.policy.thoughts import split_thoughts

LAST = 20_000  # characters at the end of a text, where its answer is
LONGEST_NUMBER = 60  # characters; a longer run of digits is not an answer, and slow to convert
_MINUS = "-−–‑"
_DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|(?<![0-9],)[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])|"
    r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
)
NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\].,$€£¥₹])[{_MINUS}])?(?:[$€£¥₹](?: (?=[0-9.]))?)?(?P<inner>(?<=[$€£¥₹])[{_MINUS}])?"
    rf"(?<![A-Za-z^0-9.])(?P<number>{_DIGITS})(?P<below> ?/ ?[0-9]+(?:\.[0-9]+)?)?"
)
ANSWER_IS = re.compile(
    r"answer[*_]{0,3}(?:\s{1,3}is|\s{0,3}[:=])|<answer>"
    r"|^[#*_ \t]{0,8}(?:(?:the|my) )?(?:(?:final|correct) )?answer[*_ \t]{0,4}$",
    re.I | re.M,
)
"""The words that announce an answer, R1's tag, and a heading of the one word."""
REASON = re.compile(r"[\s,;(]+(?:because|since|as|given|if|when|where)\b", re.I)
"""What a sentence says about its answer: "18 because 9 * 2 = 18", "7 when x = 3"."""
NEGATIVE = re.compile(r"(?:(?<=\bis )|(?<=[:=#] ))(?:minus|negative) (?=\$?[0-9])", re.I)
BOX = re.compile(r"\\f?box(?:ed)? ?\{|\\boxed (?=[0-9])")
LONGEST_BOX = 300

MARK = re.compile(r"#+")
MOST_MARKS = 1_000
BEHIND_MARK = re.compile(
    r"[\s:*_=≈~\"'`({\[\\]*"
    r"(?:[A-Z]{0,3} ?(?=\$)|[A-Z]{3} ?|Rs\.? ?|[a-z]{3,10}\{|d?frac|[\s(:*_]){0,4}[-−–‑]?[$€£¥₹]? ?[-−–‑]?\.?[0-9½¼¾√]"
)
"""What may be between the mark and its number."""
HEADING = re.compile(r"[\s*_(\[]*([0-9]{1,2}) ?(?:[.):\]]+|[-–—])[*_]*\s+[*_]*[^\W\d_]")
"""The number of a heading: "1. Count", "(2) Pay", "3 - Sum"."""
TITLE = re.compile(
    r"[\s*_(\[]*([0-9]) ?(?:\\?[.:)\]]+|[-–—])?[*_]*\s+[*_]*[A-Z][a-z]{2}[^\n]{0,200}?(?<![.!?])[ \t*_]*"
    r"\n(?!\s*(?:Question|Problem|Q\b))"
)
"""A heading with a number of one digit whose words open with a capital, "2 Pay"; text follows, not another question."""
FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
ORDINAL = re.compile(r"[\s*_(\[]*[0-9]{1,2}(?:st|nd|rd|th\b|\ufe0f?\u20e3)")

_SPACES = "\u00a0\u2005\u2006\u2007\u2008\u2009\u200a\u202f"
_THIN = rf"\{{,\}}|,?\\[,;:! ]|\\thinspace ?|~|[{_SPACES}]|(?<=[0-9])['’_](?=[0-9]{{3}})"
GROUPED = re.compile(rf"(?<=[0-9])(?:{_THIN})(?=[0-9]{{3}}(?![0-9]))")
DOTTED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![0-9]|\.[0-9])")
SPACED = re.compile(r"(?<![0-9.,/])(?<![0-9] )[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9/])")
"""Groups of digits between dots, at least three, and between ordinary spaces; the latter only in announced answers."""
SPACE = re.compile(rf"\\[,;:! ()\[\]]|\\q?quad|\$\$|[{_SPACES}]")
_PART = r"(?:\{\s{0,3}([-−]?\$?[0-9][0-9.,/]{0,60})\s{0,3}\}|([0-9]))"
NESTED = 3  # fractions within fractions
FRACTION = re.compile(rf"(?:(?<![0-9.,])([0-9]{{1,9}})\s{{0,2}})?\\(?:[dtcs]?|nice)frac\s?{_PART}\s?{_PART}")
MIXED = re.compile(r"(?<![0-9.,/])([0-9]{1,4}) ([0-9]{1,2})/([0-9]{1,2})(?![0-9/])")
VULGAR = re.compile(r"(?:(?<![0-9.,])([0-9]{1,4}) ?)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
VULGAR_VALUES = dict(
    zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞",
        ["1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5", "1/6", "5/6", "1/8", "3/8", "5/8", "7/8"],
        strict=True,
    )
)
_OF_TEN = r"(?:\\times|\\cdot|[×·∙*xX])"
_SIGNED = "[-−+]?[0-9]{1,9}"
_EXPONENT = (
    rf"(?:(?:\^ ?|\*\*)(?:\{{ ?({_SIGNED}) ?\}}|\(({_SIGNED})\)|([-−]?[0-9]{{1,9}}))"
    r"|([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}))"
)
SUPERSCRIPT = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹−", "-+0123456789-")
SCIENTIFIC = re.compile(rf"(?<![\w.,^])([0-9][0-9.,]{{0,30}})\s{{0,2}}{_OF_TEN}\s{{0,2}}(10){_EXPONENT}")
E_NOTATION = re.compile(r"(?<![\w.,^])([0-9]{1,30}(?:\.[0-9]{1,30})?)[eE]([-−+]?[0-9]{1,9})(?!\w|\.[0-9])")
POWER = re.compile(rf"(?<![\w.,^\\*])([0-9][0-9.,]{{0,30}}){_EXPONENT}")
ROOT = re.compile(r"(?<![\w.])(?:\\sqrt ?\{([0-9]{1,18})\}|√\(?([0-9]{1,18})\)?)")
RAISED = re.compile(r"\^(?:\{[^{}]{0,20}\}|[-−+]?[0-9]+)|(?<=[A-Za-z)}])_(?:\{[^{}]{0,20}\}|[0-9]+)(?![A-Za-z0-9_])")
"""An exponent or index, which belongs to a unit or a name."""
CURRENCY = re.compile(
    r"(?<![A-Za-z])(?:(?:USD|EUR|GBP|JPY|CNY|RMB|INR|AUD|CAD|CHF|Rs\.?) ?(?=[-−]?[0-9])|(?:US|A|C|R)\$)"
)


def final_number(text: str) -> Fraction | None:
    """The number that the text, without thoughts, gives as its answer, or None where it contains no number."""
    text = split_thoughts(text)[1]
    if not text.isascii():
        text = FOREIGN_DIGIT.sub(lambda found: str(unicodedata.digit(found[0])), text)
    end = plain(text[-LAST:])
    for place in _places(text, end):
        found = _announced(SPACED.sub(lambda grouped: grouped[0].replace(" ", ","), place))
        if found is not None:
            return found
    return last_number(end)


def _announced(place: str) -> Fraction | None:
    """The first number; of an equation, that of the last side with one number: 3 * 6 = 18 and 18 = 3 * 6 mean 18.

    A reason or condition that follows a number is left out.
    """
    reason = next((found for found in REASON.finditer(place) if last_number(place[: found.start()]) is not None), None)
    place = place[: reason.start()] if reason else place
    sides = [list(numbers_in(side)) for side in place.split("=")]
    told = [side for side in sides if side]
    alone = [side for side in told if len(side) == 1]
    return (alone or told)[-1][0] if told else None


def last_number(text: str) -> Fraction | None:
    """The last number of a text, or None."""
    found = list(numbers_in(text))
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


def plain(text: str) -> str:
    """The text without LaTeX and powers around numbers, and with a sign instead of a currency's letters."""
    text = GROUPED.sub(",", text).replace("\\$", "$").replace("\\%", "%").replace("⁄", "/")
    text = DOTTED.sub(lambda found: found[0].replace(".", ""), SPACE.sub(" ", text))
    for power in (SCIENTIFIC, E_NOTATION, POWER):
        text = power.sub(_power, text)
    text = ROOT.sub(_root, text)
    for _ in range(NESTED if "frac" in text else 0):
        text = FRACTION.sub(_fraction, text)
    text = VULGAR.sub(lambda found: _mixed(found[1], *VULGAR_VALUES[found[2]].split("/")), text)
    text = MIXED.sub(lambda found: _mixed(*found.groups()) if int(found[2]) < int(found[3]) else found[0], text)
    return CURRENCY.sub("$", RAISED.sub(" ", NEGATIVE.sub("-", text)))


def _power(found: re.Match[str]) -> str:
    """The value of 2^10, 1.5 * 10^3 or 1.5e3, or a space for a number too long to be an answer."""
    first, *rest = [group for group in found.groups() if group]
    *ten, exponent = rest
    factor, base = (first, "10") if ten or found.re is E_NOTATION else ("1", first)
    size = int(exponent.translate(SUPERSCRIPT))
    marks = base[len(base.rstrip(".,")) :]
    if marks or abs(size) * len(base) > LONGEST_NUMBER or (size < 0 and not base.strip("0.,")):
        return " "
    try:
        return str(Fraction(factor.replace(",", "")) * Fraction(base.replace(",", "")) ** size)
    except ValueError:
        return found[0]


def _root(found: re.Match[str]) -> str:
    square = int(found[1] or found[2])
    return str(isqrt(square)) if isqrt(square) ** 2 == square else found[0]


def _fraction(found: re.Match[str]) -> str:
    above, below = ((one or "").replace("$", "") for one in (found[2] or found[3], found[4] or found[5]))
    if found[1] and above.isdigit() and below.isdigit():
        return _mixed(found[1], above, below)
    if "/" in above + below:
        above, below = _quotient(above, below)
    return f"{found[1] or ''} {above}/{below}" if found[1] else f"{above}/{below}"


def _quotient(above: str, below: str) -> tuple[str, str]:
    """Numerator and denominator of a fraction of fractions."""
    try:
        value = Fraction(above.replace(",", "")) / Fraction(below.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return above, below
    return str(value.numerator), str(value.denominator)


def _mixed(whole: str | None, above: str, below: str) -> str:
    return f"{int(whole or 0) * int(below) + int(above)}/{below}"


def _places(text: str, end: str) -> Iterator[str]:
    """The places where an answer is announced: one line each, without a sentence that follows.

    end  the end of the text without LaTeX
    """
    yield from _marked(text)
    for box in reversed(list(BOX.finditer(end))[-20:]):
        yield _boxed(end[box.end() : box.end() + LONGEST_BOX])
    ends = [found.end() for found in ANSWER_IS.finditer(end)]
    if ends:
        yield re.split(r"[.!?]\s", _line(end[ends[-1] :]), maxsplit=1)[0]


def _marked(text: str) -> Iterator[str]:
    """The line after the first `####` that a number follows; a heading's own number is not an answer."""
    headings, last = {0}, _last_digit(text)
    for mark in islice(MARK.finditer(text), MOST_MARKS):
        behind = text[mark.end() : mark.end() + 600]
        heading = HEADING.match(behind)
        if heading and int(heading[1]) - 1 in headings:
            headings.add(int(heading[1]))
        elif (title := TITLE.match(behind)) and mark.end() + title.end() <= last:
            headings.add(int(title[1]))
        elif len(mark[0]) >= 4 and not ORDINAL.match(behind) and BEHIND_MARK.match(behind):
            yield _line(plain(behind))
            return


def _last_digit(text: str) -> int:
    """The position of the last digit; -1 where there is none."""
    return max(map(text.rfind, "0123456789"))


def _boxed(text: str) -> str:
    """The text up to the brace that closes the box."""
    depth = 1
    for at, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if not depth:
            return text[:at]
    return text.split("\n", 1)[0]


def _line(text: str) -> str:
    """The first line that is not blank, at most 500 characters of it."""
    return text[:2000].lstrip(" \t\r\n:*").split("\n", 1)[0][:500]


def _value(found: re.Match[str]) -> Fraction | None:
    digits, below = found["number"], (found["below"] or "/1").strip(" /")
    if len(digits) > LONGEST_NUMBER or len(below) > LONGEST_NUMBER:
        return None
    value, divisor = Fraction(digits.replace(",", "")), Fraction(below)
    if divisor:
        value /= divisor
    return -value if found["sign"] or found["inner"] else value
