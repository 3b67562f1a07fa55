"""Starts one program with few rights.

`python -I -m adapters.confined_program <parent> <descriptor> <limits> <program> ...` gives up what it can, says on the
descriptor what it gave up, and becomes the program. The limits are JSON, numbers by the names of getrlimit(2) without
`RLIMIT_`. Sources: prctl(2), getrlimit(2), unshare(2), user_namespaces(7).
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path

from config.child_process import die_with_parent

PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> None:
    """Become the program."""
    parent, descriptor, limits, program = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]
    die_with_parent(parent, signal.SIGKILL)
    held = ["own_session", *_protect()]
    for name, value in limits.items():
        hard = value + 1 if name == "CPU" else value  # at the hard limit the kernel kills, and nobody can tell why
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, hard))
    for one in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program inherits that
        signal.signal(one, signal.SIG_DFL)
    os.write(descriptor, json.dumps([*held, "resource_limits"]).encode())
    os.close(descriptor)
    os.execv(program[0], program)  # noqa: S606 - no shell is the purpose


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
