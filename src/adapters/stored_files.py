"""Files at store:// addresses: what was uploaded, or what a task made, as the file of another task."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from adapters.pouring import Bounds, pour
from processors import stored_places
from processors.errors import ArtefactGone, FileError
from processors.interfaces import ObjectStorage, Report


class StoredFiles:
    """Fulfils `processors.interfaces.FileSource` for `store://sha256/<digest>`, with or without a name behind.

    Args:
        storage: where the files are.
        bounds: of size and time.
    """

    def __init__(self, storage: ObjectStorage, bounds: Bounds) -> None:
        self._storage = storage
        self._bounds = bounds

    def fetch(self, address: str, into: IO[bytes], report: Report) -> None:
        """Write the bytes of the file at `address` into `into`.

        Raises:
            FileError: `not_found`; `too_large`; `corrupt` where they are not what they were.
            TransientError: it cannot be had now.
            Cancelled: as raised by `report`.
        """
        began = time.monotonic()
        uri = stored_places.uri_in(address)
        if uri is None:
            raise FileError(
                f"A file in the storage is at store://sha256/ and 64 hex digits; got {address}.", "not_found"
            )
        report(0, "asking the storage for the file")
        try:
            size = self._storage.size(uri)
            self._bounds.check_size(address, size)
            chunks = self._storage.chunks(uri)
        except ArtefactGone as error:
            raise FileError(str(error), "not_found") from error
        digest = hashlib.sha256()
        pour(
            _hashed(chunks, digest.update),
            into,
            shown=address,
            size=size,
            bounds=self._bounds,
            began=began,
            report=report,
        )
        if digest.hexdigest() != uri[-64:]:
            raise FileError(f"The file at {uri} is damaged: its digest is another one.", "corrupt")


def _hashed(chunks: Iterable[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk
