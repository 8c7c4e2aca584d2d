"""YAML 1.2 with the place of every value, so that an error can name the line of the field that caused it.

In YAML 1.2 `on` is a word and 5e-4 is a number. Timestamps stay text. The limits below keep a hostile file (deep
nesting, aliases of aliases, an alias that contains itself) from using up time or memory.
"""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.errors import UserError, did_you_mean, first_line

MOST_BYTES = 50_000
MOST_VALUES = 2_000
MOST_LEVELS = 30
LONGEST_NUMBER = 100  # characters
TAG = "tag:yaml.org,2002:"
OTHERS = {f"{TAG}{name}" for name in ("int", "float", "bool", "null")}
TEXT = {f"{TAG}{name}" for name in ("str", "timestamp", "value")}

YamlPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Located:
    """A value of a YAML text that knows where it is written.

    places  path from the root -> FILE:LINE, shared by all values of one text
    path    of this value
    """

    value: Any
    places: dict[YamlPath, str]
    path: YamlPath = ()

    def __getitem__(self, key: Any) -> Located:
        return Located(self.value[key], self.places, (*self.path, key))

    def parts(self) -> Iterator[tuple[Any, Located]]:
        """The keys and values of a mapping, or the numbers and items of a list."""
        keys: Iterable[Any] = range(len(self.value)) if isinstance(self.value, list) else self.value
        return ((key, self[key]) for key in keys)

    def place(self, *below: Any) -> str:
        """FILE:LINE of a value below this one, or of the nearest value around it that the text contains."""
        path = (*self.path, *below)
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def error(self, what: str, *below: Any, fix: str = "") -> UserError:
        """A UserError at this value, or at one below it."""
        return UserError(what, where=self.place(*below), fix=fix)

    def check_keys(self, known: Iterable[str]) -> None:
        """Raise UserError unless this is a mapping with keys among `known`."""
        known = list(known)
        if not isinstance(self.value, Mapping):
            key = self.path[-1] if self.path else ""
            example = f"{next(iter(known), 'key')}: {self.value if isinstance(self.value, str) else '...'}"
            name, fix = (
                (f"`{key}` must be", f"{key}: {{{example}}}") if isinstance(key, str) and key else ("expected", example)
            )
            raise self.error(f"{name} a mapping, got {short(self.value)}", fix=f"Example: {fix}")
        for key in self.value:
            if key not in known:
                raise self.error(f"unknown key {short(key)}{foreign(key)}", key, fix=did_you_mean(str(key), known))

    def put(self, value: Any, place: str, *below: Any) -> None:
        """Change a value below this one, from now on written at `place`."""
        inner = self.value
        for key in below[:-1]:
            inner = inner[key]
        inner[below[-1]] = value
        changed = (*self.path, *below)
        for path in [path for path in self.places if path[: len(changed)] == changed]:
            del self.places[path]
        self.places[changed] = place


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def foreign(name: Any) -> str:
    """The first letter of a name that looks like one of English and is not, in words; "" where there is none."""
    letter = next((letter for letter in str(name) if letter.isalpha() and not letter.isascii()), "")
    return f" (its letter {letter} is {unicodedata.name(letter, 'unnamed')})" if letter else ""


def read_small_text(file: Path) -> str:
    """The text of a small UTF-8 file. Raises UserError where it is anything else."""
    try:
        # without blocking: a named pipe into which no process writes is empty
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            os.set_blocking(opened.fileno(), True)
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(
                f"the file has more than {MOST_BYTES:,} bytes", where=str(file), fix="Is it the right file?"
            )
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"byte {error.start} is not UTF-8", where=str(file), fix="Save the file as UTF-8.") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(file)) from None


def parse_yaml(text: str, where: Path | str) -> Located:
    """The value of a YAML text with its places: FILE:LINE where `where` is a file, else `where` itself.

    Raises UserError for broken syntax, a key given twice, a tag, and whatever exceeds the limits.
    """

    def place(line: int) -> str:
        return f"{where}:{line}" if isinstance(where, Path) else where

    # ruamel looks ahead through all open brackets, which takes seconds
    if deep := re.search(rf"(?:[\[{{]\s*(?:\w+\s*:\s*)?){{{MOST_LEVELS + 1}}}", text):
        raise _too_large(place(text.count("\n", 0, deep.start()) + 1))
    if version := re.match(r"(?:\s*#.*\n)*\s*%YAML\s+(?!1\.2\s)(.*)", text):
        raise UserError(
            f"YAML {version[1][:40]} is not read", where=place(1), fix="Leave out the %YAML line: it is 1.2."
        )
    loader = YAML(typ="safe", pure=True)
    loader.max_depth = MOST_LEVELS
    loader.Composer = _Composer
    try:
        with warnings.catch_warnings(action="ignore"):  # a name for an anchor may be used again
            node = loader.compose(text)
    except MaxDepthExceededError as error:
        raise _too_large(place(error.problem_mark.line + 1)) from None
    except (ValueError, OverflowError):
        raise UserError("broken YAML: an escape that is not a character", where=place(1), fix="Correct it.") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or first_line(error)
        began = getattr(error, "context_mark", None)
        if began and re.search(r"expected ',' or '[\]}]'", what):
            line = began.line + 1  # where the bracket is, and not where its lack is noticed
        line, what, fix = _remedy(text.split("\n"), line, what)
        if not isinstance(where, Path):
            fix += " Quotes keep a setting together in a shell: --set 'methods=[base, sft]'."
        raise UserError(f"broken YAML: {what}", where=place(line), fix=fix) from None
    values = _Values(place, loader.constructor)
    return Located(values.of(node, ()) if node else None, {(): place(1), **values.places})


def _remedy(lines: Sequence[str], line: int, what: str) -> tuple[int, str, str]:
    """(line, what is wrong, what would be right) of a fault that YAML's reader words for itself."""
    at = lines[line - 1] if line <= len(lines) else ""
    above = next((one for one in reversed(lines[: line - 1]) if one.strip()), "")
    if "\\t" in what or "\t" in re.match(r"\s*", at)[0]:  # type: ignore[index]
        return line, "a tab in the indentation", "Indent with spaces, two for each level: `  - sft`."
    if what.startswith("expected ',' or"):
        return (
            line,
            f"a bracket is not closed ({what.partition(', but')[0]})",
            "Close it on its line. Example: methods: [base, sft]",
        )
    if "cannot start any token" in what:
        return line, what, f"Quote the value. Example: name: {at.partition(':')[2].strip()[:40]!r}"
    if re.fullmatch(r"\s*[\w.-]+:[^\s:][^:]*", above) and not re.search(r":\s.*:\s", at):
        name, _, value = above.strip().partition(":")
        return max(lines.index(above) + 1, 1), f"no space after the colon of {name}", f"Write {name}: {value}"
    if "mapping values are not allowed" in what and re.fullmatch(r"\s*- [\w.-]+\s*", above):
        name = above.strip()[2:].strip()
        fix = f"Write a colon after the name, or one line. Example: - {{{name}: {{{at.strip()}}}}}"
        return max(lines.index(above) + 1, 1), f"{name} has fields below it and no colon", fix
    if "mapping values are not allowed" in what:
        name, _, value = at.strip().partition(":")
        return line, f"{what} (a second colon)", f"Quote a value that holds a colon. Example: {name}: {value.strip()!r}"
    if "<block end>" in what:
        return line, "it begins in another column than the lines of its level", "Align it: `- sft` below `- base`."
    return line, what, "Correct the syntax."


class _Composer(Composer):
    """Stops at the first value too many, before seconds have gone."""

    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.count += 1
        if self.count > 2 * MOST_VALUES:  # keys are nodes as well
            mark = self.parser.peek_event().start_mark
            raise MaxDepthExceededError("too many values", None, "too many values", mark)
        return super().compose_node(parent, index)


class _Values:
    """Turns nodes into plain values; notes the place of each."""

    def __init__(self, place: Callable[[int], str], constructor: Any) -> None:
        self.place, self.constructor = place, constructor
        self.places: dict[YamlPath, str] = {}
        self.count = 0

    def of(self, node: Node, path: YamlPath, merges: int = 0) -> Any:
        """The value of a node; `merges` counts the `<<` around it, which add no level to its path."""
        self.count += 1
        if self.count > MOST_VALUES or len(path) + merges > MOST_LEVELS:
            raise _too_large(self._place(node))
        self.places.setdefault(path, self._place(node))
        if isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            return self._mapping(node, path, merges)
        if isinstance(node, SequenceNode) and node.tag == f"{TAG}seq":
            return [self.of(item, (*path, at)) for at, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: YamlPath, merges: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        lines: dict[Any, str] = {}
        merged: list[Node] = []
        for key_node, item in node.value:
            if key_node.tag == f"{TAG}merge":
                merged += item.value if isinstance(item, SequenceNode) else [item]
                continue
            key, here = self._scalar(key_node), self._place(key_node)
            if key in found:
                raise UserError(
                    f"the key {short(key)} is given twice",
                    where=here,
                    fix=f"Keep one of the two; the first is at {lines[key]}.",
                )
            self.places[(*path, key)] = lines[key] = here
            found[key] = self.of(item, (*path, key))
        for item in merged:
            values = self.of(item, path, merges + 1)
            if not isinstance(values, dict):
                raise UserError("`<<` merges mappings only", where=self._place(item), fix="Write <<: *NAME.")
            found = {**values, **found}
        return found

    def _scalar(self, node: Node) -> Any:
        if not isinstance(node, ScalarNode) or node.tag not in OTHERS | TEXT:
            what = f"unexpected {node.tag}" if isinstance(node, ScalarNode) else "a list or mapping is not allowed here"
            raise UserError(what, where=self._place(node), fix="Write a word or a number, without a tag.")
        if node.tag in TEXT:
            try:  # JSON writes a letter beyond U+FFFF as two halves
                text = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                text = "\0"
            if "\0" in text:
                raise UserError("text with a character that no file can hold", where=self._place(node))
            return text
        try:
            if len(node.value) > LONGEST_NUMBER:
                raise ValueError
            return self.constructor.construct_object(node)
        except (ValueError, KeyError, YAMLError):
            what = f"{node.value[:40]!r} is not a value of the type {node.tag.removeprefix(TAG)}"
            raise UserError(what, where=self._place(node)) from None

    def _place(self, node: Node) -> str:
        return self.place(node.start_mark.line + 1)


def _too_large(place: str) -> UserError:
    fix = f"Write at most {MOST_LEVELS} levels and {MOST_VALUES:,} values; an alias counts as all that it refers to."
    return UserError("nested too deeply, or too many values", where=place, fix=fix)
