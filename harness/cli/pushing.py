"""The verb `push`: a results folder, and artifacts of it, on the hub. It shows what would be sent, and asks."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from harness.cli.screen import printer
from harness.engine.hub import README, Parcel, artifact_cell, artifact_files, hub_token, repository, send
from harness.engine.showable import counted
from harness.engine.store.mirror import open_store
from harness.engine.store.store import Place, Store
from harness.errors import UserError, did_you_mean
from harness.files import read_json
from harness.report.collect import collect
from harness.report.model_card import Pushed, model_card
from harness.report.pushed_results import results_parcel, without_texts


def push_verb(
    folder: Path, repo: str, artifacts: Sequence[str], place: Place, *, texts: bool, public: bool, dry: bool, yes: bool
) -> None:
    """Show what would be sent; unless that is all, ask, and send it."""
    repository(repo)
    say = printer()
    with tempfile.TemporaryDirectory(prefix="bakeoff-push-") as room:
        parcels = list(_parcels(folder, repo, artifacts, place, texts, Path(room)))
        for parcel in parcels:
            for line in _described(parcel, public):
                say(line)
        if dry:
            say("Nothing was sent. Next: the same without --dry-run")
            return
        token = hub_token()
        _confirm(yes)
        for parcel in parcels:
            say(f"sent: {send(parcel, token, public=public)}")


def _parcels(
    folder: Path, repo: str, artifacts: Sequence[str], place: Place, texts: bool, room: Path
) -> Iterator[Parcel]:
    results = results_parcel(folder, repo)
    if not texts:
        results = results_parcel(without_texts(folder, room / folder.resolve().name), repo)
    yield results
    for word in artifacts:
        yield _artifact(folder, open_store(place), word)


def _artifact(folder: Path, store: Store, word: str) -> Parcel:
    """An artifact with its card, of METHOD=OWNER/NAME or METHOD/SEED=OWNER/NAME."""
    named, _, repo = word.rpartition("=")
    if not named:
        fix = "Write METHOD=OWNER/NAME or METHOD/SEED=OWNER/NAME, such as --artifact sft/0=my-lab/sft-model."
        raise UserError(f"--artifact {word} names no repository for it", fix=fix)
    repository(repo)
    model = collect(folder)
    labels = {one.label: one for one in model.matrix.methods}
    label, _, seed = (named, "", "") if named in labels else named.rpartition("/")
    if label not in labels or (seed and not seed.isdecimal()):
        what = f"--artifact {word}: these results have no method {label or named!r}"
        raise UserError(what, where=str(folder), fix=did_you_mean(label or named, labels))
    key, cell = artifact_cell(read_json(folder / "matrix.json")["cells"], store, label, int(seed) if seed else None)
    files = artifact_files(store, key)
    block = next((one for one in model.blocks if one.base == cell["base"]), model.blocks[0])
    library = "peft" if "adapter_config.json" in files else "transformers" if "config.json" in files else ""
    pushed = Pushed(block, labels[label], int(cell["seed"]), key, library)
    return Parcel(repo, "model", {README: model_card(model, pushed).encode(), **files})


def _described(parcel: Parcel, public: bool) -> Iterator[str]:
    """The repository, and every file with its size."""
    sizes = {name: parcel.size(name) for name in parcel.files}
    shown = "public" if public else "private, unless it exists already"
    total = f"{counted(len(sizes), 'file')}, {_bytes(sum(sizes.values()))}"
    yield f"{parcel.kind} repository {parcel.repo} ({shown}): {total}"
    yield from (f"  {_bytes(size):>10}  {name}" for name, size in sizes.items())
    if parcel.texts:
        yield f"samples.parquet and the report hold prompts, answers and references of {', '.join(parcel.texts)}."
        yield "Where these data sets may not be passed on, add --without-texts."
    yield "The licence is left to you: add it to the README.md of the repository."
    yield ""


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _confirm(yes: bool) -> None:
    """Ask. Raises UserError outside of a terminal, and leaves where the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            "nothing is sent without a yes, and this is not a terminal to ask in", fix="Add --yes, or --dry-run."
        )
    if not typer.confirm("Send this?"):
        raise typer.Exit
