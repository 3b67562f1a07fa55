"""What every processor returns: a typed model that is stored as JSON."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

SHOWN_CHARACTERS = 100
NEVER_SHOWN = frozenset({"password", "body"})


class Request(BaseModel):
    """The checked arguments of one task; its fields are the facade's parameters, by the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, str_strip_whitespace=False)


def sentence_of(error: ValidationError) -> str:
    """Return what is wrong with arguments in one line: each by its name, what was accepted, and what was given."""
    return "; ".join(_problem(dict(problem)) for problem in error.errors(include_url=False))


def _problem(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    shown = place and NEVER_SHOWN.isdisjoint(map(str, problem["loc"])) and "got " not in message
    given = f"; got {_short(problem['input'])}" if shown else ""
    return f"{place}: {message}{given}" if place else message


def _short(value: Any) -> str:
    text = repr(value)
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
