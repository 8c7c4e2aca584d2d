"""The domains of a template's variables: the right sides of its `#init` lines, evaluated to lists of choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

from harness.scoring.variants.expressions import LARGEST_LIST, ExpressionError, exact, quotient, worked


@dataclass(frozen=True)
class Choice:
    """A value and its text."""

    text: str
    value: Any


@dataclass(frozen=True)
class Draw:
    """`sample(values, count)`: `count` different values, or neighbours in their order."""

    values: tuple[Any, ...]
    count: int = 1
    in_order: bool = False


@dataclass(frozen=True)
class Domain:
    """The variables of one line, which are drawn together, and their choices."""

    names: tuple[str, ...]
    choices: tuple[Choice, ...]
    in_order: bool = False

    def drawn(self, rng: Random) -> Sequence[Choice]:
        """One choice for each name, all different."""
        if len(self.names) == 1:
            return (rng.choice(self.choices),)
        if self.in_order:
            start = rng.randrange(len(self.choices) - len(self.names) + 1)
            return self.choices[start : start + len(self.names)]
        return rng.sample(self.choices, len(self.names))


def domain_of(names: Sequence[str], text: str) -> Domain:
    """The domain of the line `names = text`. Raises ExpressionError where it cannot be read."""
    work, unknown = worked(text, FUNCTIONS)
    if unknown - set(WORD_LISTS):
        raise ExpressionError(f"the list {', '.join(sorted(unknown - set(WORD_LISTS)))} is unknown")
    found = work(WORD_LISTS)
    drawn = found if isinstance(found, Draw) else Draw(tuple(found)) if isinstance(found, list) else None
    if drawn is None or drawn.count < len(names) or len(drawn.values) < len(names):
        raise ExpressionError(f"{text[:80]!r} is not a list of at least {len(names)} values")
    return Domain(tuple(names), tuple(map(choice_of, drawn.values)), drawn.in_order)


def choice_of(value: Any) -> Choice:
    """The choice for a list element: a pair is (text, value), a number is written in digits."""
    if isinstance(value, tuple) and len(value) == 2:
        return Choice(written(value[0]), exact(value[1]))
    value = exact(value)
    return Choice(written(value), value)


def written(value: Any) -> str:
    """A number in digits (a fraction as a decimal where that is finite, else as 1/3), anything else as str()."""
    if not isinstance(value, Fraction):
        return str(value)
    rest, places = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1:
        return str(value)
    digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    return ("-" if value < 0 else "") + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def is_int(value: Any) -> bool:
    """Whether a number is an integer."""
    return type(exact(value)) is int


def divides(value: Any, by: Any) -> bool:
    """Whether `value` is a multiple of `by`; the order of arguments is that of the templates."""
    return by != 0 and is_int(quotient(value, by))


def _range(*ends: Any) -> list[Any]:
    """A list as from Python's range, also with fractions (numpy's arange)."""
    start, stop, step = (0, *ends, 1) if len(ends) == 1 else (*ends, 1)[:3]
    count = math.ceil(quotient(stop - start, step))
    if count > LARGEST_LIST:
        raise ExpressionError(f"a list of {count} values")
    return [exact(start + at * step) for at in range(count)]


def _in_words(low: int, high: int) -> list[tuple[str, int]]:
    """The numbers from `low` to `high` inclusive, in words."""
    return [(number_word(number), number) for number in range(low, high + 1)]


def _drawn(values: Sequence[Any], count: int = 1) -> Draw:
    return Draw(tuple(values), count)


def _neighbours(values: Sequence[Any], count: int = 1) -> Draw:
    return Draw(tuple(values), count, in_order=True)


ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "int": lambda value: math.trunc(value),
    "round": lambda value, digits=None: exact(round(value, digits)),
    "Fraction": lambda above, below=1: quotient(above, below),
    "is_int": is_int,
    "divides": divides,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "sample": _drawn,
    "sample_sequential": _neighbours,
    "range": _range,
    "frange": _range,
    "np.arange": _range,
    # one of several random draws is drawn, so any value in the range is possible
    "np.random.randint": lambda low, high, count=1: _range(low, high),
    "numbers_within": _in_words,
    "list": list,
    "shuffle_list": list,
    "fix_floats": list,
}


FEMALE = ["Ada", "Bella", "Carmen", "Delia", "Esther", "Fatima", "Greta", "Hana", "Ines", "Leila", "Mei", "Nora"]
MALE = ["Abel", "Bruno", "Carlos", "David", "Emil", "Farid", "Goran", "Hugo", "Ivan", "Kofi", "Liam", "Omar"]
UNITS = [
    *["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    *["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_word(number: int) -> str:
    """An integer from 0 to 99 in words. Raises ValueError for any other."""
    if not 0 <= number < 100:
        raise ValueError(f"the number {number} cannot be written in words")
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
