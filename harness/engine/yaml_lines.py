"""YAML with the line of every key, so that an error can point at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UserError

Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain words: `on` is a word and not true, 5e-4 is a number and not a word."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if not pair[0].endswith(":bool")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


BOOL = re.compile("^(?:true|True|TRUE|false|False|FALSE)$")
FLOAT = re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", BOOL, list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))


def parse_yaml(text: str) -> Any:
    """The value of a YAML text."""
    return yaml.load(text, _Loader)


@dataclass
class Located:
    """A parsed file: its value, and the line of each path in it."""

    value: Any
    lines: dict[Path_, int]

    def line(self, path: Path_) -> int:
        """The line of the nearest part of the path that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load_yaml(file: Path) -> Located:
    """Parse a YAML file. Raises UserError with the line of a syntax error or of a key given twice."""
    try:
        text = file.read_text("utf-8")
        node, value = yaml.compose(text, Loader=_Loader), parse_yaml(text)
    except UnicodeDecodeError as error:
        raise UserError(f"byte {error.start} is not UTF-8", where=str(file), fix="Save the file as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise UserError(
            f"broken YAML: {getattr(error, 'problem', error)}", where=where, fix="Mend the syntax."
        ) from error
    lines: dict[Path_, int] = {}
    if node is not None:
        _walk(node, (), lines, file)
    return Located(value, lines)


def _walk(node: Any, path: Path_, lines: dict[Path_, int], file: Path) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            _walk(item, (*path, at), lines, file)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            here = (*path, key.value)
            if here in lines:
                raise UserError(
                    f"the key {key.value!r} is given twice",
                    where=f"{file}:{key.start_mark.line + 1}",
                    fix=f"It stands in line {lines[here]} already.",
                )
            lines[here] = key.start_mark.line + 1
            _walk(item, here, lines, file)
