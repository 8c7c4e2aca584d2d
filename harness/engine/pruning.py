"""Pruning of a store: artifacts that finished outcomes do not need any more, and what killed runs left behind.

A finished outcome holds its items and the costs of its fits, so neither report nor a later run reads its artifact. An
artifact is kept where a cell still has to be scored with it: a cell of the experiments that are named, or, where no
finished outcome has read the artifact yet, a cell of any experiment. Whatever is pruned is fitted again by the first
cell that needs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.engine import cost
from harness.engine.plan import Plan
from harness.engine.states import state_of
from harness.engine.store.kept import blocks_of
from harness.engine.store.store import Store, disk_errors
from harness.errors import UserError


@dataclass(frozen=True)
class StoredPiece:
    """An artifact or a leftover in a store.

    why  why it is kept; "" where it can be pruned
    """

    path: Path
    title: str
    bytes: int
    why: str = ""


def survey(store: Store, plans: Sequence[Plan]) -> list[StoredPiece]:
    """Every artifact and leftover of the store, those that can be pruned first. Nothing is changed."""
    needed = _needed(store, plans)
    read = {document["artifact"] for _, document in store.documents("outcomes")}
    documents = dict(store.documents("artifacts"))
    # what a scored artifact was made from has been read, too
    waiting = [*read]
    while waiting:
        for key in documents.get(waiting.pop(), {}).get("inputs", {}).values():
            if key not in read:
                read.add(key)
                waiting.append(key)
    found = [*_leftovers(store, documents), *_blocks(store, plans)]
    for key, document in documents.items():
        fields = ", ".join(
            f"{name}={value}" for name, value in document["fields"].items() if not isinstance(value, dict)
        )
        title = f"{document['method']} ({fields:.60}) on {document['base']['name']}, seed {document['seed']}"
        why = needed.get(key, "" if key in read else "no cell has been scored with it yet")
        folder = store.folder("artifacts", key)
        found.append(StoredPiece(folder, title, cost.stored_bytes(folder), why))
    return sorted(found, key=lambda one: (bool(one.why), -one.bytes, one.title, str(one.path)))


def _needed(store: Store, plans: Iterable[Plan]) -> dict[str, str]:
    """The artifacts that unfinished cells need, each with the first such cell."""
    found: dict[str, str] = {}
    for plan in plans:
        for cell in plan.cells:
            state = state_of(cell, store)
            if state.name in ("to run", "running", "failed"):
                for key in (cell.node.key, *cell.node.beneath):
                    found.setdefault(key, f"{cell.title} is {state.name}")
    return found


def _blocks(store: Store, plans: Sequence[Plan]) -> Iterator[StoredPiece]:
    """The results that are kept of unfinished cells; a cell of the plans, or without any a cell at all, needs them."""
    titles = {cell.key: cell.title for plan in plans for cell in plan.cells if not cell.why}
    for key, folder in blocks_of(store):
        title, why = "results of a cell that is not done", ""
        if store.done("outcomes", key):
            title = "results of a cell that is done"
        elif key in titles:
            why = f"{titles[key]} goes on from them"
        elif not plans:
            why = "no experiment is named that says whether its cell is still asked for"
        yield StoredPiece(folder, title, cost.stored_bytes(folder), why)


def _leftovers(store: Store, finished: Collection[str]) -> Iterator[StoredPiece]:
    """Folders without a true marker, and files that were being written when a process was killed."""
    for area in ("artifacts", "outcomes", "joint"):
        for folder in sorted((store.root / area).glob("*")):
            if not (folder / "done").exists():
                yield StoredPiece(folder, f"left in {area} by a killed run", cost.stored_bytes(folder))
            elif area == "artifacts" and folder.name not in finished:
                yield StoredPiece(folder, f"damaged: {store.damage(area, folder.name)}", cost.stored_bytes(folder))
    for folder in sorted((store.root / "temporary").glob("*")):
        yield StoredPiece(folder, "left by a killed run", cost.stored_bytes(folder))
    for file in sorted(store.root.rglob("*.partial")):
        if "temporary" not in file.parts:
            yield StoredPiece(file, "left by a killed run", file.stat().st_size)


def prune(store: Store, chosen: Iterable[StoredPiece]) -> None:
    """Delete what was chosen. Raises UserError where a run is at work on the store, or where it cannot be written."""
    for _, process in store.held():
        raise UserError(f"{process} is at work on the store", where=str(store.root), fix="Wait until it has ended.")
    with disk_errors(store.root):
        for one in chosen:
            if one.path.is_dir():
                with suppress(FileNotFoundError):
                    (one.path / "done").unlink()  # first: a killed deletion leaves nothing that looks finished
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
