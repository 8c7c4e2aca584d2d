"""lm-eval's rules for the instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911), item by item.

Four things are fixed here that lm-eval leaves to the machine:

- Nothing is downloaded; lm-eval's module fetches punkt_tab when it is imported.
- Languages are detected with a fixed seed; otherwise one text may be English now and Italian later.
- Sentences are split by nltk's trained punkt where it is installed, else by untrained punkt with the abbreviations of
  constraints/text_units.py. Two of the 25 types need it: the number of sentences and of words in capitals.
- A mark that must occur a number of times (#, !) is counted; lm-eval draws a letter at random and counts that.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version as installed_version
from types import ModuleType
from typing import Any

from harness.errors import UserError
from harness.scoring.constraints.instructions import Followed, followed
from harness.scoring.constraints.text_units import ABBREVIATIONS

SPLIT = frozenset({"length_constraints:number_sentences", "change_case:capital_word_frequency"})
"""Types whose rules split sentences."""

TYPES = SPLIT | {
    f"{family}:{name}"
    for family, names in {
        "keywords": ("existence", "frequency", "forbidden_words", "letter_frequency"),
        "language": ("response_language",),
        "length_constraints": ("number_paragraphs", "number_words", "nth_paragraph_first_word"),
        "detectable_content": ("number_placeholders", "postscript"),
        "detectable_format": (
            *("number_bullet_lists", "constrained_response", "number_highlighted_sections"),
            *("multiple_sections", "json_format", "title"),
        ),
        "combination": ("two_responses", "repeat_prompt"),
        "startend": ("end_checker", "quotation"),
        "change_case": ("english_capital", "english_lowercase"),
        "punctuation": ("no_comma",),
    }.items()
    for name in names
}
"""All types, for checking data without loading lm-eval."""


def followed_officially(
    types: Sequence[str], arguments: Sequence[Mapping[str, Any]], prompt: str, completion: str
) -> Followed:
    """lm-eval's verdict on each instruction; text nested too deeply for a rule counts as not following it.

    Raises ValueError where an argument is missing.
    """
    rules = _rules()
    check_arguments(types, arguments)
    strict: list[bool] = []
    loose: list[bool] = []
    with _settled():
        for kind, given in zip(types, arguments, strict=True):
            if counted_here(kind, given):
                own = followed(completion, [partial(_counts, given)])
                strict += own.strict
                loose += own.loose
                continue
            row = {"key": 0, "instruction_id_list": [kind], "prompt": prompt, "kwargs": [dict(given)]}
            try:
                said = rules.process_results(row, [completion])
            except RecursionError:
                said = {"prompt_level_strict_acc": False, "prompt_level_loose_acc": False}
            strict.append(bool(said["prompt_level_strict_acc"]))
            loose.append(bool(said["prompt_level_loose_acc"]))
    return Followed(tuple(strict), tuple(loose))


def check_arguments(types: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError for an argument that is missing or 0, which lm-eval would draw at random."""
    _rules()
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    for kind, given in zip(types, arguments, strict=True):
        names = INSTRUCTION_DICT[kind](kind).get_instruction_args_keys()
        if missing := [name for name in names if not given.get(name)]:
            raise ValueError(f"{kind} lacks {', '.join(missing)}")


def counted_here(kind: str, given: Mapping[str, Any]) -> bool:
    """Whether the instruction is to count a mark; lm-eval's rule counts a random letter instead.

    This concerns two of the 541 prompts (keys 1122 and 1129: # and !).
    """
    return kind == "keywords:letter_frequency" and not re.fullmatch("[A-Za-z]", str(given.get("letter")))


def _counts(given: Mapping[str, Any], text: str) -> bool:
    enough = text.lower().count(str(given["letter"]).lower()) >= given["let_frequency"]
    return bool(text.strip()) and enough == (given["let_relation"] == "at least")


def facts() -> dict[str, str]:
    """Versions and the sentence splitter, on which verdicts depend."""
    _needed()
    return {name: installed_version(name) for name in ("lm-eval", "langdetect", "nltk")} | {"sentences": splitter()}


@cache
def splitter() -> str:
    """The sentence splitter that this machine has."""
    return "punkt" if _trained() else "untrained punkt with bakeoff's abbreviations"


def _needed() -> None:
    missing = [name for name in ("immutabledict", "langdetect", "nltk") if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(
            f"IFEval's rules need packages that are not installed: {', '.join(missing)}",
            fix="Install them with `pip install 'bakeoff[ifeval]'`.",
        )


@cache
def _trained() -> Any:
    """nltk's trained splitter, or None where its data is not installed."""
    _needed()
    from nltk.tokenize.punkt import PunktTokenizer

    try:
        return PunktTokenizer("english")
    except LookupError:
        return None


@cache
def _untrained() -> Any:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types = set(ABBREVIATIONS)
    return PunktSentenceTokenizer(parameters)


@cache
def _rules() -> ModuleType:
    """lm-eval's module, loaded without its download and the message about it."""
    _needed()
    import langdetect
    import nltk

    fetch = nltk.download
    nltk.download = lambda *args, **kwargs: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from lm_eval.tasks.ifeval import utils
    finally:
        nltk.download = fetch
    langdetect.DetectorFactory.seed = 0
    return utils  # type: ignore[no-any-return]


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Use our splitter where the trained one is missing, and suppress the log lines about odd texts."""
    from lm_eval.tasks.ifeval import instructions, instructions_util
    from nltk.tokenize import NLTKWordTokenizer

    logger, level = instructions.logger, instructions.logger.level
    find, cut = instructions_util._get_sentence_tokenizer, instructions_util.nltk.word_tokenize
    logger.setLevel(logging.CRITICAL)
    if not _trained():
        words = NLTKWordTokenizer()

        def tokens(text: str, *args: Any, **kwargs: Any) -> list[str]:
            return [word for sentence in _untrained().tokenize(text) for word in words.tokenize(sentence)]

        instructions_util._get_sentence_tokenizer = _untrained
        instructions_util.nltk.word_tokenize = tokens
    try:
        yield
    finally:
        logger.setLevel(level)
        instructions_util._get_sentence_tokenizer, instructions_util.nltk.word_tokenize = find, cut
