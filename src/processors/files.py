"""Files of any kind: sent to the method for what they are."""

from typing import Any

from pydantic import Field, field_validator

from processors.documents import DocumentProcessed, DocumentTools, ProcessDocument, process_document
from processors.file_results import FileRequest
from processors.interfaces import Report
from processors.results import Result

OPTIONS = frozenset(ProcessDocument.model_fields) - {"file_path"}
FILE_TYPES = ("document",)


class ProcessFile(FileRequest):
    """Process one file; `processing_options` are the flags of the method for its type."""

    file_type: str | None = None
    processing_options: dict[str, Any] | None = Field(default=None, repr=False)

    @field_validator("file_type")
    @classmethod
    def _known_type(cls, value: str | None) -> str | None:
        if value is not None and value not in FILE_TYPES:
            raise ValueError(f"must be one of {', '.join(FILE_TYPES)}, or left out; got {value!r}")
        return value

    @field_validator("processing_options")
    @classmethod
    def _known_options(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        unknown = sorted(set(value or {}) - OPTIONS)
        if unknown:
            raise ValueError(f"must only have {', '.join(sorted(OPTIONS))}; got {unknown[0]!r}")
        ProcessDocument.model_validate({"file_path": "-"} | (value or {}))
        return value

    def as_document(self) -> ProcessDocument:
        """Return the request for the document inside."""
        return ProcessDocument.model_validate({"file_path": self.file_path} | (self.processing_options or {}))


class FileProcessed(Result):
    """Which way a file went, and what its method returned."""

    schema_name: str = Field(default="csai.file/1", serialization_alias="schema")
    status: str
    route: str
    why: str
    detail: DocumentProcessed


def process_file(request: ProcessFile, tools: DocumentTools, report: Report) -> FileProcessed:
    """Process a file as what its content is.

    Raises:
        FileError: it cannot be read, or nothing here reads its kind.
    """
    detail = process_document(request.as_document(), tools, report)
    why = f"the content is {detail.input.detected_type}"
    return FileProcessed(status=detail.status, route="document", why=why, detail=detail)
