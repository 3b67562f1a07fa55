"""What a DOCX has beside its text: links, fields and controls, comments, tracked changes (ISO/IEC 29500-1, 17)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from docx.oxml.ns import qn

TextOf = Callable[[Any], str]
LINK = re.compile(r'\bHYPERLINK\s+(?:\\l\s+)?"([^"]{1,4096})"')
FIELD, INSTRUCTION, TEXT, RUN_PROPERTIES = qn("w:fldChar"), qn("w:instrText"), qn("w:t"), qn("w:rPr")
CONTROL, VALUE = qn("w:sdt"), qn("w:val")
CHECKED = "{http://schemas.microsoft.com/office/word/2010/wordml}checked"
CHECKED_VALUE = "{http://schemas.microsoft.com/office/word/2010/wordml}val"
CONTROL_TYPES = ("text", "comboBox", "dropDownList", "date", "checkbox", "picture")
ON = {"1", "true", "on"}


@dataclass(slots=True)
class _Field:
    """A field that has begun: what it does, what it shows, and its form data where it is one of a form."""

    form: Any
    instruction: str = ""
    shown: str = ""
    showing: bool = False


def links(body: Any, relations: Any, text_of: TextOf) -> Iterator[dict[str, Any]]:
    """Yield links in their order: elements, simple fields and composed ones."""
    for link in body.iter(qn("w:hyperlink"), qn("w:fldSimple")):
        if url := _url(link, relations):
            yield {"text": text_of(link), "url": url, "page": 1}
    for field in _fields(body):
        if match := LINK.search(field.instruction):
            yield {"text": field.shown, "url": match[1], "page": 1}


def forms(body: Any, text_of: TextOf) -> Iterator[dict[str, Any]]:
    """Yield content controls, then the fields of older forms."""
    for control in body.iter(CONTROL):
        properties, inner = control.find(qn("w:sdtPr")), control.find(qn("w:sdtContent"))
        if properties is not None and inner is not None and properties.find(qn("w:docPartObj")) is None:
            yield _control(properties, text_of(inner))
    for field in _fields(body):
        if field.form is not None:
            yield _old_field(field)


def comments(root: Any, text_of: TextOf) -> Iterator[dict[str, Any]]:
    """Yield remarks with their authors."""
    for comment in root.iter(qn("w:comment")):
        author = comment.get(qn("w:author"))
        yield {"type": "comment", "text": text_of(comment), "author": author, "page": 1}


def changes(body: Any) -> dict[str, Any] | None:
    """Return a warning where changes are tracked, or None."""
    inserted = _count(body, "w:ins", "w:moveTo")
    deleted = _count(body, "w:del", "w:moveFrom")
    if not inserted and not deleted:
        return None
    message = f"Changes are tracked: {inserted} insertions are part of the text, {deleted} deletions are not."
    return {"code": "tracked_changes", "message": message}


def _count(body: Any, *names: str) -> int:
    return sum(change.getparent().tag != RUN_PROPERTIES for change in body.iter(*map(qn, names)))


def _url(link: Any, relations: Any) -> str | None:
    if instruction := link.get(qn("w:instr")):
        match = LINK.search(instruction)
        return match[1] if match else None
    relation = relations.get(link.get(qn("r:id")))
    anchor = link.get(qn("w:anchor"))
    if relation is not None and relation.is_external:
        return str(relation.target_ref) + (f"#{anchor}" if anchor else "")
    return f"#{anchor}" if anchor else None


def _fields(body: Any) -> Iterator[_Field]:
    """Yield composed fields as they end; one may lie in what another shows (17.16.18)."""
    begun: list[_Field] = []
    for element in body.iter(FIELD, INSTRUCTION, TEXT):
        kind = element.get(qn("w:fldCharType"))
        if kind == "begin":
            begun.append(_Field(element.find(qn("w:ffData"))))
        elif kind == "separate" and begun:
            begun[-1].showing = True
        elif kind == "end" and begun:
            yield begun.pop()
        elif element.tag == INSTRUCTION and begun:
            begun[-1].instruction += element.text or ""
        elif element.tag == TEXT and begun and begun[-1].showing:
            begun[-1].shown += element.text or ""


def _control(properties: Any, text: str) -> dict[str, Any]:
    names = (properties.find(qn(name)) for name in ("w:alias", "w:tag"))
    name = next((one.get(VALUE) for one in names if one is not None), None)
    kinds = {child.tag.rpartition("}")[2]: child for child in properties}
    kind = next((kind for kind in CONTROL_TYPES if kind in kinds), "richText")
    value: Any = text
    if kind == "checkbox":
        checked = kinds[kind].find(CHECKED)
        value = checked is not None and checked.get(CHECKED_VALUE, "1") in ON
    return {"name": name, "type": kind, "value": value, "page": 1}


def _old_field(field: _Field) -> dict[str, Any]:
    """Describe a field of a form as Word had them before content controls (17.16.17)."""
    name = field.form.find(qn("w:name"))
    described = {"name": None if name is None else name.get(VALUE), "page": 1}
    box = field.form.find(qn("w:checkBox"))
    if box is None:
        kind = "text" if field.form.find(qn("w:ddList")) is None else "dropDownList"
        return described | {"type": kind, "value": field.shown}
    states = (box.find(qn(state)) for state in ("w:checked", "w:default"))
    state = next((one for one in states if one is not None), None)
    return described | {"type": "checkbox", "value": state is not None and state.get(VALUE, "1") in ON}
