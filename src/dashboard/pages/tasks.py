"""One task: where it stands while it runs, what it was given, what it logged, and cancelling and repeating it."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from dashboard import cookies, results
from dashboard.rendering import go_to, page, rendered
from dashboard.visits import Pages, Visit
from dashboard.words import number, segment
from processors.errors import InvalidArgument, ServiceUnavailable, UnknownTask
from processors.redaction import redact, redact_text
from records.task_records import TaskRecord
from services import retrying, task_acts, task_traces, users
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service
from services.file_roots import check_paths
from services.own_tasks import shown_arguments
from services.status import incident_of, line_of
from services.wiring import parts
from web.event_streams import STILL_THERE, EventStream, text_event
from web.task_answers import is_final, shown_status
from web.watching import Watching

LINES = 500
LOOK_SECONDS = 3.0
"""Between two looks at what a task logs, which no change of its record tells."""

MOST_ARGUMENT_BYTES = 4_000_000
"""Of the form with edited arguments: each sign may take three bytes in it."""

SHOWN_APART = frozenset({"error", "error_type", "progress", "status"})

pages = Pages()


@pages.get("/tasks/{task_id}", "read")
def task(visit: Visit) -> Response:
    """Show all that is known of a task."""
    story = _story(visit.part("task_id"), visit.caller)
    return page(visit, "task.html", **story, lines=_lines(visit.part("task_id")))


@pages.get("/tasks/{task_id}/events", "read")
async def events(visit: Visit) -> Response:
    """Stream the parts of the page that change, until the task's end."""
    await run_in_threadpool(shown_status, visit.part("task_id"), visit.caller)
    return EventStream(_changes(visit, visit.part("task_id")))


@pages.get("/tasks/{task_id}/cancel", "operate")
def ask_cancel(visit: Visit) -> Response:
    """Ask whether a task is to be cancelled, naming how many it has."""
    story = _story(visit.part("task_id"), visit.caller)
    task, record = story["task"], story["record"]
    parts_of_it = record.members_total if record is not None and record.is_parent else None
    what = "1 task" if parts_of_it is None else f"1 task with {number(parts_of_it)} parts"
    lines = [
        "It is cancelled for good: what waits never starts, and what runs ends within seconds.",
        f"It is {task['name']}, and {task['status']}.",
    ]
    return page(
        visit,
        "confirm.html",
        title=f"Cancel {what}?",
        lines=lines,
        button=f"Cancel {what}",
        loses=True,
        fields={},
        back=_path(visit),
    )


@pages.post("/tasks/{task_id}/cancel", "operate")
def cancel(visit: Visit) -> Response:
    """Cancel a task."""
    task_id = visit.part("task_id")
    shown_status(task_id, visit.caller)
    if not celery_service.cancel_task(task_id):
        return go_to(visit, _path(visit), "There was nothing left to cancel.")
    record_act(visit.caller, "task.cancel", target=("task", task_id), count=1)
    return go_to(visit, _path(visit), "The task is cancelled.")


@pages.get("/tasks/{task_id}/replay", "operate")
def ask_replay(visit: Visit) -> Response:
    """Ask with what arguments a failed task is to be submitted again."""
    story = _story(visit.part("task_id"), visit.caller)
    return _replay_form(visit, story, 200, _text(story["kwargs"]), story["refused"] or "")


@pages.post("/tasks/{task_id}/replay", "operate", most=MOST_ARGUMENT_BYTES)
def replay(visit: Visit) -> Response:
    """Submit a failed task again, with those arguments that were edited."""
    task_id, text = visit.part("task_id"), visit.form.get("arguments", "")
    story = _story(task_id, visit.caller)
    try:
        arguments = _edited(text, story["kwargs"])
        check_paths(arguments)
        new_id = celery_service.replay_task(task_id, arguments or None)
    except InvalidArgument as error:
        return _replay_form(visit, story, 422, text, str(error))
    details = {"task_id": new_id} | ({"arguments": sorted(arguments)} if arguments else {})
    record_act(visit.caller, "task.replay", target=("task", task_id), count=1, details=details)
    return go_to(visit, f"/tasks/{segment(new_id)}", "Submitted again: this is the new task.")


def _story(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return what the page shows of a task, with its secrets masked.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none.
    """
    status = _masked(shown_status(task_id, caller))
    record = parts().tasks.read(task_id)
    result = _result(status)
    incidents = [] if record is None else parts().incidents.of([record.id])[record.id]
    return {
        "task": status,
        "final": is_final(status),
        "record": record,
        "args": [] if record is None else shown_arguments(record.name, record.args),
        "kwargs": {} if record is None else redact(record.kwargs),
        "incidents": [incident_of(one) for one in incidents],
        "refused": _why_not_again(record),
        "result": result,
        "blocks": results.blocks_of(result, {} if record is None else redact(record.kwargs))
        if is_final(status)
        else [],
        "deliveries": _deliveries(record),
        "calls": [] if record is not None and record.category != "twilio_calls" else task_traces.call_of(task_id),
        "undoable": record is not None and record.name == task_acts.TASK and not is_final(status) and not record.run,
    }


def _deliveries(record: TaskRecord | None) -> tuple[list[dict[str, Any]], bool]:
    if record is None or record.category not in {"email", "notification"}:
        return [], False
    return task_traces.deliveries_of(record.id)


def _masked(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status in whose words for people, such as an error's, what looks like a dictionary is masked too."""
    info = status["info"]
    if isinstance(info, Mapping):
        told = cast("Mapping[str, Any]", info)
        words = {name: redact_text(told[name]) for name in ("error", "status") if isinstance(told.get(name), str)}
        info = {**told, **words}
    traceback = status["traceback"]
    return status | {"info": info, "traceback": traceback and redact_text(traceback)}


def _result(status: dict[str, Any]) -> Any:
    """Return what came of a task, or what is known so far beside what the page shows apart."""
    info = status["info"]
    if status["status"] == "SUCCESS" or not isinstance(info, Mapping):
        return info
    told = cast("Mapping[str, Any]", info)
    return {name: value for name, value in told.items() if name not in SHOWN_APART}


def _why_not_again(record: TaskRecord | None) -> str | None:
    """Tell why a task cannot be submitted again, or None."""
    why = "it is a part of a campaign" if record is None else retrying.reason_to_refuse(record)
    return why and f"It cannot be submitted again: {why}."


def _lines(task_id: str) -> list[dict[str, Any]]:
    found = [line_of(line) for line in parts().task_logs.of(task_id, LINES)]
    return [line | {"text": redact_text(line["text"])} for line in found]


def _edited(text: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of an edited form that differ from what it showed.

    Raises:
        InvalidArgument: it is no JSON object, or lacks one.
    """
    try:
        given: Any = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"arguments: must be a JSON object; {error}.") from error
    if not isinstance(given, dict):
        raise InvalidArgument("arguments: must be a JSON object, with each argument by its name.")
    edited = cast("dict[str, Any]", given)
    if missing := sorted(set(shown) - set(edited)):
        raise InvalidArgument(f"arguments: {', '.join(missing)} must stay; give null for none.")
    return {name: value for name, value in edited.items() if name not in shown or value != shown[name]}


def _replay_form(visit: Visit, story: dict[str, Any], status: int, text: str, wrong: str) -> Response:
    return page(visit, "replay.html", status, **story, text=text, wrong=wrong)


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, indent=2, ensure_ascii=False)


def _path(visit: Visit) -> str:
    return f"/tasks/{segment(visit.part('task_id'))}"


async def _changes(visit: Visit, task_id: str) -> AsyncGenerator[bytes]:
    """Return an event for each part of the page that changes; none to who has been logged out since."""
    watching: Watching = visit.request.app.state.watching
    sent: dict[str, bytes] = {}
    changed = final = False
    async with watching.watch(task_id) as watch:
        while not final:
            changed = await watch.change(LOOK_SECONDS) or changed
            try:
                found, final = await run_in_threadpool(_parts, visit, task_id, changed=changed)
                changed = False
            except ServiceUnavailable:
                found = {}  # until the database is back
            for name, html in found.items():
                if sent.get(name) != html:
                    sent[name] = html
                    yield text_event(name, html.decode())
            yield STILL_THERE
    yield text_event("end", "")


def _parts(visit: Visit, task_id: str, *, changed: bool) -> tuple[dict[str, bytes], bool]:
    """Return the parts of the page as they are now, and whether nothing more is to be told."""
    if users.caller_of(cookies.read(visit.request, cookies.SESSION), active=False) is None:
        return {}, True
    found = {"logs": rendered("task_logs.html", lines=_lines(task_id))}
    if not changed:
        return found, False
    try:
        story = _story(task_id, visit.caller)
    except UnknownTask:  # its record was removed
        return {}, True
    found["state"] = rendered("task_state.html", **story)
    found["status"] = rendered("task_status.html", visit=visit, **story)
    return found, story["final"]
