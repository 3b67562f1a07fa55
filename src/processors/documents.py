"""Documents: text page by page, metadata, tables, language and summary, in one envelope."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from processors.errors import FileError
from processors.file_results import (
    Artefact,
    FileRequest,
    FileResult,
    FileTools,
    Limits,
    Timing,
    input_of,
    mismatch,
    part_of,
    warning,
)
from processors.interfaces import Report
from processors.results import Result

EXCERPT_CHARACTERS = 4_000
KIB = 1024
PICTURES_AT_ONCE = 20
"""Pages that are read as pictures in one opening of the file: what goes wrong costs these and no more."""


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
    source: Literal["text_layer", "ocr", "none"]
    char_range: tuple[int, int]
    text: str | None = None
    width: float | None = None
    height: float | None = None
    unit: Literal["pt"] | None = None
    title: str | None = None
    confidence: float | None = None


class Document(Result):
    """What was read."""

    kind: str
    text: str | None = None
    text_truncated: bool = False
    characters: int = 0
    pages: list[DocumentPage] = []
    tables: list[dict[str, Any]] = []
    metadata: dict[str, Any] | None = None
    outline: list[dict[str, Any]] = []
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
        ocr_seconds: no further page is read as a picture after this time, so that what was read is kept.
    """

    max_pages: int
    max_characters: int
    ocr_seconds: float = 1_200.0


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
        "extract_metadata": request.extract_metadata,
        "password": request.password,
    }
    report(1, "opening the file")
    found = tools.sandbox.run("document", tools.path, options, part_of(report, 0, 50))
    content = found["content"]
    if content["errors"] and not content["pages"]:
        raise FileError(f"No page of the document can be read: {content['errors'][0]['message']}", "corrupt")
    provenance = [_provenance("read", found, content["pages"], monotonic() - began)]
    if missing := [page["n"] for page in content["pages"] if page["source"] == "none"]:
        provenance += _fill_in(request, tools, missing, content, part_of(report, 50, 90))
    report(92, "describing the text")
    return _envelope(request, tools, found, provenance, began)


def _fill_in(
    request: ProcessDocument, tools: DocumentTools, missing: list[int], content: dict[str, Any], report: Report
) -> list[dict[str, Any]]:
    """Read the pages that have no text of their own as pictures, or say why they stay without; returns provenance."""
    if not (request.ocr_enabled and request.extract_text):
        why = "OCR is switched off" if request.extract_text else "no text was asked for"
        content["warnings"] += [
            warning("no_text_layer", f"The page has no usable text, and {why}.", page=n) for n in missing
        ]
        return []
    began = monotonic()
    reads = _read_pictures(request, tools, missing, content, report)
    pages = [page for read in reads for page in read["content"]["pages"]]
    by_number = {page["n"]: page for page in pages}
    content["pages"] = [by_number.get(page["n"], page) for page in content["pages"]]
    silent = [page["n"] for page in pages if page["source"] == "none"]
    content["warnings"] += [warning("no_text", "No text was found in the picture of the page.", page=n) for n in silent]
    return [_provenance("ocr", reads[0], pages, monotonic() - began)] if reads else []


def _read_pictures(
    request: ProcessDocument, tools: DocumentTools, missing: list[int], content: dict[str, Any], report: Report
) -> list[dict[str, Any]]:
    """Read pages as pictures, some at a time; what cannot be read is an error beside the rest.

    Raises:
        FileError: nothing could be read, and the document has no other text.
    """
    reads: list[dict[str, Any]] = []
    failures: list[FileError] = []
    until = monotonic() + tools.ocr_seconds
    for at in range(0, len(missing), PICTURES_AT_ONCE):
        pages = missing[at : at + PICTURES_AT_ONCE]
        if monotonic() >= until:
            content["limits_hit"].append("ocr_seconds")
            late = FileError(f"the pages before them took {tools.ocr_seconds:g} s.", "timeout")
            content["errors"].append(_unread(missing[at:], late))
            break
        part = part_of(report, 100 * at / len(missing), 100 * (at + len(pages)) / len(missing))
        options = {"pages": pages, "password": request.password}
        try:
            reads.append(tools.sandbox.run("pictures", tools.path, options, part))
        except FileError as error:
            failures.append(error)
            content["errors"].append(_unread(pages, error))
    content["errors"] += [error for read in reads for error in read["content"]["errors"]]
    if failures and not reads and not any(page["text"] for page in content["pages"]):
        raise failures[0]
    return reads


def _unread(pages: list[int], error: FileError) -> dict[str, Any]:
    numbers = f"Page {pages[0]} was" if len(pages) == 1 else f"Pages {pages[0]} to {pages[-1]} were"
    message = f"{numbers} not read as pictures: {error}"
    return {"code": error.code, "step": "ocr", "page": pages[0], "pages": pages, "message": message}


def _envelope(
    request: ProcessDocument,
    tools: DocumentTools,
    found: dict[str, Any],
    provenance: list[dict[str, Any]],
    began: float,
) -> DocumentProcessed:
    content = found["content"]
    text, ranges = _joined(content["pages"])
    inline = len(text.encode()) <= tools.inline_text_kb * KIB
    artefacts: list[Artefact] = []
    if request.extract_text and not inline:
        artefacts.append(tools.keep("text", text.encode(), "text/plain; charset=utf-8"))
    tables: list[dict[str, Any]] = content["tables"] if request.extract_text else []
    packed = json.dumps(tables, ensure_ascii=False).encode()
    if len(packed) > tools.inline_text_kb * KIB:
        artefacts.append(tools.keep("table", packed, "application/json"))
        tables = [{"page": one["page"], "title": one["title"], "row_count": len(one["rows"])} for one in tables]
    described = _described(request, text)
    shown = request.extract_text and inline
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
            text=(text if inline else text[:EXCERPT_CHARACTERS]) if request.extract_text else None,
            text_truncated=request.extract_text and not inline,
            characters=len(text),
            pages=[_page(page, place, shown=shown) for page, place in zip(content["pages"], ranges, strict=True)],
            tables=tables,
            metadata=content["metadata"] if request.extract_metadata else None,
            outline=content["outline"],
            attachments=content["attachments"],
            **described,
        ),
    )


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
    own = {"text": page["text"] if shown else None, "char_range": place, "unit": unit}
    return DocumentPage.model_validate({**page, **own})


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
