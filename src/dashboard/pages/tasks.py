"""One task: where it stands while it runs, what it was given, what it logged, and cancelling and repeating it."""

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from dashboard import cookies, results, tails
from dashboard.forms import MOST_ARGUMENT_BYTES, json_object
from dashboard.rendering import FRAMES, HEADERS, framed_page, go_to, page, rendered
from dashboard.visits import OUT, Pages, Visit
from dashboard.words import number, segment, tasks
from processors.errors import InvalidArgument, ServiceUnavailable, UnknownTask, WorkError
from processors.json_text import is_same
from processors.redaction import redact, redact_text
from records.task_records import TaskRecord
from services import acts, retrying, task_acts, task_traces, users
from services.access import Caller
from services.file_roots import file_at
from services.own_tasks import shown_arguments
from services.parent_progress import BULK_EMAILS, CAMPAIGN
from services.wiring import parts
from web.downloads import disposition
from web.event_streams import STILL_THERE, EventStream, text_event
from web.task_answers import is_final, shown_status
from web.watching import Watching

LOOK_SECONDS = 3.0
"""Between two looks at what a task has logged, and at whether who looks is logged in still."""

SEND_EMAIL = "email.send_email"
LONGEST_POSITION = 9
SHOWN_APART = frozenset({"error", "error_type"})
SHOWN_MEANWHILE = frozenset({"progress", "status"})

pages = Pages()


@pages.get("/tasks/{task_id}", "read")
def task(visit: Visit) -> Response:
    """Show all that is known of a task."""
    story = _story(visit.part("task_id"), visit.caller)
    headers = FRAMES if _is_mail(story["record"]) else HEADERS
    return page(visit, "task.html", headers=headers, **story, tail=tails.newest(visit.part("task_id")))


@pages.get("/tasks/{task_id}/events", "read")
async def events(visit: Visit) -> Response:
    """Stream the parts of the page that change, until the task's end."""
    task_id = visit.part("task_id")
    await run_in_threadpool(shown_status, task_id, visit.caller)
    place = await run_in_threadpool(_place, task_id, visit.asked("after"))
    return EventStream(_changes(visit, task_id, place))


@pages.get("/tasks/{task_id}/file", "read")
def file(visit: Visit) -> Response:
    """Return the sound or film that a task has read, or the range of it that is asked for."""
    shown_status(visit.part("task_id"), visit.caller)
    record = parts().tasks.read(visit.part("task_id"))
    found = record and _own_file(record)
    if not found:
        raise HTTPException(404, "The file is not on this machine, or not as the task has read it.")
    path, kind = found
    headers = {**HEADERS, "Content-Disposition": disposition(path.name, "file")}
    return FileResponse(path, headers=headers, media_type=kind)


@pages.get("/tasks/{task_id}/mail", "read")
def mail(visit: Visit) -> Response:
    """Return the page of the mail that a task was for, with secrets masked, for the frame."""
    status = _masked(shown_status(visit.part("task_id"), visit.caller))
    html = _mail(parts().tasks.read(visit.part("task_id")), _result(status))[0]
    if not html:
        raise HTTPException(404, "The task was for no mail that has a page.")
    return framed_page(html)


@pages.get("/tasks/{task_id}/mails/{position}", "read")
def member_mail(visit: Visit) -> Response:
    """Show one mail of a bulk, with secrets masked."""
    html, text, title = _member_mail(visit)
    path = f"{_path(visit)}/mails/{segment(visit.part('position'))}/page" if html else ""
    number_of_it = number(int(visit.part("position")) + 1)
    block = results.Block("mail", title, path=path, text=text)
    return page(visit, "bulk_mail.html", headers=FRAMES, blocks=[block], number_of_it=number_of_it, back=_path(visit))


@pages.get("/tasks/{task_id}/mails/{position}/page", "read")
def member_page(visit: Visit) -> Response:
    """Return the page of one mail of a bulk, with secrets masked, for the frame."""
    html = _member_mail(visit)[0]
    if not html:
        raise HTTPException(404, "The mail has no page.")
    return framed_page(html)


@pages.get("/tasks/{task_id}/cancel", "operate")
def ask_cancel(visit: Visit) -> Response:
    """Ask whether a task is to be cancelled, naming how many it has."""
    story = _story(visit.part("task_id"), visit.caller)
    task, record = story["task"], story["record"]
    what = tasks(1, record.members_total or 0 if record is not None and record.is_parent else 0)
    lines = [
        "It has ended: nothing is left to cancel."
        if story["final"]
        else "It is cancelled for good: what waits never starts, and what runs ends within seconds.",
        f"It is {task['name']}, and {task['status']}.",
    ]
    return page(
        visit,
        "confirm.html",
        title=f"Cancel {what}?",
        lines=lines,
        button="" if story["final"] else f"Cancel {what}",
        loses=True,
        fields={},
        back=_path(visit),
    )


@pages.post("/tasks/{task_id}/cancel", "operate")
def cancel(visit: Visit) -> Response:
    """Cancel a task."""
    task_id = visit.part("task_id")
    cancelled = acts.cancel_task(visit.caller, task_id)
    return go_to(visit, _path(visit), "The task is cancelled." if cancelled else "There was nothing left to cancel.")


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
        new_id = acts.replay_task(visit.caller, task_id, arguments)
    except InvalidArgument as error:
        return _replay_form(visit, story, 422, text, str(error))
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
    return {
        "task": status,
        "final": is_final(status),
        "record": record,
        "args": [] if record is None else shown_arguments(record.name, record.args),
        "kwargs": {} if record is None else redact(record.kwargs),
        "timeline": [] if record is None else task_traces.timeline_of(record),
        "refused": _why_not_again(record),
        "result": result,
        "blocks": _blocks(task_id, record, result) if is_final(status) else [],
        "deliveries": _deliveries(record),
        "calls": [] if record is not None and record.category != "twilio_calls" else task_traces.call_of(task_id),
        "campaign": _campaign_of(task_id, record),
        "undoable": record is not None and record.name == task_acts.TASK and not is_final(status) and not record.run,
    }


def _deliveries(record: TaskRecord | None) -> tuple[list[dict[str, Any]], bool]:
    if record is None or record.category not in {"email", "notification"}:
        return [], False
    return task_traces.deliveries_of(record.id)


def _blocks(task_id: str, record: TaskRecord | None, result: Any) -> list[results.Block]:
    if record is None:
        return results.blocks_of(result, {})
    path = f"/tasks/{segment(task_id)}"
    own = f"{path}/file" if _own_file(record) else ""
    html, text, title = _mail(record, result)
    mail_block = results.Block("mail", title, path=f"{path}/mail" if html else "", text=text)
    return [*results.blocks_of(result, redact(record.kwargs), own), *([mail_block] if html or text else [])]


def _mail(record: TaskRecord | None, result: Any) -> tuple[str, str, str]:
    """Return page, text and title of the mail that a task was for, secrets masked; empty ones where there is none."""
    return _mail_of(result, redact(record.kwargs)) if record is not None and _is_mail(record) else ("", "", "")


def _mail_of(result: Any, given: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return page, text and title of a mail by what was given for it, secrets masked."""
    html, text = results.mail_of(result, given)
    if html or text or not given.get("template"):
        return html, text, "The mail"
    return *_made_of(given["template"], given.get("context") or {}), "The mail, as its template makes it now"


def _made_of(template: Any, context: Any) -> tuple[str, str]:
    """Return what a template makes of a context now, secrets masked; empty where it cannot be made here."""
    templates = parts().templates
    if templates is None or not isinstance(template, str) or not isinstance(context, Mapping):
        return "", ""
    try:
        made = templates.render(template, cast("Mapping[str, Any]", context))
    except WorkError:
        return "", ""
    return redact_text(made.html or ""), redact_text(made.text or "")


def _member_mail(visit: Visit) -> tuple[str, str, str]:
    """Return page, text and title of one mail of a bulk, secrets masked.

    Raises:
        HTTPException: 404, where there is no such mail.
    """
    task_id, place = visit.part("task_id"), visit.part("position")
    shown_status(task_id, visit.caller)
    record = parts().tasks.read(task_id)
    is_place = place.isascii() and place.isdecimal() and len(place) <= LONGEST_POSITION
    if record is not None and record.name == BULK_EMAILS and record.is_parent and is_place:
        for row in parts().members.page(task_id, int(place) - 1, 1):
            if row["position"] == int(place):
                return _mail_of(None, redact(row["arguments"]))
    raise HTTPException(404, "The task has no such mail.")


def _is_mail(record: TaskRecord | None) -> bool:
    return record is not None and record.name == SEND_EMAIL


def _own_file(record: TaskRecord) -> tuple[Path, str] | None:
    """Return the sound or film of this machine that a task has read, and its type, if it is there as it was."""
    played = results.played(record.result)
    path = file_at(record.kwargs.get("file_path")) if played else None
    return (path, played[0]) if played and path and path.stat().st_size == played[1] else None


def _campaign_of(task_id: str, record: TaskRecord | None) -> str | None:
    """Return the campaign that a task is, or that it is a member of: that has no record of its own."""
    if record is None:
        return task_id.rpartition(":")[0]
    return task_id if record.name == CAMPAIGN else None


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
    apart = SHOWN_APART if is_final(status) else SHOWN_APART | SHOWN_MEANWHILE
    return {name: value for name, value in told.items() if name not in apart}


def _why_not_again(record: TaskRecord | None) -> str | None:
    """Tell why a task cannot be submitted again, or None."""
    why = "it is a part of a campaign" if record is None else retrying.reason_to_refuse(record)
    return why and f"It cannot be submitted again: {why}."


def _edited(text: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of an edited form that differ from what it showed.

    Raises:
        InvalidArgument: it is no JSON object, or lacks one.
    """
    edited = json_object(text)
    if missing := sorted(set(shown) - set(edited)):
        raise InvalidArgument(f"arguments: {', '.join(missing)} must stay; give null for none.")
    return {name: value for name, value in edited.items() if name not in shown or not is_same(value, shown[name])}


def _replay_form(visit: Visit, story: dict[str, Any], status: int, text: str, wrong: str) -> Response:
    return page(visit, "replay.html", status, **story, text=text, wrong=wrong)


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, indent=2, ensure_ascii=False)


def _path(visit: Visit) -> str:
    return f"/tasks/{segment(visit.part('task_id'))}"


async def _changes(visit: Visit, task_id: str, place: int) -> AsyncGenerator[bytes]:
    """Return an event for each part of the page that changes; none to who has been logged out since."""
    watching: Watching = visit.request.app.state.watching
    lines: Watching = visit.request.app.state.lines
    sent: dict[str, str] = {}
    changed = final = False
    async with watching.watch(task_id) as watch, lines.watch(task_id) as logged:
        while not final:
            changed = await watch.change(LOOK_SECONDS) or changed
            last = logged.mark[0] if logged.mark else 0
            try:
                found, final, place = await run_in_threadpool(_parts, visit, task_id, place, last, changed=changed)
                changed = False
            except ServiceUnavailable:
                found = {}  # until the database is back
            for name, html in found.items():
                if name == "lines" or sent.get(name) != html:
                    sent[name] = html
                    yield text_event(name, html)
            yield STILL_THERE
    yield text_event("end", "")


def _parts(visit: Visit, task_id: str, place: int, last: int, *, changed: bool) -> tuple[dict[str, str], bool, int]:
    """Return the parts of the page as they are now, whether nothing more is to be told, and the last line's place.

    Args:
        visit: who looks.
        task_id: at what.
        place: of the last line that they were shown.
        last: of the last line that there was a moment ago.
        changed: whether the record may have changed.
    """
    if users.caller_of(cookies.read(visit.request, cookies.SESSION), active=False) is None:
        return {OUT: ""}, True, place
    found: dict[str, str] = {}
    final = False
    if changed:
        try:
            story = _story(task_id, visit.caller)
        except UnknownTask:  # its record was removed
            return {OUT: ""}, True, place
        final = story["final"]
        found["state"] = rendered("task_state.html", **story).decode()
        found["status"] = rendered("task_status.html", visit=visit, **story).decode()
    if final:  # what it logged last was written before its end
        last = tails.last_places([task_id]).get(task_id, 0)
    if last > place:
        tail = tails.tail(task_id, place, last)
        found[tail.event], place = tail.html, tail.place
    return found, final, place


def _place(task_id: str, after: str) -> int:
    """Return the place of the last line that a page shows; 0 where that is not known, so that it gets all of them.

    A browser that comes back names what the page showed at first.
    """
    last = tails.last_places([task_id]).get(task_id, 0)
    return last if str(last) == after else 0
