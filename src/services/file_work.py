"""Work on a file, wherever it lies: the file is brought to this machine for as long as the work takes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic
from typing import Any, TypeVar, get_type_hints
from urllib.parse import unquote, urlsplit

from config.settings import settings
from processors import stored_places
from processors.envelopes import part_of
from processors.errors import ArtefactGone, FileError, TransientError
from processors.file_results import FileRequest
from processors.interfaces import Report
from processors.results import Result
from services import file_cache
from services.celery_tasks.base import RecordedTask
from services.fetching import fetch
from services.wiring import Parts

FETCHED_PERCENT = 10
"""How much of a task's progress it is to bring its file here."""

AnyRequest = TypeVar("AnyRequest", bound=FileRequest)
AnyTools = TypeVar("AnyTools")
AnyResult = TypeVar("AnyResult", bound=Result)


def with_file(
    task: RecordedTask,
    request: AnyRequest,
    tools_of: Callable[[Parts, Path, str, float], AnyTools],
    work: Callable[[AnyRequest, AnyTools, Report], AnyResult],
) -> Any:
    """Do the work of a task on the file that its request names.

    Args:
        task: whose run it is.
        request: names the file.
        tools_of: makes what the work needs, for this file, this task, and the monotonic second at which it began.
        work: the processor's function.

    Returns:
        What the work returned; or, as JSON values, what it returned for another task before (CACHE_RESULTS).

    Raises:
        TransientError: the file was changed meanwhile; it is opened several times, and each may have seen another one.
    """
    began = monotonic()
    scheme = _scheme_of(request.file_path)
    here = scheme in {"", "file"}
    keep_stored(task, request.file_path)
    report = task.report if here else part_of(task.report, FETCHED_PERCENT, 100)
    with local(task.parts, request.file_path, part_of(task.report, 0, FETCHED_PERCENT)) as path:

        def read() -> AnyResult:
            before = _state_of(path)
            try:
                result = work(request, tools_of(task.parts, path, task.current.id, began), report)
            except FileError as error:  # half a file is a damaged one
                _refuse_changed(path, before, error)
                raise
            _refuse_changed(path, before)
            return result

        if settings.cache_results and file_cache.may_be_shared(request):
            schema = get_type_hints(work)["return"].model_fields["schema_name"].default
            return file_cache.answered(task, request, path, schema, read, report)
        return read()


def keep_stored(task: RecordedTask, file_path: str) -> None:
    """Let a task refer to its file where that is in the storage, so that it stays as long as the task.

    Raises:
        FileError: it is gone.
    """
    if uri := stored_places.uri_in(file_path):
        try:
            task.parts.storage.refer(uri, task.current.id)
        except ArtefactGone as error:
            raise FileError(str(error), "not_found") from error


@contextmanager
def local(parts: Parts, file_path: str, report: Report) -> Generator[Path]:
    """Give the path of a file on this machine; one from elsewhere is here for as long as this lasts.

    Raises:
        FileError: it cannot be had.
        TransientError: it cannot be had now.
    """
    scheme = _scheme_of(file_path)
    if not scheme:
        yield Path(file_path)
    elif scheme == "file":
        yield _path_of(file_path)
    else:
        # Its rights are the owner's alone. Where this process is killed, a clean-up of old files removes it.
        with NamedTemporaryFile(dir=settings.tmp_dir, prefix="fetched-") as file:
            fetch(parts.file_source(scheme), file_path, file, settings.file_time_limit_seconds, report)
            file.flush()
            yield Path(file.name)


def _refuse_changed(path: Path, before: tuple[int, ...] | None, error: FileError | None = None) -> None:
    """Let a file pass that is the one that it was; `error` is what reading it came to.

    Raises:
        TransientError: it is another one.
    """
    if _state_of(path) not in {before, None}:
        raise TransientError(
            f"The file {path} was changed while it was read: write it under another name, and give it its own "
            "when it is whole."
        ) from error


def _state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None where there is none, of which whoever opens it says more."""
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _scheme_of(file_path: str) -> str:
    """Return the scheme of an address in small letters, or nothing for a path."""
    scheme, mark, _ = file_path.partition("://")
    return scheme.lower() if mark and scheme.isalnum() else ""


def _path_of(address: str) -> Path:
    """Return the path of a file:// address (RFC 8089)."""
    parts: Any = urlsplit(address)
    if parts.netloc not in {"", "localhost"}:
        raise FileError(
            f"A file:// address names a file of the worker's machine: {address} names another.", "not_found"
        )
    return Path(unquote(parts.path))
