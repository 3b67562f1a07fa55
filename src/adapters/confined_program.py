"""Starts one program with few rights, and ends it with its parent.

`python -I -m adapters.confined_program <parent> <descriptor> <limits> <program> ...` gives up what it can, says on the
descriptor what it gave up, starts the program, and ends as that does. When the parent dies, so does all that this
has started: the kernel tells that to one process alone, to this one, which leads the group of them all. The limits are
JSON, numbers by the names of getrlimit(2) without `RLIMIT_`. Sources: prctl(2), getrlimit(2), unshare(2),
user_namespaces(7).
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import NoReturn

from config.child_process import die_with_parent

PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


HANDLED = (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGXFSZ)
"""What Python answers or ignores, or this module does; a program starts with the system's own answers."""


def main() -> None:
    """Start the program and end as it does."""
    parent, descriptor, limits, program = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]
    signal.signal(signal.SIGTERM, _end_all)
    die_with_parent(parent)
    held = ["own_session", *_protect(), "resource_limits"]
    child = os.fork()
    if child:
        os.close(descriptor)
        _end_as(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    for name, value in limits.items():
        hard = value + 1 if name == "CPU" else value  # at the hard limit the kernel kills, and nobody can tell why
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, hard))
    for one in HANDLED:
        signal.signal(one, signal.SIG_DFL)
    os.write(descriptor, json.dumps(held).encode())
    os.close(descriptor)
    os.execv(program[0], program)  # noqa: S606 - no shell is the purpose


def _end_all(_signal: int, _frame: object) -> None:
    """End this process and all that it has started."""
    os.killpg(0, signal.SIGKILL)


def _end_as(code: int) -> NoReturn:
    """End with a code, or by the signal that a negative one is."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for one in HANDLED:
            signal.signal(one, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _protect() -> list[str]:
    """Give up the network and the way to more rights where the kernel allows; returns what holds."""
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    held: list[str] = []
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) == 0:
        held.append("network_namespace")
    elif libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
        _stay(user, group)
        held.append("network_namespace")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no_new_privs")
    return held


def _stay(user: int, group: int) -> None:
    """Be the same user in the new namespace, so that the program finds its files to be its own."""
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")


if __name__ == "__main__":
    main()
