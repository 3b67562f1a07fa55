"""What went wrong, as a page."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboard.rendering import HEADERS, go_to, page
from dashboard.visits import OUT, FromElsewhere, NotLoggedIn, Visit, follows, own_path
from processors.errors import (
    ConfigurationError,
    InvalidArgument,
    ServiceUnavailable,
    UnknownKey,
    UnknownQueue,
    UnknownSchedule,
    UnknownTask,
    UnknownUser,
    UnknownView,
    UnknownWebhook,
    WorkError,
)
from services.outbox import UnreadableMail
from web.event_streams import MEDIA_TYPE, text_event

STATUSES: dict[type[Exception], HTTPStatus] = {
    UnknownTask: HTTPStatus.NOT_FOUND,
    UnknownQueue: HTTPStatus.NOT_FOUND,
    UnknownSchedule: HTTPStatus.NOT_FOUND,
    UnknownKey: HTTPStatus.NOT_FOUND,
    UnknownUser: HTTPStatus.NOT_FOUND,
    UnknownView: HTTPStatus.NOT_FOUND,
    UnknownWebhook: HTTPStatus.NOT_FOUND,
    InvalidArgument: HTTPStatus.UNPROCESSABLE_ENTITY,
    ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnreadableMail: HTTPStatus.UNPROCESSABLE_ENTITY,
    WorkError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""By class; a class that is not listed is what its nearest listed ancestor is."""

Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _not_logged_in(request: Request, _error: Exception) -> Response:
    visit = _visit_of(request)
    wanted = visit.path if request.method == "GET" else "/"
    login = "/login" if wanted == "/" else f"/login?{urlencode({'next': wanted})}"
    if "hx-request" in request.headers:  # a part of a page: the whole page goes there
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={**HEADERS, "HX-Redirect": login})
    if follows(request):
        return Response(text_event(OUT, ""), headers=HEADERS, media_type=MEDIA_TYPE)
    return go_to(visit, login)


async def _from_elsewhere(request: Request, _error: Exception) -> Response:
    """Lead to the same address once more, this time from a page of ours, so that the session comes along."""
    visit = replace(_visit_of(request), secret="")  # a visitor's cookie stayed away as well, and is kept
    return page(visit, "again.html", path=own_path(visit.path))


async def _work_error(request: Request, error: Exception) -> Response:
    status = next(STATUSES[one] for one in type(error).__mro__ if one in STATUSES)
    return _page(request, status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    detail = getattr(error, "detail", "")
    answer = _page(request, HTTPStatus(status), "" if detail == HTTPStatus(status).phrase else detail)
    answer.headers.update(getattr(error, "headers", None) or {})  # a 405 says what is allowed (RFC 9110 15.5.6)
    return answer


async def _unforeseen(request: Request, _error: Exception) -> Response:
    return _page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the log of `web` says what.")


def _page(request: Request, status: HTTPStatus, detail: str) -> Response:
    return page(_visit_of(request), "refusal.html", status.value, title=status.phrase, detail=detail)


def _visit_of(request: Request) -> Visit:
    """Return the visit, as far as it is known who asks."""
    return getattr(request.state, "visit", None) or Visit(request, None, "", {})


HANDLERS: dict[type[Exception], Handler] = {
    FromElsewhere: _from_elsewhere,
    NotLoggedIn: _not_logged_in,
    WorkError: _work_error,
    HTTPException: _http_error,
    Exception: _unforeseen,
}
