"""The web application: routes found in the folder, the error table, the guards, and the dashboard beside them."""

import pkgutil
from functools import cache
from importlib import import_module

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors, routes
from api.documents import document_of
from api.guards import Door, HostGuard, guarded, known_hosts
from config.settings import Settings
from dashboard.app import create_dashboard
from services import call_webhooks
from services.monitoring import version
from services.wiring import parts
from web.watching import Mark, Watching

API = "/api/"

ASKED_MOST = frozenset({"submit", "tasks"})
"""The modules whose routes are looked through first."""

MOST_WATCHERS = 1_000
"""Who may wait for tasks at once, in one process."""

MOST_OF_ONE = 250
"""How many of them with one key."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application; each of its routes says who may use it, or there is none.

    Raises:
        ConfigurationError: a route does not.
    """
    app = FastAPI(title="CSAI background service", version=version(), docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False  # behind a proxy for https it would lead to http, and the key after it
    app.state.door = Door(settings)
    errors.install(app)
    for one in sorted(pkgutil.iter_modules(routes.__path__), key=lambda one: one.name not in ASKED_MOST):
        known = guarded(import_module(f"api.routes.{one.name}").router)
        app.router.routes += known.routes  # each included router would be asked, and the right one twice
    app.state.watching = Watching(_marks, MOST_WATCHERS, MOST_OF_ONE)
    app.router.default = beside(app.router.default, create_dashboard(app.state.watching))
    app.openapi = cache(lambda: document_of(app))
    call_webhooks.load()
    app.add_middleware(HostGuard, hosts=known_hosts(settings))
    return app


def beside(api: ASGIApp, dashboard: ASGIApp) -> ASGIApp:
    """Return what answers where no route of the API does: below /api still the API, else the dashboard."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and not scope["path"].startswith(API)
        await (dashboard if is_page else api)(scope, receive, send)

    return answer


def _marks(task_ids: list[str]) -> dict[str, Mark]:
    return parts().task_marks.of(task_ids)
