"""Uploads over HTTP: a body of any size is kept in the storage, and later submits name it as their file."""

import errno
import hashlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import IO, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.bodies import TOO_LARGE
from api.documents import problems
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from config.settings import settings
from processors.attachments import TYPE, UNKNOWN_TYPE
from processors.stored_places import made_safe
from services import uploads
from services.access import Caller
from services.audit import record_act
from services.monitoring import LOW_DISK_BYTES
from services.wiring import parts
from web.bodies import CLOSES, in_time

MOST_AT_ONCE = 16
MOST_OF_ONE = 12
"""How many of them with one key, so that nobody who sends slowly keeps all others out."""

AGAIN_SECONDS = 5
LONGEST_SECONDS = 3_600.0
PIECE_BYTES = 1024**2
MIB = 1024**2
NAMELESS = "upload"
NO_ROOM = "The disk of DATA_DIR has no room for it: free some."
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
LONGEST_GIVEN_NAME = 2_000
EXAMPLE_DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
EXAMPLE_URI = f"store://sha256/{EXAMPLE_DIGEST}"

REFUSALS = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus(TOO_LARGE),
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.INSUFFICIENT_STORAGE,
)

Submitter = Annotated[Caller, require("submit", tenants=True)]

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"], route_class=GuardedRoute)


class Uploaded(BaseModel):
    """A file that is kept."""

    upload_id: str = Field(description="The upload's own id.", examples=["6f1f2b0c6c0c4f4e8e0d8f1f4b8a2f55"])
    uri: str = Field(description="The address of its bytes, `store://sha256/…`.", examples=[EXAMPLE_URI])
    file_path: str = Field(
        description="What methods for files take as `file_path`: the address with the name behind.",
        examples=[f"{EXAMPLE_URI}/report.pdf"],
    )
    name: str = Field(description="The file's name, made safe.", examples=["report.pdf"])
    bytes: int = Field(description="How many they are.", examples=[48_213])
    sha256: str = Field(description="Of its bytes, in hex digits; compare it with your own.", examples=[EXAMPLE_DIGEST])
    expires_at: str = Field(
        description="Until when it is kept where no task has it.", examples=["2030-01-02T10:00:00+00:00"]
    )


class Place:
    """Where one upload is taken.

    Attributes:
        awaited: the bytes that were announced and are not on the disk yet.
        holder: whose key it is taken with.
    """

    def __init__(self, announced: int, holder: str) -> None:
        self.awaited = announced
        self.holder = holder


class Places:
    """So many uploads are taken at once by this process, each with the room on the disk that it announced."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[Place] = set()

    @property
    def free(self) -> int:
        """How many more."""
        return self._most - len(self._taken)

    @contextmanager
    def one(self, announced: int, holder: str) -> Generator[Place]:
        """Hold a place.

        Raises:
            HTTPException: 503, where none is free, 429, where none is for this holder, 507, where the disk has no room.
        """
        if not self.free:
            why = f"{MOST_AT_ONCE} uploads are going on, which are the most at once; try again in {AGAIN_SECONDS} s."
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, {"Retry-After": str(AGAIN_SECONDS)})
        if sum(one.holder == holder for one in self._taken) >= MOST_OF_ONE:
            why = f"{MOST_OF_ONE} uploads are going on with this key, the most of one; try again in {AGAIN_SECONDS} s."
            raise refusal(HTTPStatus.TOO_MANY_REQUESTS, why, {"Retry-After": str(AGAIN_SECONDS)})
        place = Place(announced, holder)
        self.check_room(place)
        self._taken.add(place)
        try:
            yield place
        finally:
            self._taken.discard(place)

    def check_room(self, place: Place) -> None:
        """Let what is awaited in a place come, unless the disk is low then, and all others have what they announced.

        Raises:
            HTTPException: 507.
        """
        awaited = sum(one.awaited for one in {place, *self._taken})
        if parts().host.free_bytes() < LOW_DISK_BYTES + awaited:
            raise refusal(HTTPStatus.INSUFFICIENT_STORAGE, NO_ROOM)


places = Places(MOST_AT_ONCE)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    operation_id="upload_file",
    response_description="It is kept.",
    responses=problems(*REFUSALS),
    openapi_extra={
        **TWICE_IS_ONCE,
        "requestBody": {
            "required": True,
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of a file"}},
        },
    },
)
async def upload(
    request: Request,
    response: Response,
    caller: Submitter,
    name: Annotated[str, Query(max_length=LONGEST_GIVEN_NAME, description="What the file is called.")] = NAMELESS,
) -> Uploaded:
    """Keep the body as a file that tasks can work on: its bytes as they are, of at most MAX_FILE_MB."""
    with places.one(announced_by(request), caller.counted_as) as place:
        file = await run_in_threadpool(uploads.arriving)
        try:
            kept = await _kept(request, place, file, caller, made_safe(name, NAMELESS))
        except OSError as error:
            if error.errno in FULL:
                raise refusal(HTTPStatus.INSUFFICIENT_STORAGE, NO_ROOM) from error
            raise
        finally:
            await run_in_threadpool(_close, file)
    done = kept.upload
    details = {"name": done.name, "bytes": done.bytes, "sha256": kept.sha256}
    await run_in_threadpool(record_act, caller, "upload.add", target=("upload", done.id), details=details, sure=False)
    response.headers["Location"] = f"/api/v1/artefacts/{kept.sha256}"
    return Uploaded(
        upload_id=done.id,
        uri=done.address,
        file_path=kept.file_path,
        name=done.name,
        bytes=done.bytes,
        sha256=kept.sha256,
        expires_at=kept.expires_at.isoformat(),
    )


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what a full disk did not take is tried once more
        file.close()


async def _kept(request: Request, place: Place, file: IO[bytes], caller: Caller, name: str) -> uploads.Kept:
    sha256, size = await received(request, place, file)
    if not size:
        raise refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is empty: send the bytes of a file.")
    return await run_in_threadpool(
        uploads.keep, file, sha256=sha256, size=size, name=name, mime=type_of(request), tenant=caller.tenant
    )


async def received(request: Request, place: Place, file: IO[bytes]) -> tuple[str, int]:
    """Write a body to a file as it comes; returns its SHA-256 and how many bytes it has.

    Raises:
        HTTPException: it is too large, too slow, broken off, or the disk is low.
    """
    digest, size, taken = hashlib.sha256(), 0, bytearray()

    def write() -> None:
        places.check_room(place)
        digest.update(taken)
        file.write(taken)
        place.awaited = max(0, place.awaited - len(taken))

    pieces = Request(request.scope, in_time(request.receive, LONGEST_SECONDS)).stream()
    while True:
        try:
            piece = await anext(pieces, None)
        except ClientDisconnect:
            raise refusal(HTTPStatus.BAD_REQUEST, "The body broke off.") from None  # nobody hears it
        size += len(piece or b"")
        check_size(size)
        taken += piece or b""
        if len(taken) >= PIECE_BYTES or (taken and piece is None):
            await run_in_threadpool(write)
            taken.clear()
        if piece is None:
            return digest.hexdigest(), size


def announced_by(request: Request) -> int:
    """Return how many bytes a request says that it has; 0 where it does not say it.

    Raises:
        HTTPException: 413, before a byte of it is read.
    """
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    check_size(announced)
    return announced


def check_size(size: int) -> None:
    """Let a body of so many bytes pass.

    Raises:
        HTTPException: 413.
    """
    if size > settings.max_file_mb * MIB:
        raise refusal(TOO_LARGE, f"An upload has at most {settings.max_file_mb} MB (MAX_FILE_MB).")


def refusal(status: int, why: str, headers: dict[str, str] | None = None) -> HTTPException:
    """Return a refusal that ends the connection, because the rest of the body is not read."""
    return HTTPException(status, why, CLOSES | (headers or {}))


def type_of(request: Request) -> str:
    """Return the type of a body that its sender says, without parameters."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return said if TYPE.fullmatch(said) else UNKNOWN_TYPE
