"""The licence of every origin of a set: as the user says it, or as the card beside the set has it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.data.examples import Example, ExampleSet
from harness.data.load import SHIPPED, SHIPPED_LICENCE
from harness.errors import UserError
from harness.files import read_json, sibling_file

TOGETHER = " + "


def licences_of(given: Sequence[str], sets: Sequence[ExampleSet]) -> dict[str, str]:
    """The licence of each origin: from FILE=LICENCE pairs, or else from the cards that lie beside the sets."""
    cards = [sibling_file(Path(one.name), "card.json") for one in sets if not one.name.startswith(SHIPPED)]
    stated = [source for card in cards if card.is_file() for source in read_json(card)["sources"]]
    found = {str(source["origin"]): str(source["licence"]) for source in stated}
    known = sorted({example.origin for one in sets for example in one.examples})
    found.update({origin: SHIPPED_LICENCE for origin in known if origin.startswith(SHIPPED)})
    for pair in given:
        name, _, licence = pair.partition("=")
        fitting = [origin for origin in known if f"/{Path(name).as_posix()}".endswith(f"/{origin}")]
        fitting = fitting or [origin for origin in known if Path(origin).name == name]
        if len(fitting) != 1 or not licence:
            raise UserError(f"--licence {pair}", fix=f"Write FILE=LICENCE with one of {', '.join(known)}.")
        found[fitting[0]] = licence
    return found


def joint_origin(origins: Sequence[str]) -> str:
    """The origin of a row that was made from rows of several sets."""
    return TOGETHER.join(sorted({part for one in origins for part in one.split(TOGETHER)}))


def with_joint(licences: dict[str, str], examples: Sequence[Example]) -> dict[str, str]:
    """The licences, with those of rows that were made from several sets: all of them bear on such a row."""
    joint = {one.origin for one in examples if TOGETHER in one.origin}
    parts = {origin: [licences.get(part, "not stated") for part in origin.split(TOGETHER)] for origin in joint}
    return {**licences, **{origin: "; ".join(dict.fromkeys(stated)) for origin, stated in parts.items()}}


RESTRICTED = re.compile(r"\bNC\b|non[- ]?commercial|\bND\b|no[- ]?deriv", re.I)


def is_restricted(licence: str) -> bool:
    """Whether the text names a non-commercial or no-derivatives licence, such as CC-BY-NC-4.0."""
    return bool(RESTRICTED.search(licence))
