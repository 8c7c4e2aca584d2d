"""lm-eval's rules for the instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911), item by item.

Five things are fixed here that lm-eval leaves to the machine:

- Nothing is downloaded; lm-eval's module fetches punkt_tab when it is imported.
- Languages are detected with a fixed seed; otherwise one text may be English now and Italian later.
- Sentences are split by nltk's trained punkt where it is installed, else by untrained punkt with the abbreviations of
  constraints/text_units.py. Two of the 25 types need it: the number of sentences and of words in capitals.
- A mark that must occur a number of times (#, !) is counted; lm-eval draws a letter at random and counts that.
- Keywords are literal text: lm-eval takes them as regular expressions, in which "C++" is found in "coffee" and "U.S."
  is never found as a word. The published keywords are plain words, for which both readings agree.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version as installed_version
from types import ModuleType
from typing import Any

from harness.errors import UserError
from harness.policy.thoughts import split_thoughts
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

    Raises ValueError for an argument that is missing or unusable.
    """
    rules = _rules()
    arguments = check_arguments(types, arguments)
    completion = split_thoughts(completion)[1]
    strict: list[bool] = []
    loose: list[bool] = []
    with _settled():
        for kind, given in zip(types, arguments, strict=True):
            if own_rule := _own_rule(kind, given):
                own = followed(completion, [own_rule])
                strict += own.strict
                loose += own.loose
                continue
            row = {"key": 0, "instruction_id_list": [kind], "prompt": prompt, "kwargs": [_literal(given)]}
            try:
                said = rules.process_results(row, [completion])
            except RecursionError:
                said = {"prompt_level_strict_acc": False, "prompt_level_loose_acc": False}
            strict.append(bool(said["prompt_level_strict_acc"]))
            loose.append(bool(said["prompt_level_loose_acc"]))
    return Followed(tuple(strict), tuple(loose))


RELATIONS = ("less than", "at least")
PUBLISHED_MARKERS = ("P.S.", "P.P.S")
"""Markers of a postscript that lm-eval reads in several spellings."""


def check_arguments(types: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The arguments of each instruction, with 2.0 read as 2.

    Raises ValueError for an argument that its rule does not have or cannot use, and for one that is missing or 0, which
    lm-eval would draw at random.
    """
    _rules()
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    ready = []
    for kind, given in zip(types, arguments, strict=True):
        names = INSTRUCTION_DICT[kind](kind).get_instruction_args_keys()
        given = {name: value for name, value in given.items() if value is not None}
        if missing := [name for name in names if given.get(name) in (None, 0, "", [])]:
            raise ValueError(f"{kind} lacks {', '.join(missing)}")
        if unknown := [name for name in given if name not in names]:
            raise ValueError(f"{kind} has no argument {unknown[0]!r}; it has {', '.join(names) or 'none'}")
        ready.append({name: _usable(name, value) for name, value in given.items()})
    return ready


def _usable(name: str, value: Any) -> Any:
    if name.endswith("relation"):
        right, wanted = value in RELATIONS, " or ".join(map(repr, RELATIONS))
    elif name.startswith("num_") or name.endswith("frequency") or name == "nth_paragraph":
        whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
        right, wanted = whole and value >= 1, "a whole number from 1, such as 3"
        value = int(value) if right else value
    elif name in ("keywords", "forbidden_words"):
        listed = isinstance(value, (list, tuple))
        right = listed and all(isinstance(one, str) and one.strip() for one in value)
        wanted = 'a list of texts, such as ["spoon"]'
    elif name == "language":
        right, wanted = value in _languages(), f"one of {', '.join(_languages())}"
    else:
        right, wanted = isinstance(value, str) and bool(value.strip()), "a text"
    if not right:
        raise ValueError(f"{name} must be {wanted}, got {str(value)[:80]!r}")
    return value


@cache
def _languages() -> tuple[str, ...]:
    """The languages that langdetect tells apart."""
    from langdetect import detector_factory

    detector_factory.init_factory()
    return tuple(sorted(detector_factory._factory.get_lang_list()))


def _literal(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with texts that lm-eval takes as regular expressions escaped."""
    found = dict(given)
    for name in ("keywords", "forbidden_words"):
        if name in found:
            found[name] = [re.escape(one) for one in found[name]]
    for name in ("keyword", "section_spliter", "postscript_marker"):
        if name in found and found[name].strip() not in PUBLISHED_MARKERS:
            found[name] = re.escape(found[name].strip())
    return found


def _own_rule(kind: str, given: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """A rule for what lm-eval's cannot express: counts of marks, and forbidden words that begin or end with a mark."""
    if counted_here(kind, given):
        return partial(_counts, given)
    if kind == "keywords:forbidden_words" and any(re.search(r"\A\W|\W\Z", one) for one in given["forbidden_words"]):
        return partial(_avoids, [_whole(one) for one in given["forbidden_words"]])
    return None


def _whole(word: str) -> str:
    """The pattern of a literal word: a letter or digit at its edge is not followed by another."""
    left, right = (r"\b" if re.match(r"\w", edge) else "" for edge in (word[0], word[-1]))
    return f"{left}{re.escape(word)}{right}"


def _avoids(patterns: Sequence[str], text: str) -> bool:
    return bool(text.strip()) and not any(re.search(one, text, re.IGNORECASE) for one in patterns)


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
