"""Individual instructions: tables, lists of facts about the world, answers written backwards."""

from __future__ import annotations

import csv
import re
import unicodedata
from datetime import date
from itertools import pairwise

from harness.scoring.constraints.lexicon import AFRICA, CAPITALS_NORTH_OF_45, DISPUTED, OTHER_CAPITAL_NAMES
from harness.scoring.constraints.text_units import MARKER, lines, lower_words, same_space, sentences

ANIMAL = "bald eagle"
CITIES = ["ID", "Country", "City", "Year", "Count"]
PRODUCTS = ["ProductID", "Category", "Brand", "Price", "Stock"]
STUDENTS = ["StudentID", "Subject", "Grade", "Semester", "Score"]
QUESTION = re.compile(r"[\s*#_]*Question\b")
OPTION = re.compile(r"\s*(?:[-*•]\s+)?[*_(]*[A-Ea-e1-5][*_]*[.):]")


def character_reverse(completion: str, prompt: str) -> bool:
    """Read from its end, the answer names the bald eagle."""
    return ANIMAL in same_space(completion[::-1]).lower()


def word_reverse(completion: str, prompt: str) -> bool:
    """With its words in the opposite order, the answer names the bald eagle."""
    return ANIMAL in " ".join(reversed(lower_words(completion)))


def csv_city(completion: str, prompt: str) -> bool:
    """The required header and seven rows of five fields, separated by commas."""
    return _is_table(completion, CITIES, 7)


def csv_special_character(completion: str, prompt: str) -> bool:
    """The required header, fourteen rows of five fields, and a field in double quotes with a special character.

    Special characters are those other than letters, digits and spaces.
    """
    quoted = [part for line in lines(completion) for part in line.split('"')[1::2]]
    special = any(not char.isalnum() and not char.isspace() for part in quoted for char in part)
    return special and _is_table(completion, PRODUCTS, 14)


def csv_quotes(completion: str, prompt: str) -> bool:
    """The required header and three rows, separated by tabs, with each of the five fields in double quotes.

    Spaces around a field do not count.
    """
    rows = [[field.strip() for field in line.split("\t")] for line in lines(completion)]
    quoted = all(len(field) > 1 and field[0] == field[-1] == '"' for row in rows for field in row)
    header = [field.strip('"') for field in rows[0]] if rows else []
    return quoted and header == STUDENTS and len(rows) == 4 and all(len(row) == 5 for row in rows)


def date_format_list(completion: str, prompt: str) -> bool:
    """Valid dates written YYYY-MM-DD, separated by commas, and nothing else."""
    return all(map(_is_date, completion.split(",")))


def european_capitals_sort(completion: str, prompt: str) -> bool:
    """The 28 capitals of sovereign states in Europe north of 45 degrees, separated by commas, from north to south."""
    names = [_folded(name) for name in completion.strip().rstrip(".").split(",")]
    latitudes = [CAPITALS_NORTH_OF_45.get(OTHER_CAPITAL_NAMES.get(name, name), 0.0) for name in names]
    complete = len(names) == len(CAPITALS_NORTH_OF_45) and 0.0 not in latitudes
    return complete and all(a > b for a, b in pairwise(latitudes))


def mcq_count_length(completion: str, prompt: str) -> bool:
    """Four questions that open with "Question", each longer than the previous one, with five options, one per line.

    The length counts the characters of label and question; no other lines are allowed.
    """
    told = lines(completion)
    starts = [at for at, line in enumerate(told) if QUESTION.match(line)]
    if len(starts) != 4 or starts[0] != 0:
        return False
    blocks = [told[a:b] for a, b in pairwise([*starts, len(told)])]
    five = all(len(block) > 5 and all(map(OPTION.match, block[-5:])) for block in blocks)
    asked = [block[:-5] for block in blocks]
    alone = not any(OPTION.match(line) for block in asked for line in block)
    lengths = [len(same_space(" ".join(block))) for block in asked]
    return five and alone and all(a < b for a, b in pairwise(lengths))


def multiples(completion: str, prompt: str) -> bool:
    """14, 21, 28, 35, 42 and 49 in this order, without a letter or another number."""
    found = re.findall(r"\d+", completion)
    return found == ["14", "21", "28", "35", "42", "49"] and not any(map(str.isalpha, completion))


def reverse_newline(completion: str, prompt: str) -> bool:
    """The 54 countries of Africa, one per line, from Z to A as written; Western Sahara may be among them."""
    names = [_folded(line[found.end() :] if (found := MARKER.match(line)) else line) for line in lines(completion)]
    known = all(name in DISPUTED or any(name in country for country in AFRICA) for name in names[:100])
    complete = all(country & set(names) for country in AFRICA)
    return len(names) <= 100 and known and complete and all(a > b for a, b in pairwise(names))


def sentence_alphabet(completion: str, prompt: str) -> bool:
    """26 sentences whose first words start with a, b, c and so on to z."""
    initials = [said[0][0] for said in map(lower_words, sentences(completion)) if said]
    return "".join(initials) == "abcdefghijklmnopqrstuvwxyz"


def _is_table(text: str, header: list[str], rows: int) -> bool:
    try:
        table = list(csv.reader(lines(text), skipinitialspace=True))
    except csv.Error:
        return False
    return len(table) == rows + 1 and table[0] == header and all(len(row) == len(header) for row in table)


def _is_date(text: str) -> bool:
    text = text.strip()
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _folded(name: str) -> str:
    """A name in lower case, without accents and punctuation; hyphens become spaces."""
    name = unicodedata.normalize("NFKD", name[:200].lower().replace("’", "'").replace("-", " "))
    return same_space("".join(char for char in name if char.isalnum() or char in " '"))
