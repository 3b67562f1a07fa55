"""Removing old files where that is allowed, and nowhere else, whatever links somebody lays on the way.

Folders are walked by descriptors (openat(2), O_NOFOLLOW), and a file is compared once more before it goes: a folder
that is swapped for a link between the look and the delete changes nothing.
"""

import os
import stat
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processors.errors import PermanentError
from processors.interfaces import OldFile

DEEPEST = 200
"""Folders in one another that are looked into; each holds a descriptor while the walk is below it."""

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskCleaner:
    """Fulfils `processors.interfaces.FileCleaner`.

    Args:
        roots: folders below which old files may be removed.
        protected: files and folders that stay, with everything below them.
        base: what a relative directory is relative to.
        now: the time, in seconds since the epoch.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        protected: Sequence[Path],
        base: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._roots = [root.resolve() for root in roots]
        self._protected = [path.resolve() for path in protected]
        self._base = base or Path.cwd()
        self._now = now
        self.errors: list[str] = []

    def find(self, directory: Path, min_age: float) -> list[OldFile]:
        """List regular files below `directory` that nobody changed for `min_age` seconds and that may go.

        The age is that of the last change of content or of name and rights, whichever is younger: `cp -p` and `touch`
        cannot make a file look old.

        Raises:
            PermanentError: the directory lies outside the roots, is a link, or is no directory.
        """
        top = self._allowed(directory)
        found: list[OldFile] = []
        self.errors = []
        with _opened(top) as folder:
            self._walk(folder, top, DEEPEST, min_age, found)
        return sorted(found, key=lambda file: str(file.path))

    def remove(self, directory: Path, file: OldFile) -> bool:
        """Remove one file that `find` listed, if it is still old and still the same size; tells whether it went."""
        top = self._allowed(directory)
        steps = file.path.relative_to(top).parts
        with _opened(top) as folder, _descend(folder, steps[:-1]) as parent:
            try:
                status = os.stat(steps[-1], dir_fd=parent, follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode) or status.st_size != file.size or self._age(status) < file.age:
                    return False
                os.unlink(steps[-1], dir_fd=parent)
            except FileNotFoundError:
                return False
        return True

    def _allowed(self, directory: Path) -> Path:
        """Return the directory, without links, if it is or lies below a root."""
        wanted = self._base / directory
        if wanted.is_symlink():
            raise PermanentError(f"The directory {wanted} is a link: name the directory itself.")
        if not wanted.is_dir():
            raise PermanentError(f"The directory {wanted} does not exist on this machine, or is a file.")
        real = wanted.resolve()
        if not any(real == root or root in real.parents for root in self._roots):
            allowed = ", ".join(str(root) for root in self._roots)
            raise PermanentError(f"The directory {real} lies outside {allowed}; CLEANUP_ROOTS adds folders to clean.")
        if self._is_protected(real):
            raise PermanentError(f"The directory {real} holds what the service itself needs and is never cleaned.")
        return real

    def _is_protected(self, path: Path) -> bool:
        return any(path == kept or kept in path.parents for kept in self._protected)

    def _age(self, status: os.stat_result) -> float:
        return self._now() - max(status.st_mtime, status.st_ctime)

    def _walk(self, folder: int, path: Path, levels: int, min_age: float, found: list[OldFile]) -> None:
        if levels == 0:
            self.errors.append(f"{path}: nested deeper than {DEEPEST} folders")
            return
        here = os.fstat(folder)
        writable = os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True)
        for name in os.listdir(folder):
            inner = path / name
            if self._is_protected(inner):
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and status.st_dev == here.st_dev:
                    with _descend(folder, (name,)) as deeper:
                        self._walk(deeper, inner, levels - 1, min_age, found)
                elif stat.S_ISREG(status.st_mode) and self._age(status) > min_age:
                    if writable and _may_be_unlinked(status, here):
                        found.append(OldFile(inner, status.st_size, min_age))
                    else:
                        self.errors.append(f"{inner}: this user may not remove it")
            except FileNotFoundError:
                continue  # somebody else removed it meanwhile
            except OSError as error:
                self.errors.append(f"{inner}: {error.strerror}")


def _may_be_unlinked(status: os.stat_result, folder: os.stat_result) -> bool:
    """Tell whether a folder like /tmp lets this user remove a file, which may be somebody else's (unlink(2), EPERM)."""
    return not folder.st_mode & stat.S_ISVTX or os.geteuid() in {0, folder.st_uid, status.st_uid}


@contextmanager
def _opened(path: Path) -> Generator[int]:
    """Open a folder from the root of the file system, step by step, through no link."""
    top = os.open("/", FOLDER_FLAGS)
    try:
        with _descend(top, path.parts[1:]) as folder:
            yield folder
    finally:
        os.close(top)


@contextmanager
def _descend(folder: int, steps: Sequence[str]) -> Generator[int]:
    descriptor = os.dup(folder)
    try:
        for step in steps:
            deeper = os.open(step, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)
