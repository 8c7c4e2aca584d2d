"""Programs that try to break a promise of the sandbox, each an answer to one problem: the function `f` that squares.

A program that breaks out returns squares, and passes; one that is held fails in one of the ways that it names. The file
is also a script, so that the same programs run as another user and with another interpreter:

    hostile_programs.py ROOT KEPT PORT NAME...        prints a JSON object of name and result
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

TESTS = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\n\ncheck(f)\n"


@dataclass(frozen=True)
class Hostile:
    """A program, the promise that it tries, and how it may end."""

    promise: str
    code: str
    ends: tuple[str, ...]


KERNEL = """
import ctypes, gc, os, socket, sys
for one in gc.get_objects():
    if getattr(one, "__name__", "") == "refuse" and hasattr(one, "__code__"):
        one.__code__ = (lambda event, arguments: None).__code__
libc = ctypes.CDLL(None, use_errno=True)
"""
"""Takes the interpreter's own hook off, so that the kernel is what is left."""

THE_LINE = """
import sys
def line_of():
    frame = sys._getframe(1)
    while "self" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["self"]
"""


def _deed(deed: str, *ends: str) -> str:
    """A function that squares if the deed did not raise."""
    body = "\n".join(f"    {line}" for line in deed.splitlines())
    return f"{KERNEL}def f(x):\n{body}\n    return x * x\n"


def _call(number: str, *arguments: str) -> str:
    """A deed: a raw system call on x86_64 that raises where it fails."""
    return f"if libc.syscall({', '.join((number, *arguments))}) < 0: raise OSError(ctypes.get_errno())"


FORGED = ("wrong", "error")
FORGERIES = {
    "exit at the top": ("raise SystemExit(0)", FORGED),
    "os._exit at the top": ("import os\nos._exit(0)", FORGED),
    "os._exit in the function": ("import os\ndef f(x): os._exit(0)", FORGED),
    "sys.exit in the function": ("import sys\ndef f(x): sys.exit(0)", FORGED),
    "a word at exit": (
        "import atexit, os\ndef f(x): raise KeyboardInterrupt\n"
        '@atexit.register\ndef word(): os.write(4, b\'["loaded", "passed"]\\n\')',
        FORGED,
    ),
    "an object that equals everything": (
        "class Any:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __hash__(self): return 4\ndef f(x): return Any()",
        FORGED,
    ),
    "a number that equals everything": (
        "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def f(x): return Any(1)",
        FORGED,
    ),
    "a list that equals everything": (
        "class Any(list):\n    def __eq__(self, other): return True\ndef f(x): return Any([1])",
        FORGED,
    ),
    "an object that claims another class": (
        "class Any:\n    __class__ = property(lambda self: int)\n    def __eq__(self, other): return True\n"
        "    def __index__(self): return 4\ndef f(x): return Any()",
        FORGED,
    ),
    "a number with its own sign": (
        "class Any(int):\n    def __pos__(self): return 4\n    def __repr__(self): return '4'\ndef f(x): return Any(1)",
        FORGED,
    ),
    "built-in functions replaced": (
        "import builtins\nbuiltins.AssertionError = type('Never', (Exception,), {})\n"
        "builtins.all = builtins.isinstance = lambda *_: True\ndef f(x): return 0",
        (*FORGED, "killed"),
    ),
    "its own check": ("def check(candidate): pass\ndef f(x): return 0", FORGED),
    "its own check in the main module": (
        "import sys\nsys.modules['__main__'].check = lambda candidate: None\ndef f(x): return 0",
        FORGED,
    ),
    "assertions taken out of the compiler": (
        "import builtins\nreal = compile\nbuiltins.compile = lambda *a, **k: real('pass', '', 'exec')\n"
        "builtins.exec = lambda *a: None\ndef f(x): return 0",
        FORGED,
    ),
    "expected values read from frames": (
        "import sys, re\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for text in map(repr, frame.f_locals.values()):\n"
        "            found = re.search(rf'candidate\\({x}\\) == (\\d+)', text)\n"
        "            if found: return int(found[1])\n        frame = frame.f_back\n    return None",
        FORGED,
    ),
    "expected values read from all objects": (
        "import gc, re\ndef f(x):\n    for one in gc.get_objects():\n"
        "        for text in [t for t in (one.values() if isinstance(one, dict) else ()) if isinstance(t, str)]:\n"
        "            found = re.search(rf'candidate.{x}. == (\\d+)', text)\n"
        "            if found and 'gc.get_objects' not in text: return int(found[1])\n    return None",
        FORGED,
    ),
    "expected values read from memory": (
        "def f(x):\n    with open('/proc/self/mem', 'rb') as memory:\n        memory.read(0)\n    return x * x",
        FORGED,
    ),
    "the verdict written to every descriptor": (
        'import os\ndef f(x):\n    for at in range(3, 32):\n        try: os.write(at, b\'{"ended": "passed"}\\n\')\n'
        "        except OSError: pass\n    return 0",
        FORGED,
    ),
    "the word of the other side": (
        'import os\nfor at in range(3, 32):\n    try: os.write(at, b\'["loaded", "passed"]\\n\' * 3)\n'
        "    except OSError: pass\nos._exit(0)",
        FORGED,
    ),
    "an exception that ends the tests": (
        f"{THE_LINE}def f(x):\n    line_of().send(['raise', ['SystemExit'], '0'])",
        FORGED,
    ),
    "a name for an exception that is none": (
        f"{THE_LINE}def f(x):\n    line_of().send(['raise', [['x'], 'object', 'map'], {{}}])",
        FORGED,
    ),
    "a look into an object of the tests": (
        f"{THE_LINE}def f(x):\n"
        "    line = line_of()\n    for held in range(-3, 3):\n"
        "        try: line.ask('get', held, '__globals__')['check'] = print\n"
        "        except Exception: pass\n    return 0",
        FORGED,
    ),
    "an object of the tests as a value": (
        f"{THE_LINE}def f(x):\n    line_of().send(['value', ['yours', -1], {{'0': ['list', []]}}, 5])",
        FORGED,
    ),
    "another packing of values": (
        'import json\njson.dumps = lambda *_: \'{"ended": "passed"}\'\ndef f(x): return 0',
        FORGED,
    ),
    "an endless line": (
        "import os\ndef f(x):\n    while True:\n        for at in range(3, 9):\n"
        "            try: os.write(at, b'[' * 65536)\n            except OSError: pass",
        (*FORGED, "timeout", "memory"),
    ),
    "a value of 100,000 levels": (
        "def f(x):\n    made = []\n    for _ in range(100_000): made = [made]\n    return made",
        (*FORGED, "killed", "memory"),
    ),
    "a value that holds itself": ("def f(x):\n    made = []\n    made.append(made)\n    return made", FORGED),
    "a closed line": ("import os\ndef f(x):\n    os.closerange(3, 32)\n    while True: pass", FORGED),
    "a pickled command": (
        "import os\nclass Any:\n    def __reduce__(self): return os.system, ('true',)\ndef f(x): return Any()",
        FORGED,
    ),
    "a trace of every call": (
        "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)\ndef f(x): return 0",
        FORGED,
    ),
    "an alarm during the tests": (
        "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
        "signal.setitimer(signal.ITIMER_REAL, .01)\n"
        "def f(x):\n    while True: pass",
        FORGED,
    ),
}
PROCESSES = {
    "fork": "os.fork() or os._exit(0)",
    "fork by the C library": "if libc.fork() < 0: raise OSError",
    "vfork by its number": _call("58"),
    "clone3 by its number": _call("435", "0", "0"),
    "a daemon": "os.setsid()\nos.fork() and os._exit(0)\nos.fork() and os._exit(0)",
    "a command": "import subprocess\nsubprocess.run(['true'])",
    "a shell": "if os.system('true'): raise OSError",
    "another program in its place": "os.execv('/bin/true', ['true'])",
    "a thread": "import threading\nthreading.Thread(target=print).start()",
}
PARENT = {
    "a question to the parent": "os.kill(os.getppid(), 0)",
    "the end of the parent": "os.kill(os.getppid(), 9)",
    "the end of everything": "os.kill(-1, 9)",
    "the end of its process group": "os.killpg(0, 9)",
    "a signal by descriptor": "os.close(os.pidfd_open(os.getppid()))",
    "a signal to a thread": _call("234", "os.getppid()", "os.getppid()", "0"),
    "a signal by ownership": "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())",
    "a debugger": "if libc.ptrace(16, os.getppid(), 0, 0) < 0: raise OSError",
    "the parent's memory by its number": _call("310", "os.getppid()", "0", "0", "0", "0", "0"),
    "the parent's environment": "assert b'CANARY' in open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "every environment": "found = [open(f'/proc/{at}/environ').read() for at in os.listdir('/proc') if at.isdigit()]\n"
    "assert 'CANARY' in repr(found)",
    "its own environment": "if not any('CANARY' in name for name in os.environ): raise OSError",
    "the parent's descriptors": "os.listdir(f'/proc/{os.getppid()}/fd')",
    "the parent's limits": "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CORE)",
    "the parent's processors": "os.sched_setaffinity(os.getppid(), {0})",
    "the parent's priority": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
}
NETWORK = {
    "a server on this machine": "socket.socket().connect(('127.0.0.1', PORT))",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "a socket in the file system": "socket.socket(socket.AF_UNIX)",
    "a pair of sockets": "socket.socketpair()",
    "the kernel's own socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "a ring of requests": _call("425", "1", "ctypes.create_string_buffer(256)"),
}
FILES = {
    "a file changed": "open('KEPT', 'w').write('changed')",
    "a file emptied without writing": "os.open('KEPT', os.O_RDONLY | os.O_TRUNC)",
    "a file cut by its name": "os.truncate('KEPT', 0)",
    "a file removed": "os.remove('KEPT')",
    "a file moved": "os.rename('KEPT', 'own')",
    "a file linked": "os.link('KEPT', 'own')",
    "a file changed through a link": "os.symlink('KEPT', 'own')\nopen('own', 'w')",
    "a file made executable": "os.chmod('KEPT', 0o777)",
    "a file's time": "os.utime('KEPT', (0, 0))",
    "a file's attribute": "os.setxattr('KEPT', 'user.x', b'1')",
    "a file read": "open('KEPT').read()",
    "a new file in its folder": "open('KEPT.new', 'w')",
    "a shared memory": "open('/dev/shm/bakeoff-hostile', 'w')",
    "a shared memory by its number": _call("29", "0", "4096", "0o1600"),
    "a file in memory": "os.memfd_create('x')",
    "a named pipe": "os.mkfifo('own')",
    "other roots": "os.chroot('.')",
    "another file system": "if libc.mount(b'none', b'.', b'tmpfs', 0, 0) < 0: raise OSError",
    "a large file": "open('own', 'wb').write(bytes(1 << 24))",
}
KILLED = ("killed", "error")
LIMITS = {
    "10,000 files": (_deed("for at in range(10_000): open(f'own{at}', 'w').close()"), KILLED),
    "60 files of a megabyte": (_deed("for at in range(60): open(f'own{at}', 'wb').write(bytes(1 << 20))"), KILLED),
    "5,000 folders in each other": (
        _deed("for _ in range(5000):\n    os.mkdir('d' * 9)\n    os.chdir('d' * 9)"),
        KILLED,
    ),
    "a closed folder": (
        _deed("os.mkdir('own', 0o300)\nopen('own/x', 'w').close()\nimport time\ntime.sleep(0.3)"),
        KILLED,
    ),
    "much memory": (_deed("made = [bytearray(1 << 24) for _ in range(10_000)]"), ("memory",)),
    "much time": (_deed("while True: pass"), ("timeout",)),
    "much time with the signal ignored": (
        _deed("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"),
        ("timeout",),
    ),
    "more time by its own limit": (
        _deed("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))"),
        ("error",),
    ),
    "many open files": (_deed("made = [open('/dev/null') for _ in range(100)]"), ("error",)),
    "another user": (_deed("os.setresuid(0, 0, 0)"), ("error",)),
    "a new namespace": (_deed("if libc.unshare(0x10000000) < 0: raise OSError"), ("error",)),
}


HARMLESS = "nothing, with the hook off"
"""Passes: so the deeds above fail for what they do, and not for how they are put together."""


def hostile(kept: str, port: int) -> dict[str, Hostile]:
    """All programs by name; they aim at this file and this port."""
    made = {name: Hostile("the verdict", code, ends) for name, (code, ends) in FORGERIES.items()}
    for promise, deeds in (("processes", PROCESSES), ("parent", PARENT), ("network", NETWORK), ("files", FILES)):
        made |= {name: Hostile(promise, _deed(deed), ("error",)) for name, deed in deeds.items()}
    made |= {name: Hostile("limits", code, ends) for name, (code, ends) in LIMITS.items()}
    made[HARMLESS] = Hostile("a harmless program passes", _deed("assert libc.getpid() == os.getpid()"), ("passed",))
    aimed = {"KEPT": kept, "PORT": str(port)}
    for name, one in made.items():
        code = one.code
        for word, value in aimed.items():
            code = code.replace(word, value)
        made[name] = Hostile(one.promise, code, one.ends)
    return made


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]
    from harness.scoring.code.sandbox import Limits, Program, run_programs

    programs = hostile(sys.argv[2], int(sys.argv[3]))
    names = sys.argv[4:] or list(programs)
    ended = run_programs([Program(programs[name].code, "", TESTS) for name in names], Limits(1, 256))
    print(json.dumps({name: one.how for name, one in zip(names, ended, strict=True)}))
