"""Paths of requests: a slash that was sent as `%2F` is a character of a name, and divides nothing (RFC 3986 2.2)."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from starlette.routing import Match
from starlette.types import Scope

ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
STAND_IN = "\ue02f"
"""Of Unicode's private use: stands for such a slash while a path is taken apart."""

Matches = Callable[[Scope], tuple[Match, Scope]]


def matched(matches: Matches, scope: Scope) -> tuple[Match, Scope]:
    """Return what a route's own `matches` says of a request, with those slashes in the names that it found.

    Servers tell the path decoded, in which a task named `a/b` is two parts.
    """
    raw: bytes = scope.get("raw_path") or b""
    if not ENCODED_SLASH.search(raw):
        return matches(scope)
    path = unquote(ENCODED_SLASH.sub(quote(STAND_IN).encode(), raw).decode("latin-1"))
    match, found = matches({**scope, "path": path})
    if "path_params" in found:
        found["path_params"] = {name: _with_slashes(value) for name, value in found["path_params"].items()}
    return match, found


def _with_slashes(value: Any) -> Any:
    return value.replace(STAND_IN, "/") if isinstance(value, str) else value
