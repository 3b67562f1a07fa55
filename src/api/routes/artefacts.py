"""Artefacts over HTTP: uploads, and the files that tasks made, whole or in part, for download and never as a page."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import HTTPException

from api.documents import problems
from api.errors import problem
from api.guards import GuardedRoute, require
from processors.attachments import UNKNOWN_TYPE
from processors.errors import ArtefactGone, ServiceUnavailable, TransientError
from processors.stored_places import LONGEST_NAME, address_of
from services.access import Caller
from services.acts import seen
from services.wiring import parts
from web import downloads
from web.downloads import HARMLESS
from web.ranges import UNIT, Unsatisfiable

MISSING = problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
BYTES = {
    "content": {UNKNOWN_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of a file"}}
}
RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "One range of bytes, such as `bytes=0-1023`; several are answered by the whole.",
    "schema": {"type": "string"},
}

Reader = Annotated[Caller, require("read", tenants=True)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The SHA-256 that its `uri` ends with.")]
Name = Annotated[str, Query(max_length=10 * LONGEST_NAME, description="What it is called where it is saved.")]
Type = Annotated[
    str, Query(alias="type", max_length=100, description=f"Its type, one of {', '.join(sorted(HARMLESS))}.")
]
Task = Annotated[str, Query(max_length=255, description="The task that made it; a tenant's key must name one.")]

router = APIRouter(prefix="/api/v1/artefacts", tags=["artefacts"], route_class=GuardedRoute, responses=MISSING)


@router.get(
    "/{sha256}",
    operation_id="get_artefact",
    response_class=Response,
    responses={
        200: {"description": "All of it.", **BYTES},
        206: {"description": "The part that was asked for.", **BYTES},
        304: {"description": "The caller has it."},
        **problems(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    },
    openapi_extra={"parameters": [RANGE]},
)
def artefact(
    request: Request, sha256: Digest, caller: Reader, name: Name = "", kind: Type = "", task: Task = ""
) -> Response:
    """Return the bytes of an artefact, or one range of them."""
    _check_wall(caller, sha256, task)
    with _faults():
        try:
            return downloads.artefact(request, parts().storage, sha256, name, kind)
        except Unsatisfiable:
            return _unsatisfiable(parts().storage.size(address_of(sha256)))


@router.head("/{sha256}", operation_id="look_at_artefact", response_class=Response)
def look(
    request: Request, sha256: Digest, caller: Reader, name: Name = "", kind: Type = "", task: Task = ""
) -> Response:
    """Return what `GET` says of an artefact, without its bytes; a range is of no concern here."""
    _check_wall(caller, sha256, task)
    with _faults():
        return downloads.artefact(request, parts().storage, sha256, name, kind)


def _check_wall(caller: Caller, sha256: str, task_id: str) -> None:
    """Refuse a tenant what none of its tasks has made.

    Raises:
        HTTPException: 404, where the task names no such artefact, or no task is given.
        UnknownTask: there is none, or it is another tenant's.
    """
    if caller.tenant is None:
        return
    if not task_id or not _names(seen(task_id, caller)["info"], address_of(sha256)):
        detail = "A tenant's key has an artefact by the task whose result names it: ?task=<its id>."
        raise HTTPException(HTTPStatus.NOT_FOUND, detail)


def _names(result: Any, address: str) -> bool:
    """Tell whether a result has this artefact; a text that only says its address has it not."""
    left = [result]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            fields = cast("Mapping[str, Any]", one)
            if fields.get("uri") == address:
                return True
            left += fields.values()
        elif isinstance(one, list):
            left += cast("list[Any]", one)
    return False


def _unsatisfiable(size: int) -> Response:
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    answer = problem(status, "no-such-range", f"The artefact has {size} bytes; ask for some of them.")
    answer.headers["Content-Range"] = f"{UNIT} */{size}"
    return answer


@contextmanager
def _faults() -> Generator[None]:
    """Answer what the storage raises.

    Raises:
        HTTPException: 404, where it has no such artefact.
        ServiceUnavailable: it does not answer.
    """
    try:
        yield
    except ArtefactGone as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
    except TransientError as error:
        raise ServiceUnavailable(str(error)) from error
