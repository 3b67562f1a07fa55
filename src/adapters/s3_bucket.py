"""One bucket of an S3 service, over boto3: what is not there is None, and every fault one of this project's errors."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from importlib import import_module
from typing import IO, Any

from processors.errors import ConfigurationError, PermanentError, TransientError, WorkError

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
PART_BYTES = 16 * 1024**2
MOST_PARTS = 10_000
"""Of one object, as Amazon allows."""

FOR_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class S3Access:
    """How an S3 service is reached.

    Attributes:
        endpoint_url: a service that is not Amazon's; its buckets are named in the path.
        access_key_id: a key; None leaves both to boto3's own chain (environment, files, the machine's role).
        secret_access_key: its secret.
        region: where the buckets lie; None leaves it to boto3's own chain.
    """

    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    region: str | None = None


@cache
def client_of(access: S3Access) -> Any:
    """Return a client; it may be used by many threads.

    Raises:
        ConfigurationError: there is none for what was given.
    """
    boto3, exceptions = import_module("boto3"), import_module("botocore.exceptions")
    config = import_module("botocore.config").Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},  # a task is tried again by its record, and waits there
        s3={"addressing_style": "path" if access.endpoint_url else "auto"},
        request_checksum_calculation="when_required",  # other services know no newer ones
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            region_name=access.region,
            config=config,
        )
    except (exceptions.BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"S3 cannot be used: {_flat(error)}; see the settings S3_….") from error


os.register_at_fork(after_in_child=client_of.cache_clear)  # no two processes may speak over one connection


class _BeyondItsEnd(Exception):
    """A part was asked for that begins where the object has ended."""


class S3Bucket:
    """One bucket.

    Every method raises `TransientError` where the service does not answer, or asks to be asked later, and
    `PermanentError` where it refuses; `ConfigurationError` where there are no credentials.

    Args:
        client: of boto3.
        name: the bucket's.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name
        self._errors: Any = import_module("botocore.exceptions")

    def size(self, key: str) -> int | None:
        """Return the bytes of an object, or None where there is none."""
        found = self._asked("head_object", Key=key)
        return None if found is None else int(found["ContentLength"])

    def chunks(self, key: str, chunk_bytes: int) -> tuple[int, Iterator[bytes]] | None:
        """Return the size of an object and its bytes, to be read once, or None where there is none."""
        found = self._asked("get_object", Key=key)
        return None if found is None else (int(found["ContentLength"]), self._read(key, found["Body"], chunk_bytes))

    def part(self, key: str, first: int, count: int | None, chunk_bytes: int) -> Iterator[bytes] | None:
        """Return a part of an object's bytes, to be read once: none where it ends before; None where there is none."""
        last = "" if count is None else first + count - 1
        try:
            found = self._asked("get_object", Key=key, Range=f"bytes={first}-{last}")
        except _BeyondItsEnd:
            return iter(())
        return None if found is None else self._read(key, found["Body"], chunk_bytes)

    def put_file(self, key: str, file: IO[bytes], mime: str) -> None:
        """Write an object from a file, read from its start; a large one part by part, of which one is in memory."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= PART_BYTES:
            self.put(key, file.read(), mime)
            return
        upload = self._must("create_multipart_upload", Key=key, ContentType=mime)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            while piece := file.read(max(PART_BYTES, -(-size // MOST_PARTS))):
                number = len(parts) + 1
                sent = self._must("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=piece)
                parts.append({"ETag": sent["ETag"], "PartNumber": number})
            self._must("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(WorkError):  # the first fault says what is wrong
                self._asked("abort_multipart_upload", Key=key, UploadId=upload)
            raise

    def put(self, key: str, content: bytes, mime: str) -> None:
        """Write an object, also over another."""
        self._asked("put_object", Key=key, Body=content, ContentType=mime)

    def copy(self, key: str, to: str) -> bool:
        """Write an object under another key as well, over what is there; tells whether there was one."""
        return self._asked("copy_object", Key=to, CopySource={"Bucket": self.name, "Key": key}) is not None

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        self._asked("delete_object", Key=key)

    def keys(self, prefix: str, at_once: int = 1_000) -> Iterator[str]:
        """List the keys that begin with `prefix`, in order, as they are when each page is asked for."""
        more: dict[str, Any] = {}
        while True:
            page: dict[str, Any] = self._asked("list_objects_v2", Prefix=prefix, MaxKeys=at_once, **more) or {}
            yield from (str(one["Key"]) for one in page.get("Contents", []))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _must(self, operation: str, **parameters: Any) -> Any:
        """Return the answer to what cannot be about something that is not there."""
        found = self._asked(operation, **parameters)
        if found is None:
            raise TransientError(f"S3 lost what was being written to the bucket {self.name}.")
        return found

    def _asked(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self.name, **parameters)
        except self._errors.ClientError as error:
            if _code(error) in {"NoSuchKey", "404"}:
                return None
            if _code(error) in {"InvalidRange", "416"}:
                raise _BeyondItsEnd from error
            raise self._refusal(error) from error
        except (self._errors.NoCredentialsError, self._errors.PartialCredentialsError) as error:
            raise ConfigurationError(
                "S3 has no credentials: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or boto3's own."
            ) from error
        except self._errors.ParamValidationError as error:
            raise PermanentError(f"S3 takes no such bucket or key: {_flat(error)}.") from error
        except self._errors.BotoCoreError as error:
            raise TransientError(f"S3 does not answer for the bucket {self.name}: {_flat(error)}.") from error

    def _read(self, key: str, body: Any, chunk_bytes: int) -> Iterator[bytes]:
        try:
            yield from body.iter_chunks(chunk_bytes)
        except (self._errors.BotoCoreError, OSError) as error:
            raise TransientError(f"s3://{self.name}/{key} was cut off: {_flat(error)}.") from error
        finally:
            body.close()

    def _refusal(self, error: Any) -> TransientError | PermanentError:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"S3 refuses the bucket {self.name}: {_flat(error)}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in FOR_NOW:
            return TransientError(f"{said}.")
        return PermanentError(f"{said}; see the settings S3_….")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _flat(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
