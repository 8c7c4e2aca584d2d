"""Document forms as a file: how a prompt of a kind is worded in the documents that a base model was pretrained on.

    opens: "<eos> "            # written before every document
    between: "\n\n"            # between the documents of earlier turns and the last one
    ends: ["\nQuestion:"]      # texts that end an answer besides the stop tokens
    forms:                     # the first form that fits a user's turn is used
      - asks: "{text} in {language}?"           # the turn, or a list of wordings; {slots} are any text
        first: "{text}"                         # a document that the model continues first; {first} is what it writes
        document: "{first} In {language}:"      # the document that the answer continues
        answer: "[word] {first}"                # the beginning of the answer; the model itself writes [word]
        ends: ["."]

Only `asks` and `document` are required.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError, did_you_mean
from methods._shipped_yaml import ShippedYaml

UNUSABLE = "the document forms are not usable"
FORMS = ShippedYaml(Path(__file__).parent / "document_forms", "forms", "forms", "file", UNUSABLE)
EXAMPLE = 'Example: forms: [{asks: "{text}", document: "Question: {text}\\nAnswer:"}]'
SLOT = re.compile(r"\{([a-z_]+)\}")
WORD = "[word]"
"""The word of an answer's beginning that the model writes."""

TEXTS = ("first", "document", "answer")


@dataclass(frozen=True)
class Form:
    """One kind of prompt: the patterns of its wordings, and the texts that replace it."""

    asks: tuple[re.Pattern[str], ...]
    document: str
    first: str = ""
    answer: str = ""
    ends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A user's turn with the form that fits it, and the texts of its slots."""

    form: Form
    slots: Mapping[str, str]

    def filled(self, text: str, first: str = "") -> str:
        """A text of the form with its slots filled, `{first}` with what the model wrote."""
        known = {**self.slots, "first": first}
        return SLOT.sub(lambda slot: known[slot[1]], text)


@dataclass(frozen=True)
class Forms:
    """The forms of one file."""

    forms: tuple[Form, ...]
    opens: str = ""
    between: str = "\n\n"
    ends: tuple[str, ...] = ()

    def asked(self, turn: str) -> Asked:
        """The turn in the first form that fits it. Raises UserError where none does."""
        for form in self.forms:
            for pattern in form.asks:
                if found := pattern.fullmatch(turn.strip()):
                    return Asked(form, found.groupdict())
        raise UserError(
            f"no document form fits the prompt {turn[:60]!r}",
            fix='Add a form for it to the file that forms names, or one for every other prompt: asks: "{text}".',
        )


def read_forms(name: str) -> dict[str, Any]:
    """The content of the file of that name. Raises UserError, with the file, for what is not usable."""
    file, content = FORMS.read(name)
    forms_of(content, file)
    return content


def forms_of(content: Mapping[str, Any], file: Path) -> Forms:
    """The forms that a file or an artifact holds."""
    _known_keys(file, "the file", content, ("opens", "between", "ends", "forms"))
    for key in ("opens", "between"):
        if not isinstance(content.get(key, ""), str):
            raise _fault(file, f"{key} is not text", 'Example: between: "\\n\\n"')
    rows = content.get("forms") or []
    if not rows:
        raise _fault(file, "it has no forms", EXAMPLE)
    forms = tuple(_form(file, f"form {number}", row) for number, row in enumerate(rows, 1))
    ends = _texts(file, "the file", "ends", content.get("ends", []))
    return Forms(forms, content.get("opens", ""), content.get("between", "\n\n"), ends)


def _form(file: Path, where: str, row: Any) -> Form:
    if not isinstance(row, dict):
        raise _fault(file, f"{where} is not a mapping", EXAMPLE)
    _known_keys(file, where, row, ("asks", *TEXTS, "ends"))
    for key in TEXTS:
        if not isinstance(row.get(key, ""), str):
            raise _fault(file, f"{key} of {where} is not text", EXAMPLE)
    asks = _texts(file, where, "asks", row.get("asks", []))
    if not asks or not all(text.strip() for text in (*asks, row.get("document", ""))):
        raise _fault(file, f"{where} needs asks and document", EXAMPLE)
    texts = {key: row[key] for key in TEXTS if key in row}
    for wording in asks:
        _check_slots(file, where, wording, texts)
    return Form(tuple(map(_pattern, asks)), **texts, ends=_texts(file, where, "ends", row.get("ends", [])))


def _check_slots(file: Path, where: str, wording: str, texts: Mapping[str, str]) -> None:
    """Every slot of a text is one of the wording, or {first} after a first document."""
    slots = SLOT.findall(wording)
    if len(set(slots)) < len(slots) or "first" in slots:
        raise _fault(file, f"{wording!r} of {where} has a slot twice, or one called first", "Name each slot once.")
    for key, text in texts.items():
        known = [*slots, "first"] if "first" in texts and key != "first" else slots
        if missing := [slot for slot in SLOT.findall(text) if slot not in known]:
            what = f"{key} of {where} has the slot {missing[0]!r}, which {wording!r} has not"
            raise _fault(file, what, "Use the slots of every wording in asks, and {first} where the form has first.")


def _pattern(wording: str) -> re.Pattern[str]:
    parts = SLOT.split(wording.strip())  # text, name, text, name, ..., text
    named = (f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile("".join(named), re.DOTALL)


def _texts(file: Path, where: str, key: str, value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise _fault(file, f"{key} of {where} is not a text or a list of texts", EXAMPLE)
    return tuple(found)


def _known_keys(file: Path, where: str, row: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    if unknown := [key for key in row if key not in known]:
        raise _fault(file, f"{where} has the unknown key {unknown[0]!r}", did_you_mean(str(unknown[0]), known))


def _fault(file: Path, what: str, fix: str) -> UserError:
    return UserError(f"{UNUSABLE}: {what}", where=str(file), fix=fix)
