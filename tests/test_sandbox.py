"""The sandbox: what a program may not do, that it cannot claim to have passed, and that this process goes on."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from harness.scoring.code.sandbox import Limits, check_sandbox, run_program, run_programs

QUICK = Limits(seconds=5, megabytes=256)  # a busy machine takes its time to fill that memory
FORKS = """
import os
for _ in range(100):
    os.fork()
assert False
"""
BY_THE_KERNEL = """
import gc, sys
# the hook is the one function whose source calls itself watch: without it, the kernel is what is left
watch = next(one for one in gc.get_objects() if getattr(one, "__name__", "") == "watch" and hasattr(one, "__code__"))
def nothing(event, arguments): pass
watch.__code__ = nothing.__code__.replace(co_freevars=watch.__code__.co_freevars)
"""


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("assert sum([1, 2]) == 3", "passed"),
        ("from typing import List\nimport math, heapq, re\nassert math.pi > 3", "passed"),
        ("print('x' * 10**6)", "passed"),
        ("import sys\nsys.stderr.write('x' * 10**6)", "passed"),
        ("open('own.txt', 'w').write('x')\nassert open('own.txt').read() == 'x'", "passed"),
        ("assert 1 == 2", "wrong"),
        ("1 / 0", "error"),
        ("def broken(:", "no_python"),
        ("x = '\ud800'", "no_python"),
        ("\x00", "no_python"),
        ("(" * 100_000, "no_python"),
        ("raise SystemExit(0)", "error"),
        ("import os\nos._exit(0)", "error"),
        ("input()", "error"),
        ("def f(): f()\nf()", "error"),
        ("import subprocess\nsubprocess.run(['true'])", "error"),
        ("import os\nos.system('true')", "error"),
        ("import threading\nthreading.Thread(target=print).start()", "error"),
        ("import ctypes\nctypes.CDLL(None).getpid()", "error"),
        ("import os\nos.kill(os.getppid(), 9)", "error"),
        (FORKS, "error"),
        ("x = bytearray(10**10)", "memory"),
        ("x = []\nwhile True: x.append('x' * 10**6)", "memory"),
        ("open('big', 'wb').write(b'x' * 10**7)", "error"),
    ],
)
def test_how_a_program_ends(program: str, ended: str) -> None:
    assert run_program(program, QUICK).how == ended


def test_a_loop_ends_by_the_limit_of_time() -> None:
    start = time.monotonic()
    assert run_program("while True: pass", Limits(seconds=1)).how == "timeout"
    assert time.monotonic() - start < 60


def test_no_file_outside_its_folder_is_made_changed_or_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("as it was")
    tmp_path.chmod(0o777)
    kept.chmod(0o666)
    for deed in (
        f"open({str(kept)!r}, 'w').write('changed')",
        f"open({str(kept)!r}, 'a').write('changed')",
        f"import os\nos.open({str(kept)!r}, os.O_TRUNC | os.O_WRONLY)",
        f"import os\nos.remove({str(kept)!r})",
        f"import os\nos.rename({str(kept)!r}, 'mine')",
        f"import os\nos.truncate({str(kept)!r}, 0)",
        f"import pathlib\npathlib.Path({str(tmp_path / 'new')!r}).mkdir()",
        f"import shutil\nshutil.rmtree({str(tmp_path)!r})",
        f"import os\nos.chdir({str(tmp_path)!r})\nopen('kept.txt', 'w')",
        f"import os\nos.symlink({str(kept)!r}, 'link')\nopen('link', 'w')",
    ):
        assert run_program(deed, QUICK).how == "error", deed
        assert kept.read_text() == "as it was", deed
        assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"], deed


def test_a_server_on_this_machine_is_not_reached() -> None:
    """Both through the hook and, where the kernel gives it a network of its own, without it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)"
        assert run_program(call, QUICK).how == "error"
        unhooked = run_program(f"{BY_THE_KERNEL}\n{call}", QUICK)
        if not unhooked.cut_off:
            pytest.skip("no network namespace can be had here: the hook alone refuses sockets")
        assert unhooked.how == "error"
        # whoever called first stands first in the server's queue: this test itself
        with socket.create_connection(server.getsockname(), 5) as own:
            connection, caller = server.accept()
            connection.close()
            assert caller == own.getsockname()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a nobody to become")
def test_without_the_hook_root_is_still_nobody(tmp_path: Path) -> None:
    """The kernel's part alone: files of others and further processes are refused."""
    kept = tmp_path / "kept.txt"
    kept.write_text("as it was")
    deed = f"{BY_THE_KERNEL}\nopen({str(kept)!r}, 'w')"
    assert run_program(deed, QUICK).how == "error"
    assert kept.read_text() == "as it was"
    assert run_program(f"{BY_THE_KERNEL}\nimport os\nassert os.getuid() == 65534\nos.fork()", QUICK).how == "error"


def test_the_environment_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "very-secret")
    assert run_program("import os\nassert 'SOME_KEY' not in os.environ", QUICK).how == "passed"
    assert run_program("import sys\nassert not any('site-packages' in p for p in sys.path)", QUICK).how == "passed"


def test_a_program_that_writes_to_the_report_has_not_passed() -> None:
    write = 'os.write(at, b\'{"ended": "passed"}\')'
    forged = f"import os\nfor at in range(3, 32):\n  try: {write}\n  except OSError: pass\n"
    assert run_program(f"{forged}os._exit(0)", QUICK).how == "error"
    assert run_program(f"{forged}assert False", QUICK).how != "passed"


def test_equal_programs_run_once_and_results_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.scoring.code.sandbox as sandbox

    check_sandbox()
    ran: list[str] = []

    def noted(program: str, limits: Limits) -> object:
        ran.append(program)
        return run_program(program, limits)

    monkeypatch.setattr(sandbox, "run_program", noted)
    found = run_programs(["pass", "assert 0", "pass"], QUICK, workers=2)
    assert [one.how for one in found] == ["passed", "wrong", "passed"]
    assert sorted(ran) == ["assert 0", "pass"]
