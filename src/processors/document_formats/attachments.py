"""Files inside a document: described, kept, and read themselves where they are documents."""

import hashlib
from collections.abc import Callable
from typing import Any

from processors.document_formats.content import Attached, Content
from processors.envelopes import packed, warning
from processors.errors import FileError

DEEPEST = 5
MOST_READ = 100
MOST_READ_BYTES = 128 * 1024**2
MOST_KEPT_BYTES = 16 * 1024**2
EXCERPT_CHARACTERS = 2_000
UNKNOWN_TYPE = "application/octet-stream"
TOO_LARGE = FileError("it needs more memory than FILE_MEMORY_LIMIT_MB allows.", "memory_limit")

ReadInside = Callable[[bytes, str], tuple[str, Content]]
"""Reads a document by its bytes and name, and returns its kind and content."""


class Attachments:
    """Opens what one document has inside, and what that has inside, within limits for all of it together.

    A file is read once: one that holds itself, or that stands in several places, is only described again.

    Args:
        read: reads one document.
        digest: the SHA-256 of the outermost file.
    """

    def __init__(self, read: ReadInside, digest: str) -> None:
        self._read = read
        self._seen = {digest}
        self._bytes_read = self._bytes_kept = 0
        self._outermost: Content | None = None

    def open(self, content: Content, depth: int = 1) -> None:
        """Turn `content.attached` into `content.attachments`; artefacts, warnings and limits go to the outermost."""
        self._outermost = self._outermost or content
        for attached in content.attached:
            content.attachments.append(self._described(attached, depth, self._outermost))
        content.attached = []

    def _described(self, attached: Attached, depth: int, outermost: Content) -> dict[str, Any]:
        name, raw = attached.name, attached.raw
        if raw is None:
            return {"name": name, "type": attached.type, "bytes": 0, "sha256": None}
        digest = hashlib.sha256(raw).hexdigest()
        entry: dict[str, Any] = {"name": name, "type": attached.type, "bytes": len(raw), "sha256": digest}
        if digest in self._seen:
            return entry
        self._seen.add(digest)
        self._keep(attached, raw, digest, outermost)
        if self._may_read(raw, depth, outermost):
            try:
                entry["result"] = self._inside(raw, name or "", depth)
            except MemoryError:
                outermost.warnings.append(_unread(name, TOO_LARGE))
            except FileError as error:
                if error.code != "unsupported_type":
                    outermost.warnings.append(_unread(name, error))
        return entry

    def _keep(self, attached: Attached, raw: bytes, digest: str, outermost: Content) -> None:
        if not raw or not _within(self._bytes_kept + len(raw), MOST_KEPT_BYTES, "attachment_bytes_kept", outermost):
            return
        self._bytes_kept += len(raw)
        mime = attached.type or UNKNOWN_TYPE
        outermost.made.append(packed("attachment", raw, mime, name=attached.name, sha256=digest))

    def _may_read(self, raw: bytes, depth: int, outermost: Content) -> bool:
        self._bytes_read += len(raw)
        return (
            _within(depth, DEEPEST, "attachment_depth", outermost)
            and _within(len(self._seen) - 1, MOST_READ, "attachments_read", outermost)
            and _within(self._bytes_read, MOST_READ_BYTES, "attachment_bytes_read", outermost)
        )

    def _inside(self, raw: bytes, name: str, depth: int) -> dict[str, Any]:
        kind, content = self._read(raw, name)
        self.open(content, depth + 1)
        text = "\n".join(page.text for page in content.pages)
        return {
            "kind": kind,
            "pages": len(content.pages),
            "pages_without_text": sum(page.source == "none" for page in content.pages),
            "characters": len(text),
            "text": text[:EXCERPT_CHARACTERS],
            "attachments": content.attachments,
        }


def _unread(name: str | None, error: FileError) -> dict[str, Any]:
    message = f"The file {name} inside the document cannot be read: {error}"
    return warning("attachment_unread", message, cause=error.code)


def _within(value: int, most: int, limit: str, outermost: Content) -> bool:
    if value > most and limit not in outermost.limits_hit:
        outermost.limits_hit.append(limit)
    return value <= most
