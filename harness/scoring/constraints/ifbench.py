"""The 58 instruction types of IFBench (Pyatkin et al. 2025, arXiv 2507.02833) and the rule of each.

The rules were written for this project from the text of the instructions, without the authors' code. Where that text is
ambiguous, a rule's docstring gives its reading. Scores may therefore differ from published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from harness.scoring.constraints import counts, custom, layout, positions, word_rules

RULES_VERSION = 4  # 1 cut words at combining marks; 2 read seven instructions too narrowly; 3 knew few verbs
"""Raised whenever a rule judges some answer differently than before."""

RULES: Mapping[str, Sequence[Callable[..., bool]]] = {
    "count": (
        counts.conjunctions, counts.keywords_multiple, counts.numbers, counts.person_names, counts.pronouns,
        counts.punctuation, counts.unique_word_count, counts.word_count_range, counts.words_japanese,
    ),
    "custom": (
        custom.character_reverse, custom.csv_city, custom.csv_quotes, custom.csv_special_character,
        custom.date_format_list, custom.european_capitals_sort, custom.mcq_count_length, custom.multiples,
        custom.reverse_newline, custom.sentence_alphabet, custom.word_reverse,
    ),
    "format": (
        layout.emoji, layout.line_indent, layout.newline, layout.no_bullets_bullets, layout.no_whitespace,
        layout.options, layout.output_template, layout.parentheses, layout.quote_unquote, layout.quotes, layout.thesis,
        layout.title_case,
    ),
    "ratio": (
        counts.overlap, counts.sentence_balance, counts.sentence_type, counts.sentence_words, counts.stop_words,
    ),
    "repeat": (
        word_rules.repeat_change, word_rules.repeat_simple, word_rules.repeat_span,
    ),
    "sentence": (
        positions.alliteration_increment, positions.increment,
    ),
    "words": (
        word_rules.alphabet, word_rules.consonants, positions.keywords_specific_position, positions.last_first,
        word_rules.no_consecutive, word_rules.odd_even_syllables, word_rules.palindrome,
        positions.paragraph_last_first, word_rules.prime_lengths, word_rules.repeats, positions.start_verb,
        word_rules.vowel, positions.words_position,
    ),
}  # fmt: skip
"""Family -> rules, each named like its instruction."""

VERIFIERS: Mapping[str, Callable[..., bool]] = {
    **{f"{family}:{rule.__name__}": rule for family, rules in RULES.items() for rule in rules},
    "format:list": layout.is_listed,
    "format:sub-bullets": layout.sub_bullets,
    "sentence:keyword": positions.keyword_in_sentence,
}


def check_rule_arguments(instruction: str, arguments: Mapping[str, Any]) -> None:
    """Raise TypeError for an argument that is missing, unknown, or not a number or text as its rule needs."""
    wanted = {
        one.name: one.annotation
        for one in signature(VERIFIERS[instruction]).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    }
    given = {name.lower(): value for name, value in arguments.items() if value is not None}
    if set(given) != set(wanted):
        raise TypeError(f"{instruction} takes {', '.join(wanted) or 'no arguments'}, got {', '.join(given) or 'none'}")
    for name, value in given.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        if not (number if wanted[name] == "float" else isinstance(value, str) and value.strip()):
            kind = "a number from 0" if wanted[name] == "float" else "a text"
            raise TypeError(f"{name} must be {kind}, got {str(value)[:80]!r}")


def obeys(instruction: str, completion: str, prompt: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the answer follows one instruction with these arguments; a blank answer follows none.

    Null arguments belong to other types and are ignored. Raises KeyError for an unknown instruction and TypeError for
    arguments that do not fit its rule.
    """
    given = {name.lower(): value for name, value in arguments.items() if value is not None}
    return bool(completion.strip()) and VERIFIERS[instruction](completion, prompt, **given)
