"""What the sandboxed child does with an archive: list its members, and unpack those that may be unpacked.

Headers are not believed: bytes are counted while they are unpacked, and names never become paths.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, BinaryIO, Protocol, cast

from processors.envelopes import clean
from processors.errors import FileError
from processors.file_types import identity, refuse_other_than
from processors.interfaces import JobReport
from processors.media_types import media_kind

MIB = 1024**2
PIECE = MIB
MOST_RATIO = 100
RATIO_FROM_BYTES = MIB
LONGEST_NAME = 2_000
TAR_HEADER = 512
DRIVE = re.compile(r"[A-Za-z]:")
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls, and the marks that turn the order of letters, so that `txt.exe` reads as `exe.txt`."""

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""A ZIP member's own header up to the lengths of its name and extra field (APPNOTE.TXT 4.3.7)."""

ENCRYPTED, UTF_8 = 0x1, 0x800
AES = 99
ZIP_NAMES = "cp437"

DAMAGE = (
    *(EOFError, LookupError, OSError, OverflowError, ValueError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)
"""What the libraries raise at a damaged archive."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One member as the archive lists it.

    Attributes:
        name: as it is written there.
        type: `file`, `directory`, `link` or `device`.
        bytes: its size, where the archive says one.
        packed_bytes: its packed size, where it has one of its own.
        modified: ISO 8601; ZIP tells no offset.
        encrypted: a password opens it.
        fault: why it is not unpacked, known without a look into it.
        open: opens it.
        packed: tells how many packed bytes were read of it, or of all so far.
    """

    name: str
    type: str
    bytes: int | None
    packed_bytes: int | None
    modified: str | None
    open: Callable[[], _Stream]
    packed: Callable[[], int]
    encrypted: bool = False
    fault: FileError | None = None


def read_archive(file: BinaryIO, options: Mapping[str, Any], report: JobReport) -> dict[str, Any]:
    """List an archive's members, and hand over what is in them, each under its place in the list.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_members`, `max_bytes` (unpacked, of all members), `password`, `hand_over` (false: members
            are listed and checked, no more).
        report: told how far it is, and given the pieces.

    Returns:
        JSON values: what `processors.file_types.identity` tells, `engine`, and `members`: each with `name`, `type`,
        `bytes`, `packed_bytes`, `modified`, `encrypted`, and `sha256` where it was unpacked, else `code` and `why`;
        `errors` and `limits_hit` of the whole.

    Raises:
        FileError: it is no archive, has no members, or is damaged before its first one.
    """
    found = identity(file, str(options["name"]))
    kind: str = found["kind"]
    refuse_other_than("archive", kind)
    unpacking = _Unpacking(options, report, file, found["bytes"])
    entries = _zip_entries(file, options) if kind == "zip" else _stream_entries(file, kind, str(options["name"]))
    unpacking.read(entries)
    engine = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return found | {"engine": engine} | clean(unpacking.as_json())


class _Unpacking:
    """Goes through an archive once, and counts."""

    def __init__(self, options: Mapping[str, Any], report: JobReport, file: BinaryIO, size: int) -> None:
        self._options, self._report, self._file, self._size = options, report, file, size
        self._members: list[dict[str, Any]] = []
        self._errors: list[dict[str, Any]] = []
        self._limits_hit: list[str] = []
        self._bytes = 0
        self._names: set[str] = set()

    def read(self, entries: Iterator[_Entry]) -> None:
        """Take one member after another; damage in the middle leaves what came before it.

        Raises:
            FileError: nothing could be listed.
        """
        try:
            for entry in entries:
                if len(self._members) >= self._options["max_members"]:
                    self._limits_hit.append("max_archive_members")
                    return
                self._report(100 * self._file.tell() / self._size, f"unpacking member {len(self._members) + 1}")
                self._take(entry)
        except (*DAMAGE, RuntimeError, FileError) as error:
            fault = _fault(error, "The archive")
            if not self._members:
                raise fault from error
            self._errors.append({"code": fault.code, "step": "unpack", "message": str(fault)})
        if not self._members:
            raise FileError("The archive has no members.", "empty_file")

    def as_json(self) -> dict[str, Any]:
        """Return the members, and what was wrong with the whole."""
        return {"members": self._members, "errors": self._errors, "limits_hit": self._limits_hit}

    def _take(self, entry: _Entry) -> None:
        member: dict[str, Any] = {
            "name": shown_name(entry.name),
            "type": entry.type,
            "bytes": entry.bytes,
            "packed_bytes": entry.packed_bytes,
            "modified": entry.modified,
            "encrypted": entry.encrypted,
            "sha256": None,
            "code": None,
            "why": None,
        }
        self._members.append(member)
        try:
            self._refuse(entry)
            if entry.type == "file":
                member["bytes"], member["sha256"] = self._unpack(entry)
        except (*DAMAGE, RuntimeError, MemoryError, FileError) as error:
            fault = _fault(error, "The member", encrypted=entry.encrypted)
            member |= {"code": fault.code, "why": str(fault)}
            if fault.code == "too_large" and "max_archive_mb" not in self._limits_hit:
                self._limits_hit.append("max_archive_mb")

    def _refuse(self, entry: _Entry) -> None:
        refuse_path(entry.name)
        if entry.type in {"link", "device"}:
            raise FileError(f"The member is a {entry.type}, which is not followed.", "unsupported_type")
        if entry.name in self._names:
            raise FileError("A member of this name came before.", "duplicate")
        self._names.add(entry.name)
        if entry.fault is not None:
            raise entry.fault

    def _refuse_size(self, more: int) -> None:
        if self._bytes + more > self._options["max_bytes"]:
            raise FileError("With this member the archive unpacks to more than MAX_ARCHIVE_MB allows.", "too_large")

    def _unpack(self, entry: _Entry) -> tuple[int, str]:
        """Hand over a member's bytes; returns how many they are, and their SHA-256."""
        digest = hashlib.sha256()
        number, count = len(self._members) - 1, 0
        self._refuse_size(entry.bytes or 0)
        with closing(entry.open()) as stream:
            while piece := stream.read(PIECE):
                count += len(piece)
                digest.update(piece)
                self._bytes += len(piece)
                refuse_ratio(count, entry.packed())
                self._refuse_size(0)
                if self._options["hand_over"]:
                    self._report.piece(number, piece)
        if not count:
            raise FileError("The member is empty.", "empty_file")
        return count, digest.hexdigest()


class Inflated:
    """Reads a packed stream, and counts what comes out."""

    def __init__(self, stream: _Stream, file: BinaryIO) -> None:
        self._stream, self._file, self._bytes = stream, file, 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes.

        Raises:
            FileError: so far it unpacks to more than 100 times its size.
        """
        piece = self._stream.read(size)
        self._bytes += len(piece)
        refuse_ratio(self._bytes, self._file.tell())
        return piece

    def close(self) -> None:
        """Close the packed stream, and not the file."""
        self._stream.close()


def shown_name(name: str) -> str:
    """Return a member's name as it may be shown: of bounded length, without controls."""
    return UNSHOWN.sub("\ufffd", name[:LONGEST_NAME])


def refuse_path(name: str) -> None:
    """Let the name of a member that stays in its folder pass.

    Raises:
        FileError: it is absolute, climbs, holds a NUL, or is none.
    """
    plain = name.replace("\\", "/")
    if plain.startswith("/") or DRIVE.match(plain) or ".." in plain.split("/") or "\0" in plain or not plain:
        raise FileError("The member's name leads out of the archive's folder, or is none.", "path_traversal")


def refuse_ratio(unpacked: int, packed: int) -> None:
    """Let pass what is packed as files are.

    Args:
        unpacked: bytes.
        packed: bytes that they came from.

    Raises:
        FileError: they are more than 1 MiB, and more than 100 times as many.
    """
    if unpacked > RATIO_FROM_BYTES and unpacked > MOST_RATIO * max(1, packed):
        raise FileError(f"It is packed more than {MOST_RATIO} to 1, as a bomb is.", "archive_ratio")


def _fault(error: BaseException, what: str, *, encrypted: bool = False) -> FileError:
    """Return a library's complaint as an error of a file."""
    if isinstance(error, FileError):
        return error
    if isinstance(error, MemoryError):
        return FileError(f"{what} needs more memory than FILE_MEMORY_LIMIT_MB allows.", "memory_limit")
    if isinstance(error, NotImplementedError):
        return FileError(f"{what} is packed in a way that is not read: {error}.", "unsupported_type")
    if encrypted:
        return FileError(f"The password is not the right one for {what.lower()}, or it is damaged.", "password_wrong")
    said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    return FileError(f"{what} is damaged: {said}.", "corrupt")


# --- ZIP -------------------------------------------------------------------------------------------------------


def _zip_entries(file: BinaryIO, options: Mapping[str, Any]) -> Iterator[_Entry]:
    given: str | None = options["password"]
    password = None if given is None else given.encode()
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        starts = sorted([*(member.header_offset for member in members), archive.start_dir])
        for member in members:
            yield _zip_entry(archive, member, password, overlaps=_overlaps(file, member, starts))


def _zip_entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo, password: bytes | None, *, overlaps: bool) -> _Entry:
    encrypted = bool(member.flag_bits & ENCRYPTED)
    fault = None
    if overlaps:
        fault = FileError("The member shares packed bytes with another, as in a bomb, or is cut off.", "corrupt")
    elif encrypted and member.compress_type == AES:
        fault = FileError("The member is encrypted with AES, which is not read.", "encrypted")
    elif encrypted and password is None:
        fault = FileError("The member is encrypted: give its password.", "encrypted")
    return _Entry(
        name=_zip_name(member),
        type="directory" if member.is_dir() else _type_of_mode(member.external_attr >> 16),
        bytes=member.file_size,
        packed_bytes=member.compress_size,
        modified=_zip_time(member.date_time),
        encrypted=encrypted,
        fault=fault,
        open=lambda: archive.open(member, pwd=password if encrypted else None),
        packed=lambda: member.compress_size,
    )


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name: many programs write UTF-8 without the flag that says so."""
    name = member.orig_filename
    if member.flag_bits & UTF_8:
        return name
    try:
        return name.encode(ZIP_NAMES).decode()
    except UnicodeError:
        return name


def _zip_time(moment: tuple[int, int, int, int, int, int]) -> str | None:
    try:
        return datetime(*moment).isoformat()  # noqa: DTZ001 - a ZIP's times have no offset
    except ValueError:
        return None


def _overlaps(file: BinaryIO, member: zipfile.ZipInfo, starts: list[int]) -> bool:
    """Tell whether a member's bytes reach into another one's, or behind the last one's end.

    Args:
        file: the archive.
        member: whose bytes it is about.
        starts: where the members and the list behind them start, sorted.

    Source: David Fifield, "A better zip bomb" (WOOT 2019): members that quote each other's headers share one stream.
    """
    if member.header_offset < 0:
        return True
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        return True
    _, name, extra = LOCAL_HEADER.unpack(header)
    end = member.header_offset + LOCAL_HEADER.size + name + extra + member.compress_size
    at = bisect_right(starts, member.header_offset)
    alone = starts[at - 2 : at - 1] != [member.header_offset]
    return not alone or at == len(starts) or end > starts[at]


# --- TAR, and single streams -----------------------------------------------------------------------------------


def _stream_entries(file: BinaryIO, kind: str, name: str) -> Iterator[_Entry]:
    if kind == "tar":
        yield from _tar_entries(file, file.tell)
        return
    with closing(_inflated(file, kind)) as stream:
        packed_tar = media_kind(stream.read(TAR_HEADER)) == "tar"
    file.seek(0)
    if packed_tar:
        with closing(_inflated(file, kind)) as stream:
            yield from _tar_entries(stream, file.tell)
        return
    yield _Entry(
        name=PurePath(name).stem or "content",
        type="file",
        bytes=None,
        packed_bytes=None,
        modified=None,
        open=lambda: _inflated(file, kind),
        packed=file.tell,
    )


def _inflated(file: BinaryIO, kind: str) -> Inflated:
    opened: dict[str, Callable[[BinaryIO], Any]] = {
        "gz": lambda packed: gzip.GzipFile(fileobj=packed),
        "bz2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
    }
    return Inflated(opened[kind](file), file)


def _tar_entries(stream: BinaryIO | Inflated, packed: Callable[[], int]) -> Iterator[_Entry]:
    """Read a TAR forwards only: whatever its headers say, it cannot lead back to where it was."""
    with tarfile.open(fileobj=cast("Any", stream), mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            yield _Entry(
                name=member.name,
                type=_tar_type(member),
                bytes=member.size,
                packed_bytes=None,
                modified=_tar_time(member.mtime),
                open=lambda member=member: cast("Any", archive.extractfile(member)),
                packed=packed,
            )


def _tar_type(member: tarfile.TarInfo) -> str:
    if member.isreg():
        return "file"
    if member.isdir():
        return "directory"
    return "link" if member.issym() or member.islnk() else "device"


def _type_of_mode(mode: int) -> str:
    """Return the type that a Unix mode tells; ZIPs from other systems have none."""
    kinds = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _tar_time(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
