"""A results folder as a place: one process writes it at a time, for one experiment, and it is either current or not."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.engine.experiment import Experiment
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Plan
from harness.engine.results.digests import is_intact
from harness.engine.results.looked import Looked, looked_of
from harness.engine.results.schema import CLAIMS_FILE, JOINT_FILES
from harness.engine.results.write import results_digest
from harness.engine.states import State
from harness.engine.store.store import Store, this_process
from harness.errors import UserError
from harness.files import check_writable, read_json

OWNER = "process.partial"  # names the process that writes the folder; removed like other partial files


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep the folder for this process; what a killed process left unfinished in it is removed.

    Raises UserError where it cannot be written, or where another process holds it. The lock is on the folder itself
    and ends with its process, so none is ever stale.
    """
    check_writable(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"{_owner(folder)} is writing these results"
            fix = "Wait for it, or name another folder with --out. Two runs may share a store."
            raise UserError(what, where=str(folder), fix=fix) from None
        except OSError:  # a file system without locks
            pass
        for leftover in folder.glob("*.partial"):
            with suppress(OSError):
                leftover.unlink()
        (folder / OWNER).write_text(this_process(), "utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / OWNER).unlink()
    finally:
        os.close(handle)


def _owner(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text("utf-8")
    except OSError:
        return "another process"


def replaced(folder: Path, experiment: Experiment) -> str:
    """A line where the folder holds results of another text of this experiment; "" where it does not.

    Raises UserError where they are of an experiment of another name.
    """
    own = folder / "experiment.yaml"
    if not own.is_file() or own.resolve() == experiment.file.resolve() or own.read_bytes() == _text(experiment):
        return ""
    name = _matrix(folder).get("name", experiment.name)
    if name != experiment.name:
        what = f"it holds the results of the experiment {name!r}, and this one is {experiment.name!r}"
        raise UserError(what, where=str(folder), fix="Name another folder with --out, or remove this one.")
    return f"{folder} holds results of another version of this experiment: they are replaced."


def is_current(folder: Path, plan: Plan, states: Sequence[State], store: Store, looked: Looked | None = None) -> bool:
    """Whether the results folder is complete, undamaged, and was written from the same plan, states and looks."""
    joints = joint_cells(plan, store)
    own = folder / "experiment.yaml"
    if not own.is_file() or not is_intact(folder) or (joints and not (folder / JOINT_FILES[0]).exists()):
        return False
    if own.resolve() != plan.experiment.file.resolve() and own.read_bytes() != _text(plan.experiment):
        return False
    if recorded_looks(folder) != looked:  # a whole run and one that may stop are reported in different ways
        return False
    if _recorded_claims(folder) != (plan.experiment.claims.text if plan.experiment.claims else None):
        return False
    return bool(_matrix(folder).get("digest") == results_digest(plan, [*states], joints, store))


def recorded_looks(folder: Path) -> Looked | None:
    """The looks of the folder's run, where it was one that may stop."""
    with suppress(KeyError, TypeError, ValueError):
        return looked_of(_matrix(folder)["stop"])
    return None


def _recorded_claims(folder: Path) -> str | None:
    """The text of the claims that the folder's report tested; None where they are the shipped ones."""
    with suppress(OSError, ValueError):
        return (folder / CLAIMS_FILE).read_text("utf-8")
    return None


def _text(experiment: Experiment) -> bytes:
    return experiment.text.encode("utf-8", "backslashreplace")


def _matrix(folder: Path) -> dict[str, Any]:
    """matrix.json; empty where it is missing or damaged."""
    with suppress(UserError, OSError, ValueError):
        matrix = read_json(folder / "matrix.json")
        if isinstance(matrix, dict):
            return matrix
    return {}
