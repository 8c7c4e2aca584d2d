"""A benchmark's items as the contamination check reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TestItem:
    """An item of a benchmark: what is asked, and the reference answer where there is one."""

    __test__ = False  # pytest would take it for a test
    id: str
    text: str
    answer: str = ""


@dataclass(frozen=True)
class TestSet:
    """A benchmark's items. templates: texts with {slots}, for sets whose prompts repeat by design."""

    __test__ = False
    name: str
    items: tuple[TestItem, ...]
    templates: tuple[str, ...] = ()
