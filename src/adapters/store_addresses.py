"""How artefacts are named, wherever they are kept: `store://sha256/<digest>`."""

import hashlib
import re

from processors.errors import ArtefactGone, PermanentError
from processors.stored_places import address_of

ADDRESS = re.compile(r"store://sha256/([0-9a-f]{64})")
TASK_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


def digest_of(content: bytes) -> str:
    """Return the name of some bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_in(address: str) -> str:
    """Return the digest that an address names.

    Raises:
        PermanentError: it is no address of an artefact.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise PermanentError(f"An artefact's address is store://sha256/ and 64 hex digits; got {address!r}.")
    return match[1]


def whole(content: bytes, digest: str) -> bytes:
    """Return bytes that were read, if they are still those that were stored.

    Raises:
        PermanentError: they are not.
    """
    if digest_of(content) != digest:
        raise PermanentError(f"The artefact at {address_of(digest)} is damaged: its digest is another one.")
    return content


def gone(address: str) -> ArtefactGone:
    """Return the error for an artefact that is not there."""
    return ArtefactGone(f"There is no artefact at {address}: it never was, or it was removed with its task.")


def names_a_task(task_id: str) -> bool:
    """Tell whether a task's id can be a folder's name."""
    return TASK_ID.fullmatch(task_id) is not None and task_id not in {".", ".."}


def checked_task(task_id: str) -> str:
    """Return a task's id that can be a folder's name.

    Raises:
        PermanentError: it cannot.
    """
    if not names_a_task(task_id):
        raise PermanentError(f"A task's id must be letters, digits and -_.: to name a folder; got {task_id!r}.")
    return task_id
