"""The weights of a model folder: whole files, and those that its configuration asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.files import is_pointer

AGAIN = "Fetch the model again, or save it again where it was made."


def require_whole(folder: Path, name: str) -> None:
    """Raise UserError for a pointer of Git LFS in the place of a file, for damaged weights, and for a missing part."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_pointer(path):
            raise UserError(
                f"{path.name} is a pointer of Git LFS and not the file itself",
                where=name,
                fix="Run `git lfs pull` in that folder, or fetch the model again.",
            )
    for path in sorted(folder.glob("*.safetensors")):
        if why := _damage(path):
            raise UserError(f"{path.name} is damaged: {why}", where=name, fix=AGAIN)
    for part in _parts(folder):
        if not (folder / part).is_file():
            raise UserError(f"it lacks {part}, which the index of its weights names", where=name, fix=AGAIN)


def _damage(path: Path) -> str:
    """The fault of a safetensors file, by its header and its length; "" for a whole one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            return f"it has {size:,} bytes, and a header of {length:,} is announced"
        try:
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError):
            return "its header cannot be read"
    return "" if size == whole else f"it has {size:,} bytes, and its header announces {whole:,}"


def _parts(folder: Path) -> Iterator[str]:
    """The files that the index of divided weights names."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            named = json.loads(index.read_text("utf-8"))["weight_map"].values()
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UserError(f"{index.name} names no weights", where=str(folder), fix=AGAIN) from None
        yield from sorted({str(part) for part in named})


def require_fitting(model: Any, told: Mapping[str, Any], where: str) -> None:
    """Raise UserError where `transformers` made up weights of the model, or left out some of its decoder's.

    told  what `from_pretrained` says with `output_loading_info`
    """
    missing, other = sorted(told["missing_keys"]), sorted(str(one[0]) for one in told["mismatched_keys"])
    blocks = {name.rsplit(".", 1)[0] for name, _ in model.named_modules() if name.rsplit(".", 1)[-1].isdigit()}
    left = sorted(key for key in told["unexpected_keys"] if any(key.startswith(f"{place}.") for place in blocks))
    for keys, words in (
        (missing, "lack {} that its config.json asks for, which would be random"),
        (other, "have {} of another shape than its config.json asks for"),
        (left, "have {} that its config.json does not ask for, which would be left out"),
    ):
        if keys:
            named = f"{len(keys):,} of the model's weights ({keys[0]})"
            raise UserError(
                f"its files {words.format(named)}",
                where=where,
                fix="Use the config.json that the weights were saved with, and all files of the model.",
            )
