"""The words of a text for matching: case and spacing are ignored, and letters keep their marks.

Python's `\\w` does not match combining marks and so splits Hindi and Thai words; here marks (Unicode category M) belong
to the word. In scripts without spaces between words (Thai, Chinese, Japanese, Lao, Khmer, Burmese) each letter with
its marks is a word; otherwise a whole sentence would be one.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# blocks of scripts that are written without spaces
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"  # Thai and Lao, Burmese, Khmer, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # ideographs
)


@cache
def _pattern() -> re.Pattern[str]:
    codes = (*range(0x300, 0x20000), *range(0xE0000, 0xE0200))
    marks = _ranges([code for code in codes if unicodedata.category(chr(code))[0] == "M"])
    joiners = "\u200c\u200d"
    return re.compile(rf"[{UNSPACED}][{marks}]*|(?:(?![{UNSPACED}])[\w{marks}{joiners}])+")


def _ranges(codes: list[int]) -> str:
    """The codes as the content of a character class."""
    parts, start = [], codes[0]
    for before, code in zip(codes, [*codes[1:], -1], strict=True):
        if code != before + 1:
            parts.append(f"\\U{start:08x}-\\U{before:08x}")
            start = code
    return "".join(parts)


ASCII = re.compile(r"[a-z0-9_]+")


def words_of(text: str) -> list[str]:
    """Lower-case words in NFKC form, without punctuation.

    >>> words_of("Add  1,2!") == ["add", "1", "2"]
    True
    """
    if text.isascii():
        return ASCII.findall(text.lower())
    return _pattern().findall(unicodedata.normalize("NFKC", text).casefold())
