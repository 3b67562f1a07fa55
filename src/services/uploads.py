"""Uploads: what comes over HTTP is kept in the storage, for its own time and for each task that works on it."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any, cast
from uuid import uuid4

from config.settings import settings
from processors.errors import ArtefactGone, InvalidArgument, ServiceUnavailable, TransientError, WorkError
from processors.stored_places import address_of, place_of, uri_in
from records.uploads import Upload, reference
from services.wiring import parts

HOUR = 3_600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload that the storage keeps, until when, and its digest."""

    upload: Upload
    expires_at: datetime
    sha256: str

    @property
    def file_path(self) -> str:
        """The place that methods for files take."""
        return place_of(self.upload.address, self.upload.name)


def arriving() -> IO[bytes]:
    """Open a file without a name for what arrives, which a kill leaves nothing of; the storage may give it one."""
    flags = getattr(os, "O_TMPFILE", None)
    with suppress(OSError):  # of a file system that has none of these
        if flags is not None:
            return os.fdopen(os.open(settings.tmp_dir, os.O_RDWR | flags, 0o600), "w+b")
    return TemporaryFile(dir=settings.tmp_dir)


def keep(file: IO[bytes], *, sha256: str, size: int, name: str, mime: str, tenant: str | None) -> Kept:
    """Keep a file that came over HTTP.

    Args:
        file: holds its bytes.
        sha256: of them, in hex digits.
        size: how many they are.
        name: made safe.
        mime: what its sender says it is.
        tenant: whose it is.

    Raises:
        ServiceUnavailable: the database or the storage does not answer.
        OSError: the disk is full.
    """
    upload = Upload(id=uuid4().hex, address=address_of(sha256), name=name, type=mime, bytes=size, tenant=tenant)
    uploads, storage = parts().uploads, parts().storage
    uploads.arriving(upload)
    try:
        storage.put_file(file, sha256=sha256, mime=mime, task_id=reference(upload.id))
        until = uploads.kept(upload.id, settings.keep_uploads_hours * HOUR)
    except BaseException as error:
        with suppress(WorkError, OSError):  # else the clean-up does it
            storage.remove(reference(upload.id))
            uploads.give_up(upload.id)
        if isinstance(error, TransientError):
            raise ServiceUnavailable(str(error)) from error
        raise
    if until is None:
        storage.remove(reference(upload.id))
        raise ServiceUnavailable("The storage took too long to keep the upload: send it again.")
    return Kept(upload, until, sha256)


def check_stored(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that name a file in the storage which is gone.

    Raises:
        InvalidArgument: it names the argument.
        ServiceUnavailable: the storage does not answer.
    """
    known: set[str] = set()
    for argument, uri in stored_in(arguments):
        if uri in known:
            continue
        try:
            parts().storage.size(uri)
        except ArtefactGone as error:
            raise InvalidArgument(
                f"{argument}: there is no file at {uri}: it never was, or its time is over; upload it again."
            ) from error
        except TransientError as error:
            raise ServiceUnavailable(str(error)) from error
        known.add(uri)


def keep_for(task_id: str, arguments: Mapping[str, Any]) -> None:
    """Let a task that waits refer to the files in the storage that its arguments name.

    What cannot be referred to now is left to the task, which does it when it starts, and says what is gone.
    """
    uris = dict.fromkeys(uri for _, uri in stored_in(arguments))
    try:
        if not uris or parts().tasks.is_final(task_id) is not False:
            return
        for uri in uris:
            _refer(uri, task_id)
        if parts().tasks.is_final(task_id) is None:  # removed meanwhile: no clean-up would come again
            parts().storage.remove(task_id)
    except (WorkError, OSError) as error:  # the task is recorded: its submit has not failed
        log.warning("The task %s may not keep its files yet: %s", task_id, error)


def _refer(uri: str, task_id: str) -> None:
    try:
        parts().storage.refer(uri, task_id)
    except (WorkError, OSError) as error:
        log.warning("The task %s cannot keep its file yet: %s", task_id, error)


def stored_in(value: Any, argument: str = "") -> Iterator[tuple[str, str]]:
    """Yield the files in the storage that arguments name, at whatever depth: the argument, and where its bytes are."""
    if isinstance(value, str):
        if uri := uri_in(value):
            yield argument, uri
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield from stored_in(inner, f"{argument}.{name}" if argument else name)
    elif isinstance(value, Sequence):
        for number, inner in enumerate(cast("Sequence[Any]", value)):
            yield from stored_in(inner, f"{argument}.{number}")
