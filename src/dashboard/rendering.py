"""Pages out of templates: all that is not a template's own is escaped, and a name that is missing is an error."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from dashboard import cookies, words
from dashboard.forms import new_once
from dashboard.static_files import StaticFiles
from dashboard.visits import Visit
from services.monitoring import version

HERE = Path(__file__).parent
STATIC = "/static/"
SAID_SECONDS = 60
LONGEST_SAID = 300
"""A browser keeps 4 096 bytes, and a sign may take twelve."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with no-referrer a browser names no origin for our own forms, either
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FRAMES = HEADERS | {"Content-Security-Policy": f"{POLICY}; frame-src 'self'"}
"""Of a page that has one of ours in a frame."""

FRAMED = HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; "
        "frame-ancestors 'self'; base-uri 'none'; sandbox"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
"""Of somebody's page in a frame of ours: it runs nothing, loads nothing, and is of no site."""

NAVIGATION = (
    ("/", "Overview", "read"),
    ("/tasks", "Tasks", "read"),
    ("/failures", "Failures", "read"),
    ("/queues", "Queues", "read"),
    ("/workers", "Workers", "read"),
    ("/schedules", "Schedules", "read"),
    ("/campaigns", "Campaigns", "read"),
    ("/outbox", "Outbox", "read"),
    ("/usage", "Usage", "read"),
    ("/keys", "Keys", "admin"),
    ("/users", "Users", "admin"),
    ("/webhooks", "Webhooks", "admin"),
    ("/audit", "Audit", "admin"),
)
"""Where, what it is called, and who sees it."""


@cache
def static_files() -> StaticFiles:
    """Return the files of the pages."""
    return StaticFiles(HERE / "static", STATIC)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known: Any = environment.globals  # which is typed by what it begins with
    known.update(static=static_files().address, navigation=NAVIGATION, version=version(), new_once=new_once)
    shown = (
        words.utc,
        words.span,
        words.short_span,
        words.number,
        words.size,
        words.amount,
        words.rate,
        words.json_text,
        words.json_line,
        words.beginning,
        words.segment,
    )
    environment.filters.update({one.__name__: one for one in shown})
    return environment


def page(
    visit: Visit, template: str, status: int = 200, headers: Mapping[str, str] = HEADERS, **context: Any
) -> Response:
    """Return a page.

    Args:
        visit: who asks.
        template: its file.
        status: the HTTP status.
        headers: what the page may do.
        context: what the template needs beside `visit` and `said`.
    """
    said = unquote(cookies.read(visit.request, cookies.SAID))[:LONGEST_SAID]
    html = rendered(template, visit=visit, said=said, **context)
    response = Response(html, status, headers, "text/html")
    if said:
        cookies.remove(response, visit.request, cookies.SAID)
    if visit.logged_in is None and visit.secret and visit.secret != cookies.read(visit.request, cookies.VISITOR):
        cookies.write(response, visit.request, cookies.VISITOR, visit.secret)
    return response


def framed_page(html: str) -> Response:
    """Return somebody's page, for a frame of ours."""
    return Response(html.encode("utf-8", "backslashreplace"), 200, FRAMED, "text/html; charset=utf-8")


def as_json(value: Any) -> Response:
    """Return values for a script of a page."""
    return Response(json.dumps(value, separators=(",", ":")), 200, HEADERS, "application/json")


def rendered(template: str, **context: Any) -> bytes:
    """Return what a template makes; half a character, which JSON may hold, is written as its escape."""
    return _templates().get_template(template).render(context).encode("utf-8", "backslashreplace")


def go_to(visit: Visit, path: str, said: str = "") -> Response:
    """Return what leads to a page after something was done.

    Args:
        visit: who did it.
        path: where the browser goes.
        said: what that page says about it.
    """
    response = RedirectResponse(path, 303, HEADERS)
    if said:
        cookies.write(response, visit.request, cookies.SAID, quote(said[:LONGEST_SAID]), SAID_SECONDS)
    return response
