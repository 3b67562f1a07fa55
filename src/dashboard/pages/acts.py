"""Doing the same to all tasks of a list: asked with their count, and undone within ten seconds."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from starlette.responses import Response

from dashboard.counts import MORE_NOW, count_in
from dashboard.forms import ONCE, new_once, once_in
from dashboard.rendering import go_to, page
from dashboard.searches import search_of
from dashboard.visits import Pages, Visit
from dashboard.words import number, segment, tasks
from processors.errors import CountChanged, InvalidArgument
from services import task_acts
from services.task_filters import TaskFilter, filter_of

pages = Pages()


@dataclass(frozen=True, slots=True)
class TasksAct:
    """What can be done to many tasks.

    Attributes:
        verb: what is done, before "12 tasks".
        what: what comes of it.
        loses: whether work is lost by it.
    """

    verb: str
    what: str
    loses: bool = False


ACTS = {
    "cancel": TasksAct("Cancel", "What waits never starts, and what runs ends within seconds, for good.", loses=True),
    "replay": TasksAct(
        "Submit again", "Each is submitted as a new task. What it did before it failed, it may do again."
    ),
}


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to all tasks that the address asks for, naming how many they are."""
    search = search_of(visit.request.query_params.multi_items())
    return _ask(visit, name, task_acts.until_now(search.filter(datetime.now(UTC))), search.path)


def do(name: str, visit: Visit) -> Response:
    """Let it begin in ten seconds, once for a question, and lead to its task, which can be undone until then."""
    asked = _asked(visit.form.get("filter", ""))
    try:
        begun = task_acts.begin(visit.caller, name, asked, count_in(visit.form), once_in(visit.form))
    except CountChanged:
        return _ask(visit, name, asked, "/tasks", HTTPStatus.CONFLICT, MORE_NOW)
    what = f"{ACTS[name].verb}: {tasks(begun['count'])}"
    return go_to(visit, f"/tasks/{segment(begun['task_id'])}", f"{what}, in 10 s; until then it can be undone.")


for one in ACTS:
    pages.add("GET", f"/acts/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/acts/{one}", "operate", partial(do, one))


@pages.post("/acts/{task_id}/undo", "operate")
def undo(visit: Visit) -> Response:
    """Take back what has not begun."""
    task_id = visit.part("task_id")
    undone = task_acts.undo(visit.caller, task_id)
    said = "It is undone: no task was changed." if undone else "It had begun, and cannot be undone."
    return go_to(visit, f"/tasks/{segment(task_id)}", said)


def _ask(visit: Visit, name: str, asked: TaskFilter, back: str, status: int = 200, wrong: str = "") -> Response:
    act, (count, members) = ACTS[name], task_acts.count_with_parts(name, asked, visit.caller.tenant)
    meant = asked.model_dump(mode="json", exclude_defaults=True)
    lines = [act.what, *(f"{key}: {_shown(value)}" for key, value in meant.items())]
    if count > task_acts.MOST:
        lines.append(f"More than {number(task_acts.MOST)} tasks are like that: narrow the filter.")
    elif not count:
        lines.append("No task is like that now, so that there is nothing to do.")
    else:
        lines.append("It begins 10 s after you confirm; until then it can be undone.")
    how_many = tasks(count, members) if count <= task_acts.MOST else f"more than {tasks(task_acts.MOST)}"
    return page(
        visit,
        "confirm.html",
        status,
        title=f"{act.verb}: {how_many}?",
        lines=[wrong, *lines] if wrong else lines,
        button=f"{act.verb}: {how_many}" if 0 < count <= task_acts.MOST else "",
        loses=act.loses,
        fields={"filter": json.dumps(meant), "count": str(count), ONCE: new_once()},
        back=back,
    )


def _asked(text: str) -> TaskFilter:
    """Return the filter that a page asked about.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        given: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("filter: must be what the page asked about.") from error
    if not isinstance(given, dict):
        raise InvalidArgument("filter: must be what the page asked about.")
    return filter_of(**cast("dict[str, Any]", given))


def _shown(value: Any) -> str:
    return ", ".join(str(one) for one in cast("list[Any]", value)) if isinstance(value, list) else str(value)
