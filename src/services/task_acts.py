"""Doing the same to many tasks: counted first, confirmed by that count, and begun after a while in which it is undone.

What does it is a task of its own, due when that while is over. To undo it is to cancel that task, which has not begun.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import NAMESPACE_OID, uuid5

from processors.errors import CountChanged, IdempotencyConflict, InvalidArgument
from processors.interfaces import Report
from processors.scheduling import Act, ActOnTasks, SkippedTask, TasksActedOn
from records.task_changes import TaskChanges
from records.task_lists import Place, Row, TaskLists, Wanted
from records.task_records import FINAL, TaskRecord, TaskState
from services import retrying, steering
from services.access import Caller
from services.audit import record_act
from services.status import unknown_task
from services.submission import submit_by_name
from services.submit_options import Options
from services.task_filters import TaskFilter, filter_of
from services.wiring import parts

TASK = "scheduling.act_on_tasks"
ACTS: tuple[str, ...] = get_args(Act)
UNDO_SECONDS = 10.0
MOST = 10_000
"""Tasks of one act; for more it is done again."""

PAGE = 500
TOLD = 1_000
STATES = {
    "cancel": frozenset(state for state in TaskState if state not in FINAL),
    "replay": frozenset({TaskState.FAILURE}),
}
"""Of which tasks an act changes anything."""


def count_of(act: str, asked: TaskFilter, wall: str | None) -> int:
    """Return how many tasks an act would change now; `MOST` and one more where it is more than that.

    Raises:
        InvalidArgument: there is no such act.
    """
    return count_with_parts(act, asked, wall)[0]


def count_with_parts(act: str, asked: TaskFilter, wall: str | None) -> tuple[int, int]:
    """Return the same, and how many parts the parents among those tasks have.

    Raises:
        InvalidArgument: there is no such act.
    """
    _checked(act)
    wanted = _wanted(act, asked, wall, datetime.now(UTC))
    count = members = 0
    for row in () if wanted is None else _found(act, wanted, MOST + 1):
        count += 1
        members += row["members_total"] or 0 if row["is_parent"] else 0
    return count, members


def until_now(asked: TaskFilter) -> TaskFilter:
    """Return the same filter without what is submitted from now on, by the database's clock."""
    now = TaskChanges(parts().database).now()
    until = now if asked.created_before is None else min(now, asked.created_before)
    return asked.model_copy(update={"created_before": until})


def begin(caller: Caller, act: str, asked: TaskFilter, confirmed: int, key: str | None = None) -> dict[str, Any]:
    """Do it after 10 s; returns `task_id`, which undoes it until then, `count`, and `undo_until`.

    Args:
        caller: who wants it; a tenant's key means that tenant's tasks alone.
        act: `cancel` or `replay`.
        asked: of which tasks.
        confirmed: how many the caller was told that there are.
        key: the same one begins it once, as long as the act's record is there.

    Raises:
        InvalidArgument: there is no such act, or there are too many tasks, or none.
        CountChanged: there are more than were confirmed.
        IdempotencyConflict: the key began another act.
    """
    act_id = None if key is None else _id_of(caller.tenant, key)
    if act_id is not None and (begun := parts().tasks.read(act_id)) is not None:
        return _begun_before(begun, act, asked, confirmed)
    now = datetime.now(UTC)
    count = count_of(act, asked, caller.tenant)
    if count > MOST:
        raise InvalidArgument(f"filter: more than {MOST} tasks are like that; narrow it, and do it several times.")
    if count > confirmed:
        raise CountChanged(f"count: {confirmed} tasks were confirmed, and {count} are like that now; ask again.", count)
    if not count:
        raise InvalidArgument("filter: no task is like that now, so that there is nothing to do.")
    request = ActOnTasks(
        act=_checked(act),
        filter=_written(asked),
        created_before=now.isoformat(),
        wall=caller.tenant,
        most=confirmed,
    )
    options = Options(delay=UNDO_SECONDS, priority="high", tenant=caller.tenant)
    arguments = request.model_dump(mode="json")
    task_id = submit_by_name(TASK, arguments, queue="default", origin=caller.origin, options=options, task_id=act_id)
    if act_id is not None and (begun := parts().tasks.read(act_id)) is not None and begun.kwargs != arguments:
        return _begun_before(begun, act, asked, confirmed)  # by another request, meanwhile
    record_act(caller, f"tasks.{act}", target=("task", task_id), count=count, details={"filter": request.filter})
    return {"task_id": task_id, "count": count, "undo_until": _undo_until(now)}


def undo(caller: Caller, task_id: str) -> bool:
    """Take an act back; False where it had begun.

    Raises:
        UnknownTask: there is no such act, or it is another tenant's.
    """
    record = parts().tasks.read(task_id)
    if record is None or record.name != TASK or not caller.sees(record.tenant):
        raise unknown_task(task_id)
    undone = steering.cancel_unstarted(task_id)
    if undone:
        record_act(caller, "tasks.undo", target=("task", task_id))
    return undone


def act_on(request: ActOnTasks, report: Report, own_id: str) -> TasksActedOn:
    """Do it to each task but the one that does it; one that cannot be changed is skipped, with its reason."""
    done = TasksActedOn()
    before = datetime.fromisoformat(request.created_before)
    wanted = _wanted(request.act, filter_of(**request.filter), request.wall, before)
    for number, row in enumerate(() if wanted is None else _found(request.act, wanted, request.most, own_id)):
        report(100 * number / max(1, request.most), f"{number} of {request.most}")
        why = _change(request.act, row["id"])
        if why is None:
            done.changed += 1
            done.task_ids += [row["id"]][: TOLD - len(done.task_ids)]
        elif len(done.skipped) < TOLD:
            done.skipped.append(SkippedTask(task_id=row["id"], why=why))
    return done


def _id_of(wall: str | None, key: str) -> str:
    """Return the id of the one act that is begun with this key, of a tenant's key or of all others."""
    return str(uuid5(NAMESPACE_OID, f"{parts().database_id}:act:{json.dumps([wall, key])}"))


def _begun_before(begun: TaskRecord, act: str, asked: TaskFilter, confirmed: int) -> dict[str, Any]:
    """Return the answer to an act that was begun with its key before; its count is the one that was confirmed."""
    request = ActOnTasks.model_validate(begun.kwargs)
    if (request.act, request.filter, request.most) != (act, _written(asked), confirmed):
        raise IdempotencyConflict(
            f"idempotency_key: it was given to act {begun.id}, of another kind, filter or count; use another key.",
            begun.id,
        )
    until = _undo_until(datetime.fromisoformat(request.created_before))
    return {"task_id": begun.id, "count": request.most, "undo_until": until}


def _undo_until(began: datetime) -> str:
    return (began + timedelta(seconds=UNDO_SECONDS)).isoformat()


def _written(asked: TaskFilter) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_defaults=True)


def _change(act: str, task_id: str) -> str | None:
    """Change one task; returns why it was not changed, or None."""
    if act == "cancel":
        return None if steering.cancel(task_id) else "it had ended"
    try:
        retrying.replay(task_id, None)
    except InvalidArgument as error:
        return str(error)
    return None


def _found(act: str, wanted: Wanted, most: int, own_id: str = "") -> Iterator[Row]:
    """Yield the rows of the tasks that an act changes, the newest first, however they change meanwhile.

    The act's own task is none of them, which the database may have dated before the act by another clock.
    """
    lists, place = TaskLists(parts().database), None
    while most > 0:
        page = lists.page(wanted, PAGE, place)
        for row in page:
            if row["id"] == own_id or (act == "replay" and row["retried_as"] is not None):
                continue
            yield row
            most -= 1
            if not most:
                return
        if len(page) < PAGE:
            return
        place = Place(page[-1]["created_at"], page[-1]["id"])


def _wanted(act: str, asked: TaskFilter, wall: str | None, before: datetime) -> Wanted | None:
    """Return what an act looks for; None where that can be nothing."""
    states = STATES[act] if asked.state is None else STATES[act] & set(asked.state)
    if not states:
        return None
    until = before if asked.created_before is None else min(before, asked.created_before)
    return asked.model_copy(update={"state": sorted(states), "created_before": until}).wanted(wall)


def _checked(act: str) -> Any:
    if act not in ACTS:
        raise InvalidArgument(f"act: must be one of {', '.join(ACTS)}; got {act!r:.60}.")
    return act
