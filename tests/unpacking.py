"""Archives made in memory, good and bad, and what processes files in this process as the children do."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

from processors.archives_reading import read_archive
from processors.document_reading import draw_pages, read_document
from processors.documents import DocumentTools
from processors.files import FileProcessed, ProcessFile, RouteTools, process_file
from processors.identifying import identify
from processors.interfaces import Room
from reading import silent

JOBS = {"document": read_document, "page_images": draw_pages, "identify": identify, "archive": read_archive}
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


class Pieces:
    """A report that keeps what a job makes."""

    def __init__(self, room: Room | None = None, report=silent):
        self.room, self.made, self.report = room, {}, report

    def __call__(self, percent, text):
        self.report(percent, text)

    def piece(self, number, content):
        self.made[number] = self.made.get(number, b"") + content
        if self.room:
            (self.room.folder / str(number)).write_bytes(self.made[number])


class InProcess:
    """Does the jobs in this process; remembers which."""

    def __init__(self):
        self.jobs = []

    def run(self, job, path, options, report, room=None):
        self.jobs.append(job)
        does = JOBS[job]
        with path.open("rb") as file:
            found = does(file, options, Pieces(room, report) if job == "archive" else report)
        return json.loads(json.dumps(found, allow_nan=False)) | {"sandbox": ["none"]}


class Kept:
    """Keeps artefacts."""

    def __init__(self):
        self.kept = {}

    def put(self, content, *, mime, task_id):
        self.kept[f"store://{len(self.kept)}"] = content
        return f"store://{len(self.kept) - 1}"


@contextmanager
def folder():
    """A folder that goes with all that lies there."""
    with tempfile.TemporaryDirectory(prefix="archive-") as name:
        yield Path(name)


def route_tools(path: Path, **more) -> RouteTools:
    """The tools of the job `process_file`, in this process."""
    common = {"sandbox": InProcess(), "storage": Kept(), "task_id": "t", "inline_text_kb": 256}
    common |= {name: more.pop(name) for name in list(more) if name in common}
    limits = {"max_pages": 100, "max_characters": 1_000_000}
    return RouteTools(
        path=path,
        **common,
        tools_of=lambda route, place: DocumentTools(path=place, **common, **limits),
        **{"folder": folder, "max_members": 1000, "max_bytes": 512 * 1024**2} | more,
    )


def process(place: Path, raw: bytes, name: str = "file", report=silent, options=None, **more) -> FileProcessed:
    """Process a file that has these bytes."""
    path = place / name
    path.write_bytes(raw)
    request = ProcessFile(file_path=str(path), processing_options=options)
    return process_file(request, route_tools(path, **more), report)


def listed(raw: bytes, name: str = "file", **more) -> tuple[dict, dict[int, bytes]]:
    """Read an archive as the child does: what it tells, and the bytes that it hands over."""
    options = {"name": name, "max_members": 1000, "max_bytes": 512 * 1024**2}
    options |= {"password": None, "hand_over": True}
    pieces = Pieces()
    found = read_archive(io.BytesIO(raw), options | more, pieces)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    return found, pieces.made


def tar(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """A TAR; `others` are members without content."""
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for info in others:
            made.addfile(info)
    return stored.getvalue()


def tar_member(name: str, type_: bytes, **more) -> tarfile.TarInfo:
    """A member of a TAR that is no file."""
    info = tarfile.TarInfo(name)
    info.type = type_
    for key, value in more.items():
        setattr(info, key, value)
    return info


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """A ZIP with these members in their order, repeated names too."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return stored.getvalue()


def zip_mode(name: str, mode: int) -> zipfile.ZipInfo:
    """A member of a ZIP with a Unix mode."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def overlapping_zip(members: int, kernel_bytes: int) -> bytes:
    """A ZIP whose members quote each other's headers and share one kernel of zeros: each unpacks to all of it.

    As in David Fifield's "A better zip bomb" (WOOT 2019): a member's stream is the next one's header, in a stored block
    of DEFLATE, and then that one's stream. The checksums are 0: who looks at them has unpacked too much.
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = squeeze.compress(bytes(kernel_bytes)) + squeeze.flush()
    size, header, entries = kernel_bytes, b"", []
    for number in reversed(range(members)):
        if header:
            stream = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + header + stream
            size += len(header)
        name = f"{number:04}.txt".encode()
        common = struct.pack("<5H3I2H", 20, 0, 8, 0, 33, 0, len(stream), size, len(name), 0)
        header = b"PK\x03\x04" + common + name
        entries.append((common, name))
    whole, directory, quoted = header + stream, b"", len(header) + 5
    for at, (common, name) in enumerate(reversed(entries)):
        place = struct.pack("<3H2I", 0, 0, 0, 0, at * quoted)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common + place + name
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, members, members, len(directory), len(whole), 0)
    return whole + directory + end


def encrypted_zip(name: str, content: bytes, password: bytes) -> bytes:
    """A ZIP with one member that is encrypted as PKWARE did it first (APPNOTE.TXT 6.1)."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(byte: int, before: int) -> int:
        return zlib.crc32(bytes([byte]), before ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc(byte, keys[0])
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[1] >> 24, keys[2])

    def encrypt(byte: int) -> int:
        mix = (keys[2] | 2) & 0xFFFF
        update(byte)
        return byte ^ (mix * (mix ^ 1) >> 8) & 0xFF

    for byte in password:
        update(byte)
    check = zlib.crc32(content)
    body = bytes(map(encrypt, bytes(11) + bytes([check >> 24]) + content))
    plain = bytearray(zip_of((stored(name), content)))
    at = 30 + len(name)
    directory = plain.index(b"PK\x01\x02")
    for flags, packed in ((6, 18), (directory + 8, directory + 20)):
        plain[flags] |= 1
        plain[packed : packed + 4] = struct.pack("<I", len(body))
    plain[at : at + len(content)] = body
    end = plain.index(b"PK\x05\x06")
    plain[end + 16 : end + 20] = struct.pack("<I", directory + 12)
    return bytes(plain)


def stored(name: str) -> zipfile.ZipInfo:
    """A member of a ZIP that is not squeezed."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_STORED
    return info
