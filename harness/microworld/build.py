"""Building a model: pretrain from scratch, probe, and write a Hugging Face folder with its manifest."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, did_you_mean
from harness.microworld.corpus import MIXES, corpus_digest
from harness.microworld.pretrain import Schedule, Shape, new_model, pretrain
from harness.microworld.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


SIZES: dict[str, tuple[Shape, tuple[Schedule, ...]]] = {
    "tiny": (
        Shape(hidden=40, layers=2, heads=4, feed_forward=112),
        (Schedule(tokens=4_500_000, learning_rate=5e-3, autocast="none"),),
    ),
    "small": (
        Shape(hidden=64, layers=3, heads=4, feed_forward=176),
        (Schedule(tokens=4_500_000, learning_rate=5e-3, autocast="none"),),
    ),
    "small-seen": (
        Shape(hidden=64, layers=3, heads=4, feed_forward=176),
        (Schedule(tokens=4_500_000, learning_rate=5e-3, autocast="none", mix="seen"),),
    ),
    "large": (
        Shape(hidden=128, layers=6, heads=4, feed_forward=384),
        (
            Schedule(tokens=4_000_000, learning_rate=2.5e-3, batch=4, compiled=True),
            Schedule(tokens=3_000_000, learning_rate=2e-3, batch=4, compiled=True, mix="people"),
        ),
    ),
}
SEED_OF_NEXT_PHASE = 1000
MODELS = Path(__file__).parent / "models"


def path(name: str) -> Path:
    """The folder of a model that is shipped with the package."""
    if name not in SIZES:
        raise UserError(f"unknown shipped model {name!r}", fix=did_you_mean(name, SIZES))
    return MODELS / name


def build(
    size: str,
    out: str | Path,
    tokens: int | None = None,
    seed: int = 0,
    progress: bool = True,
    hidden: int | None = None,
    layers: int | None = None,
    probe_rows: int = 100,
) -> Path:
    """Pretrain a model and write it to the folder `out`.

    size    one of `SIZES`, or custom, which needs `hidden` and `layers`
    tokens  number of training tokens (default: the size's own)
    """
    shape, schedules = _plan(size, hidden, layers, tokens)
    model, began = new_model(shape, seed), time.time()
    curves = []
    for number in range(len(schedules)):
        with _shown(schedules[number].steps, progress, f"{size}, phase {number + 1}") as on_step:
            curves.append(run_phase(model, schedules, number, seed, on_step))
    facts = {"size": size, "seed": seed, "shape": asdict(shape), "phases": describe(schedules, curves, seed)}
    return write(model, Path(out), {**facts, "seconds": round(time.time() - began)}, probe_rows, progress)


def run_phase(
    model: LlamaForCausalLM, schedules: Sequence[Schedule], number: int, seed: int, on_step: Any = None
) -> list[tuple[int, float]]:
    """Train one phase; a later one starts from weights rounded as stored, so it can also start from a folder."""
    import torch

    if number:
        model.to(torch.bfloat16).to(torch.float32)
    return pretrain(model, schedules[number], seed + number * SEED_OF_NEXT_PHASE, on_step)


def describe(
    schedules: Sequence[Schedule], curves: Sequence[list[tuple[int, float]]], seed: int
) -> list[dict[str, Any]]:
    """The manifest's entry for each phase: its corpus, schedule and losses."""
    return [
        {
            "corpus": {
                "digest": corpus_digest(seed + number * SEED_OF_NEXT_PHASE, schedule.mix),
                "mix": MIXES[schedule.mix],
            },
            "schedule": asdict(schedule),
            "loss": curve,
        }
        for number, (schedule, curve) in enumerate(zip(schedules, curves, strict=True))
    ]


def _plan(size: str, hidden: int | None, layers: int | None, tokens: int | None) -> tuple[Shape, tuple[Schedule, ...]]:
    shape, schedules = _custom(size, hidden, layers) if size not in SIZES else SIZES[size]
    whole = sum(schedule.tokens for schedule in schedules)
    compiler = bool(shutil.which("c++"))
    return shape, tuple(
        replace(schedule, tokens=schedule.tokens * (tokens or whole) // whole, compiled=schedule.compiled and compiler)
        for schedule in schedules
    )


def _custom(size: str, hidden: int | None, layers: int | None) -> tuple[Shape, tuple[Schedule, ...]]:
    if size != "custom":
        raise UserError(f"unknown size {size!r}", fix=did_you_mean(size, [*SIZES, "custom"]))
    if not hidden or not layers or hidden % 32:
        raise UserError(
            f"a custom size needs hidden and layers, got {hidden} and {layers}",
            fix="Give hidden as a multiple of 32, and layers of at least 1.",
        )
    shape = Shape(hidden, layers, heads=max(1, hidden // 32), feed_forward=hidden * 3)
    return shape, (Schedule(tokens=5_500_000, learning_rate=3e-3),)


@contextmanager
def _shown(steps: int, progress: bool, title: str) -> Iterator[Any]:
    """A progress bar with the loss of the last step; yields the function to call after each step."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task(f"pretraining {title}", total=steps)
        yield lambda step, loss: bar.update(task, completed=step, description=f"pretraining {title}, loss {loss:.3f}")


def write(model: LlamaForCausalLM, folder: Path, facts: dict[str, Any], probe_rows: int, progress: bool) -> Path:
    """Store, probe and describe a model; bfloat16 halves its size, and probes before and after show the cost."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    before = _probe(model, probe_rows)
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.generation_config.pad_token_id = model.config.pad_token_id
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    make_tokenizer().save_pretrained(folder)
    _declare_full_precision(folder)
    after = _probe(load_shipped_model(folder), probe_rows)
    manifest = {**facts, **_surroundings(), "probes": after, "probes before storage": before}
    manifest["sha256"] = {"model.safetensors": digest_of_file(folder / "model.safetensors")}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    if progress:
        print(json.dumps(after))
    return folder


def _declare_full_precision(folder: Path) -> None:
    """Make loaders, which take a model's dtype from its config, compute in float32."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["dtype"] = "float32"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_shipped_model(folder: str | Path) -> LlamaForCausalLM:
    """A model from its folder, in float32."""
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _probe(model: LlamaForCausalLM, rows: int) -> dict[str, float]:
    from harness.microworld.probes import probe

    return probe(model, make_tokenizer(), rows) if rows else {}


def _surroundings() -> dict[str, Any]:
    import torch

    libraries = {name: version(name) for name in ("torch", "transformers", "tokenizers")}
    return {
        "parameters stored as": "bfloat16",
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **libraries},
    }


def digest_of_file(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
