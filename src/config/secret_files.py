"""Secrets in files: those that this installation makes for itself, and those that it is given."""

import errno
import os
import secrets
import stat
from pathlib import Path

RANDOM_BYTES = 32
LONGEST_SECRET = 64 * 1024


def secret(path: Path) -> str:
    """Return the secret in a file; one of 256 random bits is made where there is none yet.

    Args:
        path: the file, 0600, in a folder of the owner's.
    """
    if not path.exists():
        _make(path)
    return path.read_text().strip()


def _make(path: Path) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(RANDOM_BYTES))
        path.hardlink_to(fresh)
    except FileExistsError:
        pass  # another process made it at the same moment: its one counts
    finally:
        fresh.unlink()


def given_secret(path: Path) -> bytes:
    """Return what a secret file holds that was made elsewhere.

    Args:
        path: the file; its group may read it, as containers mount secrets, and nobody else.

    Raises:
        OSError: it cannot be read, or by more than its owner and its group; `strerror` says so.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        if mode & (stat.S_IWGRP | stat.S_IRWXO):
            raise PermissionError(errno.EACCES, "others may read or change it: chmod 600", str(path))
        return file.read(LONGEST_SECRET)
