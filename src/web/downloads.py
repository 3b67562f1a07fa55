"""Files for who may have them: for download and never as a page, whole or in part, by RFC 9110."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from processors.attachments import UNKNOWN_TYPE
from processors.interfaces import ObjectStorage
from processors.stored_places import address_of, made_safe
from web.ranges import UNIT, matches, part_of

HARMLESS = frozenset(
    {
        "application/json",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
        "text/vtt",
        "video/mp4",
        "video/webm",
    }
)
"""Types in which no browser runs anything."""


class Pieces(StreamingResponse):
    """Sends what comes piece by piece, and closes where it comes from as soon as nobody takes it.

    Args:
        pieces: what is sent.
        status_code: of the answer.
        headers: of the answer.
        media_type: of the pieces.
    """

    def __init__(
        self,
        pieces: Iterator[bytes | str],
        status_code: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(pieces, status_code, headers, media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            close = getattr(self._pieces, "close", None)  # a generator's; left to the collector it keeps its file open
            if close is not None:
                close()


def artefact(request: Request, storage: ObjectStorage, sha256: str, name: str, kind: str) -> Response:
    """Return the bytes of an artefact, or the range of them that is asked for; to HEAD what GET says of all of them.

    Args:
        request: a GET or a HEAD.
        storage: where it is.
        sha256: of its bytes.
        name: what it is called where it is saved.
        kind: its media type.

    Raises:
        ArtefactGone: there is none.
        TransientError: the storage does not answer.
        Unsatisfiable: it has no byte in that range.
    """
    uri = address_of(sha256)
    headers = headers_of(sha256, name, kind)
    size = storage.size(uri)
    if matches(request.headers.get("if-none-match"), sha256):
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    whole = headers | {"Content-Length": str(size)}
    if request.method == "HEAD":
        return Response(None, HTTPStatus.OK, whole)
    part = part_of(request.headers.get("range"), request.headers.get("if-range"), sha256, size)
    if part is None:
        return Pieces(storage.chunks(uri), HTTPStatus.OK, whole)
    headers |= {"Content-Length": str(part.count), "Content-Range": part.content_range(size)}
    return Pieces(storage.chunks(uri, part.first, part.count), HTTPStatus.PARTIAL_CONTENT, headers)


def headers_of(tag: str, name: str, kind: str) -> dict[str, str]:
    """Return what is said of a file: how it is called, its type where that is harmless, and its entity tag."""
    return {
        "Accept-Ranges": UNIT,
        "Content-Disposition": disposition(name, tag),
        "Content-Type": kind if kind in HARMLESS else UNKNOWN_TYPE,
        "ETag": f'"{tag}"',
    }


def disposition(name: str, otherwise: str) -> str:
    """Return what lets a browser save a file, under a name that is safe there (RFC 6266)."""
    saved_as = made_safe(name, otherwise)
    plain = "".join(one if one.isascii() and one not in '"\\%' else "_" for one in saved_as)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(saved_as, safe='')}"
