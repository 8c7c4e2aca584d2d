"""Run a program in the sandbox and learn how it ended; whatever it does, this process goes on.

A process of its own with an empty environment, no input and nowhere to print to, in a folder that is removed
afterwards. What holds it (harness/scoring/code/inside.py): the kernel's limits on CPU time, memory, file size and
processes; a network namespace where the system allows one, else a refusal of sockets, which `Ended.cut_off` tells
apart; root becomes nobody. It says that it passed by a secret that the program was never given.
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
"""Seconds on the clock for each second of CPU: a machine may be busy, and a program may sleep."""

START = 20
"""Seconds on the clock for the interpreter to start."""


@dataclass(frozen=True)
class Ended:
    """How a program ended: passed, wrong, error, no_python, memory, timeout, or killed by something else.

    cut_off  it had no network by the kernel's hand, not by refusal alone
    """

    how: str
    cut_off: bool = True


@dataclass(frozen=True)
class Limits:
    """seconds of CPU time, megabytes of memory."""

    seconds: int = 5
    megabytes: int = 512


def run_programs(programs: Sequence[str], limits: Limits, workers: int = 2) -> list[Ended]:
    """How each ended, in order; equal programs run once. Raises UserError where the sandbox does not work here."""
    check_sandbox()
    different = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(workers) as pool:
        ended = dict(zip(different, pool.map(lambda program: run_program(program, limits), different), strict=True))
    return [ended[program] for program in programs]


@cache
def check_sandbox() -> None:
    """Try it: a program that ought to pass does. Raises UserError, saying why, where it does not."""
    if sys.platform == "win32":
        raise UserError("programs are run in a sandbox of Linux and macOS", fix="Run this benchmark there.")
    ended = run_program("import math, collections\nassert math.gcd(4, 6) == 2", Limits(seconds=10))
    if ended.how != "passed":
        raise UserError(
            f"the sandbox does not work here: a right program ended as {ended.how!r}",
            fix="Leave this benchmark out, or run it where processes, namespaces and limits may be set.",
        )


def run_program(program: str, limits: Limits) -> Ended:
    """Run one. It never raises for what the program does."""
    read, write = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="bakeoff-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o777)  # whoever it becomes may write here
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
    """The exit code; None where the clock ran out. Its whole group is ended with it."""
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
    # a program that ends the process itself, before its tests were through
    return Ended("timeout" if out_of_time else "error" if code == 0 else "killed")
