"""`csai submit METHOD …`: one command per submitting method of the facade, made from the body that the method takes."""

import inspect
import json
import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group
from typer.models import OptionInfo

from cli.acts import note
from cli.exit_codes import TOLD
from cli.following import Timeout, Wait, answer, answer_many, check_timeout
from cli.given import JSON_FORMS, contents_of, json_of, json_or_text
from cli.output import AsJson
from processors.errors import InvalidArgument
from services.celery_service import celery_service
from services.facade_methods import Method, methods
from services.file_roots import DEFAULT_LOGS, PATH_NAMES

NUMBERS = frozenset({"integer", "number"})
HELP = f"""Submit a task, and print its id.

Lists of texts are given by repeating their option, or as JSON; other lists and objects as {JSON_FORMS} for the standard
input.
"""

OF_ALL: Mapping[str, Any] = {"wait": Wait, "timeout": Timeout, "as_json": AsJson}
DEFAULTS: Mapping[str, Any] = {"wait": False, "timeout": None, "as_json": False}


class Methods(TyperGroup):
    """The methods, each a command; made when one of them is asked for, because they are many."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as typer calls it
        """Return their names."""
        return [*self._made()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as typer calls it
        """Return the command of one."""
        return self._made().get(cmd_name)

    def _made(self) -> Mapping[str, Any]:
        if not self.commands:
            group = typer.Typer(name="submit", rich_markup_mode=None)
            for method in methods().values():
                group.command(
                    method.name,
                    help=f"{method.summary}\n\n{method.description}".strip(),
                    short_help=method.summary,
                    epilog=TOLD,
                )(_command(method))
            self.commands.update(get_group(group).commands)
        return self.commands


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.add_typer(typer.Typer(cls=Methods, help=HELP, epilog=TOLD, no_args_is_help=True), name="submit")


def _command(method: Method) -> Callable[..., None]:
    """Return a function with a method's arguments as options, which typer reads."""
    fields = fields_of(method)

    def command(*, wait: bool, timeout: float | None, as_json: bool, **given: Any) -> None:
        check_timeout(timeout, waits=wait)
        arguments = {
            name: _from_here(name, parse(name, fields[name], value))
            for name, value in given.items()
            if value is not None
        }
        told = method.call(celery_service, arguments)
        if isinstance(told, str):
            note("task.submit", ("task", told), details={"method": method.name})
            answer(told, wait=wait, timeout=timeout, as_json=as_json)
        else:
            note("task.submit", ("task", told[0]), count=len(told), details={"method": method.name})
            answer_many(told, wait=wait, timeout=timeout, as_json=as_json)

    parameters = [*(_option(name, field) for name, field in fields.items()), *_of_all()]
    command.__signature__ = inspect.Signature(parameters)  # what typer looks at
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _from_here(name: str, value: Any) -> Any:
    """Return a path as the workers find it, which were started in another folder."""
    if name not in PATH_NAMES or not value or value == DEFAULT_LOGS or "://" in value:
        return value
    return os.path.abspath(value)  # noqa: PTH100 - `resolve` would follow links


def fields_of(method: Method) -> dict[str, dict[str, Any]]:
    """Return the schema of each argument; a needed one has `needed`."""
    schema = method.body.json_schema()
    needed = set(schema.get("required", ()))
    return {name: {**field, "needed": name in needed} for name, field in schema["properties"].items()}


def _of_all() -> Iterator[inspect.Parameter]:
    for name, kind in OF_ALL.items():
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[name], annotation=kind)


def _option(name: str, field: Mapping[str, Any]) -> inspect.Parameter:
    """Return the option for one argument: a switch for a boolean, several for a list of texts, a text for the rest."""
    kinds = set(_kinds(field))
    flag = f"--{name.replace('_', '-')}"
    names, annotation = (flag,), str | None
    if kinds == {"boolean"}:
        names, annotation = (f"{flag}/--no-{flag[2:]}",), bool | None
    elif _lists_texts(field):
        annotation = list[str] | None
    default: OptionInfo = typer.Option(
        ... if field["needed"] else None,
        *names,
        help=_help(field),
        metavar=_metavar(field, kinds),
        show_default=False,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(field: Mapping[str, Any]) -> str:
    words = [str(field.get("description", ""))]
    choices = [one for form in _forms(field) for one in form.get("enum", ())]
    if choices and not all(str(one) in words[0] for one in choices):
        words.append(f"One of {', '.join(choices)}.")
    default = field.get("default")
    if default is not None and default != "":
        words.append(f"[default: {default if isinstance(default, str) else json.dumps(default)}]")
    return " ".join(word for word in words if word)


def _metavar(field: Mapping[str, Any], kinds: set[str]) -> str | None:
    """Return what the help says that an option wants; None where typer knows."""
    if kinds == {"boolean"}:
        return None
    if kinds <= NUMBERS:
        return "<number>"
    if kinds == {"string"}:
        return "<str>"
    return "<str or JSON>" if "string" in kinds or _lists_texts(field) else "<JSON>"


def _forms(field: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return the kinds of value that an argument takes, each as a schema of its own."""
    return field.get("anyOf", (field,))


def _kinds(field: Mapping[str, Any]) -> list[str]:
    return [kind for form in _forms(field) if (kind := form.get("type", "any")) != "null"]


def _lists_texts(field: Mapping[str, Any]) -> bool:
    """Tell whether an argument takes a list of texts, and no other list."""
    items = [form.get("items", {}).get("type") for form in _forms(field) if form.get("type") == "array"]
    return items == ["string"]


def parse(name: str, field: Mapping[str, Any], value: Any) -> Any:
    """Return an argument as it is meant: numbers as numbers, lists and objects from JSON.

    Args:
        name: what it is called.
        field: its schema.
        value: what was given: a switch, a text, or the texts of an option that was repeated.

    Raises:
        InvalidArgument: it is not what the argument takes.
    """
    kinds = set(_kinds(field))
    if isinstance(value, list):
        return _texts(name, kinds, value)  # pyright: ignore[reportUnknownArgumentType] - of texts, by typer
    if isinstance(value, bool) or kinds == {"string"}:
        return value
    if kinds <= NUMBERS:
        return _number(name, value)
    if "string" not in kinds or value == "-" or value.startswith("@"):
        return json_of(name, value)
    found = json_or_text(name, value)
    return found if isinstance(found, (dict, list)) else value  # pyright: ignore[reportUnknownVariableType] - any JSON


def _texts(name: str, kinds: set[str], values: list[str]) -> Any:
    """Return a list of texts; one text alone stays one where the argument takes that, too."""
    found: list[Any] = []
    for value in values:
        text = contents_of(name, value)
        listed = _listed(text)
        if listed is None and text != value:
            raise InvalidArgument(f"{name}: {value} must hold a JSON list; got {text[:80]!r}.")
        if listed is None and len(values) == 1 and "string" in kinds:
            return text
        found += [text] if listed is None else listed
    return found


def _listed(text: str) -> list[Any] | None:
    """Return the list that a text is in JSON; None where it is another text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None  # pyright: ignore[reportUnknownVariableType] - any JSON


def _number(name: str, value: str) -> Any:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise InvalidArgument(f"{name}: must be a number; got {value[:80]!r}.")
    return found
