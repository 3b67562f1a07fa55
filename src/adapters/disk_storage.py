"""Artefacts on this machine's disk: the same bytes are kept once, for as long as a task refers to them.

An object is a file named by its digest. A task's reference is a hard link to it, so the number of links tells whether
anybody else still refers to it: no list is kept that could disagree with the files.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from processors.errors import PermanentError

ADDRESS = re.compile(r"store://sha256/([0-9a-f]{64})")
TASK_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


class DiskStorage:
    """Fulfils `processors.interfaces.ObjectStorage`.

    Args:
        folder: where everything lies; made when the first object comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:  # noqa: ARG002 - the interface's; disks keep no type
        """Store `content` for this task and return its address; the same bytes are kept once."""
        digest = hashlib.sha256(content).hexdigest()
        with self._locked():
            target = self._object(digest)
            if not target.exists():
                self._write(target, content)
            reference = self._references(task_id) / digest
            reference.parent.mkdir(parents=True, exist_ok=True)
            if not reference.exists():
                reference.hardlink_to(target)
        return f"store://sha256/{digest}"

    def get(self, address: str) -> bytes:
        """Return the bytes behind an address.

        Raises:
            PermanentError: there are none, or they are not what they were.
        """
        match = ADDRESS.fullmatch(address)
        if match is None:
            raise PermanentError(f"An artefact's address is store://sha256/ and 64 hex digits; got {address!r}.")
        try:
            content = self._object(match[1]).read_bytes()
        except FileNotFoundError as error:
            raise PermanentError(f"There is no artefact at {address}: it was removed with its task.") from error
        if hashlib.sha256(content).hexdigest() != match[1]:
            raise PermanentError(f"The artefact at {address} is damaged: its digest is another one.")
        return content

    def remove(self, task_id: str) -> int:
        """Remove this task's references, and the objects that nobody else refers to; returns the bytes freed."""
        if not _names_a_folder(task_id) or not (references := self._references(task_id)).is_dir():
            return 0
        freed = 0
        with self._locked():
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
        if not _names_a_folder(task_id):
            raise PermanentError(f"A task's id must be letters, digits and -_.: to name a folder; got {task_id!r}.")
        return self._folder / "tasks" / task_id[:2] / task_id

    def _write(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
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


def _names_a_folder(task_id: str) -> bool:
    return TASK_ID.fullmatch(task_id) is not None and task_id not in {".", ".."}
