"""Positional arguments and the names that their task's function gives them: a secret is known by its name."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

from processors.redaction import redact
from services.celery_app import celery_app

KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def names_of(task: Any) -> tuple[str, ...]:
    """Return the names of what a task takes by position; what goes into its `*args` has none."""
    return _names(task.run)


def masked(name: str, args: Any) -> Any:
    """Return a task's positional arguments with their secrets masked, also those that their own names tell.

    Args:
        name: the task's; of one that is not known here, only what lies inside of an argument has a name.
        args: JSON values; a stranger's message may hold something else than a list of them.
    """
    if not args or not isinstance(args, (list, tuple)):
        return redact(args) if args else args
    given = cast("Sequence[Any]", args)
    task = cast("Any", celery_app)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every task module here
    names = () if task is None else names_of(task)
    named = [redact({name: value})[name] for name, value in zip(names, given, strict=False)]
    return named + [redact(value, 1) for value in given[len(names) :]]


@lru_cache(maxsize=1024)
def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(one.name for one in inspect.signature(function).parameters.values() if one.kind in KINDS)
