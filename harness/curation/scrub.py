"""Personal data out of user logs: addresses, numbers and keys that have a recognisable form.

Names have none and stay: this lowers the risk, it does not end it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.data.examples import Example, with_texts

CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("[EMAIL]", re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")),
    ("[KEY]", re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{30,}")),
    ("[KEY]", re.compile(r"\bAKIA[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")),
    ("[IBAN]", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("[SSN]", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")),
    ("[IP]", re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]\d|\w)")),
    ("[PHONE]", re.compile(r"(?<![\w+])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?!\w)")),
    ("[PHONE]", re.compile(r"(?<![\w(])(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?![\w-])")),
)


def scrubbed(text: str) -> str:
    """The text with each find replaced by its kind in brackets."""
    text = CARD.sub(lambda found: "[CARD]" if _is_card(found.group()) else found.group(), text)
    for kind, pattern in FORMS:
        text = pattern.sub(kind, text)
    return text


def scrub_example(example: Example) -> Example:
    """The example without personal data in its record and its further columns; itself where there was none."""
    record = with_texts(example.record, scrubbed)
    edited = example.edited(record) if record != example.record else example
    extra = _deep(edited.extra)
    return edited if extra == edited.extra else replace(edited, extra=extra)


def _deep(value: Any) -> Any:
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, Mapping):
        return {key: _deep(one) for key, one in value.items()}
    return [_deep(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_card(text: str) -> bool:
    """Luhn's check: any long number would pass for a card without it."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0
