"""Files of this machine: opened once and with care; what is in them is for a sandboxed child to find out."""

import hashlib
import os
import stat
from pathlib import Path

from processors.errors import FileError
from processors.interfaces import Report

MIB = 1024**2


def digest_of(path: Path, max_bytes: int, report: Report) -> str:
    """Return the SHA-256 of a file, in hex digits.

    Args:
        path: the file.
        max_bytes: the largest that is read.
        report: called for each MiB, so that a cancellation is noticed.

    Raises:
        FileError: it cannot be opened, or is no file that is read.
        Cancelled: as raised by `report`.
    """
    found = hashlib.sha256()
    with os.fdopen(opened(path, max_bytes), "rb") as file:
        while file.tell() <= max_bytes and (chunk := file.read(MIB)):  # it may grow
            found.update(chunk)
            report(0, "looking whether the file was read before")
    return found.hexdigest()


def opened(path: Path, max_bytes: int, setting: str = "MAX_FILE_MB") -> int:
    """Return the descriptor of a regular file, opened once and without waiting for a pipe's writer.

    Args:
        path: the file.
        max_bytes: the largest that is read.
        setting: what bounds that.

    Raises:
        FileError: it is not there, may not be read, or is none that is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise FileError(f"The file {path.absolute()} does not exist on the worker's machine.", "not_found") from error
    except (OSError, ValueError) as error:
        raise FileError(
            f"The file {path} cannot be opened: {getattr(error, 'strerror', None) or error}.", "not_found"
        ) from error
    try:
        _check(path, os.fstat(descriptor), max_bytes, setting)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, status: os.stat_result, max_bytes: int, setting: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{path} is a directory: name a file.", "unsupported_type")
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is a device, pipe or socket: name a file.", "unsupported_type")
    if status.st_size == 0:
        raise FileError(f"The file {path} is empty.", "empty_file")
    if status.st_size > max_bytes:
        raise FileError(
            f"The file {path} has {status.st_size // MIB} MB, at most {max_bytes // MIB} MB are read: see {setting}.",
            "too_large",
        )
