"""YAML files that a field names: one that comes with the project, by its name, or a file of one's own, by its path."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError, did_you_mean, first_line
from harness.method import LocalPath


@dataclass(frozen=True)
class ShippedYaml:
    """The files of one kind.

    key    the list that each holds
    field  the field that names one
    noun   a shipped one in messages: neither a shipped NOUN nor a file
    fault  how a message on an unusable one begins
    """

    folder: Path
    key: str
    field: str
    noun: str
    fault: str

    def names(self) -> list[str]:
        """The names of the shipped files."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def file(self, name: str) -> Path:
        """The shipped file of that name, or the file that is named."""
        return self.folder / f"{name}.yaml" if name in self.names() else Path(name).expanduser()

    def keyed(self, name: str) -> str:
        """The name as a field keeps it: a shipped one with its file, so that its content is part of the key."""
        return LocalPath(str(self.file(name)), name) if name in self.names() else name

    def read(self, name: str) -> tuple[Path, dict[str, Any]]:
        """The file and its content. Raises UserError where there is none, or where it is not such a mapping."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        file, names = self.file(name), self.names()
        if not file.is_file():
            near = difflib.get_close_matches(name, names, n=1)
            fix = did_you_mean(name, names) if near else f"Shipped: {', '.join(names)}."
            raise UserError(f"{self.field} is {name!r}, which is neither a shipped {self.noun} nor a file", fix=fix)
        see = "See methods/README.md for an example."
        try:
            content = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        except (YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{self.fault}: broken YAML: {first_line(error)}", where=str(file), fix=see) from error
        if not isinstance(content, dict) or not isinstance(content.get(self.key) or [], list):
            raise UserError(f"{self.fault}: not a mapping with a list of {self.key}", where=str(file), fix=see)
        return file, content
