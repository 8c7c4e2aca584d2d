"""The sandbox: what a program may not do, that it cannot claim to have passed, and that this process goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_programs
import pytest

from harness.scoring.code import kernel
from harness.scoring.code.sandbox import Limits, Program, check_sandbox, run_program, run_programs

QUICK = Limits(seconds=5, megabytes=256)  # a busy machine takes its time to fill that memory
FORKS = """
import os
for _ in range(100):
    os.fork()
assert False
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
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)"
        assert run_program(call, QUICK).how == "error"
        # whoever called first stands first in the server's queue: this test itself
        with socket.create_connection(server.getsockname(), 5) as own:
            connection, caller = server.accept()
            connection.close()
            assert caller == own.getsockname()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a nobody to become")
def test_root_becomes_nobody() -> None:
    assert (
        run_program("import os\nassert os.getresuid() == (65534,) * 3 and os.getgroups() == []", QUICK).how == "passed"
    )


def judged(code: str, tests: str, head: str = "") -> str:
    return run_program(Program(f"{head}\n{code}", head, tests), QUICK).how


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(*a): return a", "assert f(1, 2.5, 'x', None, True, b'y') == (1, 2.5, 'x', None, True, b'y')"),
        ("def f(x): return [x, {x: (x,)}, {x}]", "assert f(2**70) == [2**70, {2**70: (2**70,)}, {2**70}]"),
        (
            "def f(): return float('inf'), float('nan'), -0.0, '\\ud800'",
            "a, b, c, d = f()\nassert a > 1e308 and b != b and str(c) == '-0.0' and d == '\\ud800'",
        ),
        (
            "from collections import *\ndef f(t): return Counter(t)",
            "assert f('aab') == {'a': 2, 'b': 1} and f('a')['z'] == 0",
        ),
        (
            "from decimal import *\nfrom fractions import *\ndef f(): return Decimal('0.1'), Fraction(1, 3)",
            "from decimal import *\nfrom fractions import *\nassert f() == (Decimal('0.1'), Fraction(1, 3))",
        ),
        ("def f(x): return x is True", "assert f(True) is True and type(f(1)) is bool"),
        ("def f(): return 10**5000", "assert f() == 10**5000"),
        ("def f(x): x.append(1); x.sort()", "x = [3, 2]\nassert f(x) is None and x == [1, 2, 3]"),
        ("def f(x): x['b'] = {1}; return x", "x = {'a': 0}\nassert f(x) is x and x == {'a': 0, 'b': {1}}"),
        (
            "def f(n):\n    while True:\n        yield n\n        n += 1",
            "from itertools import islice\nassert list(islice(f(2), 3)) == [2, 3, 4]",
        ),
        ("def f(x): return map(str, x)", "assert list(f([1, 2])) == ['1', '2']"),
        ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
        ("def f(g, x): return [g(one) for one in x]", "assert f(lambda n: n * n, range(4)) == [0, 1, 4, 9]"),
        ("def f(x): return [one for one in x if type(one) is int]", "assert f([1, 'a', 2.0]) == [1]"),
        ("def f(kind, x): return [one for one in x if isinstance(one, kind)]", "assert f(int, [1, 'a']) == [1]"),
        (
            "def f(x): raise ValueError(x)",
            "try:\n    f('no')\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    assert 0",
        ),
        ("class Own(KeyError): pass\ndef f(): raise Own()", "try:\n    f()\nexcept LookupError:\n    pass"),
        (
            "def f(): print('said')",
            "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out:\n    f()\n"
            "assert out.getvalue() == 'said\\n'",
        ),
        (
            "class F:\n    def __init__(self): self.n = 0\n    def up(self, by=1): self.n += by; return self.n",
            "a = F()\nassert a.up() == 1 and a.up(by=2) == 3 and a.n == 3",
        ),
        ("def f(): open('own', 'w').write('x')", "f()\nassert open('own').read() == 'x'"),
        ("def f(a, *, b=2): return a - b", "assert f(a=3, b=1) == 2 and f(1) == -1"),
        (
            "from datetime import *\ndef f(d): return d + timedelta(1)",
            "from datetime import *\nassert f(date(2024, 2, 28)) == date(2024, 2, 29)",
        ),
    ],
)
def test_tests_read_values_as_if_the_function_were_their_own(code: str, tests: str) -> None:
    assert judged(code, tests) == "passed"


def test_objects_of_the_problems_own_classes_are_compared_by_its_own_definition() -> None:
    head = "from dataclasses import dataclass\n@dataclass\nclass Node:\n    value: int\n    after: object = None\n"
    tests = "n = Node(1, Node(2))\nassert f(n) == Node(2, Node(1))\ng(n)\nassert n == Node(5, Node(2))"
    right = "def f(n): return Node(n.after.value, Node(n.value))\ndef g(n): n.value = 5"
    assert judged(right, tests, head) == "passed"
    lying = "class Node:\n    value, after = 0, None\n    def __eq__(self, other): return True\n"
    lying += "def f(n):\n    made = Node()\n    made.value, made.after = 0, None\n    return made\ndef g(n): pass"
    assert judged(lying, tests, head) == "wrong"


def test_tests_that_catch_everything_still_end_with_the_program() -> None:
    caught = "try:\n    f()\nexcept BaseException:\n    pass"
    assert judged("def f(): raise SystemExit", caught) == "passed"
    assert judged("import os\ndef f(): os._exit(0)", caught) == "error"
    assert judged("def f(): return 1", f"{caught}\nassert f() == 2") == "wrong"


def test_helpers_of_the_problem_are_the_tests_own_and_others_the_programs() -> None:
    head = "def double(x): return 2 * x\n"
    assert judged("def double(x): return 0\ndef f(x): return 0", "assert f(2) == double(2)", head) == "wrong"
    assert judged("def half(x): return x / 2\ndef f(x): return x", "assert half(f(2)) == 1") == "passed"
    assert judged("def f(x): return x", "assert nothing(f(2)) == 1") == "error"


def test_a_program_without_an_import_does_not_borrow_one_from_the_sandbox() -> None:
    assert run_program("def f(x: List[int]): pass", QUICK).how == "error"


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


def test_a_machine_that_cannot_confine_a_program_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_landlock_version", lambda: -1)
    assert "needs Landlock" in kernel.lacking()
    monkeypatch.setattr(kernel.platform, "machine", lambda: "riscv64")
    assert "64-bit Linux" in kernel.lacking()


def test_both_filters_jump_to_what_they_hold_and_refuse_by_default() -> None:
    """Every path through the filter ends at a return, and no jump leaves it."""
    for machine in kernel.MACHINES:
        code = kernel.filter_of(machine)
        steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
        for at, (kind, yes, no, _) in enumerate(steps):
            if kind in (kernel.EQUAL, kernel.AT_LEAST):
                assert max(at + 1 + yes, at + 1 + no) < len(steps)
        assert steps[-1] == (kernel.RETURN, 0, 0, kernel.REFUSE)


ORDINARY = 23456
"""A user that owns nothing."""

AS_ORDINARY: dict[str, Any] = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}


def pythons() -> list[str]:
    """An interpreter for this user; for root also one that an ordinary user may run."""
    if os.geteuid():
        return [sys.executable]
    for name in (sys.executable, *filter(None, map(shutil.which, ("/usr/bin/python3", "/usr/local/bin/python3")))):
        ask = [name, "-c", "import sys, resource, ctypes; sys.exit(sys.version_info < (3, 11))"]
        try:
            if (
                subprocess.run(
                    ask, user=ORDINARY, group=ORDINARY, extra_groups=[], capture_output=True, cwd="/"
                ).returncode
                == 0
            ):
                return [sys.executable, name]
        except OSError:  # not for this user
            continue
    return [sys.executable]


def ends_of(folder: Path, names: list[str], python: str, user: int) -> dict[str, str]:
    """How these programs end for this user; nothing of them is left, and what they aim at is as it was."""
    code, aim, temporary = folder / "code", folder / "aim", folder / "temporary"
    shutil.copytree(
        Path(kernel.__file__).parents[3] / "harness", code / "harness", ignore=shutil.ignore_patterns("models")
    )
    shutil.copy(hostile_programs.__file__, code)
    for own in (aim, temporary):
        own.mkdir()
        own.chmod(0o777)
    kept = aim / "kept"
    kept.write_text("as it was")
    kept.chmod(0o666)
    # what the sandbox protects is the program's own: its user's, or that of the user that root becomes
    owner = user or 65534
    for path in (aim, kept):
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
    as_user = AS_ORDINARY if user != os.geteuid() else {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        done = subprocess.run(
            [python, str(code / "hostile_programs.py"), str(code), str(kept), str(server.getsockname()[1]), *names],
            env={"TMPDIR": str(temporary), "SOME_CANARY": "very-secret"},
            capture_output=True,
            cwd="/",
            check=False,
            **as_user,
        )
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == 0, done.stderr.decode()
    assert kept.read_text() == "as it was"
    assert kept.stat().st_mode & 0o777 == 0o666
    assert [path.name for path in aim.iterdir()] == ["kept"]
    assert list(temporary.iterdir()) == []
    assert still_running(temporary) == []
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def still_running(temporary: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if place.startswith(str(temporary)):
            found.append(process.name)
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_program_ends_with_the_process_that_started_it(open_folder: Path) -> None:
    """Killed with SIGKILL, this process can end nothing itself."""
    root = Path(kernel.__file__).parents[3]
    code = "from harness.scoring.code.sandbox import *\nrun_program('import time\\ntime.sleep(600)', Limits(600))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, env={"TMPDIR": str(open_folder)}) as starting:
        end = time.monotonic() + 60
        while len(still_running(open_folder)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)  # both have started, and one sleeps
        assert len(still_running(open_folder)) == 2
        starting.kill()
    while still_running(open_folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert still_running(open_folder) == []


def tried(folder: Path, names: list[str]) -> None:
    programs = hostile_programs.hostile("", 0)
    for python, user in zip(pythons(), (os.geteuid(), ORDINARY), strict=False):
        own = folder / str(user)
        own.mkdir()
        ends = ends_of(own, names, python, user)
        assert list(ends) == names
        escaped = {name: how for name, how in ends.items() if how not in programs[name].ends}
        assert escaped == {}, f"user {user}"


def test_some_hostile_programs_keep_every_promise(open_folder: Path) -> None:
    names = ["an object that equals everything", "the verdict written to every descriptor", "a debugger"]
    names += [
        "a daemon",
        "the parent's environment",
        "a server on this machine",
        "a file changed",
        "5,000 folders in each other",
        hostile_programs.HARMLESS,
    ]
    tried(open_folder, names)


@pytest.mark.slow
def test_all_hostile_programs_keep_every_promise(open_folder: Path) -> None:
    names = list(hostile_programs.hostile("", 0))
    assert len(names) > 60
    tried(open_folder, names)
