"""The 58 instruction types of IFBench (Pyatkin et al. 2025, arXiv 2507.02833) and the rule of each.

The rules are this project's own, written from the words of the instructions; none is the authors' code. Where the
words leave something open, the rule's docstring says how it is read. Scores may therefore differ from published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.scoring.constraints import counts, custom, layout, positions, word_rules
from harness.scoring.constraints import counts as ratios
from harness.scoring.constraints import layout as nesting
from harness.scoring.constraints import word_rules as repetition

RULES_VERSION = 1
"""Raised whenever a rule here would judge some answer differently."""

VERIFIERS: dict[str, Callable[..., bool]] = {
    "count:conjunctions": counts.conjunctions,
    "count:keywords_multiple": counts.keywords_multiple,
    "count:numbers": counts.numbers,
    "count:person_names": counts.person_names,
    "count:pronouns": counts.pronouns,
    "count:punctuation": counts.punctuation,
    "count:unique_word_count": counts.unique_word_count,
    "count:word_count_range": counts.word_count_range,
    "count:words_japanese": counts.words_japanese,
    "custom:character_reverse": custom.character_reverse,
    "custom:csv_city": custom.csv_city,
    "custom:csv_quotes": custom.csv_quotes,
    "custom:csv_special_character": custom.csv_special_character,
    "custom:date_format_list": custom.date_format_list,
    "custom:european_capitals_sort": custom.european_capitals_sort,
    "custom:mcq_count_length": custom.mcq_count_length,
    "custom:multiples": custom.multiples,
    "custom:reverse_newline": custom.reverse_newline,
    "custom:sentence_alphabet": custom.sentence_alphabet,
    "custom:word_reverse": custom.word_reverse,
    "format:emoji": layout.emoji,
    "format:line_indent": layout.line_indent,
    "format:list": layout.is_listed,
    "format:newline": layout.newline,
    "format:no_bullets_bullets": layout.no_bullets_bullets,
    "format:no_whitespace": layout.no_whitespace,
    "format:options": layout.options,
    "format:output_template": layout.output_template,
    "format:parentheses": nesting.parentheses,
    "format:quote_unquote": nesting.quote_unquote,
    "format:quotes": nesting.quotes,
    "format:sub-bullets": layout.sub_bullets,
    "format:thesis": layout.thesis,
    "format:title_case": layout.title_case,
    "ratio:overlap": ratios.overlap,
    "ratio:sentence_balance": ratios.sentence_balance,
    "ratio:sentence_type": ratios.sentence_type,
    "ratio:sentence_words": ratios.sentence_words,
    "ratio:stop_words": ratios.stop_words,
    "repeat:repeat_change": repetition.repeat_change,
    "repeat:repeat_simple": repetition.repeat_simple,
    "repeat:repeat_span": repetition.repeat_span,
    "sentence:alliteration_increment": positions.alliteration_increment,
    "sentence:increment": positions.increment,
    "sentence:keyword": positions.keyword_in_sentence,
    "words:alphabet": word_rules.alphabet,
    "words:consonants": word_rules.consonants,
    "words:keywords_specific_position": positions.keywords_specific_position,
    "words:last_first": positions.last_first,
    "words:no_consecutive": word_rules.no_consecutive,
    "words:odd_even_syllables": word_rules.odd_even_syllables,
    "words:palindrome": word_rules.palindrome,
    "words:paragraph_last_first": positions.paragraph_last_first,
    "words:prime_lengths": word_rules.prime_lengths,
    "words:repeats": word_rules.repeats,
    "words:start_verb": positions.start_verb,
    "words:vowel": word_rules.vowel,
    "words:words_position": positions.words_position,
}


def obeys(instruction: str, completion: str, prompt: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the answer follows one instruction with these arguments; a blank answer follows none.

    Arguments that are null are those of other types. Raises KeyError or TypeError for what no rule knows.
    """
    given = {name.lower(): value for name, value in arguments.items() if value is not None}
    return bool(completion.strip()) and VERIFIERS[instruction](completion, prompt, **given)
