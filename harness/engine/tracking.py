"""Reports of an experiment to trackers (`report_to`): the curves of its fits, and the matrix at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.experiment import Experiment
from harness.engine.plan import Node, Plan
from harness.method import plugin_name

if TYPE_CHECKING:
    from harness.training.trackers import Run


@contextmanager
def tracked(plan: Plan, node: Node, store: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Report the trainers that the block makes, where the experiment names trackers, as METHOD-SEED-KEY.

    The method is named by the label of the artifact's first cell, where it has one.
    """
    # of several processes with one fit, the first reports
    if not plan.experiment.report_to or os.environ.get("RANK", "0") != "0":
        yield
        return
    from harness.training.trackers import attached

    label = next((cell.entry.label for cell in plan.cells if cell.node.key == node.key), plugin_name(node.method))
    run = _run(plan.experiment, store, f"{label}-{node.seed}-{node.key[:8]}")
    with attached(plan.experiment.report_to, run, say):
        yield


def show_matrix(
    experiment: Experiment, store: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], markdown: str,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Report the matrix as a table of a run called `matrix`."""
    from harness.training.trackers import TrackedTable, show_table

    show_table(experiment.report_to, _run(experiment, store, "matrix"), TrackedTable(columns, rows, markdown), say)


def _run(experiment: Experiment, store: Path, name: str) -> Run:
    from harness.training.trackers import Run

    folder = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or store / "tensorboard")
    return Run(name, experiment.name, folder / experiment.name)
