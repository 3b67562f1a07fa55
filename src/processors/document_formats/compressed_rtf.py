"""Rich text as Outlook packs it (MS-OXRTFCP)."""

import struct
from zlib import crc32

from processors.errors import FileError

HEADER = struct.Struct("<IIII")
PACKED, PLAIN = 0x75465A4C, 0x414C454D
BEGINNING = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What the dictionary begins with (2.1.2.1)."""

DICTIONARY = 4096
SHORTEST = 2
MOST_BYTES = 64 * 1024**2


def unpacked(raw: bytes) -> bytes:
    """Return the rich text.

    Raises:
        FileError: it is cut off, its checksum is wrong, or it is larger than 64 MB.
    """
    if len(raw) < HEADER.size:
        raise FileError("The rich text of the message is cut off.", "corrupt")
    _, size, kind, checksum = HEADER.unpack_from(raw)
    body = raw[HEADER.size :]
    if kind == PLAIN:
        return body[:size]
    if kind != PACKED or checksum != crc32(body, 0xFFFFFFFF) ^ 0xFFFFFFFF:
        raise FileError("The rich text of the message is damaged: its checksum is wrong.", "corrupt")
    if size > MOST_BYTES:
        raise FileError(f"The rich text of the message has more than {MOST_BYTES // 1024**2} MB.", "too_large")
    return _decoded(body, size)


def _decoded(body: bytes, size: int) -> bytes:
    """Decode runs of eight tokens: a byte, or a reference of 12 bits' place and 4 bits' length (2.2.2)."""
    known = bytearray(BEGINNING)
    at = 0
    while at < len(body) and len(known) - len(BEGINNING) < size:
        control, at = body[at], at + 1
        for bit in range(8):
            if at + (control >> bit & 1) >= len(body):
                break
            if not control >> bit & 1:
                known.append(body[at])
                at += 1
                continue
            reference = body[at] << 8 | body[at + 1]
            at += 2
            place = reference >> 4
            if place == len(known) % DICTIONARY:
                return bytes(known[len(BEGINNING) :][:size])
            _repeat(known, place, (reference & 0xF) + SHORTEST)
    return bytes(known[len(BEGINNING) :][:size])


def _repeat(known: bytearray, place: int, length: int) -> None:
    """Append bytes that stand at a place of the dictionary, which is the last 4096 bytes in a ring."""
    distance = (len(known) - place) % DICTIONARY
    if distance > len(known):
        raise FileError("The rich text of the message is damaged: it refers to what was not there.", "corrupt")
    for _ in range(length):
        known.append(known[-distance])
