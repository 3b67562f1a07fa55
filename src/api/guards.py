"""What stands before every route: which hosts and origins are answered, who holds the key, what headers go out."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import HTTPException
from fastapi.routing import APIRoute
from pydantic_core import PydanticSerializationError
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import bounded
from api.errors import problem
from api.idempotency import check_key, takes_key
from config.settings import Settings
from processors.errors import ConfigurationError, InvalidArgument, ServiceUnavailable
from processors.limits import Rate, rate_of
from processors.unsubscribing import PATH as UNSUBSCRIBE
from services.access import SCOPES, AdminKey, Caller, Keys, Refused, digest_of
from services.wiring import parts
from web.buckets import Buckets, Taken
from web.origins import address_of, netloc
from web.paths import matched

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)

BRING_A_KEY = "Bring a key of this service: Authorization: Bearer <key>."
CALLER = "csai.caller"
RATE_LIMIT = "csai.rate-limit"
"""Under these names a request's scope holds who asks, and the header fields that say how often they may."""


class HostGuard:
    """Refuses an unknown Host (DNS rebinding) and a foreign Origin (cross-site requests), and adds security headers.

    Args:
        app: what is guarded.
        hosts: names that this service answers to.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        answer: ASGIApp = self._app
        if host_name(host) not in self._hosts:
            answer = problem(HTTPStatus.MISDIRECTED_REQUEST, "unknown-host", "This service has another name.")
        elif origin is not None and netloc(origin) != host and not scope["path"].startswith(UNSUBSCRIBE):
            # there the address is the right to do it; and a page that sends no referrer names no origin of its own
            answer = problem(HTTPStatus.FORBIDDEN, "cross-site", "Requests of other sites are refused.")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}  # a page of the dashboard says itself what it may do
                more = [one for one in SECURITY_HEADERS if one[0] not in said]
                message["headers"] = [*message["headers"], *more, *scope.get(RATE_LIMIT, ())]
            await send(message)

        with suppress(ClientDisconnect):  # in the middle of a body; nobody is there to be answered
            await answer(scope, receive, send_guarded)


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets (RFC 9110 7.2)."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that the API answers to: this machine's, the one it listens on, and WEBHOOK_BASE_URL's."""
    own = {settings.host.lower()} - ANY_ADDRESS
    return LOCAL_NAMES | own | {urlsplit(settings.webhook_base_url).hostname or "localhost"}


class Door:
    """Tells who asks, by their key, and how often they may.

    Args:
        settings: whose limits hold.
        clock: seconds that only go forward.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = Keys(AdminKey(settings), lambda: parts().api_keys, clock)
        self._of_keys = Buckets(rate_of(settings.api_limit), clock)
        self._failed = Buckets(rate_of(settings.api_limit_failed_keys), clock)
        self._policy = _policy(self._of_keys.rate)
        self._looking_again = asyncio.Lock()

    async def caller(self, request: Request) -> Caller:
        """Return whose key a request brings.

        Raises:
            HTTPException: 401 where that is nobody's now, 429 where they ask too often.
            ServiceUnavailable: it has to be looked up, and the database does not answer.
        """
        given = key_in(request)
        if not given:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, BRING_A_KEY)
        digest = digest_of(given)
        found = self._keys.at_hand(digest)
        if not isinstance(found, Caller):
            found = await self._looked_up(digest, found, address_of(request))
        taken = self._of_keys.take(found.counted_as)
        if taken is not None:
            fields = f'"key";r={taken.left};t={taken.seconds}'
            request.scope[RATE_LIMIT] = ((b"ratelimit-policy", self._policy), (b"ratelimit", fields.encode()))
            if not taken.allowed:
                raise _too_many(f"This key may ask {self._of_keys.rate} (API_LIMIT)", taken)
        return found

    async def check_still(self, request: Request, caller: Caller) -> None:
        """Look again at the key of a request that goes on; while the database is away what was known is true.

        Raises:
            HTTPException: 401 where it is not this caller's any more.
        """
        digest = digest_of(key_in(request))
        found = self._keys.at_hand(digest)
        if found is None:
            async with self._looking_again:  # of many who wait with one key, the first one's look is enough
                try:
                    found = self._keys.at_hand(digest) or await run_in_threadpool(self._keys.looked_up, digest)
                except ServiceUnavailable:
                    return
        if found != caller:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, found.why if isinstance(found, Refused) else BRING_A_KEY)

    async def _looked_up(self, digest: str, found: Refused | None, address: str) -> Caller:
        """Return whose key it is; each that is nobody's counts against the address that it came from."""
        taken = self._failed.take(address)
        if taken is not None and not taken.allowed and not self._keys.knows(digest):
            raise _too_many("Too many keys that are none came from your address (API_LIMIT_FAILED_KEYS)", taken)
        looked_up = found or await run_in_threadpool(self._keys.looked_up, digest)
        if not isinstance(looked_up, Caller):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, looked_up.why if looked_up else BRING_A_KEY)
        if taken is not None and taken.allowed:
            self._failed.give_back(address)
        return looked_up


class Guard:
    """Lets in who may do what a route does; a dependency that gives the `Caller`.

    Args:
        scope: what the key needs; None: the route is open.
        tenants: whether a tenant's key may come in: only where the route keeps to that tenant's tasks.
    """

    def __init__(self, scope: str | None, *, tenants: bool) -> None:
        self.scope = scope
        self.tenants = tenants

    async def __call__(self, request: Request) -> Caller | None:
        """Return who asks, whom the route let in before it read the body; None where everybody may."""
        return request.scope.get(CALLER)

    async def admit(self, request: Request) -> None:
        """Let in, or refuse.

        Raises:
            HTTPException: 401 and 429 as `Door.caller`, 403 where the key is good, but not for this.
        """
        if self.scope is None:
            return
        caller = await request.app.state.door.caller(request)
        if not caller.may(self.scope):
            needed = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scope}"'}
            raise HTTPException(HTTPStatus.FORBIDDEN, f"This wants a key with the scope {self.scope}.", needed)
        if caller.tenant is not None and not self.tenants:
            raise HTTPException(HTTPStatus.FORBIDDEN, "This concerns all tenants; it wants a key that is no tenant's.")
        request.scope[CALLER] = caller


def require(scope: str, *, tenants: bool = False) -> Any:
    """Return what lets in keys of this scope, for the default of a route's parameter or `dependencies`.

    Args:
        scope: one of `SCOPES`.
        tenants: whether a tenant's key may come in: only where the route keeps to that tenant's tasks.
    """
    if scope not in SCOPES:
        raise ValueError(f"A scope is one of {', '.join(SCOPES)}; got {scope!r}.")
    return Depends(Guard(scope, tenants=tenants))


def everybody() -> Any:
    """Return what marks a route as open: its own signature is its key, or it tells nothing."""
    return Depends(Guard(None, tenants=True))


class GuardedRoute(APIRoute):
    """A route that looks at the key before it reads a byte of the body.

    Attributes:
        most_bytes: of a body with a type; what reads a body itself has bounds of its own (`api.bodies`). None: any.
    """

    most_bytes: int | None = 1_000_000

    @cached_property
    def _fixed(self) -> str:
        """The beginning of its path, up to the first parameter."""
        return self.path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether this answers a request; most do not, which takes no pattern to tell."""
        asked = str(scope.get("path", ""))
        if self._fixed not in asked or not (self.param_convertors or asked.endswith(self._fixed)):
            return Match.NONE, {}
        return matched(super().matches, scope)

    def guard(self) -> Guard:
        """Return what guards it.

        Raises:
            ConfigurationError: nothing does, or more than one.
        """
        found = [one.call for one in self.dependant.dependencies if isinstance(one.call, Guard)]
        if len(found) != 1:
            raise ConfigurationError(f"{self.path} must say once who may use it: require(scope), or everybody().")
        return found[0]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        if self.response_field is not None:
            vars(self.response_field)["serialize_json"] = _any_text(self.response_field)
        guard, handle = self.guard(), self.answering()
        most = self.most_bytes if self.body_field else None
        known = None if guard.scope is None else {one.alias for one in get_flat_params(self.dependant)}
        is_post, with_key = "POST" in (self.methods or ()), takes_key(self)

        async def handler(request: Request) -> Response:
            await guard.admit(request)
            if known is not None:  # a provider puts into its addresses what it likes
                check_query(request, known)
                if is_post:  # any other verb is the same twice by its nature
                    check_key(request, taken=with_key)
            return await handle(request if most is None else Request(request.scope, bounded(request.receive, most)))

        return handler

    def answering(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request that has been let in."""
        return super().get_route_handler()


def _any_text(field: Any) -> Callable[..., bytes]:
    """Return what writes an answer; a lone surrogate, which arguments may hold and UTF-8 has not, as its escape."""
    write = field.serialize_json

    def written(value: Any, **options: Any) -> bytes:
        try:
            return write(value, **options)
        except PydanticSerializationError:
            return json.dumps(field.serialize(value, **options), separators=(",", ":"), allow_nan=False).encode()

    return written


def check_query(request: Request, known: Collection[str]) -> None:
    """Refuse a parameter that a route does not have: a filter that is spelled wrongly would find everything.

    Raises:
        InvalidArgument: there is one.
    """
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        raise InvalidArgument(f"{unknown:.100}: this takes no such parameter; the document of the routes names them.")


def guarded(router: APIRouter) -> APIRouter:
    """Return a router whose every route names who may use it.

    Raises:
        ConfigurationError: one does not, and could be used by everybody.
    """
    for route in router.routes:
        if not isinstance(route, GuardedRoute):
            raise ConfigurationError(f"{route} must be of a router with route_class=GuardedRoute.")
    return router


def key_in(request: Request) -> str:
    """Return the key that a request brings as `Authorization: Bearer …` or `X-API-Key: …`, or an empty text."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _policy(rate: Rate | None) -> bytes:
    return b"" if rate is None else f'"key";q={rate.starts};w={rate.seconds}'.encode()


def _too_many(why: str, taken: Taken) -> HTTPException:
    detail = f"{why}; try again in {taken.seconds} s."
    return HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(taken.seconds)})
