"""Damage to files: the ways in which a fuzzer changes bytes, each drawn by one source of chance."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

LARGEST = 400_000
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TOKENS = (
    *(
        b"\0" * 64,
        b"\xff" * 64,
        b"../../../../etc/passwd",
        b"%s%n",
        b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>",
    ),
    *(
        b"http://127.0.0.1:9/x",
        b"-1",
        b"NaN",
        b"1e999",
        b"99999999999",
        b"\xef\xbb\xbf",
        b"{\\rtf1",
        b"%PDF-1.7",
        b"endobj",
    ),
)
PNG_MARK = b"\x89PNG\r\n\x1a\n"

Change = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def mutated(chance: random.Random, seed: bytes, others: Sequence[bytes]) -> bytes:
    """Return a damaged file.

    Args:
        chance: decides everything.
        seed: a good file.
        others: files that pieces are taken from.
    """
    if seed.startswith(b"PK\x03\x04") and chance.random() < 0.7:
        return _member_changed(chance, seed, others)
    raw = seed
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        raw = chance.choice(CHANGES)(chance, raw, others)[:LARGEST]
    if raw.startswith(PNG_MARK) and chance.random() < 0.7:
        return png_sums_mended(raw)
    return raw


def png_sums_mended(raw: bytes) -> bytes:
    """Return a PNG whose chunks have right check sums, so that damage reaches what is behind their check."""
    parts, at = [raw[:8]], 8
    while at + 12 <= len(raw):
        (length,) = struct.unpack(">I", raw[at : at + 4])
        if at + 12 + length > len(raw):
            break
        body = raw[at + 4 : at + 8 + length]
        parts.append(raw[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + raw[at:]


def _bits(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 3, 20))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _number(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    value = chance.choice(INTERESTING) & (1 << 8 * size) - 1
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + value.to_bytes(size, order) + raw[at + size :]


def _cut(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)]


def _removed(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    start, end = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
    return raw[:start] + raw[end:]


def _repeated(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + raw[at : at + chance.randrange(1, 200)] * chance.choice((2, 10, 500)) + raw[at:]


def _token(chance: random.Random, raw: bytes, _others: Sequence[bytes]) -> bytes:
    at, token = chance.randrange(len(raw) + 1), chance.choice(TOKENS)
    return raw[:at] + token + raw[at + chance.choice((0, len(token))) :]


def _spliced(chance: random.Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    start, end = sorted(chance.randrange(len(other) + 1) for _ in range(2))
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + other[start:end] + raw[at:]


CHANGES: tuple[Change, ...] = (_bits, _bits, _number, _number, _cut, _removed, _repeated, _token, _spliced)


def _member_changed(chance: random.Random, seed: bytes, others: Sequence[bytes]) -> bytes:
    """Return a ZIP archive one of whose members is damaged; its sums are right, so that it is unpacked and read."""
    with zipfile.ZipFile(io.BytesIO(seed)) as whole:
        members = [(one, whole.read(one)) for one in whole.infolist()]
    chosen = chance.randrange(len(members))
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as made:
        for at, (one, content) in enumerate(members):
            changed = chance.choice(CHANGES)(chance, content, others)[:LARGEST] if at == chosen else content
            made.writestr(one.filename, changed, compress_type=one.compress_type)
    return stored.getvalue()
