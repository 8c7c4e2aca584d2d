"""GGUF files as base models: `transformers` reads them, and their weights are dequantised when they are loaded."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.lazy import transformers
from harness.policy.gguf_header import damaged, read_header

PACKAGE = "gguf"
FAULTS = (struct.error, ImportError, IndexError, TypeError, AttributeError, NotImplementedError)  # of its readers
# the files next to it that `transformers` also reads
NEIGHBOURS = (
    "*config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges*",
    "*.jinja",
)


def is_gguf(path: Path) -> bool:
    """Whether a base model's path is that of a GGUF file."""
    return path.suffix.lower() == ".gguf"


def found_at(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder and the further arguments with which `transformers` finds a base's configuration and tokenizer."""
    return (path.parent, {"gguf_file": path.name}) if is_gguf(path) else (path, {})


def dequantising(path: Path) -> dict[str, Any]:
    """The argument that has the weights of a GGUF file dequantised: some versions would leave them in their blocks."""
    kind = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": kind(dequantize=True)} if is_gguf(path) and kind else {}


def require_readable(path: Path) -> Path:
    """The file. Raises UserError where it is missing or incomplete, and where no library can read it."""
    if not path.is_file():
        raise UserError("no such file", where=str(path), fix="Name a GGUF file, or a folder with config.json.")
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError("GGUF files need the package gguf", where=str(path), fix="pip install 'bakeoff[gguf]'")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError("it is not a GGUF file", where=str(path), fix="Download it again.")
    if (part := re.search(r"-(\d{5})-of-(\d{5})$", path.stem)) and int(part[2]) > 1:
        fix = "Join the parts: llama-gguf-split --merge FIRST_PART WHOLE.gguf"
        raise UserError(f"it is one of {int(part[2])} parts of a model", where=str(path), fix=fix)
    return path


def identity_files(path: Path) -> Iterator[Path]:
    """The files that affect what the model computes: the GGUF file, and those next to it that are read with it."""
    yield path
    yield from sorted({one for pattern in NEIGHBOURS for one in path.parent.glob(pattern) if one.is_file()})


def without_invented_tokens(tokenizer: Any, rows: int) -> Any:
    """The tokenizer without special tokens that `transformers` adds by default and the file does not have.

    rows  of the model's embedding
    """
    from tokenizers import Tokenizer

    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    own = [token for token in rules["added_tokens"] if token["id"] < rows]
    if len(own) < len(rules["added_tokens"]):
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps({**rules, "added_tokens": own}))
    return tokenizer


def gguf_version() -> str:
    """The version of the package that dequantises."""
    return version(PACKAGE)


@lru_cache(maxsize=8)
def stored_types(path: Path) -> dict[str, int]:
    """By type of storage (F32, Q4_K, ...), how many weights of a file have it. Raises UserError for a damaged file."""
    import gguf

    found: dict[str, int] = {}
    for tensor in read_header(path)[1]:
        try:
            kind = gguf.GGMLQuantizationType(tensor.kind)
        except ValueError:
            raise damaged(path, f"the tensor {tensor.name[:40]!r} has the unknown type {tensor.kind}") from None
        values, size = gguf.GGML_QUANT_SIZES[kind]
        if tensor.start + tensor.size // values * size > path.stat().st_size:
            raise damaged(path, "it ends too early")
        if not tensor.name.startswith("rope_"):  # a table and not weights
            found[kind.name] = found.get(kind.name, 0) + tensor.size
    return found
