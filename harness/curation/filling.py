"""Prompt templates whose places are filled with texts that may hold braces themselves."""

from __future__ import annotations


def filled(template: str, **texts: str) -> str:
    """The template with its places filled; braces in the texts mean nothing."""
    parts = [template]
    for name, text in texts.items():
        parts = [piece for part in parts for piece in _split(part, f"{{{name}}}", text)]
    return "".join(parts)


class _Filled(str):
    """Text that was put in: no further place is looked for in it."""


def _split(part: str, place: str, text: str) -> list[str]:
    if isinstance(part, _Filled) or place not in part:
        return [part]
    before, *after = part.split(place)
    return [before, *(piece for rest in after for piece in (_Filled(text), rest))]
