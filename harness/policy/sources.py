"""Finding a model's files (shipped, in a folder, or by Hugging Face id), and their digest."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError, did_you_mean, first_line
from harness.files import HARNESS, read_sealed, remember, sha256
from harness.lazy import torch
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.gguf_file import identity_files, is_gguf, require_readable, stored_types
from harness.policy.weight_files import require_whole

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel


SHIPPED = "microworld/"
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "tokenizer*"]
"""The files to fetch from the hub: never pickled weights."""


def locate(spec: BaseSpec, *, download: bool = True, weights: bool = True) -> Path:
    """The folder of a base model, or its GGUF file. Raises UserError where it is not found.

    download  False: search only this machine, for planning
    weights   False: a folder with a configuration and a tokenizer is enough
    """
    if spec.revision and (spec.name.startswith(SHIPPED) or Path(spec.name).expanduser().exists()):
        what = f"it is on this machine and has no revision {spec.revision!r}"
        raise UserError(what, where=spec.name, fix="A revision is one of a Hugging Face id; leave it out here.")
    if spec.name.startswith(SHIPPED):
        return _shipped(spec.name.removeprefix(SHIPPED))
    folder = Path(spec.name).expanduser()
    if is_gguf(folder) and not folder.is_dir():
        return require_readable(folder.resolve())
    if folder.is_dir():
        return _complete(folder.resolve(), spec.name, weights=weights)
    if spec.name.startswith((".", "/", "~")) or spec.name.count("/") > 1:
        raise UserError("no such folder", where=spec.name, fix="Name a folder with config.json, or a Hugging Face id.")
    return _complete(_from_hub(spec, download=download), spec.name, weights=weights)


def _shipped(size: str) -> Path:
    models = HARNESS / "microworld" / "models"
    known = [path.name for path in models.iterdir() if (path / "config.json").exists()] if models.is_dir() else []
    if size not in known:
        raise UserError(
            f"no shipped model {SHIPPED}{size}", fix=did_you_mean(SHIPPED + size, [SHIPPED + k for k in known])
        )
    return models / size


def _from_hub(spec: BaseSpec, *, download: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    local = not download or constants.HF_HUB_OFFLINE
    try:
        return Path(
            snapshot_download(spec.name, revision=spec.revision or None, allow_patterns=WANTED, local_files_only=local)
        )
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"the model {spec.name!r} is not on this machine"
            + (" and HF_HUB_OFFLINE is set" if local and download else ""),
            fix="Give a folder, an id that is in the Hugging Face cache, or go online to download it.",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"the model {spec.name!r} could not be fetched: {first_line(error)}",
            fix="Check the id and revision; for a gated model, log in.",
        ) from error


def _adapted(folder: Path) -> str:
    """The base model that an adapter's configuration names."""
    try:
        configuration = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        return str(configuration.get("base_model_name_or_path") or "an unnamed base")
    except (OSError, ValueError, AttributeError):
        return "an unnamed base"


def _complete(folder: Path, name: str, *, weights: bool) -> Path:
    """The folder. Raises UserError where it has no model, before a library fails with a less clear message."""
    whole = any(not path.name.startswith("adapter_model") for path in folder.glob("*.safetensors"))
    if (folder / "adapter_config.json").exists() and not whole:
        raise UserError(
            f"it is a PEFT adapter of {_adapted(folder)}, not a whole model",
            where=name,
            fix="Merge it into its base (PeftModel.merge_and_unload, then save_pretrained), and name that folder.",
        )
    if (files := sorted(folder.glob("*.gguf"))) and not any(folder.glob("*.safetensors")):
        raise UserError("it has GGUF files", where=name, fix=f"Name one of them: {name}/{files[0].name}")
    if not (folder / "config.json").exists():
        raise UserError("it has no config.json", where=name, fix="A model is a folder in Hugging Face layout.")
    if weights and not any(folder.glob("*.safetensors")):
        raise UserError(
            "it has no safetensors weights", where=name, fix="Convert the weights: pickled ones are never read."
        )
    if weights:
        require_whole(folder, name)
    return folder


def model_digest(folder: Path, cache: Path) -> str:
    """Digest over the names and bytes of weights, configuration, tokenizer and template.

    Each file is hashed once: `cache` is a file of digests by path, size and time of change. A file of the hub cache
    is a link to a blob whose name is a digest of its content, so that name is used.
    """
    if is_gguf(folder):
        return _digest(identity_files(folder), folder.parent, cache)
    return _digest(_identity_files(folder), folder, cache)


def folder_digest(folder: Path, cache: Path) -> str:
    """Digest over the names and bytes of all files in and below a folder; `cache` as for model_digest.

    Raises UserError where the folder does not exist.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), fix="Correct the path.")
    return _digest((path for path in sorted(folder.rglob("*")) if path.is_file()), folder, cache)


def _digest(files: Iterable[Path], folder: Path, cache: Path) -> str:
    known = _Remembered(cache)
    hasher = hashlib.sha256()
    for path in files:
        hasher.update(f"{path.relative_to(folder)}\0{known.digest(path)}\n".encode())
    known.save()
    return hasher.hexdigest()[:24]


def _identity_files(folder: Path) -> Iterator[Path]:
    """The files that affect what the model computes, unlike README.md or a manifest."""
    for path in sorted(folder.iterdir()):
        decides = path.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt", ".py"}
        if path.is_file() and decides and path.name != "manifest.json":
            yield path


class _Remembered:
    """Digests of files, kept between runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = read_sealed(path) or {}
        self.changed = False

    def digest(self, path: Path) -> str:
        real = path.resolve()
        if path.is_symlink() and real.parent.name == "blobs" and len(real.name) == 64:
            return real.name
        stat = real.stat()
        key = f"{real}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in self.known:
            self.known[key] = sha256(real)
            self.changed = True
        return self.known[key]

    def save(self) -> None:
        if self.changed:
            remember(self.path, self.known)


def parameter_count(folder: Path) -> int:
    """Parameters in a folder's safetensors files or in a GGUF file, by their headers; tied weights are stored once."""
    if is_gguf(folder):
        return sum(stored_types(folder).values())
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total


def base_model_of(model: str, device: str = "cpu") -> BaseModel:
    """The base model of that name: in float32 on a CPU, in bfloat16 on a GPU."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"the device is {device!r}", fix="Write cpu, cuda or cuda:0.")
    require_device(model, device)
    spec = BaseSpec(model, dtype="float32" if device == "cpu" else "bfloat16", device=device)
    return BaseModel(spec, locate(spec))


def require_device(model: str, device: str) -> None:
    """Raise UserError where the model is to run on a GPU and torch finds none."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        what = f"{model} is to run on {device}, and torch finds no GPU"
        raise UserError(what, fix="Install a CUDA build of torch, or use the device cpu.")
