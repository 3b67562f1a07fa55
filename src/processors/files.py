"""Files of any kind: each is sent to the method for what its content is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator

from processors.archives import Allowance, ArchiveTools, ProcessArchive, process_archive
from processors.audio import ProcessAudio, process_audio
from processors.documents import ProcessDocument, process_document
from processors.envelopes import part_of
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools
from processors.file_types import route_of
from processors.images import ProcessImage, process_image
from processors.interfaces import Report
from processors.results import Result, sentence_of
from processors.video import ProcessVideo, process_video

ARCHIVE = "archive"
GIVEN, SIGNATURE, NO_SIGNATURE = 1.0, 0.95, 0.7
"""How sure a route is: the caller chose it; the content has a mark of its own; it is text, which has none."""

TEXTS = frozenset({"html", "markdown", "csv", "eml", "text"})


@dataclass(frozen=True, slots=True)
class Method:
    """How one kind of file is processed.

    Attributes:
        request: what it takes; its fields beside `file_path` are its options.
        process: does the work; takes the request, the tools of this route, and a report.
    """

    request: type[FileRequest]
    process: Callable[[Any, Any, Report], FileResult]


METHODS: dict[str, Method] = {
    "document": Method(ProcessDocument, process_document),
    "image": Method(ProcessImage, process_image),
    "audio": Method(ProcessAudio, process_audio),
    "video": Method(ProcessVideo, process_video),
}
"""Where a file may go, by the routes of `processors.file_types.ROUTES`; an archive goes to all of them."""


def requests() -> dict[str, type[FileRequest]]:
    """Return what each route takes."""
    return {route: method.request for route, method in METHODS.items()} | {ARCHIVE: ProcessArchive}


class ProcessFile(FileRequest):
    """Process one file.

    `processing_options` are the options of the method for `file_type`. Where that is left out, or is `archive`, they
    are options of any method: each method that the file or its members are sent to is given those that it has.
    """

    file_type: str | None = None
    processing_options: dict[str, Any] | None = Field(default=None, repr=False)

    @field_validator("file_type")
    @classmethod
    def _known_type(cls, value: str | None) -> str | None:
        if value is not None and value not in requests():
            raise ValueError(f"must be one of {', '.join(requests())}, or left out; got {value!r}")
        return value

    @field_validator("processing_options")
    @classmethod
    def _known_options(cls, value: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        chosen: str | None = info.data.get("file_type")
        any_of = list(requests().values()) if chosen is None or chosen == ARCHIVE else [requests()[chosen]]
        known = {name for request in any_of for name in options_of(request)}
        if unknown := sorted(set(value or {}) - known):
            raise ValueError(f"must only have {', '.join(sorted(known))}; got {unknown[0]!r}")
        try:
            for request in any_of:
                request_for(request, "-", value)
        except ValidationError as error:
            raise ValueError(sentence_of(error)) from None
        return value

    def effective_options(self) -> dict[str, Any]:
        """Return what was asked for, without what must not be shown."""
        options = {name: value for name, value in (self.processing_options or {}).items() if name != "password"}
        return {"file_type": self.file_type, "processing_options": options}


class FileProcessed(Result):
    """Which way a file went, why, how sure that is (0 to 1), and what its method returned."""

    schema_name: str = Field(default="csai.file/1", serialization_alias="schema")
    status: Literal["ok", "partial"]
    route: str
    why: str
    confidence: float
    detail: SerializeAsAny[FileResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTools(ArchiveTools):
    """What sending a file to its method needs from outside.

    Attributes:
        tools_of: makes the tools of a route's method, for a file at a path.
    """

    tools_of: Callable[[str, Path], FileTools]


def process_file(request: ProcessFile, tools: RouteTools, report: Report) -> FileProcessed:
    """Process a file as what its content is, or as the caller says; the members of an archive likewise.

    Raises:
        FileError: it cannot be read, or nothing here reads its kind.
    """
    return _processed(request, tools, report, Allowance.of(tools))


def options_of(request: type[FileRequest]) -> frozenset[str]:
    """Return the names of a method's options."""
    return frozenset(request.model_fields) - {"file_path"}


def request_for(request: type[FileRequest], file_path: str, options: Mapping[str, Any] | None) -> Any:
    """Return a method's request for a file, with those of the options that it has.

    Raises:
        ValidationError: one has a bad value.
    """
    own = {name: value for name, value in (options or {}).items() if name in options_of(request)}
    return request.model_validate({"file_path": file_path} | own)


def _processed(request: ProcessFile, tools: RouteTools, report: Report, allowance: Allowance) -> FileProcessed:
    route, why, confidence = _route(request, tools, part_of(report, 0, 2))
    if route not in requests():
        raise FileError(f"The file is {route}: {why}, and no method here reads that.", "unsupported_type")
    own = request_for(requests()[route], request.file_path, request.processing_options)
    rest = part_of(report, 2, 100)
    if route == ARCHIVE:
        detail = process_archive(own, tools, rest, allowance, partial(_member, request, tools, allowance))
    else:
        detail = METHODS[route].process(own, tools.tools_of(route, tools.path), rest)
    return FileProcessed(status=detail.status, route=route, why=why, confidence=confidence, detail=detail)


def _member(
    request: ProcessFile, tools: RouteTools, allowance: Allowance, name: str, path: Path, report: Report
) -> tuple[str, FileResult]:
    """Process a member of an archive, whose name is no path."""
    own = ProcessFile(file_path=name, processing_options=request.processing_options)
    done = _processed(own, replace(tools, path=path), report, allowance)
    return done.route, done.detail


def _route(request: ProcessFile, tools: RouteTools, report: Report) -> tuple[str, str, float]:
    """Return where a file goes, why, and how sure that is."""
    if request.file_type is not None:
        return request.file_type, "file_type says so", GIVEN
    found = tools.sandbox.run("identify", tools.path, {"name": request.name}, report)
    if "kind" not in found:
        raise FileError(found["why"], found["code"])
    kind, why = found["kind"], f"the content is {found['mime']}"
    streams: list[str] = found["streams"] or []
    if "audio" in streams and "video" not in streams:
        return "audio", f"{why}, which holds sound and no pictures", SIGNATURE
    return route_of(kind), why, NO_SIGNATURE if kind in TEXTS else SIGNATURE
