"""The files of mail templates: they lie in one folder, are text, and are bounded."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from processors.errors import PermanentError, TransientError
from processors.results import UNSTORABLE

LARGEST_FILE = 500_000
MOST_FILES = 10_000
"""In the folder of templates, where all of them are looked at."""

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")

Stamp = tuple[int, int, int, int] | None
"""What changes where a file does: its times, its size, which file it is; None where there is none."""


class TemplateFolder:
    """Reads the files of one template, and remembers which they were.

    Attributes:
        path: the folder, which no name leads out of.
        stamps: of each file that was asked for, as it was then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps: dict[Path, Stamp] = {}

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        file = self.path / name
        self.stamps[file] = stamp = stamp_of(file)
        return stamp is not None

    def changed(self) -> bool:
        """Tell whether any of the files is another one than it was."""
        return any(stamp_of(file) != stamp for file, stamp in self.stamps.items())

    def read(self, name: str) -> str:
        """Return what is in a file.

        Raises:
            PermanentError: there is none, it leads out of the folder, is too large, or is no text.
            TransientError: it cannot be read now.
        """
        if len(name) > 200 or not FILE_NAME.fullmatch(name):  # noqa: PLR2004 - said in the sentence
            raise PermanentError(
                f"{name[:80]!r} names no file of a template: it has at most 200 letters, digits, -, _ and ., with / "
                "between folders, and no part begins with a dot."
            )
        self.has(name)  # before it is read: what changes meanwhile is noticed
        content = self._content(name)
        if len(content) > LARGEST_FILE:
            raise PermanentError(f"{name} has more than {LARGEST_FILE} bytes; make the template smaller.")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise PermanentError(f"{name} is no text in UTF-8: see its byte {error.start}.") from error
        if UNSTORABLE.search(text):
            raise PermanentError(f"{name} is no text: it holds NUL.")
        return text

    def _content(self, name: str) -> bytes:
        try:
            place = (self.path / name).resolve()
            if not place.is_relative_to(self.path.resolve()):
                raise PermanentError(f"{name} leads out of the folder of templates, EMAIL_TEMPLATES_DIR.")
            if not place.is_file():
                raise PermanentError(
                    f"{name} is no file in {self.path}, the folder of templates (EMAIL_TEMPLATES_DIR)."
                )
            with place.open("rb") as file:
                return file.read(LARGEST_FILE + 1)
        except PermissionError as error:
            raise PermanentError(f"{name} cannot be read: let the worker's user read {self.path}.") from error
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            raise TransientError(f"{name} cannot be read now: {getattr(error, 'strerror', None) or error}.") from error


def stamp_of(file: Path) -> Stamp:
    """Return what changes where a file does."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def files_below(folder: Path) -> Iterator[str]:
    """Return the names of all files of templates in a folder, in their order; nothing hidden, no linked folders.

    Raises:
        PermanentError: it is no folder, or has too much in it.
        OSError: it, or a folder in it, cannot be read.
    """
    if not folder.is_dir():
        raise PermanentError(f"{folder} is no folder: make it, or let EMAIL_TEMPLATES_DIR name another.")
    waiting, left = [folder], MOST_FILES
    while waiting:
        inside = sorted(islice(waiting.pop().iterdir(), left + 1))
        left -= len(inside)
        if left < 0:
            raise PermanentError(
                f"{folder} has more than {MOST_FILES} files and folders; let EMAIL_TEMPLATES_DIR name the folder of "
                "templates alone."
            )
        for place in inside:
            name = place.relative_to(folder).as_posix()
            if not FILE_NAME.fullmatch(name):
                continue
            if not place.is_dir():
                yield name
            elif not place.is_symlink():
                waiting.append(place)
