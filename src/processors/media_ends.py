"""Whether the end of a file of sound or film is missing, where FFmpeg takes the file's size for the container's length.

Sources: Multimedia Programming Interface 1.0 (RIFF), EA IFF 85 (AIFF), Apple's Core Audio Format 1.0, RFC 3533 (Ogg),
the manual page au(5), and Sony's Wave64 1.0.
"""

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

LEAST_UNKNOWN = 0x7FFFF000
"""Programs that write as they go put the greatest number there is, or nearly that, where they do not know a length."""

HEADER, PAD_BYTE = 8, 1
"""Name and length of a chunk, which some programs count with what follows them; and what makes a length even, which is
often counted and not written."""

MOST_CHUNKS = 1_000
LONGEST_OGG_PAGE = 65_307
OGG_PAGE = struct.Struct("<4sBBqIIIB")
OGG_END_OF_STREAM = 4


def missing_end(file: BinaryIO, kind: str) -> str | None:
    """Return how a file shows that its end is missing; None where it does not, or where its kind cannot tell.

    Args:
        file: open, seekable; left at its start.
        kind: one of `processors.file_types.AUDIO` or `VIDEO`.
    """
    shown = ENDS.get(kind)
    if shown is None:
        return None
    size = file.seek(0, io.SEEK_END)
    try:
        return shown(file, size)
    finally:
        file.seek(0)


def _counted(lengths: Callable[[BinaryIO, int], int]) -> Callable[[BinaryIO, int], str | None]:
    """Return what compares a file's size with the least that its headers say."""

    def shown(file: BinaryIO, size: int) -> str | None:
        said = lengths(file, size)
        return f"its headers speak of {said} bytes, and it has {size}" if said > size + HEADER + PAD_BYTE else None

    return shown


def _riff(file: BinaryIO, size: int) -> int:
    """Add up the outermost chunks: a long AVI has several."""
    end = 0
    for _ in range(MOST_CHUNKS):
        if end + 8 > size:
            break
        name, length = struct.unpack("<4sI", _read(file, end, 8))
        if name != b"RIFF" or length >= LEAST_UNKNOWN:
            break
        end += 8 + length
    return end


def _aiff(file: BinaryIO, _size: int) -> int:
    (length,) = struct.unpack(">I", _read(file, 4, 4))
    return 0 if length >= LEAST_UNKNOWN else 8 + length


def _caf(file: BinaryIO, size: int) -> int:
    """Add up the chunks; one of sound that was written on the go has the length -1, and is the last."""
    end = 8
    for _ in range(MOST_CHUNKS):
        if end + 12 > size:
            break
        (length,) = struct.unpack(">q", _read(file, end + 4, 8))
        if length < 0:
            break
        end += 12 + length
    return end


def _au(file: BinaryIO, _size: int) -> int:
    begin, length = struct.unpack(">II", _read(file, 4, 8))
    return 0 if length >= LEAST_UNKNOWN else begin + length


def _wave64(file: BinaryIO, _size: int) -> int:
    (length,) = struct.unpack("<q", _read(file, 16, 8))
    return length if length < 2**62 else 0


def _ogg(file: BinaryIO, size: int) -> str | None:
    """Look at the last page: it is whole, and ends a stream."""
    tail = _read(file, max(0, size - LONGEST_OGG_PAGE), LONGEST_OGG_PAGE)
    at = tail.rfind(b"OggS\0")
    if at < 0 or at + OGG_PAGE.size > len(tail):
        return "its last page is not whole"
    _, _, flags, _, _, _, _, segments = OGG_PAGE.unpack_from(tail, at)
    content = at + OGG_PAGE.size + segments
    if content + sum(tail[at + OGG_PAGE.size : content]) > len(tail):
        return "its last page is not whole"
    return None if flags & OGG_END_OF_STREAM else "no stream in it comes to its end"


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    """Read some bytes; zeros follow where the file has no more."""
    file.seek(at)
    return file.read(length).ljust(min(length, 64), b"\0")


ENDS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "wav": _counted(_riff),
    "avi": _counted(_riff),
    "aiff": _counted(_aiff),
    "caf": _counted(_caf),
    "au": _counted(_au),
    "w64": _counted(_wave64),
    "ogg": _ogg,
    "ogv": _ogg,
}
