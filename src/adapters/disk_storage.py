"""Artefacts on this machine's disk: the same bytes are kept once, for as long as a task refers to them.

An object is a file named by its digest. A task's reference is a hard link to it, so the number of links tells whether
anybody else still refers to it: no list is kept that could disagree with the files.
"""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from adapters import store_addresses

UNFINISHED = "unfinished"
"""The file that is being written; the lock allows one, and what a kill has left of it the next one writes over."""


class DiskStorage:
    """Fulfils `processors.interfaces.ObjectStorage`.

    Args:
        folder: where everything lies; made when the first object comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:  # noqa: ARG002 - the interface's; disks keep no type
        """Store `content` for this task and return its address; the same bytes are kept once."""
        digest = store_addresses.digest_of(content)
        with self._locked():
            target = self._object(digest)
            if not target.exists():
                self._write(target, content)
            self._link(digest, task_id)
        return store_addresses.address_of(digest)

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

    def remove(self, task_id: str) -> int:
        """Remove this task's references, and the objects that nobody else refers to; returns the bytes freed."""
        if not store_addresses.names_a_task(task_id) or not (references := self._references(task_id)).is_dir():
            return 0
        freed = 0
        with self._locked():
            if not references.is_dir():
                return 0  # another process has removed them just now
            for reference in references.iterdir():
                target = self._object(reference.name)
                reference.unlink()
                if target.exists() and target.stat().st_nlink == 1:
                    freed += target.stat().st_size
                    target.unlink()
            shutil.rmtree(references)
        return freed

    def _object(self, digest: str) -> Path:
        return self._folder / "objects" / digest[:2] / digest

    def _references(self, task_id: str) -> Path:
        return self._folder / "tasks" / task_id[:2] / store_addresses.checked_task(task_id)

    def _link(self, digest: str, task_id: str) -> None:
        reference = self._references(task_id) / digest
        reference.parent.mkdir(parents=True, exist_ok=True)
        if not reference.exists():
            reference.hardlink_to(self._object(digest))

    def _write(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / UNFINISHED
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let one process at a time add and remove, so that no object goes while somebody refers to it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
