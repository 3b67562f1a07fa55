"""What somebody does to one thing here, over HTTP and in the dashboard alike: it is done, and written down.

What changed nothing is written down nowhere. Who has a tenant's key acts on that tenant's tasks alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from processors.errors import CountChanged, UnknownQueue
from services import campaigns, uploads
from services.access import Caller
from services.audit import record_act
from services.celery_app import QUEUES
from services.celery_service import celery_service
from services.file_roots import check_paths
from services.parent_progress import PENDING
from services.positional_arguments import names_of
from services.scheduling import check_task
from services.status import unknown_task
from services.wiring import parts


def seen(task_id: str, caller: Caller) -> dict[str, Any]:
    """Return where a task stands, as `get_task_status` does, to one who may see it.

    Raises:
        InvalidArgument: it is no task's id.
        UnknownTask: there is none, or it is another tenant's.
    """
    status = celery_service.get_task_status(task_id)
    if status["status"] == "UNKNOWN" or not caller.sees(status["tenant"]):
        raise unknown_task(task_id)
    return status


def cancel_task(caller: Caller, task_id: str) -> bool:
    """Cancel a task, and all tasks of it, for good; False where nothing was left to do."""
    seen(task_id, caller)
    return _noted(caller, "task.cancel", ("task", task_id), changed=celery_service.cancel_task(task_id), count=1)


def pause_task(caller: Caller, task_id: str) -> bool:
    """Let no part of a bulk start; False where it was so before."""
    seen(task_id, caller)
    return _noted(caller, "task.pause", ("task", task_id), changed=celery_service.pause_task(task_id))


def resume_task(caller: Caller, task_id: str) -> bool:
    """Let a paused bulk go on; False where it was not paused."""
    seen(task_id, caller)
    return _noted(caller, "task.resume", ("task", task_id), changed=celery_service.resume_task(task_id))


def replay_task(caller: Caller, task_id: str, arguments: Mapping[str, Any] | None) -> str:
    """Submit a failed task again, with these arguments in place of its own; returns the new task's id.

    Raises:
        InvalidArgument: it cannot be, or an argument is bad, names a path outside FILE_ROOTS, or a file that is gone.
    """
    seen(task_id, caller)
    given = dict(arguments or {})
    check_paths(given)
    uploads.check_stored(given)
    new_id = celery_service.replay_task(task_id, given or None)
    _note_new(caller, "task.replay", ("task", task_id), new_id, **({"arguments": sorted(given)} if given else {}))
    return new_id


def resend_failed(caller: Caller, task_id: str, states: Sequence[str] | None) -> str:
    """Send the mails of an ended bulk again that nobody got; returns the new bulk's id."""
    seen(task_id, caller)
    new_id = celery_service.resend_failed(task_id, None if states is None else list(states))
    _note_new(caller, "task.resend", ("task", task_id), new_id, **({"states": states} if states else {}))
    return new_id


def add_schedule(caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task again and again, from now on; returns the schedule as it is listed."""
    _check_paths(given)
    made = celery_service.add_schedule(**given)
    record_act(caller, "schedule.add", target=("schedule", made["name"]), details=made)
    return made


def change_schedule(caller: Caller, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change a schedule, which goes on from now on; returns it as it is listed."""
    former = parts().schedules.read(name)
    if former is not None and {"task", "args", "kwargs"} & changes.keys():
        _check_paths({"task": former.task, "args": former.args, "kwargs": former.kwargs, **changes})
    changed = celery_service.change_schedule(name, **changes)
    record_act(caller, "schedule.change", target=("schedule", name), details=changes)
    return changed


def remove_schedule(caller: Caller, name: str) -> None:
    """Remove a schedule; its tasks that wait or run stay."""
    celery_service.remove_schedule(name)
    record_act(caller, "schedule.remove", target=("schedule", name))


def pause_schedule(caller: Caller, name: str) -> dict[str, Any]:
    """Fire a schedule no more until it is resumed; returns it as it is listed."""
    paused = celery_service.pause_schedule(name)
    record_act(caller, "schedule.pause", target=("schedule", name))
    return paused


def resume_schedule(caller: Caller, name: str) -> dict[str, Any]:
    """Let a paused schedule go on with its next fire time; returns it as it is listed."""
    resumed = celery_service.resume_schedule(name)
    record_act(caller, "schedule.resume", target=("schedule", name))
    return resumed


def run_schedule_now(caller: Caller, name: str, key: str | None = None) -> str:
    """Submit a schedule's task at once, beside its fire times, once for a key; returns the task's id."""
    task_id = celery_service.run_schedule_now(name, key)
    _note_new(caller, "schedule.run", ("schedule", name), task_id)
    return task_id


def pause_queue(caller: Caller, queue: str) -> bool:
    """Let nothing of a queue start until it is resumed; False where it was so before."""
    return _noted(caller, "queue.pause", ("queue", queue), changed=celery_service.pause_queue(queue))


def resume_queue(caller: Caller, queue: str) -> bool:
    """Let a paused queue's tasks start again; False where it was not paused."""
    return _noted(caller, "queue.resume", ("queue", queue), changed=celery_service.resume_queue(queue))


def drain_queue(caller: Caller, queue: str) -> int:
    """Pause a queue; returns how many of its tasks still run."""
    running = celery_service.drain(queue)
    record_act(caller, "queue.drain", target=("queue", queue))
    return running


def count_purge(queue: str) -> int:
    """Return how many tasks a purge would cancel now: all that wait for a worker, a limit or another attempt.

    Raises:
        UnknownQueue: there is no such queue.
    """
    if queue not in QUEUES:
        raise UnknownQueue(f"queue: no queue is named {queue!r:.100}; the queues are {', '.join(QUEUES)}.")
    return parts().moves.count_waiting(queue)


def purge_queue(caller: Caller, queue: str, confirmed: int | None = None) -> int:
    """Cancel all that waits in a queue, but not what is scheduled for later; returns how many tasks that were.

    Messages of other programs that nobody has recorded yet go as well: no count knows them before.

    Args:
        caller: who wants it.
        queue: which.
        confirmed: how many they were told that there are; None: however many.

    Raises:
        CountChanged: there are more than were confirmed.
        UnknownQueue: there is no such queue.
    """
    _check_count(confirmed, lambda: count_purge(queue), "wait now")
    cancelled = celery_service.purge_queue(queue)
    record_act(caller, "queue.purge", target=("queue", queue), count=cancelled)
    return cancelled


def count_all() -> int:
    """Return how many tasks killing all would cancel now: those that run, and those that wait or are due later."""
    return parts().moves.count_unfinished()


def kill_all(caller: Caller, confirmed: int) -> dict[str, Any]:
    """Cancel all that runs and waits; returns what `kill_all_tasks` does.

    Messages of other programs that nobody has recorded yet go as well: no count knows them before.

    Args:
        caller: who wants it.
        confirmed: how many they were told that there are.

    Raises:
        CountChanged: there are more than were confirmed.
    """
    _check_count(confirmed, count_all, "run or wait now")
    killed = celery_service.kill_all_tasks()
    record_act(caller, "task.kill_all", count=killed["killed_count"])
    return killed


def pause_campaign(caller: Caller, campaign_id: str) -> bool:
    """Let nobody else be called; False where it was so before. Calls that are going on go on."""
    return _steer_campaign(caller, "campaign.pause", campaign_id, celery_service.pause_campaign)


def resume_campaign(caller: Caller, campaign_id: str) -> bool:
    """Let a paused campaign go on; False where it was not paused."""
    return _steer_campaign(caller, "campaign.resume", campaign_id, celery_service.resume_campaign)


def cancel_campaign(caller: Caller, campaign_id: str, *, hang_up: bool = False) -> bool:
    """Call nobody any more, and end what rings, with `hang_up` all calls; False where nothing was left to do."""
    cancel = partial(celery_service.cancel_campaign, hang_up=hang_up)
    return _steer_campaign(caller, "campaign.cancel", campaign_id, cancel)


def set_limit(caller: Caller, scope: str, rate: str | None, concurrency: int | str | None) -> dict[str, Any]:
    """Limit starts over all workers; what is None stays as it is. Returns what is in force."""
    in_force = celery_service.set_limit(scope, rate, concurrency)
    record_act(caller, "limit.set", target=("limit", scope), details={"rate": rate, "concurrency": concurrency})
    return in_force


def clear_limit(caller: Caller, scope: str) -> dict[str, Any]:
    """Forget what was set for a scope; returns what is in force then."""
    in_force = celery_service.clear_limit(scope)
    record_act(caller, "limit.clear", target=("limit", scope))
    return in_force


def _steer_campaign(caller: Caller, act: str, campaign_id: str, change: Callable[[str], bool]) -> bool:
    """Change a campaign, and write down how many of its members that concerns."""
    seen(campaign_id, caller)
    left = campaigns.get_campaign(campaign_id, -1, 0)["counts"].get(PENDING, 0)
    return _noted(caller, act, ("task", campaign_id), changed=change(campaign_id), count=left)


def _check_count(confirmed: int | None, count_now: Callable[[], int], how: str) -> None:
    """Raise `CountChanged` where there are more than were confirmed; None confirms however many."""
    if confirmed is not None and (count := count_now()) > confirmed:
        raise CountChanged(f"count: {confirmed} tasks were confirmed, and {count} {how}; ask again.", count)


def _noted(caller: Caller, act: str, target: tuple[str, str], *, changed: bool, count: int | None = None) -> bool:
    if changed:
        record_act(caller, act, target=target, count=count)
    return changed


def _note_new(caller: Caller, act: str, target: tuple[str, str], task_id: str, **more: Any) -> None:
    """Write down an act that made a task."""
    record_act(caller, act, target=target, count=1, details={"task_id": task_id} | more)


def _check_paths(schedule: Mapping[str, Any]) -> None:
    """Refuse a schedule whose arguments have a path that no submit over HTTP would take, by name or by position."""
    check_paths(schedule.get("kwargs") or {})
    args: Sequence[Any] = schedule.get("args") or ()
    names = names_of(check_task(schedule["task"])) if args else ()
    named = [{name: value} for name, value in zip(names, args, strict=False)]
    check_paths({"args": [*named, *args[len(named) :]]})
