"""EPUB: chapters in reading order, with the table of contents as outline (EPUB 3.3; EPUB 2 as it was)."""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from processors.document_formats.archives import check_archive
from processors.document_formats.content import Allowance, Content
from processors.document_formats.html_page import read_page
from processors.document_formats.xml_parts import local_name, member, members, parsed, part, resolved, whole_text
from processors.errors import FileError
from processors.interfaces import Report

CONTAINER, ENCRYPTION, RIGHTS = "META-INF/container.xml", "META-INF/encryption.xml", "META-INF/rights.xml"
FONT_SCRAMBLING = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
"""Fonts are made unusable outside of the book; its text is not touched (EPUB 3.3, 4.4)."""

PAGES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}
CONTENTS = "application/x-dtbncx+xml"
TYPE = "{http://www.idpf.org/2007/ops}type"
PROPERTIES = {
    "title": "title",
    "creator": "author",
    "subject": "subject",
    "description": "description",
    "publisher": "publisher",
    "date": "created",
    "language": "language",
    "rights": "rights",
    "identifier": "identifier",
}
SEVERAL = {"creator", "subject"}
"""What a book may have several of; of all else the first is told."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry of the manifest: the member, its type, and what it is for."""

    name: str
    type: str
    properties: str


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read chapter by chapter, each a page; nothing that a chapter refers to is fetched.

    Raises:
        FileError: it is damaged, or its text is encrypted (DRM).
    """
    check_archive(file)
    content = Content(engine="lxml, beautifulsoup4")
    allowance = Allowance(options, content)
    with zipfile.ZipFile(file) as archive:
        package_name = _package_name(archive)
        package = part(archive, package_name)
        items = _manifest(package, package_name)
        chapters = _spine(package, items)
        _refuse_encrypted(archive, chapters)
        if options["extract_metadata"]:
            content.metadata = _metadata(package)
        pages = _read_chapters(archive, chapters, allowance, content, report)
        try:
            content.outline = list(_outline(archive, items, pages)) or content.outline
        except SyntaxError as error:  # lxml's are
            message = f"The book's table of contents is damaged, its headings stand for it: {error}."
            content.warnings.append({"code": "outline_unreadable", "message": message})
        pictures = {item.name for item in items.values() if item.type.startswith("image/")}
        content.attached = members(archive, [name for name in archive.namelist() if name in pictures])
    return content


def _package_name(archive: zipfile.ZipFile) -> str:
    root = next((one for one in part(archive, CONTAINER).iter() if local_name(one) == "rootfile"), None)
    if root is None or not root.get("full-path"):
        raise FileError("The book is damaged: its container names no package.", "corrupt")
    return str(root.get("full-path"))


def _manifest(package: Any, package_name: str) -> dict[str, _Item]:
    """Return the book's files by their ids."""
    return {
        item.get("id", ""): _Item(
            resolved(package_name, item.get("href", "")), item.get("media-type", ""), item.get("properties", "")
        )
        for item in package.iter()
        if local_name(item) == "item"
    }


def _spine(package: Any, items: Mapping[str, _Item]) -> list[str]:
    """Return the names of the chapters in reading order; one that is named again is read once."""
    references = (one.get("idref", "") for one in package.iter() if local_name(one) == "itemref")
    named = (items[reference] for reference in references if reference in items)
    return list(dict.fromkeys(item.name for item in named if item.type in PAGES))


def _refuse_encrypted(archive: zipfile.ZipFile, chapters: list[str]) -> None:
    names = archive.namelist()
    locked: set[str] = set()
    if ENCRYPTION in names:
        for data in part(archive, ENCRYPTION).iter():
            if local_name(data) == "EncryptedData":
                locked |= _locked(data)
    if locked & set(chapters):
        why = f"{RIGHTS} names its rights" if RIGHTS in names else f"{ENCRYPTION} says so"
        raise FileError(f"The book's text is encrypted (DRM), as {why}: only its reader can open it.", "encrypted")


def _locked(data: Any) -> set[str]:
    """Return the members that one entry of the list of encrypted files names, fonts aside."""
    methods = {one.get("Algorithm") for one in data.iter() if local_name(one) == "EncryptionMethod"}
    if methods and methods <= FONT_SCRAMBLING:
        return set()
    return {resolved("", one.get("URI", "")) for one in data.iter() if local_name(one) == "CipherReference"}


def _read_chapters(
    archive: zipfile.ZipFile, chapters: list[str], allowance: Allowance, content: Content, report: Report
) -> dict[str, int]:
    """Read chapters as far as the limits allow; returns the page of each. A bad one costs itself only."""
    pages: dict[str, int] = {}
    for number, name in enumerate(chapters, 1):
        if allowance.over() or not allowance.page():
            content.pages_skipped = len(chapters) - number + 1
            break
        report(100 * number / len(chapters), f"chapter {number} of {len(chapters)}")
        try:
            raw = member(archive, name)
        except FileError as error:
            content.errors.append({"code": "page_failed", "step": "text", "page": number, "message": str(error)})
            continue
        pages[name] = number
        read_page(raw, number, allowance, content)
    return pages


def _outline(
    archive: zipfile.ZipFile, items: Mapping[str, _Item], pages: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield the table of contents, by the navigation page of EPUB 3 or else the NCX of EPUB 2."""
    navigation = [item.name for item in items.values() if "nav" in item.properties.split()]
    old = [item.name for item in items.values() if item.type == CONTENTS]
    present = archive.namelist()
    name = next((name for name in navigation + old if name in present), None)
    if name is None:
        return
    root = parsed(archive.read(name))
    entries = _navigation(root) if name in navigation else _points(root)
    for title, level, reference in entries:
        if title:
            yield {"title": title, "level": level, "page": pages.get(resolved(name, reference))}


def _navigation(root: Any) -> Iterator[tuple[str, int, str]]:
    """Yield title, level and target of each entry of a navigation page (EPUB 3.3, 7.3)."""
    lists = [one for one in root.iter() if local_name(one) == "nav" and "toc" in one.get(TYPE, "").split()]
    for entry in lists[0].iter() if lists else ():
        if local_name(entry) in {"a", "span"} and local_name(entry.getparent()) == "li":
            level = sum(local_name(above) == "ol" for above in entry.iterancestors())
            yield whole_text(entry), level, entry.get("href", "")


def _points(root: Any) -> Iterator[tuple[str, int, str]]:
    """Yield title, level and target of each entry of an NCX (DAISY Z39.86)."""
    for point in root.iter():
        if local_name(point) == "navPoint":
            level = 1 + sum(local_name(above) == "navPoint" for above in point.iterancestors())
            label = next((whole_text(one) for one in point if local_name(one) == "navLabel"), "")
            target = next((one.get("src", "") for one in point if local_name(one) == "content"), "")
            yield label, level, target


def _metadata(package: Any) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for element in package.iter("{http://purl.org/dc/elements/1.1/}*"):
        name = local_name(element)
        if name in PROPERTIES and (text := whole_text(element)):
            found.setdefault(name, []).append(text)
    return {PROPERTIES[name]: ", ".join(texts) if name in SEVERAL else texts[0] for name, texts in found.items()}
