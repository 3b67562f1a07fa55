"""The facade's methods as whoever is no Python program calls them: each by its name, with a JSON object."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # Python's own is not read by pydantic before 3.12

from services.celery_app import PRIORITIES, QUEUES
from services.celery_service import CeleryService
from services.submit_options import OptionsBesidePriority, SubmitOptions

NOT_OVER_HTTP = frozenset({"session"})
"""Options that are objects of the calling program."""

CHOICES: dict[str, Any] = {"priority": Literal[tuple(PRIORITIES)], "queue": Literal[tuple(QUEUES)]}
"""What is one of a few words wherever it stands."""

SUBMITTING = (
    "send_email",
    "send_bulk_emails",
    "send_notification",
    "queue_outbound_call",
    "schedule_call",
    "retry_failed_call",
    "queue_bulk_calls",
    "end_call",
    "get_call_status",
    "cleanup_stale_calls",
    "process_file",
    "process_document",
    "process_image",
    "process_audio",
    "process_video",
    "enroll_person",
    "process_ai_request",
    "generate_embedding",
    "generate_embeddings",
    "process_chat",
    "analyze_sentiment",
    "extract_text",
    "health_check",
    "get_system_stats",
    "get_queue_stats",
    "cleanup_old_tasks",
    "cleanup_old_files",
    "cleanup_old_logs",
    "process_pending_tasks",
    "retry_failed_tasks",
)
"""The methods that submit a task with arguments of its own, in the document's order."""

BY_NAME = "submit"
MANY_BY_NAME = "submit_many"

OPERATING = frozenset(
    {
        "cleanup_stale_calls",
        "cleanup_old_tasks",
        "cleanup_old_files",
        "cleanup_old_logs",
        "process_pending_tasks",
        "retry_failed_tasks",
        "enroll_person",
    }
)
"""Those of them that change what others have submitted, or bind them."""

OF_ALL_TENANTS = OPERATING | {"end_call", "get_call_status", "health_check", "get_system_stats", "get_queue_stats"}
"""Those of them that tell or change what may be any tenant's."""


CHECKS = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the facade that submits.

    Attributes:
        name: as the facade has it.
        summary: its first sentence.
        description: what else its docstring says, without its arguments.
        body: checks its arguments, which are the method's parameters and options by the same names.
    """

    name: str
    summary: str
    description: str
    body: TypeAdapter[dict[str, Any]]

    def call(self, facade: CeleryService, arguments: Mapping[str, Any]) -> str | list[str]:
        """Submit, and return the task's id, or the ids of many; raises what the method raises."""
        given: dict[str, Any] = dict(arguments)
        if self.name == BY_NAME:
            given.setdefault("arguments", {})
            return facade.submit(given.pop("name"), **given)
        if self.name == MANY_BY_NAME:
            return facade.submit_many(given.pop("name"), **given)
        return getattr(facade, self.name)(**given)


@cache
def methods() -> Mapping[str, Method]:
    """Return all of them by their names: those that submit, and the two that take tasks by their own names."""
    return {name: _method(name, getattr(CeleryService, name)) for name in (*SUBMITTING, BY_NAME, MANY_BY_NAME)}


def _method(name: str, function: Callable[..., Any]) -> Method:
    lead, told = _sections(inspect.getdoc(function) or "", "Args:")
    summary, _, description = lead.partition("\n\n")
    words = _option_words() | told
    fields = {one: _field(one, kind, default, words.get(one)) for one, kind, default in _parameters(function)}
    title = "".join(word.capitalize() for word in name.split("_"))
    taken: Any = TypedDict(title, fields)  # pyright: ignore[reportArgumentType] - known at run time alone
    return Method(name, " ".join(summary.split()), description.strip(), TypeAdapter(with_config(CHECKS)(taken)))


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Mapping[str, Any] | None]]:
    """Yield each parameter and option that can come from outside: its name, type and default, as a schema has it.

    None for a default: it must be given.
    """
    kinds = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = get_args(kinds[name])[0] if get_args(kinds[name]) else SubmitOptions
            yield from ((one, kind, {}) for one, kind in get_type_hints(options).items() if one not in NOT_OVER_HTTP)
        elif name != "self":
            yield name, kinds[name], None if parameter.default is parameter.empty else {"default": parameter.default}


def _field(name: str, kind: Any, shown: Mapping[str, Any] | None, words: str | None) -> Any:
    taken = _json_kind(kind)
    if name in CHOICES:
        taken = Union[CHOICES[name], None] if type(None) in get_args(taken) else CHOICES[name]  # noqa: UP007 - known at run time alone
    described = Annotated[taken, Field(description=words, json_schema_extra=dict(shown or {}))]
    return Required[described] if shown is None else NotRequired[described]


def _json_kind(kind: Any) -> Any:
    """Return what JSON has for a type of Python: lists, objects, and texts for moments."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return Union[tuple(dict.fromkeys(map(_json_kind, inner)))]  # noqa: UP007 - of types that are known only here
    if origin in {list, tuple, Sequence}:
        return list[_json_kind(inner[0])]
    if origin in {dict, Mapping}:
        return dict[str, _json_kind(inner[1])]
    return str if kind is datetime else kind


@cache
def _option_words() -> dict[str, str]:
    """Return what each option is, by its name."""
    words: dict[str, str] = {}
    for options in (OptionsBesidePriority, SubmitOptions):
        words |= _sections(inspect.getdoc(options) or "", "Attributes:")[1]
    return words


def _sections(doc: str, of_names: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without its sections, and what the section `of_names` says of each name."""
    lead, *sections = re.split(r"^(Args|Attributes|Returns|Raises):$", doc, flags=re.MULTILINE)
    by_title = dict(zip(sections[::2], sections[1::2], strict=True))
    told = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", by_title.get(of_names.rstrip(":"), ""), re.MULTILINE)
    return lead, {name: " ".join(words.split()) for name, words in told}
