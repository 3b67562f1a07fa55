"""The list of tasks: filters in the address, a page at a time, and views that people have saved."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import go_to, page
from dashboard.searches import NAMES, SPANS, STATES, Search, search_in, search_of
from dashboard.visits import Pages, Visit
from processors.errors import InvalidArgument, UnknownView
from processors.scheduling import CATEGORIES
from services import saved_views
from services.celery_app import QUEUES
from services.task_queries import find_tasks

ROWS = 50
NOTHING: dict[str, Any] = {"items": [], "next_cursor": None}

pages = Pages()


@pages.get("/tasks", "read")
def tasks(visit: Visit) -> Response:
    """List tasks, the newest first."""
    given = visit.request.query_params.multi_items()
    search, cursor = search_of(given), visit.asked("cursor")
    if any(name in NAMES and not value.strip() for name, value in given):
        return go_to(visit, search.path)  # a form sends its empty fields too
    found, wrong = NOTHING, ""
    try:
        asked = search.filter(datetime.now(UTC))
        found = find_tasks(asked, cursor or None, ROWS, wall=visit.caller.tenant)
    except InvalidArgument as error:
        wrong = str(error)
    older = found["next_cursor"] and f"/tasks?{urlencode([*search.pairs, ('cursor', found['next_cursor'])])}"
    return page(
        visit,
        "tasks.html",
        422 if wrong else 200,
        tasks=[one | {"ran": _ran(one)} for one in found["items"]],
        search=search,
        first=not cursor,
        older=older,
        wrong=wrong,
        views=_views(visit, search),
        states=STATES,
        spans=SPANS,
        queues=QUEUES,
        categories=CATEGORIES,
    )


@pages.post("/views", "read")
def save(visit: Visit) -> Response:
    """Keep what a list asks for under a name."""
    search, name = search_in(visit.form.get("query", "")), visit.form.get("name", "").strip()
    replaced = saved_views.save(visit.caller, name, search.query)
    said = "is replaced: it shows this list now" if replaced else "is saved"
    return go_to(visit, search.path, f"The view {name} {said}.")


@pages.get("/views/remove", "read")
def ask_remove(visit: Visit) -> Response:
    """Ask whether a view is to be removed."""
    name = visit.asked("name")
    if name not in saved_views.listed(visit.caller):
        raise UnknownView(f"You have saved no view {name!r:.120}.")
    return page(
        visit,
        "confirm.html",
        title=f"Remove 1 view: {name}?",
        lines=["The tasks that it shows stay as they are."],
        button=f"Remove {name}",
        loses=True,
        fields={"name": name},
        back="/tasks",
    )


@pages.post("/views/remove", "read")
def remove(visit: Visit) -> Response:
    """Remove a view."""
    name = visit.form.get("name", "")
    saved_views.remove(visit.caller, name)
    return go_to(visit, "/tasks", f"The view {name} is removed.")


def _views(visit: Visit, search: Search) -> list[dict[str, Any]]:
    kept = {name: search_in(query) for name, query in saved_views.listed(visit.caller).items()}
    return [{"name": name, "path": one.path, "is_here": one == search} for name, one in kept.items()]


def _ran(task: Mapping[str, Any]) -> float | None:
    """Return how long a task ran at its last attempt, or has run until now."""
    if task["started_at"] is None or task["status"] in {"PENDING", "RETRY"}:
        return None
    until = datetime.now(UTC) if task["finished_at"] is None else datetime.fromisoformat(task["finished_at"])
    return max(0.0, (until - datetime.fromisoformat(task["started_at"])).total_seconds())
