"""What the kernel forbids the child that opens untrusted files: called once, after everything is loaded.

Sources: prctl(2), seccomp(2), landlock(7), getrlimit(2), unshare(2); system call numbers of the kernel's tables.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 1, 22, 38, 4
SECCOMP_MODE_FILTER = 2
SIGKILL = 9
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
CLONE_THREAD = 0x00010000
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_CREATE_VERSION = 1
LANDLOCK_READ = 0b1100  # read a file, list a folder
LANDLOCK_RIGHTS_OF_ABI_1 = 0x1FFF
RET_ALLOW, RET_ERRNO, RET_KILL = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS = 1, 38
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
OFFSET_NUMBER, OFFSET_ARCHITECTURE, OFFSET_ARGUMENTS, ARGUMENT_BYTES = 0, 4, 16, 8
X32_BIT = 0x40000000
"""Marks a second table of the same calls on x86-64, which would pass by every comparison."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CAPABILITY_VERSION_3 = 0x20080522
OPEN_FILES = 64
OOM_SCORE, FIRST_TO_GO = Path("/proc/self/oom_score_adj"), "1000"
"""Where memory runs out on the machine, the kernel ends the child, and not the worker that asked it (proc(5))."""


# name: (x86-64, arm64); None where a machine has no such call
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat2": (316, 276),
    "renameat": (264, 38),
    "rmdir": (84, None),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmod": (91, 52),
    "chown": (92, None),
    "fchownat": (260, 54),
    "fchmodat2": (452, 452),
    "lchown": (94, None),
    "fchown": (93, 55),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "creat": (85, None),
    "truncate": (76, 45),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
}
CLONE, CLONE3 = (56, 220), (435, 435)
OPEN, OPENAT, OPENAT2 = (2, None), (257, 56), (437, 437)
TGKILL, PRLIMIT = (234, 131), (302, 261)
FCNTL, IOCTL, PRCTL = (72, 25), (16, 29), (157, 167)
F_SETOWN, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 15, 0x8901, 0x8902
"""Who gets a signal when a descriptor is ready, any signal and any process of this user: kill(2) by another name."""

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def protect(readable: Sequence[Path]) -> list[str]:
    """Give up everything that opening a file does not need; returns the names of the protections that hold.

    Args:
        readable: folders whose files may still be read, such as the Python installation.
    """
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    held: list[str] = []
    with suppress(OSError):  # where /proc cannot be written the kernel chooses by size alone
        OOM_SCORE.write_text(FIRST_TO_GO)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
    libc.prctl(PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    held.append("resource_limits")
    if libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
        held.append("network_namespace")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return held
    held.append("no_new_privs")
    libc.capset(struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24))  # root without them is a user like others
    if _landlock(libc, readable):
        held.append("landlock")
    if _seccomp(libc):
        held.append("seccomp")
    return held


def other_threads() -> int:
    """Count the threads beside this one, Python's and others': what is forbidden from here on would not bind them."""
    folder = Path("/proc/self/task")
    return len(list(folder.iterdir())) - 1 if folder.is_dir() else 0


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Arm the limits for one file.

    Args:
        memory_bytes: address space in all; never more than it was for the files before.
        cpu_seconds: processor time from now on.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _landlock(libc: ctypes.CDLL, readable: Sequence[Path]) -> bool:
    """Let only these folders be read, and nothing be written; False where the kernel has no Landlock."""
    if libc.syscall(LANDLOCK_CREATE, None, 0, LANDLOCK_CREATE_VERSION) < 1:
        return False
    rules = _Ruleset(LANDLOCK_RIGHTS_OF_ABI_1)
    ruleset = libc.syscall(LANDLOCK_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    if ruleset < 0:
        return False
    for folder in readable:
        descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = _PathRule(LANDLOCK_READ, descriptor)
        libc.syscall(LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0)
        os.close(descriptor)
    restricted = libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Forbid sockets, processes, and changes to the file system; False on a machine whose calls are not known here."""
    if platform.machine() not in ARCHITECTURES:
        return False
    column, architecture = ARCHITECTURES[platform.machine()]
    code = program(column, architecture, os.getpid())
    filter_ = _Filter(len(code) // 8, code)
    return libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) == 0


def program(column: int, architecture: int, pid: int) -> bytes:
    """Return the program: another architecture is killed, forbidden calls fail with EPERM, threads may start.

    Args:
        column: which of the calls' numbers are this machine's.
        architecture: the kernel's word for it.
        pid: the child itself, the only process that it may signal: `abort` does.
    """
    lines: list[bytes] = [
        _line(LOAD, OFFSET_ARCHITECTURE),
        _line(JUMP_EQUAL, architecture, 1, 0),
        _line(RETURN, RET_KILL),
        _line(LOAD, OFFSET_NUMBER),
        _line(JUMP_AT_LEAST, X32_BIT, 0, 1),
        _line(RETURN, RET_ERRNO | EPERM),
    ]
    for numbers in FORBIDDEN.values():
        lines += _refused(numbers[column], EPERM)
    # clone3 and openat2 pass their flags in memory, where a filter cannot look: without them, libc uses the older ones
    lines += _refused(CLONE3[column], ENOSYS) + _refused(OPENAT2[column], ENOSYS)
    lines += _allowed_if(CLONE[column], 0, _line(JUMP_SET, CLONE_THREAD, 1, 0))
    lines += _allowed_if(OPEN[column], 1, _line(JUMP_SET, WRITING, 0, 1))
    lines += _allowed_if(OPENAT[column], 2, _line(JUMP_SET, WRITING, 0, 1))
    lines += _allowed_if(TGKILL[column], 0, _line(JUMP_EQUAL, pid, 1, 0))
    lines += _allowed_if(PRLIMIT[column], 0, _line(JUMP_EQUAL, 0, 1, 0))
    lines += _refused_if(FCNTL[column], 1, F_SETOWN, F_SETOWN_EX)
    lines += _refused_if(IOCTL[column], 1, FIOSETOWN, SIOCSPGRP)
    lines += _refused_if(PRCTL[column], 0, PR_SET_PDEATHSIG)
    return b"".join([*lines, _line(RETURN, RET_ALLOW)])


def _refused(number: int | None, error: int) -> list[bytes]:
    return [] if number is None else [_line(JUMP_EQUAL, number, 0, 1), _line(RETURN, RET_ERRNO | error)]


def _allowed_if(number: int | None, argument: int, test: bytes) -> list[bytes]:
    """Return the lines that let a call pass by one of its arguments; `test` jumps over one line where it may."""
    if number is None:
        return []
    load = _line(LOAD, OFFSET_ARGUMENTS + argument * ARGUMENT_BYTES)
    refuse, allow = _line(RETURN, RET_ERRNO | EPERM), _line(RETURN, RET_ALLOW)
    return [_line(JUMP_EQUAL, number, 0, 4), load, test, refuse, allow]


def _refused_if(number: int, argument: int, *values: int) -> list[bytes]:
    """Return the lines that refuse a call where one of its arguments is one of these."""
    load = _line(LOAD, OFFSET_ARGUMENTS + argument * ARGUMENT_BYTES)
    tests = [line for value in values for line in _refused(value, EPERM)]
    return [_line(JUMP_EQUAL, number, 0, len(tests) + 2), load, *tests, _line(RETURN, RET_ALLOW)]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
