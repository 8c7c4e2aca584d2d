"""Worker processes on one store: each goes through the whole plan from another starting point; locks divide the work.

A worker writes only to the store; whatever it leaves undone, the run that started it does itself. It ends with that
run, even when the run is killed, because its standard input closes. With several GPUs worker k sees only the k-th
(libraries use the first one that they see); on a CPU each uses the experiment's own number of threads, so that bytes
stay the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.engine.results.looked import Looked, recorded
from harness.engine.store.store import disk_errors
from harness.errors import UserError


@contextmanager
def workers(
    count: int,
    file: Path,
    store: Path,
    settings: Sequence[str],
    say: Callable[[str], None] = print,
    looked: Looked | None = None,
) -> Iterator[list[Path]]:
    """Start `count` processes and end them with the block; yields the log file of each.

    say     called with a line for each process that ended otherwise than by finishing or with the block
    looked  of a run that may stop: they do what is due at the look after those that are done
    Raises UserError for a negative count.
    """
    if count < 0:
        raise UserError(f"{count + 1} workers", fix="Give 1 or more. This process is one of them.")
    logs = [store / "logs" / f"worker-{number}.log" for number in range(1, count + 1)]
    with ExitStack() as running:
        for number, log in enumerate(logs, 1):
            with disk_errors(store):
                log.parent.mkdir(parents=True, exist_ok=True)
                written = running.enter_context(log.open("wb"))
            asked = json.dumps([str(file), str(store), list(settings), number, count + 1, looked and recorded(looked)])
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.engine.workers", asked],
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                env={**os.environ, **seen_gpu(number, os.environ.get("CUDA_VISIBLE_DEVICES"), Path("/dev"))},
            )
            running.callback(_wait, process, f"worker {number}", log, say)
            assert process.stdin
            running.callback(process.stdin.close)
        yield logs


def _wait(process: subprocess.Popen[bytes], name: str, log: Path, say: Callable[[str], None]) -> None:
    if code := process.wait():
        say(f"{name} ended with code {code}; what it left undone was done here. Its log is {log}")


def seen_gpu(number: int, visible: str | None, devices: Path) -> dict[str, str]:
    """The environment in which process `number` sees one GPU of several; empty where there is at most one.

    visible  the value of CUDA_VISIBLE_DEVICES, if it is set; devices: the folder where the system lists them
    """
    found = visible.split(",") if visible else []
    if visible is None:
        found = sorted((path.name[6:] for path in devices.glob("nvidia[0-9]*")), key=int)
    return {"CUDA_VISIBLE_DEVICES": found[number % len(found)]} if len(found) > 1 else {}


def end_with_the_run() -> None:
    """Wait until standard input is closed, and end at once: the store stays consistent at any moment.

    The descriptor is read without Python's buffer: its lock, held by a waiting thread, would abort a worker that has
    finished and is closing its files.
    """
    while os.read(0, 1):
        pass
    os._exit(0)


def worker_main() -> None:
    """Do everything that is not done, beginning at the worker's own part of the plan.

    The one argument is JSON, as `workers` writes it: experiment file, store, settings, number of the worker, count, and
    the looks of a run that may stop.
    """
    from rich.console import Console

    from harness.engine.config import load_experiment
    from harness.engine.progress import Progress
    from harness.engine.results.looked import looked_of
    from harness.engine.run import run_plan
    from harness.engine.stopping import due
    from harness.engine.store.store import Store
    from harness.engine.tuning import plans

    file, folder, settings, number, count, looks = json.loads(sys.argv[1])
    threading.Thread(target=end_with_the_run, daemon=True).start()
    for plan in plans(load_experiment(Path(file), settings), Path(folder)):
        if looks and plan.experiment.stop:
            looked = looked_of(looks)
            plan = due(plan, looked.reached + 1, looked.releases)
        with Progress(Console(soft_wrap=True)) as progress:
            run_plan(plan, Store(Path(folder)), progress, beginning=number / count)


if __name__ == "__main__":
    worker_main()
