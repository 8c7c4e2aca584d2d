"""Versions of one demonstration, told by how their ids end: ID/original, ID/instruction, ID/response, ID/both."""

from __future__ import annotations

AFTER = {"original": "response", "instruction": "both"}
"""The version with a better answer, by the version whose answer it betters."""


def parent_and_version(id: str) -> tuple[str, str]:
    """What the versions share, and which one this is; an id without such an end is an original."""
    parent, _, version = id.rpartition("/")
    return (parent, version) if version in {*AFTER, *AFTER.values()} else (id, "original")
