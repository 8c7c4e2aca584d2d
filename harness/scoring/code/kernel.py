"""Make the Linux kernel refuse a process, for good, other files, most system calls, much memory or time, privileges.

`lacking` tells whether this machine can refuse all of it, and `confine` does so for the process that calls it.
Landlock (Linux 5.13) leaves it files of its own folder and reading of the standard library; a filter of system calls
(seccomp) leaves it a list of harmless ones, so that it can neither start a process nor reach one. Both need no
privileges. Imports the standard library alone: the confined process loads this file before it loses its rights.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

if sys.platform != "win32":
    import resource

NOBODY = 65534
LARGEST_FILE = 1 << 20
DESCRIPTORS = 32

# prctl's operations
PARENT_DEATH, NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 1, 38, 22, 2

# audit architecture of <linux/audit.h>, and the column of the tables below
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
ALLOWED_CALLS = """
read:0:63 write:1:64 close:3:57 fstat:5:80 newfstatat:262:79 lseek:8:62 mmap:9:222 mprotect:10:226 munmap:11:215
mremap:25:216 madvise:28:233 mincore:27:232 brk:12:214 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139
rt_sigpending:127:136 rt_sigsuspend:130:133 rt_sigtimedwait:128:137 sigaltstack:131:132 restart_syscall:219:128
pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 dup:32:23 dup3:292:24 nanosleep:35:101 clock_nanosleep:230:115
clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 times:100:153 getitimer:36:102 setitimer:38:103
getpid:39:172 getppid:110:173 gettid:186:178 getpgid:121:155 getsid:124:156 getuid:102:174 geteuid:107:175
getgid:104:176 getegid:108:177 getgroups:115:158 exit:60:93 exit_group:231:94 uname:63:160 sysinfo:99:179
getrusage:98:165 flock:73:32 fsync:74:82 fdatasync:75:83 ftruncate:77:46 getcwd:79:17 chdir:80:49 fchdir:81:50
umask:95:166 getpriority:140:141 statfs:137:43 fstatfs:138:44 statx:332:291 sched_yield:24:124
sched_getaffinity:204:123 getcpu:309:168 futex:202:98 set_tid_address:218:96 set_robust_list:273:99 rseq:334:293
membarrier:324:283 getdents64:217:61 mkdirat:258:34 unlinkat:263:35 renameat:264:38 renameat2:316:276
readlinkat:267:78 faccessat:269:48 faccessat2:439:439 pselect6:270:72 ppoll:271:73 pipe2:293:59 getrandom:318:278
close_range:436:436 sendfile:40:71 copy_file_range:326:285 stat:4: lstat:6: poll:7: access:21: pipe:22: select:23:
dup2:33: pause:34: alarm:37: getdents:78: rename:82: mkdir:83: rmdir:84: unlink:87: readlink:89: time:201:
arch_prctl:158: getpgrp:111: getrlimit:97:163 getresuid:118:148 getresgid:120:150 getxattr:191:8 lgetxattr:192:9
listxattr:194:11 llistxattr:195:12
"""
"""name:number on x86_64:number on aarch64. Any other call fails with EPERM."""

# the commands of a call that are harmless: no signal to an owner (fcntl), no typing into a terminal (ioctl)
ALLOWED_COMMANDS = {
    (72, 25): (1, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),  # fcntl: duplicate, flags, locks
    (16, 29): (1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),  # ioctl: questions about a terminal, flags
    (302, 261): (0, (0,)),  # prlimit64: its own limits, which are hard
}
FLAGS_AT = {"x86_64": {2: 1, 257: 2}, "aarch64": {56: 2}}
"""Numbers of open and openat, and which argument holds their flags."""

ACCESS_MODE, TRUNCATE = 0o3, 0o1000
X32 = 0x40000000

LOAD, EQUAL, AT_LEAST, MASK, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06  # BPF
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000

READ, READ_AND_WRITE_FILE = 0b1100, 0b110  # Landlock: files and folders; one device
SPECIAL_FILES = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
"""Landlock: devices, sockets, named pipes and symbolic links may not be made even in the own folder."""

EXECUTE = 1
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom")


def lacking() -> str:
    """The reason why this machine cannot confine a program, or ""."""
    if sys.platform != "linux" or platform.machine() not in MACHINES or sys.maxsize < 1 << 32:
        return f"the sandbox needs 64-bit Linux on {' or '.join(MACHINES)}"
    # without a filter to read, a kernel that knows filters says EFAULT, and changes nothing
    if _libc().prctl(SET_SECCOMP, FILTER, None, 0, 0) == 0 or ctypes.get_errno() != errno.EFAULT:
        return "the sandbox needs seccomp, which this kernel or container does not offer"
    if _landlock_version() < 1:
        return "the sandbox needs Landlock (Linux 5.13), which this kernel or container does not offer"
    return ""


def confine(folder: str, seconds: int, megabytes: int) -> str:
    """Confine this process, and try the confinement. Returns "" or what was not refused."""
    parent = os.getppid()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    # a process whose parent ends must end too; the change of user above would have taken that back
    if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or _libc().prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0):
        return "a gain of privileges"
    if os.getppid() != parent:
        os._exit(1)
    _limit(seconds, megabytes)
    if not _keep_files(folder):
        return "files outside its folder"
    if not _keep_calls():
        return "system calls"
    return ", ".join(_not_refused(parent))


def _limit(seconds: int, megabytes: int) -> None:
    spent = math.ceil(time.process_time())  # starting up is not the program's time
    limits = {
        resource.RLIMIT_CPU: spent + seconds,
        resource.RLIMIT_AS: megabytes << 20,
        resource.RLIMIT_FSIZE: LARGEST_FILE,
        resource.RLIMIT_NOFILE: DESCRIPTORS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def _not_refused(parent: int) -> Iterator[str]:
    """The deeds that the confinement exists to refuse, tried."""
    deeds: dict[str, Callable[[], Any]] = {
        "the parent's environment": lambda: open(f"/proc/{parent}/environ", "rb"),  # noqa: SIM115
        "the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb"),  # noqa: SIM115
        "a signal to the parent": lambda: os.kill(parent, 0),
        "another process": lambda: os.fork() or os._exit(0),
        "the network": socket.socket,
        "a program of the system": lambda: os.execv("/bin/true", ["true"]),
    }
    for name, deed in deeds.items():
        try:
            deed()
        except OSError:
            continue
        yield name


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _landlock_version() -> int:
    return int(_libc().syscall(444, None, 0, 1))


def _keep_files(folder: str) -> bool:
    version, libc = _landlock_version(), _libc()
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    everything = (1 << rights) - 1
    rules = struct.pack("Q", everything)
    handle = libc.syscall(444, rules, len(rules), 0)
    if handle < 0:
        return False
    libraries = (os.path.dirname(os.__file__), *SYSTEM)
    granted = dict.fromkeys(libraries, READ) | {os.devnull: READ_AND_WRITE_FILE}
    granted[folder] = everything & ~SPECIAL_FILES & ~EXECUTE
    for path, right in granted.items():
        _grant(libc, handle, path, right)
    done: bool = libc.syscall(446, handle, 0) == 0
    os.close(handle)
    return done


def _grant(libc: ctypes.CDLL, handle: int, path: str, right: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # this system has no such folder, or its files are closed to this user anyway
        return
    if not os.path.isdir(path):
        right &= READ_AND_WRITE_FILE
    libc.syscall(445, handle, 1, struct.pack("=Qi", right, opened), 0)
    os.close(opened)


def _keep_calls() -> bool:
    """One filter for this process; it cannot be taken off."""
    code = filter_of(platform.machine())

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    return bool(_libc().prctl(SET_SECCOMP, FILTER, ctypes.byref(Filter(len(code) // 8, code)), 0, 0) == 0)


def filter_of(machine: str) -> bytes:
    """The filter in BPF: 8 bytes an instruction (code, jump if true, jump if false, operand)."""
    architecture, column = MACHINES[machine]
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    # x86_64 answers to a second set of numbers
    code += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, REFUSE)]
    for entry in ALLOWED_CALLS.split():
        if listed := entry.split(":")[1 + column]:
            code += [(EQUAL, 0, 1, int(listed)), (RETURN, 0, 0, ALLOW)]
    for numbers, (argument, commands) in ALLOWED_COMMANDS.items():
        allowed = [step for command in commands for step in ((EQUAL, 0, 1, command), (RETURN, 0, 0, ALLOW))]
        code += _asked(numbers[column], argument, [*allowed, (RETURN, 0, 0, REFUSE)])
    for number, argument in FLAGS_AT[machine].items():
        # a file that is opened for reading may not be emptied: the first versions of Landlock do not see that
        emptied = [(MASK, 0, 0, ACCESS_MODE | TRUNCATE), (EQUAL, 0, 1, TRUNCATE), (RETURN, 0, 0, REFUSE)]
        code += _asked(number, argument, [*emptied, (RETURN, 0, 0, ALLOW)])
    code.append((RETURN, 0, 0, REFUSE))
    return b"".join(struct.pack("HBBI", *step) for step in code)


def _asked(number: int, argument: int, steps: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """The steps for one call, with the low half of an argument loaded."""
    return [(EQUAL, 0, 1 + len(steps), number), (LOAD, 0, 0, 16 + 8 * argument), *steps]
