"""The two child processes of the sandbox: one runs the program, the other tests what its functions return.

sandbox.py starts both in isolated mode. Each loads the usual modules (the interpreter's own files may be unreadable
afterwards) and lets kernel.py confine it. The tests and the verdict exist in the process of the tests alone.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import json
import os
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NoReturn

from harness.scoring.code.exchange import OPERATIONS, Connection
from harness.scoring.code.kernel import confine

USUAL = (
    "abc array base64 bisect calendar cmath collections collections.abc copy dataclasses datetime decimal difflib enum "
    "fractions functools hashlib heapq io itertools json keyword locale math numbers operator pprint queue random re "
    "secrets socket statistics string struct subprocess sys textwrap threading time timeit types typing unicodedata "
    "unittest uuid zlib"
)
NOT_RAISED = ("os.system", "os.spawn", "ctypes.")
"""Audit events of deeds that the kernel refuses with a number, not an exception."""

NO_PYTHON = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


def run_inside() -> None:
    """Read the job from standard input and take the side that it names."""
    job = json.loads(sys.stdin.buffer.read())
    for name in USUAL.split():
        with contextlib.suppress(ImportError):
            __import__(name)
    wrong = confine(os.getcwd(), job["seconds"], job["megabytes"])
    sys.addaudithook(refuse)
    if job["side"] == "program":
        _run(job, wrong)
    else:
        _report(job["report"], f"unconfined: {wrong}" if wrong else _tested(job))


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise what a program might overlook otherwise. A program can take this hook off: it protects nothing."""
    if event.startswith(NOT_RAISED):
        raise PermissionError(f"{event} is not allowed here")


def _run(job: dict[str, Any], wrong: str) -> NoReturn:
    """Run the program, say how that ended, then do what the tests ask."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def broken(how: str) -> NoReturn:
        os._exit(0)

    line = Connection(job["read"], job["write"], names, ("share", "global", *OPERATIONS), broken)
    line.send(["confined", wrong])
    if wrong:
        os._exit(0)
    line.send(["loaded", ended(job["program"], names)])
    while True:
        line.serve(*line.receive()[1:])


def ended(program: str, names: dict[str, Any]) -> str:
    """Run the program; the result is passed, no_python, wrong (an assertion failed), memory or error."""
    try:
        code = compile(program, "<program>", "exec", dont_inherit=True)
    except NO_PYTHON:
        return "no_python"
    try:
        exec(code, names)
    except AssertionError:
        return "wrong"
    except MemoryError:
        return "memory"
    except BaseException:  # also SystemExit: a program that exits before its tests has not passed them
        return "error"
    return "passed"


def _tested(job: dict[str, Any]) -> str:
    names: dict[str, Any] = {"__name__": "__main__"}

    def broken(how: str) -> NoReturn:
        _report(job["report"], how)

    # the program may call and iterate over what the tests hand to it, and nothing else
    line = Connection(job["read"], job["write"], names, ("call", "next"), broken)
    if wrong := line.receive()[-1]:  # sent before the program runs
        return f"unconfined: {wrong}"
    loaded = line.receive()
    if loaded != ["loaded", "passed"]:
        return next((how for how in ("wrong", "no_python", "memory") if loaded == ["loaded", how]), "error")
    if not job["tests"]:
        return "passed"
    with contextlib.suppress(BaseException):  # what of the problem comes before the function, such as its helpers
        exec(compile(job["head"], "<problem>", "exec", dont_inherit=True), names)
    line.known = {name for name, value in names.items() if isinstance(value, type) and value.__module__ == "__main__"}
    line.ask("share", None, *sorted(line.known))
    with contextlib.suppress(BaseException):  # tests that are not Python end in the same way below
        for name in _globals_of(compile(job["tests"], "<tests>", "exec", dont_inherit=True)):
            if name not in names and not hasattr(builtins, name):
                with contextlib.suppress(KeyError):
                    names[name] = line.ask("global", None, name)
    return ended(job["tests"], names)


def _globals_of(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _report(report: int, how: str) -> NoReturn:
    os.write(report, json.dumps({"ended": how}).encode())
    os._exit(0)
