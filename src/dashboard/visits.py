"""One request to the dashboard: who asks, and what they may; a page says its scope, or there is none."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from inspect import isawaitable, iscoroutinefunction
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dashboard import cookies
from dashboard.forms import form_of, token_of
from services import users
from services.access import RANDOM_BYTES, SCOPES, Caller
from web.bodies import in_time
from web.event_streams import MEDIA_TYPE
from web.paths import matched

MOST_FORM_BYTES = 64_000
OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")
"""A path of this site: neither `//host` nor `/\\host`, which browsers take for other sites."""

OUT = "out"
"""The event after which a page is loaded again, whole: whoever looks is logged out, or what they look at is gone."""


class NotLoggedIn(Exception):
    """Nobody is logged in, and the page is not open."""


class FromElsewhere(Exception):
    """A link of another site led here, with which a browser sends no session."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks for a page, and with what.

    Attributes:
        request: as it came.
        logged_in: who asks; None on an open page, where nobody has logged in.
        secret: what the tokens of this browser's forms are made of.
        form: what a form brought.
    """

    request: Request
    logged_in: Caller | None
    secret: str
    form: Mapping[str, str]

    @property
    def caller(self) -> Caller:
        """Who asks, on a page that is not open."""
        if self.logged_in is None:
            raise NotLoggedIn
        return self.logged_in

    @property
    def token(self) -> str:
        """What a form brings, so that it is known as one of our own pages'."""
        return token_of(self.secret)

    @property
    def path(self) -> str:
        """The page's address, with what is asked for in it."""
        query = self.request.url.query
        sent: str = self.request.scope["raw_path"].decode("latin-1")  # decoded, a slash within a name would divide it
        return quote(sent, safe="/:@%") + (f"?{query}" if query else "")

    def may(self, scope: str) -> bool:
        """Tell whether who asks may do what wants this scope."""
        return self.logged_in is not None and self.logged_in.may(scope)

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return self.request.path_params[name]

    def asked(self, name: str) -> str:
        """Return what the address asks for by this name, or an empty text."""
        return self.request.query_params.get(name, "")


Answer = Callable[[Visit], Response | Awaitable[Response]]


class Page(Route):
    """One route: what it answers, and to whom.

    Attributes:
        scope: what who asks must be allowed to do; None: the page is open.
    """

    def __init__(
        self,
        method: str,
        path: str,
        answer: Answer,
        scope: str | None,
        most: int = MOST_FORM_BYTES,
        *,
        blind: bool = False,
    ) -> None:
        if scope is not None and (scope not in SCOPES or blind):
            raise ValueError(f"A scope is one of {', '.join(SCOPES)}, of somebody who is looked up; got {scope!r}.")
        self.scope = scope

        async def endpoint(request: Request) -> Response:
            nobody = blind and method == "GET"
            visit = Visit(request, None, "", {}) if nobody else await admitted(request, scope, most, blind=blind)
            answered = answer(visit) if iscoroutinefunction(answer) else await run_in_threadpool(answer, visit)
            return await answered if isawaitable(answered) else answered

        super().__init__(path, endpoint, methods=[method])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether this answers a request."""
        return matched(super().matches, scope)


class Pages:
    """The pages of one module."""

    def __init__(self) -> None:
        self.routes: list[Page] = []

    def get(self, path: str, scope: str | None, *, blind: bool = False) -> Callable[[Answer], Answer]:
        """Return what makes a function answer GET and HEAD at a path; `blind`: nobody is looked up for it."""
        return partial(self.add, "GET", path, scope, blind=blind)

    def post(
        self, path: str, scope: str | None, most: int = MOST_FORM_BYTES, *, blind: bool = False
    ) -> Callable[[Answer], Answer]:
        """Return what makes a function answer the forms that are sent to a path; `blind`: those of a visitor."""
        return partial(self.add, "POST", path, scope, most=most, blind=blind)

    def add(
        self,
        method: str,
        path: str,
        scope: str | None,
        answer: Answer,
        most: int = MOST_FORM_BYTES,
        *,
        blind: bool = False,
    ) -> Answer:
        """Let a function answer at a path."""
        self.routes.append(Page(method, path, answer, scope, most, blind=blind))
        return answer


async def admitted(request: Request, scope: str | None, most: int, *, blind: bool) -> Visit:
    """Return the visit, if who asks may come in; a form is read only then.

    Args:
        request: as it came.
        scope: what who asks must be allowed to do; None: the page is open.
        most: bytes that a form may have.
        blind: whether nobody is looked up, so that who asks is a visitor, and a form's token one of theirs.

    Raises:
        FromElsewhere: nobody is known, and that may be because another site led here.
        NotLoggedIn: nobody has logged in.
        HTTPException: they may not do this, or the form is none of ours.
        ServiceUnavailable: the database does not answer.
    """
    session = "" if blind else cookies.read(request, cookies.SESSION)
    caller = await run_in_threadpool(users.caller_of, session, active=not by_itself(request)) if session else None
    secret = session if caller else cookies.read(request, cookies.VISITOR) or secrets.token_urlsafe(RANDOM_BYTES)
    visit = request.state.visit = Visit(request, caller, secret, {})
    if caller is None and is_led_here(request):
        raise FromElsewhere
    if scope is not None and not visit.caller.may(scope):
        raise HTTPException(HTTPStatus.FORBIDDEN, f"This wants the right to {scope}, which your role has not.")
    if request.method == "POST":
        return replace(visit, form=await form_of(Request(request.scope, in_time(request.receive)), secret, most))
    return visit


def by_itself(request: Request) -> bool:
    """Tell whether a page asks without anybody's doing: that keeps no session alive."""
    return "hx-request" in request.headers or follows(request)


def follows(request: Request) -> bool:
    """Tell whether a page asks for events."""
    return request.headers.get("accept") == MEDIA_TYPE


def is_led_here(request: Request) -> bool:
    """Tell whether somebody has followed a link of another site: what is `SameSite=Strict` stays away then."""
    said = [request.headers.get(f"sec-fetch-{what}") for what in ("site", "mode", "dest")]
    return request.method == "GET" and said == ["cross-site", "navigate", "document"]


def own_path(wanted: str) -> str:
    """Return where to go on: a path of this site, or the first page."""
    return wanted if OWN_PATH.fullmatch(wanted) else "/"
