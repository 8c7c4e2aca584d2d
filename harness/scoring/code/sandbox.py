"""Run a program in a sandbox and find out how it ended; whatever it does, this process goes on.

The program runs in its own process with an empty environment, no input and no output, in a folder that is removed
afterwards. inside.py confines it: kernel limits on CPU time, memory, file size and processes; a network namespace where
the system allows one, else a refusal of sockets (`Ended.cut_off` tells which); root becomes the user `nobody`. The
result is trusted because it comes with a secret that the program never sees.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UserError

INSIDE = Path(__file__).with_name("inside.py")
LARGEST_REPORT = 4096
PATIENCE = 4
"""Wall-clock seconds per second of CPU time, since a machine may be busy and a program may sleep."""

START = 20
"""Wall-clock seconds for the interpreter to start."""


@dataclass(frozen=True)
class Ended:
    """How a program ended: passed, wrong, error, no_python, memory, timeout, or killed by something else.

    cut_off  whether the kernel kept it from the network, not only the hook
    """

    how: str
    cut_off: bool = True


@dataclass(frozen=True)
class Limits:
    """Seconds of CPU time and megabytes of memory."""

    seconds: int = 5
    megabytes: int = 512


def run_programs(programs: Sequence[str], limits: Limits, workers: int = 2) -> list[Ended]:
    """How each program ended, in order; equal programs run once. Raises UserError where the sandbox does not work."""
    check_sandbox()
    different = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(workers) as pool:
        ended = dict(zip(different, pool.map(lambda program: run_program(program, limits), different), strict=True))
    return [ended[program] for program in programs]


@cache
def check_sandbox() -> None:
    """Run a program that should pass. Raises UserError with the reason where it does not."""
    if sys.platform == "win32":
        raise UserError("the sandbox needs Linux or macOS", fix="Run this benchmark there.")
    ended = run_program("import math, collections\nassert math.gcd(4, 6) == 2", Limits(seconds=10))
    if ended.how != "passed":
        raise UserError(
            f"the sandbox does not work here: a program that should pass ended as {ended.how!r}",
            fix="Leave this benchmark out, or run it where a process may set limits and namespaces.",
        )


def run_program(program: str, limits: Limits) -> Ended:
    """Run one program. Nothing that the program does raises an error here."""
    read, write = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="bakeoff-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o777)  # the user that it becomes may write here
            secret = secrets.token_hex(16)
            job = {"program": program, "secret": secret, "report": write}
            code = _in_a_process(json.dumps({**job, **vars(limits)}), folder, write, limits)
        os.close(write)
        write = -1
        return _ended(os.read(read, LARGEST_REPORT), secret, code)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def _in_a_process(job: str, folder: str, report: int, limits: Limits) -> int | None:
    """The exit code, or None where time ran out. The whole process group is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(INSIDE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder},
        pass_fds=(report,),
        start_new_session=True,
    )
    try:
        process.communicate(job.encode("utf-8", "surrogatepass"), timeout=START + PATIENCE * limits.seconds)
        return process.returncode
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ended(report: bytes, secret: str, code: int | None) -> Ended:
    try:
        told: dict[str, Any] = json.loads(report)
        if told["secret"] == secret:
            return Ended(str(told["ended"]), bool(told["cut_off"]))
    except (ValueError, KeyError, TypeError):
        pass
    out_of_time = code is None or code in (-signal.SIGXCPU, -signal.SIGKILL)
    # exit code 0 without a report: the program ended the process before its tests finished
    return Ended("timeout" if out_of_time else "error" if code == 0 else "killed")
