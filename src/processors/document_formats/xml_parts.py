"""The XML parts of documents that are archives: parsed without entities, found without leaving the archive."""

import mimetypes
import posixpath
import zipfile
from collections.abc import Iterable
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from processors.document_formats.content import Attached
from processors.errors import FileError

etree: Any = import_module("lxml.etree")
LARGEST_PART = 128 * 1024**2
MOST_ATTACHED_BYTES = 64 * 1024**2


def parsed(raw: bytes) -> Any:
    """Return the root element of XML.

    Entities stay unresolved, no DTD is loaded, nothing is fetched; lxml's own limits of depth (256) and length hold.

    Raises:
        etree.XMLSyntaxError: it is not well-formed.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    return etree.fromstring(raw, parser)


def part(archive: zipfile.ZipFile, name: str) -> Any:
    """Return the root of one XML member.

    Raises:
        FileError: there is none of that name, or it is too large.
    """
    return parsed(member(archive, name))


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return one member's bytes.

    Raises:
        FileError: there is none of that name, or it is too large.
    """
    try:
        described = archive.getinfo(name)
    except KeyError as error:
        raise FileError(f"The document is damaged: it has no part {name[:200]!r}.", "corrupt") from error
    if described.file_size > LARGEST_PART:
        raise FileError(f"A part of the document has more than {LARGEST_PART // 1024**2} MB.", "too_large")
    with archive.open(described) as stream:
        return stream.read(LARGEST_PART)


def members(archive: zipfile.ZipFile, names: Iterable[str]) -> list[Attached]:
    """Return members as files inside the document; those beyond 64 MB in all come without their bytes."""
    found: list[Attached] = []
    total = 0
    for name in names:
        described = archive.getinfo(name)
        if described.is_dir():
            continue
        total += described.file_size
        raw = archive.read(name) if total <= MOST_ATTACHED_BYTES else None
        kind = mimetypes.types_map.get(posixpath.splitext(name)[1].lower())  # without the system's own lists
        found.append(Attached(posixpath.basename(name), raw, kind))
    return found


def resolved(base: str, reference: str) -> str:
    """Return the name of the member that a member refers to; the same archive's, wherever the path climbs.

    Args:
        base: the name of the member that refers.
        reference: a relative address, perhaps with a fragment.
    """
    path = unquote(reference.partition("#")[0])
    whole = posixpath.normpath(posixpath.join("/", posixpath.dirname(base), path)) if path else "/" + base
    return whole.lstrip("/")


def local_name(element: Any) -> str:
    """Return an element's name without its namespace; what is no element, such as an entity, has none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def whole_text(element: Any) -> str:
    """Return an element's text in one line."""
    return " ".join("".join(element.itertext()).split())
