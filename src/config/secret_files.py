"""Secrets that this installation makes for itself: files that only their owner can read."""

import os
import secrets
from pathlib import Path

RANDOM_BYTES = 32
OF_OTHERS = 0o077
LONGEST_SECRET = 64 * 1024


def secret(path: Path) -> str:
    """Return the secret in a file; one of 256 random bits is made where there is none yet.

    Args:
        path: the file, 0600, in a folder of the owner's.
    """
    if not path.exists():
        _make(path)
    return path.read_text().strip()


def private_content(path: Path) -> bytes:
    """Return the content of a secret file that somebody else made.

    Raises:
        ValueError: it cannot be read, or others than its owner can.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & OF_OTHERS:
                raise ValueError(f"the file {path} must be readable by its owner alone: chmod 600 {path}")
            return file.read(LONGEST_SECRET)
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror or error}") from error


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
