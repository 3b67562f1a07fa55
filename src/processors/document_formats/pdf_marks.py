"""What a PDF has beside its text (ISO 32000-1, 12): outline, links, form fields, annotations and attached files."""

from collections.abc import Callable
from ctypes import byref, c_ulong, create_string_buffer
from itertools import islice
from typing import Any, cast

import pypdfium2.raw as pdfium  # pyright: ignore[reportMissingTypeStubs] - it has none
from pypdfium2 import PdfDocument, PdfiumError  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.document_formats.content import Attached, Content

MOST_BOOKMARKS = 1_001
MOST_ATTACHMENTS = 100
MOST_ATTACHMENT_BYTES = 64 * 1024**2
MOST_MARKS = 1_001
"""One more than a result holds, so that it tells that there are more."""

MOST_MARKS_OF_PAGE = 1_000
LONGEST_STRING = 64 * 1024
PASSWORD_FIELD = 1 << 13
ANNOTATIONS = {
    pdfium.FPDF_ANNOT_TEXT: "note",
    pdfium.FPDF_ANNOT_FREETEXT: "free_text",
    pdfium.FPDF_ANNOT_LINE: "line",
    pdfium.FPDF_ANNOT_SQUARE: "square",
    pdfium.FPDF_ANNOT_CIRCLE: "circle",
    pdfium.FPDF_ANNOT_POLYGON: "polygon",
    pdfium.FPDF_ANNOT_POLYLINE: "polyline",
    pdfium.FPDF_ANNOT_HIGHLIGHT: "highlight",
    pdfium.FPDF_ANNOT_UNDERLINE: "underline",
    pdfium.FPDF_ANNOT_SQUIGGLY: "squiggly",
    pdfium.FPDF_ANNOT_STRIKEOUT: "strike_out",
    pdfium.FPDF_ANNOT_STAMP: "stamp",
    pdfium.FPDF_ANNOT_CARET: "caret",
    pdfium.FPDF_ANNOT_INK: "ink",
    pdfium.FPDF_ANNOT_FILEATTACHMENT: "file",
    pdfium.FPDF_ANNOT_REDACT: "redaction",
}
MARKS_TEXT = {"highlight", "underline", "squiggly", "strike_out"}
FIELDS = {
    pdfium.FPDF_FORMFIELD_PUSHBUTTON: "button",
    pdfium.FPDF_FORMFIELD_CHECKBOX: "checkbox",
    pdfium.FPDF_FORMFIELD_RADIOBUTTON: "radio",
    pdfium.FPDF_FORMFIELD_COMBOBOX: "choice",
    pdfium.FPDF_FORMFIELD_LISTBOX: "choice",
    pdfium.FPDF_FORMFIELD_TEXTFIELD: "text",
    pdfium.FPDF_FORMFIELD_SIGNATURE: "signature",
}


def read_marks(pdf: PdfDocument, page: Any, layer: Any, number: int, content: Content) -> None:
    """Add a page's links, form fields and annotations to the content.

    Args:
        pdf: the document, whose forms have been opened if it has any.
        page: the handle of the page.
        layer: the handle of its text.
        number: of the page, from 1.
        content: is added to.
    """
    for at in range(min(MOST_MARKS_OF_PAGE, pdfium.FPDFPage_GetAnnotCount(page))):
        mark = pdfium.FPDFPage_GetAnnot(page, at)
        if not mark:
            continue
        try:
            _read_mark(pdf, mark, layer, number, content)
        finally:
            pdfium.FPDFPage_CloseAnnot(mark)


def read_outline(pdf: PdfDocument) -> list[dict[str, Any]]:
    """Return the bookmarks: title, level from 1, and the page where they lead to one."""
    found: list[dict[str, Any]] = []
    for bookmark in islice(cast("Any", pdf).get_toc(), MOST_BOOKMARKS):
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        page = None if index is None else index + 1
        found.append({"title": bookmark.get_title(), "level": bookmark.level + 1, "page": page})
    return found


def open_forms(pdf: PdfDocument, content: Content) -> None:
    """Get ready to read form fields, and say what of a form cannot be read."""
    kind = cast("Any", pdf).get_formtype()
    if kind == pdfium.FORMTYPE_NONE:
        return
    cast("Any", pdf).init_forms()
    if kind in {pdfium.FORMTYPE_XFA_FULL, pdfium.FORMTYPE_XFA_FOREGROUND}:
        message = "The form is an XFA form (Adobe LiveCycle): only fields that it also keeps as plain ones are read."
        content.warnings.append({"code": "xfa_form", "message": message})


def read_attached(pdf: PdfDocument, content: Content) -> None:
    """Hand over the files inside; one whose data cannot be read has none."""
    count = pdf.count_attachments()
    if count > MOST_ATTACHMENTS:
        content.limits_hit.append("max_attachments")
    content.attached += [_attached(pdf, at, content) for at in range(min(MOST_ATTACHMENTS, count))]


def _attached(pdf: PdfDocument, at: int, content: Content) -> Attached:
    name = None
    try:
        attached: Any = cast("Any", pdf).get_attachment(at)
        name = str(attached.get_name())
        size = c_ulong()
        pdfium.FPDFAttachment_GetFile(attached, None, 0, byref(size))
        if size.value > MOST_ATTACHMENT_BYTES:
            message = (
                f"The file {name} inside the PDF has {size.value} bytes, at most {MOST_ATTACHMENT_BYTES} are read."
            )
            content.warnings.append({"code": "attachment_too_large", "message": message})
            return Attached(name, None)
        return Attached(name, bytes(attached.get_data()))
    except PdfiumError:
        return Attached(name, None)


def _read_mark(pdf: PdfDocument, mark: Any, layer: Any, number: int, content: Content) -> None:
    kind = pdfium.FPDFAnnot_GetSubtype(mark)
    if kind == pdfium.FPDF_ANNOT_LINK and len(content.links) < MOST_MARKS:
        url = _target(pdf, pdfium.FPDFAnnot_GetLink(mark))
        if url:
            content.links.append({"text": _text_under(mark, layer), "url": url, "page": number})
    elif kind == pdfium.FPDF_ANNOT_WIDGET and len(content.forms) < MOST_MARKS:
        _add_field(cast("Any", pdf).formenv, mark, number, content)
    elif kind in ANNOTATIONS and len(content.annotations) < MOST_MARKS:
        name = ANNOTATIONS[kind]
        text = _value(mark, b"Contents") or (_text_under(mark, layer) if name in MARKS_TEXT else "")
        author = _value(mark, b"T") or None
        content.annotations.append({"type": name, "text": text, "author": author, "page": number})


def _target(pdf: PdfDocument, link: Any) -> str | None:
    """Return where a link leads: an address, a file, or `#page=N` (RFC 8118) inside the document."""
    if not link:
        return None
    place = pdfium.FPDFLink_GetDest(pdf, link)
    action = pdfium.FPDFLink_GetAction(link)
    kind = pdfium.FPDFAction_GetType(action) if action else None
    if not place and kind == pdfium.PDFACTION_GOTO:
        place = pdfium.FPDFAction_GetDest(pdf, action)
    if place:
        index = pdfium.FPDFDest_GetDestPageIndex(pdf, place)
        return f"#page={index + 1}" if index >= 0 else None
    if kind == pdfium.PDFACTION_URI:
        return _bytes(lambda buffer, size: pdfium.FPDFAction_GetURIPath(pdf, action, buffer, size))
    if kind in {pdfium.PDFACTION_REMOTEGOTO, pdfium.PDFACTION_LAUNCH}:
        return _bytes(lambda buffer, size: pdfium.FPDFAction_GetFilePath(action, buffer, size))
    return None


def _add_field(forms: Any, mark: Any, number: int, content: Content) -> None:
    """Add a field; the buttons of one group are one field."""
    if forms is None:
        return
    kind = FIELDS.get(pdfium.FPDFAnnot_GetFormFieldType(forms, mark))
    if kind is None or kind == "button":
        return
    name = _wide(lambda buffer, size: pdfium.FPDFAnnot_GetFormFieldName(forms, mark, buffer, size))
    value: Any = _wide(lambda buffer, size: pdfium.FPDFAnnot_GetFormFieldValue(forms, mark, buffer, size))
    if kind == "checkbox":
        value = bool(pdfium.FPDFAnnot_IsChecked(forms, mark))
    elif kind == "text" and pdfium.FPDFAnnot_GetFormFieldFlags(forms, mark) & PASSWORD_FIELD:
        value = None
    if kind == "radio" and any(field["name"] == name and field["type"] == kind for field in content.forms):
        return
    content.forms.append({"name": name, "type": kind, "value": value, "page": number})


def _text_under(mark: Any, layer: Any) -> str:
    box = pdfium.FS_RECTF()
    if not pdfium.FPDFAnnot_GetRect(mark, box):
        return ""
    edges = (layer, box.left, box.top, box.right, box.bottom)
    length = min(LONGEST_STRING, pdfium.FPDFText_GetBoundedText(*edges, None, 0))
    if length <= 0:
        return ""
    buffer = (pdfium.FPDF_WCHAR * length)()
    pdfium.FPDFText_GetBoundedText(*edges, buffer, length)
    return " ".join(_decoded(buffer).split())


def _value(mark: Any, key: bytes) -> str:
    return _wide(lambda buffer, size: pdfium.FPDFAnnot_GetStringValue(mark, key, buffer, size)).strip()


def _wide(call: Callable[[Any, int], int]) -> str:
    """Return a string that PDFium writes in UTF-16, as long as it says that it is."""
    size = call(None, 0)
    if not 0 < size <= LONGEST_STRING:
        return ""
    buffer = (pdfium.FPDF_WCHAR * (size // 2 + 1))()
    call(buffer, size)
    return _decoded(buffer)


def _decoded(buffer: Any) -> str:
    return bytes(buffer).decode("utf-16-le", "replace").split("\0", 1)[0]


def _bytes(call: Callable[[Any, int], int]) -> str | None:
    size = call(None, 0)
    if not 0 < size <= LONGEST_STRING:
        return None
    buffer = create_string_buffer(size)
    call(buffer, size)
    return buffer.value.decode("utf-8", "replace") or None
