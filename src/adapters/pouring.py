"""Bringing a file from elsewhere to this machine: its bytes are counted, watched, and never all in memory."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from processors.errors import FileError, TransientError
from processors.interfaces import Report

MIB = 1024**2
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a file may be, and how long it may take in all."""

    max_mb: int
    seconds: float

    def check_size(self, shown: str, size: int) -> None:
        """Let a file of so many bytes pass.

        Raises:
            FileError: it is too large.
        """
        if size > self.max_mb * MIB:
            raise FileError(f"{shown} has more than {self.max_mb} MB: see MAX_FILE_MB.", "too_large")

    def check_time(self, shown: str, began: float) -> None:
        """Let a file pass that was begun at a moment of the monotonic clock.

        Raises:
            TransientError: it takes too long.
        """
        if time.monotonic() - began >= self.seconds:
            raise TransientError(f"{shown} was not here after {self.seconds:g} s: see FILE_TIME_LIMIT_SECONDS.")


def pour(
    chunks: Iterable[bytes],
    into: IO[bytes],
    *,
    shown: str,
    size: int | None,
    bounds: Bounds,
    began: float,
    report: Report,
) -> None:
    """Write the chunks of a file, as they come, until the last one.

    Args:
        chunks: the file's bytes; raises `TransientError` where they end too early.
        into: where they go.
        shown: the file's address as it may be told to anybody.
        size: the bytes that were announced, if any were.
        bounds: of size and time.
        began: when the file was asked for, by the monotonic clock.
        report: told how far it is, after each chunk.

    Raises:
        FileError: `too_large`, or `empty_file`.
        TransientError: it takes too long.
        Cancelled: as raised by `report`.
    """
    bounds.check_size(shown, size or 0)
    poured = 0
    for chunk in chunks:
        poured += len(chunk)
        bounds.check_size(shown, poured)
        bounds.check_time(shown, began)
        into.write(chunk)
        report(100 * poured / (size or bounds.max_mb * MIB), f"fetching the file: {poured // MIB} MB")
    bounds.check_time(shown, began)
    if not poured:
        raise FileError(f"The file {shown} is empty.", "empty_file")
