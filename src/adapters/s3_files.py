"""Files at s3:// addresses."""

import time
from typing import IO, Any

from adapters.pouring import CHUNK_BYTES, Bounds, pour
from adapters.s3_bucket import S3Bucket
from processors.errors import FileError, PermanentError
from processors.interfaces import Report


class S3Files:
    """Fulfils `processors.interfaces.FileSource` for `s3://bucket/key`; the key is taken as it is written.

    Args:
        client: of boto3; what its credentials may read, every caller may.
        bounds: of size and time.
    """

    def __init__(self, client: Any, bounds: Bounds) -> None:
        self._client = client
        self._bounds = bounds

    def fetch(self, address: str, into: IO[bytes], report: Report) -> None:
        """Write the bytes of the object at `address` into `into`.

        Raises:
            FileError: `not_found`, also where the service refuses; `too_large`.
            TransientError: it cannot be had now.
            ConfigurationError: there are no credentials.
            Cancelled: as raised by `report`.
        """
        began = time.monotonic()
        name, _, key = address.partition("://")[2].partition("/")
        if not (name and key):
            raise FileError(f"An s3:// address names a bucket and a key, s3://bucket/key; got {address}.", "not_found")
        report(0, f"asking the bucket {name} for the file")
        try:
            found = S3Bucket(self._client, name).chunks(key, CHUNK_BYTES)
        except PermanentError as error:
            raise FileError(str(error), "not_found") from error
        if found is None:
            raise FileError(f"There is no file at {address}.", "not_found")
        size, chunks = found
        pour(chunks, into, shown=address, size=size, bounds=self._bounds, began=began, report=report)
