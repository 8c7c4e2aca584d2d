"""The child process of the sandbox: it gives up its rights, runs one program, and reports how the program ended.

`sandbox.py` starts it as a script in isolated mode, so it imports the standard library alone. In this order it loads
the usual modules (the interpreter's own files may be unreadable afterwards), leaves the network, changes from root to
the user `nobody`, sets limits, and installs a hook that refuses what the kernel still allows. Then the program runs.

The hook shares the interpreter with the program, so a program written to evade it can. It stops mistakes of a model;
the kernel's limits stop the rest. Run answers of a model that you distrust in a container.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import resource
import sys
import time
from typing import Any

USUAL = (
    "abc array base64 bisect calendar cmath collections collections.abc copy dataclasses datetime decimal difflib enum "
    "fractions functools hashlib heapq io itertools json keyword locale math numbers operator pprint queue random re "
    "secrets socket statistics string struct subprocess sys textwrap threading time timeit types typing unicodedata "
    "unittest uuid zlib"
)
"""Includes socket and subprocess, so that the hook refuses them rather than a file that cannot be read."""

NEW_USER, NEW_NETWORK, NEW_IPC = 0x10000000, 0x40000000, 0x08000000
NO_NEW_PRIVILEGES = 38
NOBODY = 65534
REFUSED = (
    "socket.", "subprocess.", "ctypes.", "pty.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.system", "os.kill", "_thread.start_new_thread", "sys.addaudithook", "sys.remote_exec", "webbrowser.", "urllib.",
    "ftplib.", "http.client.", "smtplib.", "resource.prlimit", "resource.setrlimit",
)  # fmt: skip
CHANGES = (
    "os.chflags", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.removexattr", "os.rename", "os.rmdir",
    "os.setxattr", "os.symlink", "os.truncate", "os.utime", "shutil.",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def leave_the_network() -> bool:
    """Enter a namespace without network interfaces; False where the kernel or the container does not allow it."""
    # other users than root need a user namespace of their own for that
    kinds = NEW_NETWORK | NEW_IPC | (0 if os.geteuid() == 0 else NEW_USER)
    try:
        return bool(ctypes.CDLL(None).unshare(kinds) == 0)
    except AttributeError:  # not Linux
        return False


def become_nobody() -> None:
    """Change from root to the user `nobody`; other users stay as they are."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def set_limits(seconds: int, megabytes: int) -> None:
    """Kernel limits on CPU time, memory, file size, open files and processes."""
    spent = math.ceil(time.process_time())  # starting up is not the program's time
    limits = {
        resource.RLIMIT_CPU: spent + seconds,
        resource.RLIMIT_AS: megabytes << 20,
        resource.RLIMIT_FSIZE: 1 << 20,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def refuse(folder: str) -> None:
    """Refuse network, processes, threads and changes to files outside the folder from now on."""
    inside = os.path.realpath(folder) + os.sep

    def allowed(path: Any) -> bool:
        if isinstance(path, int):
            return path <= 2
        return os.path.realpath(os.fsdecode(path)).startswith(inside) or path == os.devnull

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(sign in mode for sign in "wax+") if isinstance(mode, str) else (flags or 0) & WRITING
            if writes and not allowed(path):
                raise PermissionError(f"writing {path!r} is not allowed here")
        elif event.startswith(REFUSED):
            raise PermissionError(f"{event} is not allowed here")
        elif event == "import" and str(arguments[0]).startswith(("ctypes", "_ctypes", "_posixsubprocess")):
            raise PermissionError(f"{arguments[0]} is not allowed here")
        elif event.startswith(CHANGES) and not all(map(allowed, filter(_is_path, arguments))):
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(watch)


def _is_path(argument: object) -> bool:
    return isinstance(argument, (str, bytes, os.PathLike))


def ended(program: str) -> str:
    """Run the program; the result is passed, no_python, wrong (an assertion failed), memory or error."""
    try:
        code = compile(program, "<program>", "exec")
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return "no_python"
    try:
        exec(code, {"__name__": "__main__"})
    except AssertionError:
        return "wrong"
    except MemoryError:
        return "memory"
    except BaseException:  # also SystemExit: a program that exits before its tests has not passed them
        return "error"
    return "passed"


def run_inside() -> None:
    """Read the job from standard input; write the result and the job's secret to the descriptor that it names."""
    job = json.loads(sys.stdin.buffer.read())
    for name in USUAL.split():
        with contextlib.suppress(ImportError):
            __import__(name)
    cut_off = leave_the_network()
    become_nobody()
    set_limits(job["seconds"], job["megabytes"])
    for name in [name for name in sys.modules if name.lstrip("_").startswith("ctypes")]:
        del sys.modules[name]
    refuse(os.getcwd())
    told = {"ended": ended(job["program"]), "secret": job["secret"], "cut_off": cut_off}
    os.write(job["report"], json.dumps(told).encode())
    os._exit(0)


if __name__ == "__main__":
    run_inside()
