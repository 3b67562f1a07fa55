"""Paths in arguments that come from outside: they must lie under FILE_ROOTS."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from config.settings import PROJECT_ROOT, settings
from processors.errors import InvalidArgument

PATH_NAMES = frozenset({"file_path", "path", "directory", "log_directory"})
"""Arguments, at whatever depth, that name a file or folder of the worker's machine."""

ADDRESSES = ("store://", "https://")
"""What is no path: the worker fetches it through its own guards. Not s3://: any bucket of the service's."""

SAMPLES = PROJECT_ROOT / "src" / "examples" / "samples"
"""Files of this project, which everybody may see."""

DEFAULT_LOGS = "logs"
"""What `cleanup_old_logs` means LOG_DIR by."""


def check_paths(arguments: Mapping[str, Any]) -> None:
    """Refuse a path that lies outside of FILE_ROOTS, by itself or through the links of this machine.

    Raises:
        InvalidArgument: it names the argument and the cure.
    """
    for place, path in _paths(arguments, ""):
        if not _allowed(path):
            raise InvalidArgument(
                f"{place}: must lie under a folder of FILE_ROOTS, or be the address of an upload or of the web, "
                f"where it comes over HTTP; got {path!r:.200}."
            )


def file_at(place: Any) -> Path | None:
    """Return where a file of this machine really is, if it is there: one under FILE_ROOTS, or a sample."""
    if not isinstance(place, str) or not _lies_in(place, (*settings.file_roots, SAMPLES)):
        return None
    found = Path(os.path.realpath(_path_in(place)))
    return found if found.is_file() else None


def _paths(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            inside = f"{place}.{name}" if place else name
            if name in PATH_NAMES and isinstance(inner, str):
                yield inside, inner
            else:
                yield from _paths(inner, inside)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _paths(inner, f"{place}.{number}")


def _allowed(path: str) -> bool:
    if path.lower().startswith(ADDRESSES) or path == DEFAULT_LOGS:
        return True
    return _lies_in(path, settings.file_roots)


def _lies_in(path: str, folders: Sequence[Path]) -> bool:
    path = _path_in(path)
    return path.startswith("/") and "\0" not in path and any(map(_is_below(path), folders))


def _is_below(path: str) -> Callable[[Path], bool]:
    """Return what tells whether a path lies in a folder, as it is written and as this machine's links lead."""
    written, real = Path(os.path.normpath(path)), Path(os.path.realpath(path))
    return lambda root: written.is_relative_to(root) and real.is_relative_to(os.path.realpath(root))


def _path_in(path: str) -> str:
    """Return the path in a file:// address, or what was given."""
    if not path.lower().startswith("file://"):
        return path
    parts = urlsplit(path)
    return unquote(parts.path) if parts.netloc in {"", "localhost"} else ""
