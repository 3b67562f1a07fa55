"""Jobs for the sandboxed child that misbehave, each in its own way."""

import ctypes
import fcntl
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from processors.errors import FileError
from services import child_protections

F_SETOWN_EX, FIOSETOWN, PR_SET_PDEATHSIG = 15, 0x8901, 1


def echo(file, options, report):
    report(50, "half of it")
    return {"text": file.read().decode(), "options": dict(options)}


def environment(file, options, report):
    return dict(os.environ)


def hang(file, options, report):
    while True:
        time.sleep(60)


def burn(file, options, report):
    while True:
        pass


def swallow(file, options, report):
    kept = []
    while True:
        kept.append(bytearray(50 * 1024**2))


def swallow_natively(file, options, report):
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while libc.malloc(50 * 1024**2):
        pass
    os.abort()


def flood(file, options, report):
    return {"text": "x" * 20 * 1024**2}


def crash(file, options, report):
    ctypes.string_at(0)


def refuse(file, options, report):
    raise FileError("The file is encrypted.", "encrypted")


def fail(file, options, report):
    raise KeyError("not what I expected")


def babble(file, options, report):
    os.write(int(sys.argv[1]), options["said"].encode("latin-1") + b"\n")
    hang(file, options, report)


def hang_up(file, options, report):
    os.close(int(sys.argv[1]))
    hang(file, options, report)


def complain(file, options, report):
    os.write(2, b"so many warnings\n" * 10_000)
    return {"text": file.read().decode()}


def reach_out(file, options, report):
    """Try everything that a taken-over parser would try; tell what worked."""
    tries = {
        "socket": socket.socket,
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": lambda: os.fork() or os._exit(0),
        "write": lambda: Path(options["target"]).write_text("x"),
        "read": Path("/etc/passwd").read_text,
        "unlink": Path(options["victim"]).unlink,
        "rename": lambda: Path(options["victim"]).rename(options["target"]),
        "kill": lambda: os.kill(options["pid"], 0),
        "signal a parent": lambda: os.kill(os.getppid(), 0),
        "signal a parent's thread": lambda: _call("tgkill", os.getppid(), os.getppid(), 0),
        "signal a thread": lambda: _call("tkill", os.getppid(), 0),
        "hold a parent": lambda: os.pidfd_open(os.getppid()),
        "have the kernel signal a parent": lambda: fcntl.fcntl(int(sys.argv[1]), fcntl.F_SETOWN, os.getppid()),
        "the same by F_SETOWN_EX": lambda: fcntl.fcntl(
            int(sys.argv[1]), F_SETOWN_EX, struct.pack("ii", 1, os.getppid())
        ),
        "the same by ioctl": lambda: fcntl.ioctl(int(sys.argv[1]), FIOSETOWN, struct.pack("i", os.getppid())),
        "outlive a parent": lambda: _call("prctl", PR_SET_PDEATHSIG, 0),
        "take more memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40)),
        "move a parent": lambda: os.sched_setaffinity(os.getppid(), {0}),
        "limit a parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE),
        "slow a parent": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 1),
        "change a time": lambda: os.utime(options["victim"]),
        "change an attribute": lambda: os.setxattr(options["victim"], "user.x", b"x"),
        "change an owner": lambda: os.lchown(options["victim"], -1, -1),
        "shared memory": lambda: _call("shmget", 0, 4096, 0o1600),
        "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    }
    return {"worked": [name for name, attempt in tries.items() if _works(attempt)], "environment": sorted(os.environ)}


def _call(name, *arguments):
    numbers = {"tkill": (200, 130), "tgkill": (234, 131), "shmget": (29, 194), "prctl": (157, 167)}[name]
    column, _ = child_protections.ARCHITECTURES[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(numbers[column], *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _works(attempt):
    try:
        attempt()
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return True
