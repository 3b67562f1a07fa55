"""Texts: the text of what a caller sends, whatever its form, with its language, entities, keywords and summary."""

import base64
import binascii
import codecs
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from processors.audio import LANGUAGE
from processors.entity_results import Entity
from processors.envelopes import Artefact, Envelope, Limits, Timing, part_of, stored, warning
from processors.file_results import FileResult
from processors.file_types import BY_ENDING, MIME
from processors.files import ProcessFile, RouteTools, process_file
from processors.interfaces import ObjectStorage, Report
from processors.keywords import Keyword
from processors.results import UNSTORABLE, Request, Result

MOST_CHARACTERS = 1_000_000
EXCERPT_CHARACTERS = 4_000
LONGEST_TYPE = 255
KIB = 1024
WHOLE_KB = 1024**2
"""More than any file's text has: none becomes an artefact on its way."""

AS_TEXT = frozenset({"text", "html", "markdown"})
ANY_FILE = ("base64", "application/octet-stream")
KINDS = BY_ENDING | {mime: kind for kind, mime in MIME.items()} | dict.fromkeys(ANY_FILE, "")
"""What a `content_type` may be, and the kind of file that it says."""

WHITE_SPACE = re.compile(r"[ \t\r\n]+")

TEXT_ALONE = {
    "generate_summary": False,
    "extract_metadata": False,
    "detect_objects": False,
    "generate_tags": False,
    "detect_speakers": False,
    "extract_features": False,
    "extract_frames": False,
    "detect_scenes": False,
    "generate_thumbnail": False,
}
"""What the methods for files need not do for a text."""


class ExtractText(Request):
    """Extract the text of a content.

    `content` is the text itself where `content_type` is `text`, `html` or `markdown` (or their MIME names); for any
    other MIME type or kind of file, and for `base64`, it is a file's bytes in base64 (RFC 4648, 4).
    """

    content: str = Field(repr=False)
    content_type: str = Field(default="text", max_length=LONGEST_TYPE)
    language: str = "en"

    @field_validator("content")
    @classmethod
    def _good_text(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        if len(value) > MOST_CHARACTERS:
            raise ValueError(
                f"must have at most {MOST_CHARACTERS} characters; got {len(value)}; give a larger one to "
                "process_document as a file"
            )
        if bad := UNSTORABLE.search(value):
            raise ValueError(
                f"must be text without NUL and lone surrogates; got U+{ord(bad[0]):04X} at character {bad.start()}"
            )
        return value

    @field_validator("content_type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()) or _named(value) not in KINDS:
            raise ValueError(
                f"must be text, html, markdown, base64, or the MIME type or kind of a file such as application/pdf or "
                f"docx; got {value!r:.100}"
            )
        return value

    @field_validator("language")
    @classmethod
    def _known_form(cls, value: str) -> str:
        if not LANGUAGE.fullmatch(value):
            raise ValueError(f"must be a code of BCP 47 such as en, de or pt-BR; got {value!r:.100}")
        return value

    @model_validator(mode="after")
    def _good_base64(self) -> Self:
        if self.kind not in AS_TEXT and not self.file:
            raise ValueError("content: must be the bytes of a file in base64; got none")
        return self

    @property
    def kind(self) -> str:
        """The kind of file that `content_type` says; empty where it does not say any."""
        return KINDS[_named(self.content_type)]

    @property
    def file(self) -> bytes:
        """The bytes that `content` is in base64.

        Raises:
            ValueError: it is none.
        """
        packed = WHITE_SPACE.sub("", self.content)
        try:
            return base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(
                f"content: must be base64 where content_type is {self.content_type}; got {len(packed)} characters that "
                f"are not: {error}"
            ) from None


class TextInput(Result):
    """The content as it was given: of a text, its digest and size are those of its UTF-8."""

    sha256: str
    bytes: int
    detected_type: str


class ExtractedText(Result):
    """What was extracted; `text` is the beginning where `truncated`, and the whole an artefact.

    Attributes:
        characters: of the whole text.
        language_confidence: 0 to 1; null where the language is the one that was given.
    """

    text: str
    truncated: bool
    characters: int
    language: str
    language_confidence: float | None
    language_source: Literal["given", "detected"]
    entities: list[Entity]
    keywords: list[Keyword]
    summary: dict[str, Any] | None


class TextExtracted(Envelope):
    """The envelope around a text."""

    schema_name: str = Field(default="csai.text/1", serialization_alias="schema")
    input: TextInput
    result: ExtractedText


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTools:
    """What extracting text needs from outside.

    Attributes:
        storage: keeps artefacts.
        task_id: whose artefacts they are.
        inline_text_kb: text up to this size is part of the result.
        folder: makes a folder that only its owner can read, and removes it with all that lies there.
        route_tools: makes the tools that send the file at a path to its method.
    """

    storage: ObjectStorage
    task_id: str
    inline_text_kb: int
    folder: Callable[[], AbstractContextManager[Path]]
    route_tools: Callable[[Path], RouteTools]


@dataclass(frozen=True, slots=True)
class _Read:
    """A text, the content that it comes from, and what the method for its file told beside it."""

    text: str
    input: TextInput
    told: FileResult | None = None


def extract_text(request: ExtractText, tools: TextTools, report: Report) -> TextExtracted:
    """Extract the text of a content, and describe it.

    Plain text is taken as it is. Everything else is parsed in the sandbox, as the methods for files do it.

    Raises:
        FileError: the content is a file that cannot be read, or that nothing here reads; `code` says why.
    """
    began = monotonic()
    if request.kind == "text":
        read = _Read(request.content, _input_of(request))
    else:
        read = _from_file(request, tools, part_of(report, 0, 80))
    report(80, "describing the text")
    found = import_module("processors.text_description").describe(read.text, request.language)
    text, artefacts = _shown(read.text, tools)
    told = read.told
    warnings = [*(told.warnings if told else []), *found.warnings]
    if not read.text.strip() and "no_text" not in {one["code"] for one in warnings}:
        warnings.append(warning("no_text", "There is no text in the content, or nothing but white space."))
    return TextExtracted(
        status=told.status if told else "ok",
        input=read.input,
        options={"content_type": request.content_type, "language": request.language},
        provenance=[*(told.provenance if told else []), *found.provenance],
        warnings=warnings,
        errors=told.errors if told else [],
        limits=_limits(told, found.limits_hit),
        artefacts=[*(told.artefacts if told else []), *artefacts],
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=ExtractedText(
            text=text,
            truncated=bool(artefacts),
            characters=len(read.text),
            language=found.language,
            language_confidence=found.language_confidence,
            language_source=found.language_source,
            entities=found.entities,
            keywords=found.keywords,
            summary=found.summary,
        ),
    )


def _named(content_type: str) -> str:
    """Return a type without its parameters, such as `charset`, and without the point of an ending."""
    return content_type.partition(";")[0].strip().lower().removeprefix(".")


def _input_of(request: ExtractText) -> TextInput:
    """Describe a content that is text itself."""
    raw = request.content.encode()
    return TextInput(sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw), detected_type=MIME[request.kind])


def _from_file(request: ExtractText, tools: TextTools, report: Report) -> _Read:
    """Write the content into a file of its own, and read that as what it is."""
    with tools.folder() as folder:
        path = folder / f"content.{request.kind}".rstrip(".")
        path.write_bytes(_marked(request) if request.kind in AS_TEXT else request.file)
        asked = ProcessFile(file_path=path.name, processing_options=TEXT_ALONE)
        done = process_file(asked, _whole(tools.route_tools(path)), report)
    text = "\n\n".join(_texts(done.detail.as_json()))
    if request.kind in AS_TEXT:
        return _Read(text, _input_of(request), done.detail)
    found = done.detail.input
    return _Read(
        text, TextInput(sha256=found.sha256, bytes=found.bytes, detected_type=found.detected_type), done.detail
    )


def _marked(request: ExtractText) -> bytes:
    """Return text as a file that is nothing else: in UTF-16 with its mark, which wins over what a page says of itself.

    A part of a page, without the tags around it, is made a page.
    """
    page = f"<!doctype html>{request.content}" if request.kind == "html" else request.content
    return codecs.BOM_UTF16_BE + page.encode("utf-16-be")


def _whole(tools: RouteTools) -> RouteTools:
    """Return tools whose results hold their text, however long it is."""

    def tools_of(route: str, path: Path) -> Any:
        return replace(tools.tools_of(route, path), inline_text_kb=WHOLE_KB)

    return replace(tools, inline_text_kb=WHOLE_KB, tools_of=tools_of)


def _texts(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in what a method for files returned; of an archive, those of its members."""
    result = told["result"]
    for member in result.get("members", ()):
        if member["detail"]:
            yield from _texts(member["detail"])
    heard = cast("Mapping[str, Any]", result.get("audio") or result)
    for place in (result, result.get("ocr"), heard.get("transcript")):
        if place and (place.get("text") or "").strip():
            yield place["text"]


def _shown(text: str, tools: TextTools) -> tuple[str, list[Artefact]]:
    """Return what the result shows of a text, and of a long one the artefact that holds it whole."""
    raw = text.encode()
    if len(raw) <= tools.inline_text_kb * KIB:
        return text, []
    mime = "text/plain; charset=utf-8"
    return text[:EXCERPT_CHARACTERS], [stored(tools.storage, tools.task_id, "text", raw, mime)]


def _limits(told: FileResult | None, hit: list[str]) -> Limits:
    before = told.limits if told else Limits()
    return Limits(hit=[*before.hit, *hit], pages_skipped=before.pages_skipped)
