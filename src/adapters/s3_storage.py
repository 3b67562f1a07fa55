"""Artefacts in an S3 bucket: the same bytes are kept once, for as long as a task refers to them.

    objects/ab/<digest>                 the bytes
    tasks/<task>/<digest>               what a task refers to, for its removal
    references/<digest>/<task>          who refers to some bytes, for everybody else's removal
    removed/<digest>/<task>/<removal>   bytes that a removal has put aside, for the moment in which it looks again

References are objects of their own, because S3 can neither count nor compare: a list inside one object could lose the
entry of one of two who write it at once. Nothing is locked. What holds instead, where a listing shows every write that
has ended before it (Amazon promises that since 2020, "strong consistency"; so do the services that speak S3):

- A reference is written before the bytes are looked for; where they are missing, `put` writes them.
- A removal deletes its own reference. Where it sees no other it copies the bytes aside, deletes them, and looks again:
  a reference that came meanwhile brings them back. Whoever writes a reference after that second look finds the bytes
  missing, because they were deleted before it. So no removal takes the bytes of a `put` or `refer` that has returned.
- While a removal looks again, `get` reads the bytes that were put aside. `refer` may say that they are gone.
- A removal that dies midway is ended by a later one of the same task, because the entry below `tasks/` is written first
  and deleted last. What it had put aside stays until then, and where nobody refers to it for good: a lifecycle rule of
  the bucket that expires what lies below `removed/` after some days clears that up.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, Any, TypeVar
from uuid import uuid4

from adapters import store_addresses
from adapters.pouring import CHUNK_BYTES
from adapters.s3_bucket import S3Bucket

Found = TypeVar("Found")


class S3Storage:
    """Fulfils `processors.interfaces.ObjectStorage`.

    Every method raises `TransientError` where the service does not answer now; all of them may be repeated.

    Args:
        client: of boto3.
        bucket: the bucket's name; it exists.
        prefix: what all keys begin with, without a slash at its end; empty: nothing.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._bucket = S3Bucket(client, bucket)
        self._prefix = f"{prefix}/" if prefix else ""

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:
        """Store `content` for this task and return its address; the same bytes are kept once."""
        digest = store_addresses.digest_of(content)
        self._note(digest, task_id)
        if self._bucket.size(self._object(digest)) is None:
            self._bucket.put(self._object(digest), content, mime)
        return store_addresses.address_of(digest)

    def put_file(self, file: IO[bytes], *, sha256: str, mime: str, task_id: str) -> str:
        """Store a file whose digest is known for this task and return its address; the same bytes are kept once.

        What a kill leaves of a large one is in no listing, and goes by a lifecycle rule of the bucket that aborts
        incomplete multipart uploads.
        """
        address = store_addresses.address_of(sha256)
        digest = store_addresses.digest_in(address)
        self._note(digest, task_id)
        if self._bucket.size(self._object(digest)) is None:
            self._bucket.put_file(self._object(digest), file, mime)
        return address

    def refer(self, address: str, task_id: str) -> None:
        """Keep what is at an address for this task too.

        Raises:
            PermanentError: there is nothing, or a removal of it is under way.
        """
        digest = store_addresses.digest_in(address)
        self._note(digest, task_id)
        if self._bucket.size(self._object(digest)) is None:
            self._forget(digest, task_id)
            raise store_addresses.gone(address)

    def size(self, address: str) -> int:
        """Return how many bytes are behind an address.

        Raises:
            PermanentError: there are none, or a removal of them is under way.
        """
        size = self._bucket.size(self._object(store_addresses.digest_in(address)))
        if size is None:
            raise store_addresses.gone(address)
        return size

    def get(self, address: str) -> bytes:
        """Return the bytes behind an address.

        Raises:
            PermanentError: there are none, or they are not what they were.
        """
        digest = store_addresses.digest_in(address)
        content = self._found(digest, self._read)
        if content is None:
            raise store_addresses.gone(address)
        return store_addresses.whole(content, digest)

    def chunks(self, address: str, first: int = 0, count: int | None = None) -> Iterator[bytes]:
        """Return the bytes behind an address piece by piece; one that is cut off raises `TransientError`.

        Raises:
            PermanentError: there are none.
        """
        if count == 0:
            self.size(address)
            return iter(())
        found = self._found(store_addresses.digest_in(address), lambda key: self._part(key, first, count))
        if found is None:
            raise store_addresses.gone(address)
        return found

    def remove(self, task_id: str) -> int:
        """Remove this task's references, and the objects that nobody else refers to; returns the bytes freed."""
        if not store_addresses.names_a_task(task_id):
            return 0
        entries = list(self._bucket.keys(self._key("tasks", task_id, "")))
        return sum(self._drop(entry.rpartition("/")[2], task_id) for entry in entries)

    def _drop(self, digest: str, task_id: str) -> int:
        """Remove one reference; returns the bytes freed."""
        kept, aside = self._object(digest), self._key("removed", digest, task_id, uuid4().hex)
        freed = 0
        self._bucket.delete(self._key("references", digest, task_id))
        if not self._referred(digest) and self._bucket.copy(kept, aside):
            self._bucket.delete(kept)
        if self._referred(digest):
            for place in self._bucket.keys(self._key("removed", digest, task_id, "")):
                self._bucket.copy(place, kept)
        else:
            freed = self._bucket.size(aside) or 0
        self._bucket.delete(aside)
        self._bucket.delete(self._key("tasks", task_id, digest))
        return freed

    def _note(self, digest: str, task_id: str) -> None:
        """Write down that a task refers to a digest."""
        store_addresses.checked_task(task_id)
        self._bucket.put(self._key("tasks", task_id, digest), b"", "text/plain")
        self._bucket.put(self._key("references", digest, task_id), b"", "text/plain")

    def _forget(self, digest: str, task_id: str) -> None:
        self._bucket.delete(self._key("references", digest, task_id))
        self._bucket.delete(self._key("tasks", task_id, digest))

    def _referred(self, digest: str) -> bool:
        return any(True for _ in self._bucket.keys(self._key("references", digest, ""), at_once=1))

    def _found(self, digest: str, read: Callable[[str], Found | None]) -> Found | None:
        """Return what is read of an object, wherever it is now."""
        kept = self._object(digest)
        places = chain([kept], self._bucket.keys(self._key("removed", digest, "")), [kept])  # it may have come back
        return next((found for place in places if (found := read(place)) is not None), None)

    def _part(self, key: str, first: int, count: int | None) -> Iterator[bytes] | None:
        if first or count is not None:
            return self._bucket.part(key, first, count, CHUNK_BYTES)
        whole = self._bucket.chunks(key, CHUNK_BYTES)  # an empty object has no part
        return whole and whole[1]

    def _read(self, key: str) -> bytes | None:
        found = self._bucket.chunks(key, CHUNK_BYTES)
        return None if found is None else b"".join(found[1])

    def _object(self, digest: str) -> str:
        return self._key("objects", digest[:2], digest)

    def _key(self, *parts: str) -> str:
        return self._prefix + "/".join(parts)
