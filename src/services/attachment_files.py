"""The files that go with mails, read on the worker: from its disk, the storage of artefacts, or another machine."""

import hashlib
import os
from importlib import import_module

from processors.errors import FileError
from processors.interfaces import Report
from processors.mail_interfaces import FileContent
from processors.stored_places import uri_in
from services.file_work import local
from services.wiring import Parts

SETTING = "EMAIL_MAX_MB"
MIB = 1024**2
MOST_REMEMBERED_BYTES = 64_000_000


class AttachmentFiles:
    """Fulfils `processors.mail_interfaces.AttachmentReader` for one run of a task: the mails of a batch share files.

    Args:
        parts: the storage, and the sources of files from elsewhere.
        task_id: what is read from the storage is kept for this task, too: a retry outlives the task that it retries.
    """

    def __init__(self, parts: Parts, task_id: str) -> None:
        self._parts, self._task_id = parts, task_id
        self._remembered: dict[str, FileContent] = {}
        self._bytes = 0

    def read(self, place: str, max_bytes: int, report: Report) -> FileContent:
        """Return a file; one that was read before is not read again."""
        if (file := self._remembered.get(place)) is not None:
            _check(place, len(file.content), max_bytes)
            return file
        uri = uri_in(place)
        content = self._stored(uri, max_bytes) if uri else self._from_a_path(place, max_bytes, report)
        file = FileContent(content, hashlib.sha256(content).hexdigest())
        self._remember(place, file)
        return file

    def _stored(self, uri: str, max_bytes: int) -> bytes:
        storage = self._parts.storage
        storage.refer(uri, self._task_id)
        _check(uri, storage.size(uri), max_bytes)
        return storage.get(uri)

    def _from_a_path(self, place: str, max_bytes: int, report: Report) -> bytes:
        # Imported here: a worker whose mails have no files loads no adapter.
        opened = import_module("adapters.local_files").opened
        with local(self._parts, place, report) as path:
            descriptor: int = opened(path, max_bytes, SETTING)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(max_bytes + 1)
        _check(place, len(content), max_bytes)  # it may have grown
        return content

    def _remember(self, place: str, file: FileContent) -> None:
        if self._bytes + len(file.content) > MOST_REMEMBERED_BYTES:
            self._remembered.clear()
            self._bytes = 0
        self._remembered[place] = file
        self._bytes += len(file.content)


def _check(place: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise FileError(
            f"The attachment {place} has {size / MIB:.1f} MB, and {max_bytes / MIB:.1f} MB are left in the mail: "
            f"see {SETTING}.",
            "too_large",
        )
    if size == 0:
        raise FileError(f"The attachment {place} is empty.", "empty_file")
