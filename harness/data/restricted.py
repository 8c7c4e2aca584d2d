"""Licences that forbid commercial use or derivatives: whoever trains on such a source has to know."""

from __future__ import annotations

import re

RESTRICTED = re.compile(r"\bNC\b|non[- ]?commercial|\bND\b|no[- ]?deriv", re.I)


def is_restricted(licence: str) -> bool:
    """Whether the text names a non-commercial or no-derivatives licence, such as CC-BY-NC-4.0."""
    return bool(RESTRICTED.search(licence))
