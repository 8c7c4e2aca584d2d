"""The lists that templates draw words from by name. The published templates name them and do not contain them.

The names are GSM-Symbolic's (2410.05229); what stands in the lists is ours. A pair is a text and the number it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

FEMALE = ["Ada", "Bella", "Carmen", "Delia", "Esther", "Fatima", "Greta", "Hana", "Ines", "Leila", "Mei", "Nora"]
MALE = ["Abel", "Bruno", "Carlos", "David", "Emil", "Farid", "Goran", "Hugo", "Ivan", "Kofi", "Liam", "Omar"]
UNITS = [
    *["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    *["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_word(number: int) -> str:
    """A whole number from 0 to 99 in words. Raises ValueError for any other."""
    if not 0 <= number < 100:
        raise ValueError(f"the number {number} has no word here")
    if number < len(UNITS):
        return UNITS[number]
    tens, rest = divmod(number, 10)
    return TENS[tens] + (f"-{UNITS[rest]}" if rest else "")


def _of(*parts: tuple[int, int]) -> list[tuple[str, Fraction]]:
    return [(f"{above}/{below}", Fraction(above, below)) for above, below in parts]


IN_WORDS = [
    ("half", Fraction(1, 2)),
    ("one-third", Fraction(1, 3)),
    ("two-thirds", Fraction(2, 3)),
    ("one-quarter", Fraction(1, 4)),
    ("three-quarters", Fraction(3, 4)),
    ("one-fifth", Fraction(1, 5)),
    ("two-fifths", Fraction(2, 5)),
    ("three-fifths", Fraction(3, 5)),
]
IN_DIGITS = _of((1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (3, 4), (2, 5), (3, 5))
TIMES = [("twice", 2), ("three times", 3), ("four times", 4), ("five times", 5), ("six times", 6)]

WORD_LISTS: Mapping[str, Sequence[Any]] = {
    "names": FEMALE + MALE,
    "names_female": FEMALE,
    "names_male": MALE,
    "cities": ["Boston", "Cairo", "Denver", "Lagos", "Lima", "Madrid", "Nairobi", "Osaka", "Oslo", "Quito"],
    "weekdays": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "colors": ["red", "blue", "green", "yellow", "purple", "orange", "white", "black", "brown", "pink"],
    "fruits": ["apple", "banana", "lemon", "mango", "orange", "peach", "pear", "pineapple", "plum"],
    "sports": ["basketball", "football", "handball", "hockey", "tennis", "volleyball"],
    "currencies_sym": ["$", "€", "£"],
    "weights_sm": ["ounce", "gram"],
    "weights_med": ["pound", "kilogram"],
    "length_lg": ["mile", "kilometer"],
    "fractions": IN_WORDS,
    "fraction_alph": IN_WORDS,
    "fraction_nums": IN_DIGITS,
    "fraction_alnum": IN_WORDS + IN_DIGITS,
    "fraction_decimals": [Fraction(part, 20) for part in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16)],
    "multi_times": TIMES,
    "multiple": [("double", 2), ("triple", 3), ("quadruple", 4)],
    "multiple_ice": [("twice", 2), ("thrice", 3)],
}
