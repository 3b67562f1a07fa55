"""What DOCX, XLSX and PPTX have in common: opening them, and their properties."""

import importlib.metadata
import posixpath
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from processors.document_formats.blocks import Block
from processors.document_formats.content import Attached, Content
from processors.document_formats.xml_parts import MOST_ATTACHED_BYTES, parsed
from processors.envelopes import warning
from processors.errors import FileError

PROPERTIES = (
    "title",
    "author",
    "subject",
    "keywords",
    "comments",
    "category",
    "created",
    "modified",
    "last_modified_by",
)
OTHER_NAMES = {"author": "creator", "last_modified_by": "lastModifiedBy"}
OTHER_KIND = "content type is"
DIAGRAM = "/diagramData"
DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def loaded(load: Callable[[BinaryIO], Any], file: BinaryIO) -> Any:
    """Open with a library.

    Raises:
        FileError: it holds macros or is a template, which the libraries do not open.
    """
    try:
        return load(file)
    except ValueError as error:
        if OTHER_KIND not in str(error):
            raise
        raise FileError(
            "The document has macros or is a template: save it as DOCX or PPTX.", "unsupported_type"
        ) from error


def properties(found: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's properties under one set of names, where metadata is wanted."""
    if not options["extract_metadata"]:
        return {}
    values = {
        name: getattr(found, name, None) or getattr(found, OTHER_NAMES.get(name, name), None) for name in PROPERTIES
    }
    return {name: _value(value) for name, value in values.items() if value}


def inside(package: Any, folder: str) -> list[Attached]:
    """Return the pictures and embedded files of a document, beyond 64 MB in all without their bytes.

    Args:
        package: of python-docx or python-pptx.
        folder: where the document's own parts lie, such as `/word/`.
    """
    found: list[Attached] = []
    total = 0
    for part in package.iter_parts():
        name = str(part.partname)
        if name.startswith((f"{folder}media/", f"{folder}embeddings/")):
            total += len(part.blob)
            raw = part.blob if total <= MOST_ATTACHED_BYTES else None
            found.append(Attached(posixpath.basename(name), raw, str(part.content_type)))
    return found


def roots(part: Any, kind: str, content: Content, **place: int) -> Iterator[Any]:
    """Yield the roots of the XML parts of one kind that a part refers to; a damaged one costs itself alone.

    Args:
        part: of python-docx or python-pptx.
        kind: how the type of the relation ends.
        content: is told of what is left out.
        place: the `page`, where it is one's.
    """
    for relation in part.rels.values():
        if relation.is_external or not relation.reltype.endswith(kind):
            continue
        try:
            root = parsed(relation.target_part.blob)
        except SyntaxError as error:  # lxml's are
            message = f"The part {relation.target_part.partname} is damaged and left out: {error}."
            content.warnings.append(warning("part_unreadable", message, **place))
        else:
            yield root


def diagrams(part: Any, number: int, content: Content) -> Iterator[Block]:
    """Yield what a page's diagrams say that draw themselves (SmartArt; ISO/IEC 29500-1, 21.4)."""
    for root in roots(part, DIAGRAM, content, page=number):
        for paragraph in root.iter(f"{DRAWING}p"):
            if (text := "".join(run.text or "" for run in paragraph.iter(f"{DRAWING}t"))).strip():
                yield Block("item", text, 1)


def engine(package: str) -> str:
    """Return a library's name and version."""
    return f"{package} {importlib.metadata.version(package)}"


def _value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
