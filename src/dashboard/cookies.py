"""What a browser keeps for us: scripts cannot read it, and no other site's request brings it."""

from starlette.requests import Request
from starlette.responses import Response

SESSION = "csai-session"
VISITOR = "csai-visitor"
"""Of who has no session yet: what the token in the login form is made of."""

SAID = "csai-said"
"""One sentence about what was done, for the page after it."""


def read(request: Request, name: str) -> str:
    """Return a cookie's value, or an empty text."""
    return request.cookies.get(_name(request, name), "")


def write(response: Response, request: Request, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie; without seconds it goes with the browser."""
    response.set_cookie(
        _name(request, name), value, max_age=seconds, secure=_is_safe(request), httponly=True, samesite="strict"
    )


def remove(response: Response, request: Request, name: str) -> None:
    """Take a cookie back."""
    write(response, request, name, "", 0)


def _name(request: Request, name: str) -> str:
    """Return the full name; with `__Host-` no neighbouring host can set it (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{name}" if _is_safe(request) else name


def _is_safe(request: Request) -> bool:
    return request.url.scheme == "https"
