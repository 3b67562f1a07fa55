"""What a workbook has beside its values: merged cells, links, comments (ISO/IEC 29500-1, 18)."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from processors.document_formats.content import Attached
from processors.document_formats.xml_parts import etree, local_name, members, part, resolved

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
WORKBOOK = "xl/workbook.xml"
MOST_MERGED, MOST_LINKS = 10_000, 10_000


@dataclass(slots=True)
class Beside:
    """What one sheet has beside its values."""

    merged: list[str] = field(default_factory=list[str])
    links: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    annotations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def beside(file: BinaryIO) -> dict[str, Beside]:
    """Return what stands beside the values, by the sheets' names."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        if WORKBOOK not in archive.namelist():
            return {}
        relations = _relations(archive, WORKBOOK)
        sheets = [(one.get("name", ""), one.get(RELATION_ID)) for one in part(archive, WORKBOOK).iter(f"{MAIN}sheet")]
        present = set(archive.namelist())
        targets = [(name, relations[id_][1]) for name, id_ in sheets if id_ in relations]
        return {name: _beside(archive, target) for name, target in targets if target in present}


def inside(file: BinaryIO) -> list[Attached]:
    """Return the pictures and embedded files of a workbook."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        return members(
            archive, [name for name in archive.namelist() if name.startswith(("xl/media/", "xl/embeddings/"))]
        )


def _beside(archive: zipfile.ZipFile, sheet: str) -> Beside:
    found = Beside()
    relations = _relations(archive, sheet)
    for element in _elements(archive, sheet):
        if element.tag == f"{MAIN}mergeCell" and len(found.merged) < MOST_MERGED:
            found.merged.append(element.get("ref", ""))
        elif element.tag == f"{MAIN}hyperlink" and len(found.links) < MOST_LINKS:
            kind, target = relations.get(element.get(RELATION_ID), ("", ""))
            url = target if kind else f"#{element.get('location', '')}"
            found.links.append(
                {"text": element.get("display") or element.get("ref"), "url": url, "cell": element.get("ref")}
            )
    for kind, target in relations.values():
        if kind == "comments" and target in archive.namelist():
            found.annotations += _comments(part(archive, target))
    return found


def _elements(archive: zipfile.ZipFile, sheet: str) -> Iterator[Any]:
    """Yield the elements that stand after a sheet's rows; the rows are not kept."""
    with archive.open(sheet) as stream:
        safe = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
        wanted = [f"{MAIN}{name}" for name in ("row", "mergeCell", "hyperlink")]
        for _, element in etree.iterparse(stream, tag=wanted, **safe):
            if element.tag != f"{MAIN}row":
                yield element
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]


def _relations(archive: zipfile.ZipFile, name: str) -> dict[str, tuple[str, str]]:
    """Return what a part refers to, by id: the kind, and the member's name or the address outside."""
    folder, _, base = name.rpartition("/")
    listed = f"{folder}/_rels/{base}.rels"
    if listed not in archive.namelist():
        return {}
    found: dict[str, tuple[str, str]] = {}
    for one in part(archive, listed):
        kind, target = one.get("Type", "").rpartition("/")[2], one.get("Target", "")
        outside = one.get("TargetMode") == "External"
        found[one.get("Id", "")] = (kind, target if outside else resolved(name, target))
    return found


def _comments(root: Any) -> Iterator[dict[str, Any]]:
    authors = [one.text for one in root.iter(f"{MAIN}author")]
    for comment in root.iter(f"{MAIN}comment"):
        index = comment.get("authorId", "")
        author = authors[int(index)] if index.isdecimal() and int(index) < len(authors) else None
        texts = (one.text or "" for one in comment.iter() if local_name(one) == "t")
        yield {"type": "comment", "text": "".join(texts), "author": author, "cell": comment.get("ref")}
