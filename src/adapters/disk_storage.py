"""Artefacts on this machine's disk: the same bytes are kept once, for as long as a task refers to them.

An object is a file named by its digest. A task's reference is a hard link to it, so the number of links tells whether
anybody else still refers to it: no list is kept that could disagree with the files. What more tasks share than a file
may have links is kept in as many copies as that needs.
"""

import fcntl
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from itertools import count as numbers
from itertools import takewhile
from pathlib import Path
from typing import IO
from uuid import uuid4

from adapters import store_addresses

UNFINISHED = "unfinished"
"""The file that is being written; the lock allows one, and what a kill has left of it the next one writes over."""

ARRIVING = "arriving-"
"""So begin the names of large files that are being copied, side by side: each is locked by who copies it, and one that
is not was left by a kill."""

CHUNK_BYTES = 256 * 1024

MOST_LINKS = 30_000
"""Every file system of Linux allows more: ext4 65 000, ext3 32 000."""


class DiskStorage:
    """Fulfils `processors.interfaces.ObjectStorage`.

    Args:
        folder: where everything lies; made when the first object comes.
        most_links: links that one file may have.
    """

    def __init__(self, folder: Path, most_links: int = MOST_LINKS) -> None:
        self._folder, self._most_links = folder, most_links

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:  # noqa: ARG002 - the interface's; disks keep no type
        """Store `content` for this task and return its address; the same bytes are kept once."""
        digest = store_addresses.digest_of(content)
        with self._locked():
            self._link(digest, task_id, BytesIO(content))
        return store_addresses.address_of(digest)

    def put_file(self, file: IO[bytes], *, sha256: str, mime: str, task_id: str) -> str:  # noqa: ARG002 - as above
        """Store a file whose digest is known for this task and return its address; nobody else waits for the copy.

        One without a name, on this disk, is not copied: it becomes the object, and is not to be written any more.
        """
        store_addresses.checked_task(task_id)
        address = store_addresses.address_of(sha256)
        target = self._object(store_addresses.digest_in(address))
        if not target.exists() and _is_nameless(file):
            with self._locked():
                _name(file, target)
                if target.exists():
                    self._link(sha256, task_id)
                    return address
        with self._arriving() as (arriving, path):
            copied = not target.exists()
            if copied:
                _copy(file, arriving)
            with self._locked():
                if copied and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(target)
                self._link(sha256, task_id, file)
        return address

    def refer(self, address: str, task_id: str) -> None:
        """Keep what is at an address for this task too.

        Raises:
            PermanentError: there is nothing.
        """
        digest = store_addresses.digest_in(address)
        with self._locked():
            if not self._object(digest).exists():
                raise store_addresses.gone(address)
            self._link(digest, task_id)

    def size(self, address: str) -> int:
        """Return how many bytes are behind an address.

        Raises:
            PermanentError: there are none.
        """
        try:
            return self._object(store_addresses.digest_in(address)).stat().st_size
        except FileNotFoundError as error:
            raise store_addresses.gone(address) from error

    def get(self, address: str) -> bytes:
        """Return the bytes behind an address.

        Raises:
            PermanentError: there are none, or they are not what they were.
        """
        digest = store_addresses.digest_in(address)
        try:
            content = self._object(digest).read_bytes()
        except FileNotFoundError as error:
            raise store_addresses.gone(address) from error
        return store_addresses.whole(content, digest)

    def chunks(self, address: str, first: int = 0, count: int | None = None) -> Iterator[bytes]:
        """Return the bytes behind an address piece by piece; they can be read to their end also when they are removed.

        Raises:
            PermanentError: there are none.
        """
        try:
            file = self._object(store_addresses.digest_in(address)).open("rb")
        except FileNotFoundError as error:
            raise store_addresses.gone(address) from error
        return _pieces(file, first, count)

    def remove(self, task_id: str) -> int:
        """Remove this task's references, and the objects that nobody else refers to; returns the bytes freed."""
        if any(self._folder.glob(f"{ARRIVING}*")):
            with self._locked():
                self._clear_left()
        if not store_addresses.names_a_task(task_id) or not (references := self._references(task_id)).is_dir():
            return 0
        freed = 0
        with self._locked():
            if not references.is_dir():
                return 0  # another process has removed them just now
            for reference in references.iterdir():
                reference.unlink()
                freed += self._freed(reference.name)
            shutil.rmtree(references)
        return freed

    def _freed(self, digest: str) -> int:
        """Remove the copies that nobody refers to, the last ones first: no gap may hide one. Returns their bytes."""
        freed = 0
        for copy in reversed(list(takewhile(Path.exists, (self._object(digest, number) for number in numbers())))):
            status = copy.stat()
            if status.st_nlink > 1:
                break
            copy.unlink()
            freed += status.st_size
        return freed

    def _object(self, digest: str, copy: int = 0) -> Path:
        return self._folder / "objects" / digest[:2] / (f"{digest}.{copy}" if copy else digest)

    def _references(self, task_id: str) -> Path:
        return self._folder / "tasks" / task_id[:2] / store_addresses.checked_task(task_id)

    def _link(self, digest: str, task_id: str, content: IO[bytes] | None = None) -> None:
        """Let a task refer to an object; a copy is written where there is none, or none that may have more links."""
        reference = self._references(task_id) / digest
        reference.parent.mkdir(parents=True, exist_ok=True)
        if reference.exists():
            return
        for number in numbers():
            target = self._object(digest, number)
            if not target.exists():
                with nullcontext(content) if content else self._object(digest).open("rb") as source:
                    self._write(target, source)
            if target.stat().st_nlink < self._most_links:
                reference.hardlink_to(target)
                return

    def _write(self, target: Path, content: IO[bytes]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / UNFINISHED
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _copy(content, file)
        temporary.rename(target)

    @contextmanager
    def _arriving(self) -> Generator[tuple[IO[bytes], Path]]:
        """Give a file of its own to copy to, which is gone afterwards unless it was renamed."""
        path = self._folder / f"{ARRIVING}{uuid4().hex}"
        with self._locked():
            self._clear_left()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield file, path
            finally:
                path.unlink(missing_ok=True)

    def _clear_left(self) -> None:
        """Remove what kills have left of large files: nobody holds their locks."""
        for path in self._folder.glob(f"{ARRIVING}*"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let one process at a time add and remove, so that no object goes while somebody refers to it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _copy(source: IO[bytes], into: IO[bytes]) -> None:
    """Copy a file from its start, and return once the copy is on the disk."""
    source.seek(0)
    shutil.copyfileobj(source, into, CHUNK_BYTES)
    into.flush()
    os.fsync(into.fileno())


def _is_nameless(file: IO[bytes]) -> bool:
    """Tell whether a file has no name, by which its owner could change it; all of it is on the disk then."""
    with suppress(OSError):  # of what is in memory
        if not os.fstat(file.fileno()).st_nlink:
            file.flush()
            os.fsync(file.fileno())
            return True
    return False


def _name(file: IO[bytes], target: Path) -> None:
    """Give a file without a name this one, where it can have one here and nobody else has that."""
    with suppress(OSError):  # it is on another disk, or had a name once
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(f"/proc/self/fd/{file.fileno()}", target, src_dir_fd=file.fileno())  # so it is `linkat`, which follows


def _pieces(file: IO[bytes], first: int, count: int | None) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while piece := file.read(CHUNK_BYTES if count is None else min(count, CHUNK_BYTES)):
            yield piece
            count = count and count - len(piece)
