"""The bounds of a benchmark on an answer that a policy did not draw token by token: stop strings and length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.policy.types import Sampling

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


def cut_answer(text: str, finish: str, sampling: Sampling, encoder: TextEncoder) -> tuple[str, tuple[int, ...], str]:
    """The text before the first stop string and within the longest answer, its token ids, and how it ends.

    finish  how the whole text ends
    """
    whole, text = text, before_stop(text, sampling.stop)
    finish = finish if text == whole else "stop_string"
    ids = encoder.tokens(text, bare=True)
    if len(ids) > sampling.max_new_tokens:
        ids, finish = ids[: sampling.max_new_tokens], "length"
        text = encoder.text(ids)
    return text, ids, finish


def before_stop(text: str, stops: Iterable[str]) -> str:
    """The text before the first of the stop strings; without one, the whole."""
    return text[: min((at for at in map(text.find, stops) if at >= 0), default=len(text))]
