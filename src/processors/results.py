"""What every processor returns: a typed model that is stored as JSON."""

import re
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from processors.redaction import is_secret, redact

SHOWN_CHARACTERS = 100
NEVER_SHOWN = frozenset({"password", "body", "html_body", "push", "chat"})
NOT_SHOWN_WHOLE = "context"
NOT_STORABLE = "must be text without NUL and lone surrogates"
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which many programs stop at, and half characters, which no encoding has."""

NO_UNICODE = "string_unicode"
"""What pydantic calls a text with a lone surrogate; its words are of raw data and of parsing."""


OF_A_KEY = ".[key]"
"""How pydantic says that it is the key of a dict that is wrong."""

OF_A_CLASS = re.compile(r" or instance of \w+$")


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


def of_form(pattern: str, words: str) -> AfterValidator:
    """Return what refuses texts that do not match a pattern whole, in words instead of by the pattern."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _problem(problem: dict[str, Any]) -> str:
    place = ".".join(map(str, problem["loc"])).replace(OF_A_KEY, " (the key)")
    message = OF_A_CLASS.sub("", str(problem["msg"]).removeprefix("Value error, "))
    if problem["type"] == NO_UNICODE:
        message = NOT_STORABLE
    told = not place or "got " in message or problem["type"] == "missing"  # whose input is all that was given beside it
    given = "" if told else _given(problem)
    return (f"{place}: {message}" if place else message) + (f"; got {given}" if given else "")


def _given(problem: dict[str, Any]) -> str:
    """Return what was given as it may be shown: of what may be secret or long its type, where that is what is wrong."""
    names = set(map(str, problem["loc"]))
    hidden = not NEVER_SHOWN.isdisjoint(names) or any(map(is_secret, names)) or problem["loc"][-1] == NOT_SHOWN_WHOLE
    if not hidden:
        return _short(problem["input"])
    return type(problem["input"]).__name__ if str(problem["type"]).endswith("_type") else ""


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
