"""Secrets that this installation makes for itself: files that only their owner can read."""

import os
import secrets
from pathlib import Path

RANDOM_BYTES = 32


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
