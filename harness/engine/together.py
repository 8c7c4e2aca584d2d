"""One fit by several processes of this machine: started, followed and ended from the process that runs the matrix.

torch's launcher starts them; `one_of_several.py` is the work of each. They end with the process that started them, even
when it is killed, because their standard input closes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.experiment import Experiment
from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, processes_of

if TYPE_CHECKING:
    from harness.engine.plan import Node

PROGRESS = "progress\t"


class FailedTogether(Exception):
    """One of several processes failed for this reason, which may be that memory ran out."""


def require_gpus(nodes: Iterable[Node]) -> None:
    """Raise UserError where a fit by several processes has not a GPU for each."""
    for node in nodes:
        count = processes_of(node.method)
        if count > 1 and node.base.spec.device.startswith("cuda") and count > (seen := torch.cuda.device_count()):
            less = f"Set processes to {seen} or less, and run without --workers."
            raise UserError(
                f"{node.title} is fitted by {count} processes, and this process sees {seen} GPUs",
                fix=less if seen > 1 else "Leave parallel out.",
            )


def fit_together(
    experiment: Experiment, store: Path, node: Node, out: Path, context: FitContext
) -> tuple[FitReport, float]:
    """Fit with `context.processes` processes: the report, and the peak memory in MB of the largest of them."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = {
            "file": str(experiment.file.resolve()),
            "settings": list(experiment.settings),
            "store": str(store.resolve()),
            "key": node.key,
            "out": str(out.resolve()),
            "scratch": scratch,
            "micro_batch": context.micro_batch,
            "processes": context.processes,
        }
        code, log = _launched(asked, node.base.spec.device, context)
        told = [json.loads(path.read_text("utf-8")) for path in sorted(Path(scratch).glob("process-*.json"))]
    if code or any("error" in one for one in told) or len(told) < context.processes:
        raise _failure(told, code, log)
    report = told[0]["report"]
    context.notes.update(told[0]["notes"], processes=context.processes)
    return FitReport(**report), max(one["mb"] for one in told)


def _launched(asked: dict[str, Any], device: str, context: FitContext) -> tuple[int, Sequence[str]]:
    """The launcher's exit code, and its last lines."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={asked['processes']}"]
    hidden = {} if device.startswith("cuda") else {"CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, *launcher, "-m", "harness.engine.one_of_several", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **hidden},
    )
    lines: list[str] = []
    assert process.stdout
    assert process.stdin
    try:
        for line in process.stdout:
            if line.startswith(PROGRESS):
                context.progress(*json.loads(line.removeprefix(PROGRESS)))
            else:
                lines = [*lines, line.rstrip()][-20:]
        return process.wait(), lines
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def _failure(told: Sequence[dict[str, Any]], code: int, log: Sequence[str]) -> Exception:
    """The first process's error as this process would have raised it."""
    for one in told:
        if "error" in one:
            error = one["error"]
            if error["memory"]:
                return MemoryError("out of memory in one of several processes")
            if error["user"]:
                return UserError(error["user"][0], where=error["user"][1], fix=error["user"][2])
            return FailedTogether(f"{error['reason']}\n{error['trace']}")
    return FailedTogether(f"a process ended with code {code}: {' / '.join(log[-5:])}")
