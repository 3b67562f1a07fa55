"""Work on a file, wherever it lies: the file is brought to this machine for as long as the work takes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from processors.errors import FileError
from processors.file_results import FileRequest
from processors.interfaces import Report
from services.celery_tasks.base import RecordedTask
from services.wiring import Parts

AnyRequest = TypeVar("AnyRequest", bound=FileRequest)
AnyTools = TypeVar("AnyTools")
AnyResult = TypeVar("AnyResult")


def with_file(
    task: RecordedTask,
    request: AnyRequest,
    tools_of: Callable[[Parts, Path, str], AnyTools],
    work: Callable[[AnyRequest, AnyTools, Report], AnyResult],
) -> AnyResult:
    """Do the work of a task on the file that its request names.

    Args:
        task: whose run it is.
        request: names the file.
        tools_of: makes what the work needs, for this file and task.
        work: the processor's function.
    """
    with local(task.parts, request.file_path, task.report) as path:
        return work(request, tools_of(task.parts, path, task.current.id), task.report)


@contextmanager
def local(_parts: Parts, file_path: str, _report: Report) -> Generator[Path]:
    """Give the path of a file on this machine.

    Raises:
        FileError: it cannot be had.
    """
    scheme, mark, _ = file_path.partition("://")
    if not mark or not scheme.isalnum():
        yield Path(file_path)
    elif scheme.lower() == "file":
        yield _path_of(file_path)
    else:
        raise FileError(f"Files at {scheme}:// are not read by this worker.", "dependency_missing")


def _path_of(address: str) -> Path:
    """Return the path of a file:// address (RFC 8089)."""
    parts: Any = urlsplit(address)
    if parts.netloc not in {"", "localhost"}:
        raise FileError(
            f"A file:// address names a file of the worker's machine: {address} names another.", "not_found"
        )
    return Path(unquote(parts.path))
