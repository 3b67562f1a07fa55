"""The dashboard as an ASGI application: pages found in the folder, the error pages, who may log in."""

import pkgutil
import time
from collections.abc import Callable
from importlib import import_module

from starlette.applications import Starlette

from dashboard import pages, tails
from dashboard.logins import Logins
from dashboard.refusals import HANDLERS
from dashboard.visits import Page
from web.watching import Mark, Watching

MOST_WATCHERS = 1_000
"""Whom the last lines of tasks are told at once."""


def create_dashboard(watching: Watching, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """Return the application.

    Args:
        watching: tells of changed tasks, for the whole web process.
        clock: seconds that only go forward, for how often somebody may try to log in.
    """
    app = Starlette(routes=all_pages(), exception_handlers=dict(HANDLERS))
    app.state.watching = watching
    app.state.lines = Watching(_last_lines, MOST_WATCHERS)
    app.state.logins = Logins(clock)
    return app


def all_pages() -> list[Page]:
    """Return every page, with who may see it."""
    modules = [import_module(f"dashboard.pages.{one.name}") for one in pkgutil.iter_modules(pages.__path__)]
    return [page for module in modules for page in module.pages.routes]


def _last_lines(task_ids: list[str]) -> dict[str, Mark]:
    return {task_id: (place,) for task_id, place in tails.last_places(task_ids).items()}
