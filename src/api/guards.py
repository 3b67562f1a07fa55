"""What stands before every route: which hosts and origins are answered, who holds the key, what headers go out."""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from config.settings import Settings
from processors.unsubscribing import PATH as UNSUBSCRIBE

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


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
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        await answer(scope, receive, send_guarded)


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets (RFC 9110 7.2)."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def netloc(origin: str) -> str | None:
    """Return the host and port in an Origin header, or None where it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that the API answers to: this machine's, the one it listens on, and WEBHOOK_BASE_URL's."""
    own = {settings.host.lower()} - ANY_ADDRESS
    return LOCAL_NAMES | own | {urlsplit(settings.webhook_base_url).hostname or "localhost"}


def require_key(request: Request) -> None:
    """Let in who brings the admin key, as `Authorization: Bearer …` or `X-API-Key: …`.

    Raises:
        HTTPException: 401, for everybody else.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if not given or not request.app.state.admin_key.is_key(given):
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "Bring the key: Authorization: Bearer <key>.")
