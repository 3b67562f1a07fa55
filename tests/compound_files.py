"""Compound files (MS-CFB) for tests: storages and streams in memory, written as Outlook and old Office would."""

import struct
from collections.abc import Mapping
from itertools import pairwise

SECTOR, MINI_SECTOR, MINI_LIMIT = 512, 64, 4096
END, FREE, FAT_SECTOR, NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
STORAGE, STREAM, ROOT = 1, 2, 5

Tree = Mapping[str, "bytes | Tree"]


def compound(tree: Tree) -> bytes:
    """A compound file: keys are names, values the bytes of a stream or another tree, which is a storage."""
    entries: list[dict] = [{"name": "Root Entry", "type": ROOT}]
    _add(entries, 0, tree)
    sectors: list[bytes] = []
    fat: list[int] = []
    mini, mini_fat = b"", []
    for entry in entries:
        if entry["type"] == STREAM and len(entry["raw"]) < MINI_LIMIT:
            entry["start"] = len(mini) // MINI_SECTOR if entry["raw"] else END
            count = -(-len(entry["raw"]) // MINI_SECTOR)
            mini_fat += _chain(len(mini_fat), count)
            mini += entry["raw"].ljust(count * MINI_SECTOR, b"\0")
        elif entry["type"] == STREAM:
            entry["start"] = _store(sectors, fat, entry["raw"])
    entries[0] |= {"start": _store(sectors, fat, mini) if mini else END, "size": len(mini)}
    mini_fat_raw = struct.pack(f"<{len(mini_fat)}I", *mini_fat)
    mini_fat_start = _store(sectors, fat, mini_fat_raw, b"\xff") if mini_fat else END
    directory = _store(sectors, fat, b"".join(_entry(entry) for entry in entries))
    fat_count = 1
    while fat_count * SECTOR // 4 < len(fat) + fat_count:
        fat_count += 1
    fat_start = len(sectors)
    fat += [FAT_SECTOR] * fat_count
    raw = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_count * SECTOR, b"\xff")
    places = [fat_start + number for number in range(fat_count)] + [FREE] * (109 - fat_count)
    head = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII109I",
        *(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6, b"", 0, fat_count, directory, 0, MINI_LIMIT),
        *(mini_fat_start, -(-len(mini_fat_raw) // SECTOR), END, 0, *places),
    )
    return head + b"".join(sectors) + raw


def _add(entries: list[dict], parent: int, tree: Tree) -> None:
    """Add what a storage holds; its children are a chain to the right, which readers of the format take as a tree."""
    own = []
    for name, value in tree.items():
        own.append(len(entries))
        is_stream = isinstance(value, bytes)
        entries.append({"name": name, "type": STREAM if is_stream else STORAGE, "raw": value if is_stream else b""})
        if not is_stream:
            _add(entries, own[-1], value)
    entries[parent]["child"] = own[0] if own else NONE
    for left, right in pairwise(own):
        entries[left]["right"] = right


def _chain(start: int, count: int) -> list[int]:
    return [*range(start + 1, start + count), END] if count else []


def _store(sectors: list[bytes], fat: list[int], raw: bytes, filling: bytes = b"\0") -> int:
    start, count = len(sectors), -(-len(raw) // SECTOR)
    padded = raw.ljust(count * SECTOR, filling)
    sectors += [padded[at : at + SECTOR] for at in range(0, len(padded), SECTOR)]
    fat += _chain(start, count)
    return start


def _entry(entry: dict) -> bytes:
    name = entry["name"].encode("utf-16-le")
    size = entry.get("size", len(entry.get("raw", b"")))
    return struct.pack(
        "<64sHBBIII16sIQQIII",
        *(
            name,
            len(name) + 2,
            entry["type"],
            1,
            NONE,
            entry.get("right", NONE),
            entry.get("child", NONE),
            b"",
            0,
            0,
            0,
        ),
        *(entry.get("start", 0 if entry["type"] == STORAGE else END), size, 0),
    )


def properties(values: Mapping[int, tuple[int, int]], head: int) -> bytes:
    """A property stream: by id the type and the number; `head` bytes stand before it."""
    return bytes(head) + b"".join(struct.pack("<HHIQ", kind, id_, 6, number) for id_, (kind, number) in values.items())


def message(
    texts: Mapping[int, str], values: Mapping[int, tuple[int, int]] | None = None, head: int = 32, **more
) -> dict:
    """An Outlook message: texts by the ids of their properties, and further streams and storages by name."""
    streams = {f"__substg1.0_{id_:04X}001F": text.encode("utf-16-le") for id_, text in texts.items()}
    return {"__properties_version1.0": properties(values or {}, head), **streams, **more.get("parts", {})}
