"""What every processor returns: a typed model that is stored as JSON."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """The checked arguments of one task; its fields are the facade's parameters, by the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, str_strip_whitespace=False)


class Result(BaseModel):
    """What a task returns; the base task stores `model_dump(mode="json")`."""

    model_config = ConfigDict(extra="forbid")

    def failure(self) -> str | None:
        """Tell in one sentence why nothing of the work was done, or None where at least a part was."""
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form that is stored and shown, under the names that readers know."""
        return self.model_dump(mode="json", by_alias=True)
