"""What every processor returns: a typed model that is stored as JSON."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from processors.redaction import is_secret, redact

SHOWN_CHARACTERS = 100
NEVER_SHOWN = frozenset({"password", "body", "html_body", "push", "chat"})
NOT_SHOWN_WHOLE = "context"
NOT_STORABLE = "must be text without NUL and lone surrogates"
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which many programs stop at, and half characters, which no encoding has."""

NO_UNICODE = "string_unicode"
"""What pydantic calls a text with a lone surrogate; its words are of raw data and of parsing."""


class Request(BaseModel):
    """The checked arguments of one task; its fields are the facade's parameters, by the same names."""

    # inputs are hidden, because what pydantic says of an error ends in tracebacks, which are stored and shown
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, str_strip_whitespace=False, hide_input_in_errors=True
    )


def storable(text: str) -> str:
    """Return a text that a record and a mail can hold.

    Raises:
        ValueError: it has what neither UTF-8 nor PostgreSQL takes.
    """
    if "\0" in text or (not text.isascii() and UNSTORABLE.search(text)):
        raise ValueError(NOT_STORABLE)
    return text


def sentence_of(error: ValidationError) -> str:
    """Return what is wrong with arguments in one line: each by its name, what was accepted, and what was given."""
    return "; ".join(_problem(dict(problem)) for problem in error.errors(include_url=False))


def _problem(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == NO_UNICODE:
        message = NOT_STORABLE
    names = set(map(str, problem["loc"]))
    shown = place and NEVER_SHOWN.isdisjoint(names) and not any(map(is_secret, names)) and "got " not in message
    shown = shown and problem["loc"][-1] != NOT_SHOWN_WHOLE
    shown = shown and problem["type"] != "missing"  # its input is all that was given beside it
    given = f"; got {_short(problem['input'])}" if shown else ""
    return f"{place}: {message}{given}" if place else message


def _short(value: Any) -> str:
    text = repr(redact(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


class Result(BaseModel):
    """What a task returns; the base task stores `model_dump(mode="json")`."""

    model_config = ConfigDict(extra="forbid")

    def failure(self) -> str | None:
        """Tell in one sentence why nothing of the work was done, or None where at least a part was."""
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form that is stored and shown, under the names that readers know."""
        return self.model_dump(mode="json", by_alias=True)
