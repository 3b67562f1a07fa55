"""`csai submit METHOD …`: one command per submitting method of the facade, made from its signature."""

import inspect
import json
import sys
import time
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.models import OptionInfo

from processors.errors import InvalidArgument
from services.celery_service import CeleryService, celery_service
from services.submit_options import SubmitOptions

POLL_SECONDS = 0.2
FINAL = {"SUCCESS", "FAILURE", "REVOKED"}
TEXTS = {str, datetime}
NOT_FOR_A_TERMINAL = {"session"}
NOT_SUBMITTING = {
    "export_campaign",
    "resend_failed",
    "run_schedule_now",
    "get_task_status",
    "get_task_result",
    "cancel_task",
    "purge_queue",
    "replay_task",
    "unsubscribe_url",
}


def register(root: typer.Typer) -> None:
    """Add a command for every method that submits a task."""
    group = typer.Typer(help="Submit a task.", no_args_is_help=True)
    for name, method in submitting_methods().items():
        group.command(name, help=inspect.getdoc(method))(_command(name, method))
    root.add_typer(group, name="submit")


def submitting_methods() -> dict[str, Callable[..., Any]]:
    """Return the facade's methods that return a task's id."""
    found = inspect.getmembers(CeleryService, inspect.isfunction)
    return {
        name: method
        for name, method in found
        if not name.startswith("_") and name not in NOT_SUBMITTING and get_type_hints(method)["return"] is str
    }


def _command(name: str, method: Callable[..., Any]) -> Callable[..., None]:
    """Return a function with the method's parameters as options, which typer reads."""

    def command(**given: Any) -> None:
        wait = given.pop("wait")
        arguments = {key: parse(key, hints[key], value) for key, value in given.items() if value is not None}
        first = [arguments.pop(one.name) for one in parameters if one.kind is one.POSITIONAL_ONLY]
        task_id = getattr(celery_service, name)(*first, **arguments)
        print(task_id)
        if wait:
            sys.exit(follow(task_id))

    parameters = _parameters(method)
    hints = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(  # what typer looks at
        [*map(_option, parameters), _wait_option()]
    )
    command.__annotations__ = {one.name: _option(one).annotation for one in parameters} | {"wait": bool}
    return command


def _parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a method's parameters, and in place of `**options` each that a terminal can give."""
    hints = get_type_hints(method)
    found: list[inspect.Parameter] = []
    for one in list(inspect.signature(method).parameters.values())[1:]:
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            options = get_type_hints(next(iter(get_args(hints[one.name])), SubmitOptions))
            found += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
                for name, hint in options.items()
                if name not in NOT_FOR_A_TERMINAL
            ]
        else:
            found.append(one.replace(annotation=hints[one.name]))
    return found


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the option for one parameter: a switch for a boolean, text for the rest."""
    needed = parameter.default is inspect.Parameter.empty
    annotation: Any = bool if parameter.annotation is bool else str | None
    wants = None if annotation is bool else _metavar(parameter.annotation)
    flag = f"--{parameter.name.replace('_', '-')}"
    names = (f"{flag}/--no-{flag[2:]}",) if annotation is bool else (flag,)
    default: OptionInfo = typer.Option(... if needed else None, *names, show_default=False, metavar=wants)
    if annotation is bool:
        default = typer.Option(parameter.default, *names)
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _wait_option() -> inspect.Parameter:
    option: OptionInfo = typer.Option(False, "--wait", help="Wait for the result, with a progress bar.")
    return inspect.Parameter("wait", inspect.Parameter.KEYWORD_ONLY, default=option, annotation=bool)


def _metavar(hint: Any) -> str | None:
    """Return what the help says that an option wants; None where that is a text."""
    kinds = _kinds(hint)
    if kinds <= {int, float}:
        return "<number>"
    if kinds <= TEXTS:
        return None
    return "<str or JSON>" if str in kinds or _takes_texts(hint) else "<JSON>"


def _kinds(hint: Any) -> set[Any]:
    return {get_origin(one) or one for one in _forms(hint)} - {type(None)}


def _forms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if _is_union(hint) else (hint,)


def _takes_texts(hint: Any) -> bool:
    return list[str] in _forms(hint)


def parse(name: str, hint: Any, value: Any) -> Any:
    """Read one option: numbers as numbers; lists and dicts as JSON, from the option or from a file named `@path`.

    What is no JSON is a list of one text, where texts are listed.

    Raises:
        InvalidArgument: it is neither.
    """
    kinds = _kinds(hint)
    if not isinstance(value, str) or kinds <= TEXTS:
        return value
    if value.startswith("@"):
        value = _contents(name, Path(value[1:]))
    try:
        return json.loads(value)
    except ValueError as error:
        if str in kinds:
            return value
        if _takes_texts(hint):
            return [value]
        if kinds <= {int, float}:
            raise InvalidArgument(f"{name}: must be a number; got {value[:80]!r}.") from error
        raise InvalidArgument(f"{name}: must be JSON (or @file with JSON); got {value[:80]!r}: {error}.") from error


def _contents(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{name}: the file {path} cannot be read: {error}.") from error


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def follow(task_id: str) -> int:
    """Show a task's progress until its end, then its result; returns the exit code: 0 for success, 1 otherwise."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("waits", total=100)
        while (status := celery_service.get_task_status(task_id))["status"] not in FINAL:
            info: dict[str, Any] = status["info"] or {}
            progress.update(bar, completed=info.get("progress", 0), description=str(info.get("status", "waits")))
            time.sleep(POLL_SECONDS)
        progress.update(bar, completed=100)
    print(json.dumps(status["info"], indent=2, ensure_ascii=False))
    return 0 if status["status"] == "SUCCESS" else 1
