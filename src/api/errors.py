"""The error table: what each error of this project is over HTTP, as problem details (RFC 9457)."""

from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from processors.errors import (
    ConfigurationError,
    CountChanged,
    IdempotencyConflict,
    InvalidArgument,
    NotAuthentic,
    ServiceUnavailable,
    SubmitUnknown,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    UnknownGroup,
    UnknownKey,
    UnknownQueue,
    UnknownSchedule,
    UnknownTask,
    UnknownTaskName,
    UnknownWebhook,
    WorkError,
)
from web.watching import TooManyOfOne

MEDIA_TYPE = "application/problem+json"

ERROR_TABLE: dict[type[Exception], tuple[HTTPStatus, str]] = {
    UnknownTask: (HTTPStatus.NOT_FOUND, "unknown-task"),
    UnknownGroup: (HTTPStatus.NOT_FOUND, "unknown-group"),
    UnknownSchedule: (HTTPStatus.NOT_FOUND, "unknown-schedule"),
    CountChanged: (HTTPStatus.CONFLICT, "count-changed"),
    UnknownKey: (HTTPStatus.NOT_FOUND, "unknown-key"),
    UnknownWebhook: (HTTPStatus.NOT_FOUND, "unknown-webhook"),
    UnknownQueue: (HTTPStatus.UNPROCESSABLE_ENTITY, "unknown-queue"),
    UnknownTaskName: (HTTPStatus.UNPROCESSABLE_ENTITY, "unknown-task-name"),
    IdempotencyConflict: (HTTPStatus.CONFLICT, "idempotency-conflict"),
    InvalidArgument: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-argument"),
    SubmitUnknown: (HTTPStatus.SERVICE_UNAVAILABLE, "submit-unknown"),
    ServiceUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable"),
    ConfigurationError: (HTTPStatus.SERVICE_UNAVAILABLE, "configuration"),
    NotAuthentic: (HTTPStatus.FORBIDDEN, "not-authentic"),
    TooManyOfOne: (HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests"),
    TaskTimeout: (HTTPStatus.CONFLICT, "task-timeout"),
    TaskFailed: (HTTPStatus.CONFLICT, "task-failed"),
    TaskCancelled: (HTTPStatus.CONFLICT, "task-cancelled"),
    WorkError: (HTTPStatus.INTERNAL_SERVER_ERROR, "work-error"),
}
"""By class; a class that is not listed is what its nearest listed ancestor is."""


def problem(status: HTTPStatus, kind: str, detail: str, **more: Any) -> JSONResponse:
    """Return one problem.

    Args:
        status: the HTTP status.
        kind: the stable name that programs look at.
        detail: one sentence for people.
        more: further members, such as `task_id`.
    """
    body = {"type": f"urn:csai:{kind}", "title": status.phrase, "status": status.value, "detail": detail} | more
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status.value, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error by the table; what nobody foresaw is a 500 without its text."""
    app.add_exception_handler(WorkError, _work_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unforeseen)


async def _work_error(_request: Request, error: Exception) -> JSONResponse:
    status, kind = next(ERROR_TABLE[one] for one in type(error).__mro__ if one in ERROR_TABLE)
    more: dict[str, Any] = {"task_id": error.task_id} if isinstance(error, (IdempotencyConflict, SubmitUnknown)) else {}
    if isinstance(error, CountChanged):
        more["count"] = error.count
    return problem(status, kind, str(error), **more)


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    problems = cast("RequestValidationError", error).errors()
    detail = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-argument", detail)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    found = cast("HTTPException", error)
    status = HTTPStatus(found.status_code)
    answer = problem(status, status.phrase.lower().replace(" ", "-"), str(found.detail))
    answer.headers.update(found.headers or {})  # a 405 says what is allowed (RFC 9110 15.5.6)
    return answer


async def _unforeseen(_request: Request, _error: Exception) -> JSONResponse:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "Something went wrong here; the log of `web` says what."
    )
