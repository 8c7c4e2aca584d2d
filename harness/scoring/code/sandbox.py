"""Run a program and its tests in a sandbox, and find out how that ended; whatever they do, this process goes on.

The program runs in a process of its own, and its tests in a second one. A test calls a function of the program, which
runs there; its result comes back as plain data (exchange.py), and the test compares it here. So the program never sees
its tests, and the verdict is formed where no code of the program runs. Both processes are confined by the kernel
(kernel.py), each time, and try before they start whether they are:

- no network, no further process or thread, no signal to another process, no other program; root becomes the user
  `nobody`
- an empty environment, no input and output, no descriptors of this process; neither its environment nor its memory can
  be read
- files: they read the standard library and write in one folder, which is removed afterwards; a watch ends a run with
  more than FILES files and folders, or MEGABYTES_OF_FILES together, at its next look (LOOK seconds); a file has at most
  a megabyte, and what is removed while it is open (32 at most) is not counted
- CPU time, memory and open files; both processes end with the run, or with this process

A machine that cannot do all of this has no sandbox: `lacking` says why. Where root's interpreter is in a folder that is
closed to other users, a program can import no more than the usual modules (inside.py), which are loaded before. Not
hidden are the names of files, the time, the machine's name and its processors. A program that runs without tests tells
by itself how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.scoring.code.kernel import NOBODY, lacking

ROOT = str(Path(__file__).resolve().parents[3])
START_INSIDE = (
    f"import sys; sys.path.insert(0, {ROOT!r}); from harness.scoring.code.inside import run_inside; "
    "del sys.path[0]; run_inside()"
)
LARGEST_REPORT = 4096
PATIENCE = 4
"""Wall-clock seconds per second of CPU time, since a machine may be busy and a program may sleep."""

START = 20
"""Wall-clock seconds for the interpreter to start."""

FILES = 64
MEGABYTES_OF_FILES = 16
LOOK = 0.02
HOW = ("passed", "wrong", "error", "no_python", "memory")


@dataclass(frozen=True)
class Program:
    """A program with its tests.

    head   the beginning of the problem that the tests rely on too, such as helper functions
    tests  run where the program cannot reach them; names that they lack are asked of the program
    """

    code: str
    head: str = ""
    tests: str = ""


@dataclass(frozen=True)
class Ended:
    """How a program ended: passed, wrong, error, no_python, memory, timeout, or killed by something else."""

    how: str


@dataclass(frozen=True)
class Limits:
    """Seconds of CPU time and megabytes of memory."""

    seconds: int = 5
    megabytes: int = 512


def run_programs(programs: Sequence[Program | str], limits: Limits, workers: int = 2) -> list[Ended]:
    """How each program ended, in order; equal programs run once. Raises UserError where the sandbox does not work."""
    check_sandbox()
    different = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(workers) as pool:
        ended = dict(zip(different, pool.map(lambda program: run_program(program, limits), different), strict=True))
    return [ended[program] for program in programs]


@cache
def check_sandbox() -> None:
    """Run a program that should pass. Raises UserError with the reason where it does not."""
    if why := lacking():
        raise UserError(why, fix="Leave this benchmark out, or run it on such a machine.")
    sound = Program("import math\ndef gcd(a, b): return math.gcd(a, b)", tests="assert gcd(4, 6) == 2")
    ended = run_program(sound, Limits(seconds=10))
    if ended.how != "passed":
        raise UserError(
            f"the sandbox does not work here: a program that should pass ended as {ended.how!r}",
            fix="Leave this benchmark out, or run it on another machine.",
        )


def run_program(program: Program | str, limits: Limits) -> Ended:
    """Run one program. Raises UserError where the kernel did not confine it; nothing else does."""
    held = program if isinstance(program, Program) else Program(program)
    with _folder() as folder, ExitStack() as stack:
        (report, reported), (asked, asks), (told, tells) = os.pipe(), os.pipe(), os.pipe()
        ends = [report, reported, asked, asks, told, tells]
        try:
            runs = {"side": "program", "program": held.code, "read": asked, "write": tells}
            tests = {"side": "tests", "head": held.head, "tests": held.tests, "read": told, "write": asks}
            running = stack.enter_context(_process({**runs, **vars(limits)}, folder, (asked, tells)))
            job = {**tests, "report": reported, **vars(limits)}
            testing = stack.enter_context(_process(job, folder, (told, asks, reported)))
            for end in ends[1:]:
                os.close(end)
            del ends[1:]
            return _verdict(report, folder, running, testing, limits)
        finally:
            for end in ends:
                os.close(end)


def _verdict(
    report: int, folder: str, running: subprocess.Popen[bytes], testing: subprocess.Popen[bytes], limits: Limits
) -> Ended:
    end = time.monotonic() + START + PATIENCE * limits.seconds
    while not select.select([report], [], [], LOOK)[0]:
        if time.monotonic() > end:
            return Ended("timeout")
        if _holds_too_much(folder):
            return Ended("killed")
    if _holds_too_much(folder):
        return Ended("killed")
    try:
        how = str(json.loads(os.read(report, LARGEST_REPORT))["ended"])
    except ValueError:  # it ended without a report
        return _without_a_word(testing)
    if how.startswith("unconfined"):
        raise UserError(f"the kernel does not confine programs here ({how})", fix="Leave this benchmark out.")
    # the program's process ended before its tests did
    return _without_a_word(running) if how == "lost" else Ended(how if how in HOW else "error")


def _without_a_word(process: subprocess.Popen[bytes]) -> Ended:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return Ended("error")  # it left its line and went on
    out_of_time = code in (-signal.SIGXCPU, -signal.SIGKILL)
    return Ended("timeout" if out_of_time else "error" if code == 0 else "killed")


@contextlib.contextmanager
def _process(job: dict[str, Any], folder: str, ends: tuple[int, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A process at work on the job; it is killed at the end. It has no children: the kernel refuses it any."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", START_INSIDE],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder},
        pass_fds=ends,
        start_new_session=True,
    )
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as entrance:  # type: ignore[union-attr]
            entrance.write(json.dumps(job).encode())
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="bakeoff-")
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        # unlike shutil.rmtree, these two do not recurse, so folders of any depth are removed
        if subprocess.run(["rm", "-rf", "--", folder], capture_output=True).returncode:
            subprocess.run(["chmod", "-R", "u+rwx", "--", folder], capture_output=True)
            subprocess.run(["rm", "-rf", "--", folder], capture_output=True)


def _holds_too_much(folder: str) -> bool:
    found, size, to_read = 0, 0, [folder]
    try:
        while to_read:
            with os.scandir(to_read.pop()) as entries:
                for entry in entries:
                    found += 1
                    size += entry.stat(follow_symlinks=False).st_size
                    if found > FILES or size > MEGABYTES_OF_FILES << 20:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        to_read.append(entry.path)
    except FileNotFoundError:  # it removed something in the meantime
        return False
    except OSError:  # too deep, or closed to us
        return True
    return False
