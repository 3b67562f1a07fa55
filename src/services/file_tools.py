"""What each method for files needs from outside, made of the settings and parts."""

from pathlib import Path
from typing import TypedDict

from config.settings import settings
from processors.documents import DocumentTools
from processors.interfaces import FileSandbox, ObjectStorage
from services.wiring import Parts


class _Common(TypedDict):
    path: Path
    sandbox: FileSandbox
    storage: ObjectStorage
    task_id: str
    inline_text_kb: int


def document_tools(parts: Parts, path: Path, task_id: str) -> DocumentTools:
    """Return what processing a document needs, for one task."""
    return DocumentTools(
        **_common(parts, path, task_id), max_pages=settings.max_pages, max_characters=settings.max_characters
    )


def _common(parts: Parts, path: Path, task_id: str) -> _Common:
    return _Common(
        path=path,
        sandbox=parts.sandbox,
        storage=parts.storage,
        task_id=task_id,
        inline_text_kb=settings.inline_text_kb,
    )
