"""Documents: text page by page, metadata, tables, language and summary, in one envelope."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from processors.document_pictures import OneByOne, Pictures, failure, fill_in, leave_out
from processors.envelopes import Artefact, Limits, Timing, part_of, warning
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools, input_of, mismatch
from processors.interfaces import OfficeConverter, Report, SideBySide
from processors.old_office import read_converted
from processors.results import Result

EXCERPT_CHARACTERS = 4_000
KIB = 1024
BESIDE = ("links", "forms", "annotations")
TABLES_AT_ONCE, DRAWN_AT_ONCE = 50, 20


class ProcessDocument(FileRequest):
    """Read one document."""

    extract_text: bool = True
    generate_summary: bool = True
    extract_metadata: bool = True
    ocr_enabled: bool = True
    password: str | None = Field(default=None, max_length=1_000, repr=False)


class DocumentPage(Result):
    """One page; `char_range` is its place in the whole text, `text` is left out where the whole is an artefact."""

    n: int
    source: Literal["text_layer", "ocr", "mixed", "none"]
    char_range: tuple[int, int]
    text: str | None = None
    width: float | None = None
    height: float | None = None
    unit: Literal["pt"] | None = None
    title: str | None = None
    confidence: float | None = None
    header: str | None = None
    footer: str | None = None
    rotation: int = 0


class Document(Result):
    """What was read; `text` and `markdown` are beginnings where the whole is an artefact."""

    kind: str
    text: str | None = None
    text_truncated: bool = False
    markdown: str | None = None
    markdown_truncated: bool = False
    characters: int = 0
    pages: list[DocumentPage] = []
    tables: list[dict[str, Any]] = []
    metadata: dict[str, Any] | None = None
    outline: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    forms: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    attachments: list[dict[str, Any]] = []
    language: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None


class DocumentProcessed(FileResult):
    """The envelope around a document."""

    schema_name: str = Field(default="csai.document/1", serialization_alias="schema")
    result: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTools(FileTools):
    """What processing a document needs from outside, and its limits.

    Attributes:
        max_pages: pages that are read.
        max_characters: characters that are kept.
        converter: converts documents of the Office before 2007; None where there is none.
        side_by_side: reads groups of pages as pictures.
        ocr_seconds: no further page is read as a picture this long after the beginning, so that what was read is kept.
        table_seconds: no further page is searched for tables after this time.
        max_page_images: pages, from the first one on, of which pictures are made.
        drawing_seconds: no further pages are drawn after this time.
    """

    max_pages: int
    max_characters: int
    converter: OfficeConverter | None = None
    side_by_side: SideBySide = field(default_factory=OneByOne)
    ocr_seconds: float = 1_200.0
    table_seconds: float = 60.0
    max_page_images: int = 1
    drawing_seconds: float = 60.0


def process_document(request: ProcessDocument, tools: DocumentTools, report: Report) -> DocumentProcessed:
    """Read a document in the sandbox; pages without usable text are read as pictures where that is wanted.

    Raises:
        FileError: the file cannot be read at all; `code` says why.
    """
    began = monotonic()
    options = {
        "name": request.name,
        "max_pages": tools.max_pages,
        "max_characters": tools.max_characters,
        "extract_text": request.extract_text,
        "extract_metadata": request.extract_metadata,
        "password": request.password,
    }
    report(0, "opening the file")
    found = tools.sandbox.run("document", tools.path, options, part_of(report, 0, 50))
    provenance: list[dict[str, Any]] = []
    if found["content"] is None:
        reporting = part_of(report, 5, 50)
        found, conversion = read_converted(tools.sandbox, tools.converter, tools.path, found, options, reporting)
        provenance.append(conversion)
    content = found["content"]
    if content["errors"] and not content["pages"]:
        raise FileError(f"No page of the document can be read: {content['errors'][0]['message']}", "corrupt")
    provenance.append(_provenance("read", found, content["pages"], monotonic() - began))
    if request.extract_text and content["table_pages"]:
        provenance += _find_tables(request, tools, content, part_of(report, 50, 60))
    if missing := [page["n"] for page in content["pages"] if page["source"] == "none"] + content["picture_pages"]:
        provenance += _fill_in(request, tools, missing, content, began, part_of(report, 60, 90))
    if found["kind"] == "pdf":
        provenance += _draw_pages(request, tools, content, part_of(report, 90, 92))
    report(92, "describing the text")
    return _envelope(request, tools, found, provenance, began)


def _draw_pages(
    request: ProcessDocument, tools: DocumentTools, content: dict[str, Any], report: Report
) -> list[dict[str, Any]]:
    """Have pictures made of the first pages, some at a time, as long as that goes well; returns provenance."""
    began = monotonic()
    numbers = [page["n"] for page in content["pages"]][: tools.max_page_images]
    drawn: list[dict[str, Any]] = []
    for at in range(0, len(numbers), DRAWN_AT_ONCE):
        if monotonic() - began >= tools.drawing_seconds:
            content["limits_hit"].append("drawing_seconds")
            break
        pages = numbers[at : at + DRAWN_AT_ONCE]
        part = part_of(report, 100 * at / len(numbers), 100 * (at + len(pages)) / len(numbers))
        options = {"pages": pages, "password": request.password}
        try:
            drawn.append(tools.sandbox.run("page_images", tools.path, options, part))
        except FileError as error:
            message = f"There are no pictures of page {pages[0]} and the pages behind it: {error}"
            content["warnings"].append(warning("no_page_image", message, page=pages[0], cause=error.code))
            break
        content["made"] += drawn[-1]["content"]["made"]
        content["warnings"] += drawn[-1]["content"]["warnings"]
    made = [one for each in drawn for one in each["content"]["made"]]
    return [_provenance("page_image", drawn[0], made, monotonic() - began)] if drawn else []


def _find_tables(
    request: ProcessDocument, tools: DocumentTools, content: dict[str, Any], report: Report
) -> list[dict[str, Any]]:
    """Look for tables on the pages that have lines for them, some at a time; returns provenance."""
    began = monotonic()
    numbers: list[int] = content["table_pages"]
    reads: list[dict[str, Any]] = []
    for at in range(0, len(numbers), TABLES_AT_ONCE):
        seconds = tools.table_seconds - (monotonic() - began)
        if seconds <= 0 or "table_seconds" in content["limits_hit"]:
            break
        pages = numbers[at : at + TABLES_AT_ONCE]
        options = {"pages": pages, "layout": content["layout"], "seconds": seconds, "password": request.password}
        part = part_of(report, 100 * at / len(numbers), 100 * (at + len(pages)) / len(numbers))
        try:
            read = tools.sandbox.run("tables", tools.path, options, part)
        except FileError as error:
            if error.code == "dependency_missing":
                content["warnings"].append(_unsearched(numbers, error))
                break
            content["errors"].append(_unsearched(pages, error))
        else:
            reads.append(read)
            _add_tables(content, read["content"])
    return [_provenance("tables", reads[0], numbers, monotonic() - began)] if reads else []


def _add_tables(content: dict[str, Any], found: dict[str, Any]) -> None:
    markdown = {page["n"]: page["markdown"] for page in found["pages"]}
    for page in content["pages"]:
        page["markdown"] = markdown.get(page["n"], page["markdown"])
    content["tables"] += found["tables"]
    content["errors"] += found["errors"]
    content["limits_hit"] += found["limits_hit"]


def _fill_in(
    request: ProcessDocument,
    tools: DocumentTools,
    missing: list[int],
    content: dict[str, Any],
    document_began: float,
    report: Report,
) -> list[dict[str, Any]]:
    """Read the pages that have no text of their own as pictures, or say why they stay without; returns provenance."""
    if not (request.ocr_enabled and request.extract_text):
        leave_out(missing, content, "OCR is switched off" if request.extract_text else "no text was asked for")
        return []
    began = monotonic()
    pictures = Pictures(
        tools.sandbox, tools.path, request.password, tools.side_by_side, document_began, tools.ocr_seconds
    )
    reads = fill_in(pictures, missing, content, report)
    pages = [page for read in reads for page in read["content"]["pages"]]
    return [_provenance("ocr", reads[0], pages, monotonic() - began)] if reads else []


def _unsearched(pages: list[int], error: FileError) -> dict[str, Any]:
    return failure("tables", pages, "searched for tables", error)


def _envelope(
    request: ProcessDocument,
    tools: DocumentTools,
    found: dict[str, Any],
    provenance: list[dict[str, Any]],
    began: float,
) -> DocumentProcessed:
    content = found["content"]
    text, ranges = _joined(content["pages"])
    artefacts = tools.keep_all(content["made"])
    text_shown, inline = _shown(request, tools, "text", text, artefacts)
    markdown, markdown_inline = _shown(request, tools, "markdown", _markdown(content["pages"]), artefacts)
    tables: list[dict[str, Any]] = content["tables"] if request.extract_text else []
    packed = json.dumps(tables, ensure_ascii=False).encode()
    if len(packed) > tools.inline_text_kb * KIB:
        artefacts.append(tools.keep("table", packed, "application/json"))
        tables = [{"page": one["page"], "title": one["title"], "row_count": len(one["rows"])} for one in tables]
    described = _described(request, text)
    shown = request.extract_text and inline
    wanted: dict[str, list[dict[str, Any]]] = {name: content[name] for name in BESIDE if request.extract_text}
    return DocumentProcessed(
        status="partial" if content["errors"] or content["limits_hit"] else "ok",
        input=input_of(request, found),
        options=request.effective_options(),
        provenance=[*provenance, *described.pop("provenance")],
        warnings=[*mismatch(found), *content["warnings"], *described.pop("warnings")],
        errors=content["errors"],
        limits=Limits(hit=content["limits_hit"], pages_skipped=content["pages_skipped"]),
        artefacts=artefacts,
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=Document(
            kind=found["kind"],
            text=text_shown,
            text_truncated=not inline,
            markdown=markdown,
            markdown_truncated=not markdown_inline,
            characters=len(text),
            pages=[_page(page, place, shown=shown) for page, place in zip(content["pages"], ranges, strict=True)],
            tables=tables,
            metadata=content["metadata"] if request.extract_metadata else None,
            outline=content["outline"],
            attachments=_kept(content["attachments"], artefacts),
            **wanted,
            **described,
        ),
    )


def _shown(
    request: ProcessDocument, tools: DocumentTools, kind: Literal["text", "markdown"], text: str, made: list[Artefact]
) -> tuple[str | None, bool]:
    """Return what the result shows of a text, and whether that is all; of a long one, the whole is an artefact."""
    if not request.extract_text:
        return None, True
    raw = text.encode()
    if len(raw) <= tools.inline_text_kb * KIB:
        return text, True
    made.append(tools.keep(kind, raw, f"text/{'plain' if kind == 'text' else kind}; charset=utf-8"))
    return text[:EXCERPT_CHARACTERS], False


def _markdown(pages: list[dict[str, Any]]) -> str:
    """Return the whole as Markdown; a page that has none of its own is its text."""
    parts = [page["text"] if page["markdown"] is None else page["markdown"] for page in pages]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _kept(attachments: list[dict[str, Any]], artefacts: list[Artefact]) -> list[dict[str, Any]]:
    """Return descriptions of the files inside, each with the address where its bytes are kept, if they are."""
    kept = {str(one.model_dump()["sha256"]): one.uri for one in artefacts if one.kind == "attachment"}
    return [_placed(one, kept) for one in attachments]


def _placed(attachment: dict[str, Any], kept: Mapping[str, str]) -> dict[str, Any]:
    """Return the description of a file inside with its address, and with those of the files inside of it."""
    known = dict(attachment)
    if attachment["sha256"] in kept:
        known["artefact"] = kept[attachment["sha256"]]
    if "result" in attachment:
        inside = [_placed(one, kept) for one in attachment["result"]["attachments"]]
        known["result"] = attachment["result"] | {"attachments": inside}
    return known


def _described(request: ProcessDocument, text: str) -> dict[str, Any]:
    """Return language and summary, and a warning for each that could not be told."""
    warnings: list[dict[str, Any]] = []
    language = import_module("processors.languages").language_of(text)
    summary = import_module("processors.summaries").summarise(text) if request.generate_summary else None
    if language is None:
        warnings.append(
            warning("language_unavailable", "The language cannot be told from so little text, or so mixed.")
        )
    if request.generate_summary and summary is None:
        warnings.append(warning("no_summary", "There is no whole sentence to make a summary of."))
    provenance = [{"step": "summary", "engine": summary["method"]}] if summary else []
    return {"language": language, "summary": summary, "warnings": warnings, "provenance": provenance}


def _joined(pages: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
    """Return the whole text, a page after another, and the place of each page in it."""
    ranges: list[tuple[int, int]] = []
    at = 0
    for page in pages:
        ranges.append((at, at + len(page["text"])))
        at += len(page["text"]) + 1
    return "\n".join(page["text"] for page in pages), ranges


def _page(page: Mapping[str, Any], place: tuple[int, int], *, shown: bool) -> DocumentPage:
    unit = "pt" if page["width"] is not None else None
    known = {name: value for name, value in page.items() if name in DocumentPage.model_fields}
    own = {"text": page["text"] if shown else None, "char_range": place, "unit": unit}
    return DocumentPage.model_validate({**known, **own})


def _provenance(step: str, found: Mapping[str, Any], pages: list[Any], seconds: float) -> dict[str, Any]:
    engine, _, version = str(found["content"]["engine"]).rpartition(" ")
    return {
        "step": step,
        "engine": engine or version,
        "engine_version": version if engine else None,
        "seconds": round(seconds, 3),
        "sandbox": found["sandbox"],
        "units": {"pages": len(pages)},
    }
