"""Limits, pauses and turns, as tasks are submitted and as callers set and see them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from processors.errors import InvalidArgument, UnknownQueue
from processors.limits import (
    EVERY,
    EXEMPT,
    LIFTED,
    Limit,
    checked_keys,
    checked_scope,
    concurrency_of,
    rate_of,
)
from processors.scheduling import CATEGORIES
from records.holds import Line
from records.limits import TURN, LimitChanges, LimitsInForce
from records.task_records import Draft, TaskRecord
from services.celery_app import QUEUES, ROUTED, celery_app
from services.task_messages import Publishable
from services.wiring import parts


def limit_keys_of(name: str, arguments: Mapping[str, Any]) -> list[str] | None:
    """Return the keys that a task is limited by with these keyword arguments; None where its class names none.

    Raises:
        InvalidArgument: its class cannot tell.
    """
    task = cast("Any", celery_app)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every task module here
    limited_by = getattr(task.__class__, "limited_by", None)  # of the class: an instance would make it a method
    if limited_by is None:
        return None
    try:
        keys = limited_by(dict(arguments))
    except Exception as error:
        raise InvalidArgument(
            f"limited_by of {name} cannot tell its keys from the arguments {sorted(arguments)}: "
            f"{type(error).__name__}: {error}."
        ) from error
    return checked_keys(name, keys)


def in_turn(drafts: Sequence[Draft]) -> list[Draft]:
    """Return these, those of tenants with their places: held for a turn, or published, at the front or the end."""
    placed = list(drafts)
    for (queue, priority, tenant), numbers in _lines(drafts, _is_placed_at_once).items():
        places = parts().holds.places(queue, priority, tenant, len(numbers))
        for number, (turn, first) in zip(numbers, places, strict=True):
            hold = None if turn is None else TURN + queue
            placed[number] = replace(drafts[number], hold=hold, turn=turn, first=first)
    return placed


def due_in_turn(records: Sequence[TaskRecord]) -> list[TaskRecord]:
    """Return what is published now of these, which are due; the others of tenants wait for their turns from now on.

    Args:
        records: claimed to be published. Who has a place already, keeps it.
    """
    published = dict(enumerate(records))
    lines = _lines(records, _has_no_place)
    if not lines:
        return list(records)
    places = parts().holds.places_of_due({line: len(numbers) for line, numbers in lines.items()})
    turns: list[tuple[TaskRecord, int]] = []
    for line, numbers in lines.items():
        for number, (turn, first) in zip(numbers, places[line], strict=True):
            if turn is not None:
                turns.append((published.pop(number), turn))
            elif first:
                published[number] = replace(records[number], hold=TURN + line.queue)
    if turns:
        parts().holds.wait(turns)
    return list(published.values())


def _lines(records: Sequence[Publishable], which: Callable[[Any], bool]) -> dict[Line, list[int]]:
    """Return the numbers of those of tenants that are meant, by their lines."""
    lines: dict[Line, list[int]] = {}
    for number, record in enumerate(records):
        if record.tenant is not None and which(record):
            lines.setdefault(Line(record.queue, record.priority, record.tenant), []).append(number)
    return lines


def _is_placed_at_once(draft: Draft) -> bool:
    """Tell whether a draft gets its place when it is submitted; what is due later gets it then."""
    return not (draft.delay > 0 or draft.due_at is not None or draft.relay_now or draft.is_parent)


def _has_no_place(record: TaskRecord) -> bool:
    """Tell whether a record waits for its first place; what a process gave back goes to the front anyway."""
    return record.turn is None and not record.first


def set_limit(scope: Any, rate: Any, concurrency: Any, check: Callable[[str], None]) -> dict[str, Any]:
    """Set what is not None of a scope's limit; returns what is in force then.

    Args:
        scope: what for.
        rate: a text such as `50/m`, or `none`.
        concurrency: a number, or `none`.
        check: raises where nothing can be in a scope; what was set for one that is known no more may be lifted.
    """
    scope = checked_scope(scope)
    if rate is None and concurrency is None:
        raise InvalidArgument(
            f"rate, concurrency: one of them must be given for {scope!r}; clear_limit removes a limit."
        )
    changes = LimitChanges()
    if rate is not None:
        changes["rate"] = rate_of(rate)
    if concurrency is not None:
        changes["concurrency"] = concurrency_of(concurrency)
    if any(changes.values()) or not _stands(scope):
        _check_queue(scope)
        check(scope)
    parts().limits.change(scope, changes)
    return _shown(parts().limits.in_force(), scope)


def clear_limit(scope: Any) -> dict[str, Any]:
    """Forget what was set for a scope; returns what is in force then."""
    scope = checked_scope(scope)
    if not _stands(scope):
        _check_queue(scope)
    parts().limits.clear(scope)
    return _shown(parts().limits.in_force(), scope)


def get_limits() -> list[dict[str, Any]]:
    """Return the settings' limits, and those that were set at run time."""
    in_force = parts().limits.in_force()
    return [_shown(in_force, scope) for scope in dict.fromkeys([*_by_settings(), *sorted(in_force.given)])]


def limit_of_queue(in_force: LimitsInForce, queue: str) -> str | None:
    """Return the rate in force by which most of a queue's tasks start: its own, its category's, or the usual one."""
    category = f"category:{queue}" if queue in ROUTED else "category:default"
    found = in_force.limit(f"queue:{queue}").rate or (
        None if queue == "high_priority" else in_force.limit(category).rate
    )
    return str(found) if found else None


def drain(queue: str) -> int:
    """Pause a queue; returns how many of its tasks still run."""
    parts().limits.pause(queue)
    return parts().limits.running(f"queue:{queue}")


def _stands(scope: str) -> bool:
    return scope in parts().limits.in_force().given


def _check_queue(scope: str) -> None:
    kind, _, name = scope.partition(":")
    if kind == "queue" and name not in QUEUES:
        raise UnknownQueue(f"scope: no queue is named {name!r}; the queues are {', '.join(QUEUES)}.")


def _by_settings() -> Iterator[str]:
    yield "queue:high_priority"
    yield from (f"category:{name}" for name in CATEGORIES if name not in EXEMPT)
    yield from parts().limits.defaults.at_once


def _shown(in_force: LimitsInForce, scope: str) -> dict[str, Any]:
    every = scope.endswith(f":{EVERY}")
    limit: Limit = in_force.limit(scope)
    used, running, waiting = (None, None, None) if every else parts().limits.used(scope, limit.rate)
    return {
        "scope": scope,
        "rate": str(limit.rate) if limit.rate else LIFTED,
        "concurrency": limit.concurrency or LIFTED,
        "source": "database" if scope in in_force.given else "settings",
        "used": used,
        "running": running,
        "waiting": waiting,
    }
