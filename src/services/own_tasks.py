"""Tasks by their names, an adopter's too: what is registered, what arguments one takes, where it waits."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, cast

from pydantic import ValidationError

from config.log_setup import get_logger
from config.settings import settings
from processors.errors import ConfigurationError, InvalidArgument, UnknownTaskName
from processors.results import Request, sentence_of
from processors.scheduling import CATEGORIES
from services.celery_app import ROUTED, TASK_MODULES, celery_app
from services.positional_arguments import masked
from services.submission import category_of

logger = get_logger()

MOST_NEAR_NAMES = 3
LEAST_LIKENESS = 0.5

PLAIN = "default"
"""The category of a task whose name has no dot."""


def registered_task(name: Any) -> Any:
    """Return the task of this name, if it can be submitted by its name.

    Raises:
        UnknownTaskName: none is registered, in TASK_MODULES either.
        InvalidArgument: it is Celery's own, a parent, or has no record.
        ConfigurationError: a module of TASK_MODULES cannot be imported.
    """
    if not isinstance(name, str):
        raise InvalidArgument(f"name: must be the name of a task, got {name!r:.100}.")
    tasks = _tasks()
    if name not in tasks:
        import_task_modules()
    task = tasks.get(name)
    if task is None or name.startswith("celery."):
        raise UnknownTaskName(f"name: no task is named {name!r:.100}{_near(name)}")
    if task.is_parent:
        raise InvalidArgument(
            f"name: {name} is moved by its members' rows; use the method of the facade that makes them."
        )
    if not task.record:
        raise InvalidArgument(
            f"name: {name} says record = False, so that nobody could tell what became of it; use delay."
        )
    return task


def checked_arguments(task: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's keyword arguments as they are sent.

    Args:
        task: a registered task.
        given: its arguments by name; a pydantic model where a task with `pydantic=True` takes one.

    Raises:
        InvalidArgument: one is missing, unknown, or not what the task's request takes.
    """
    takes: type[Request] | None = task.request_model
    if takes is not None:
        try:
            return takes.model_validate(dict(given), context=CONTEXT).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidArgument(sentence_of(error)) from error
    check_signature(task, [], given)
    dump = task._dump_pydantic_arguments  # noqa: SLF001 - what Celery's own way to submit does
    return dict(given if dump is None else dump((), given)[1])


def check_signature(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` where a task's function does not take these arguments."""
    try:
        _signature(task.run).bind(*args, **kwargs)
    except TypeError as error:
        names = ", ".join(parameters_of(task)) or "no arguments"
        raise InvalidArgument(f"The arguments do not fit {task.name}: {error}; it takes {names}.") from error


@lru_cache(maxsize=1_000)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return what a function takes; reading it takes much longer than comparing arguments with it."""
    return inspect.signature(function)


def parameters_of(task: Any) -> list[str]:
    """Return the names of what a task takes; a bound one's own first argument is none of them."""
    if task.request_model is None:
        return list(inspect.signature(task.run).parameters)
    return [field.alias or name for name, field in task.request_model.model_fields.items()]


def shown_arguments(name: str, args: Any) -> Any:
    """Return a record's positional arguments with their secrets masked; its task's module, which names them, is loaded.

    Where it cannot be, those are masked that tell by themselves what they are.
    """
    if args and name not in _tasks():
        _look_for_tasks(tuple(settings.task_modules))
    return masked(name, args)


@cache
def _look_for_tasks(modules: tuple[str, ...]) -> None:
    """Import all modules with tasks, once in a process; a program that only shows them may lack what one needs."""
    try:
        import_task_modules()
    except ConfigurationError as error:
        logger.warning("task_modules_missing", modules=modules, error=str(error))


def queue_of(task: Any) -> str:
    """Return where a task waits unless its caller says otherwise."""
    category = category_of(task.name)
    return getattr(task, "queue", None) or (category if category in ROUTED else "default")


def is_ours(name: str) -> bool:
    """Tell whether a task comes with the service."""
    if name not in _tasks():
        import_task_modules()
    task = _tasks().get(name)
    return task is not None and type(task).__module__ in TASK_MODULES  # of a parent, `run` is its base's


def categories() -> set[str]:
    """Return the categories of all registered tasks."""
    import_task_modules()
    return {category_of(name) for name in _tasks() if not name.startswith("celery.")}


def check_limited(scope: str) -> None:
    """Raise where a limit would bind nothing, because its scope's category or task is nobody's.

    Raises:
        InvalidArgument: no task has this category, or the task has no record.
        UnknownTaskName: no task of this name is registered, in TASK_MODULES either.
        ConfigurationError: a module of TASK_MODULES cannot be imported.
    """
    kind, _, name = scope.partition(":")
    if kind == "category":
        check_category(name, "scope")
    if kind == "task" and not check_name(name, "scope").record:
        raise InvalidArgument(f"scope: {name} says record = False, so that no limit binds it.")


def check_category(category: str, argument: str) -> None:
    """Raise where no task has this category.

    Args:
        category: what was given.
        argument: as what, for the error.

    Raises:
        InvalidArgument: none has.
        ConfigurationError: a module of TASK_MODULES cannot be imported.
    """
    if category not in CATEGORIES:
        known = [*CATEGORIES, *sorted({PLAIN, *categories()} - set(CATEGORIES))]
        if category not in known:
            raise InvalidArgument(
                f"{argument}: no category is named {category!r:.100}; the categories are {', '.join(known)}."
            )


def check_name(name: str, argument: str) -> Any:
    """Return the task of this name, whoever may submit it.

    Args:
        name: what was given.
        argument: as what, for the error.

    Raises:
        UnknownTaskName: none is registered, in TASK_MODULES either.
        ConfigurationError: a module of TASK_MODULES cannot be imported.
    """
    if name not in _tasks():
        import_task_modules()
    task = _tasks().get(name)
    if task is None or name.startswith("celery."):
        raise UnknownTaskName(f"{argument}: no task is named {name!r:.100}{_near(name)}")
    return task


CONTEXT = {"categories": categories}
"""What requests are checked with: the categories that they may name beside the service's own."""


def _tasks() -> dict[str, Any]:
    return cast("Any", celery_app).tasks


def import_task_modules() -> None:
    """Import all modules with tasks: the service's and an adopter's.

    Raises:
        ConfigurationError: a module of TASK_MODULES cannot be imported.
    """
    for module in (*TASK_MODULES, *settings.task_modules):
        celery_app.loader.import_task_module(module)


def _near(name: str) -> str:
    known = [one for one in _tasks() if not one.startswith("celery.")]
    near = get_close_matches(name, known, MOST_NEAR_NAMES, LEAST_LIKENESS)
    return (
        f"; did you mean {' or '.join(near)}?" if near else "; TASK_MODULES names the modules with tasks of your own."
    )
