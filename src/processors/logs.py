"""Reading what tasks logged: the requests."""

from typing import Literal

from pydantic import Field

from processors.results import Request
from processors.scheduling import Hours, Search

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class ReadLogs(Request):
    """Read the last lines that a task logged: those with this text, of this level or a higher one."""

    search: Search | None = None
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    limit: int = Field(default=1_000, ge=1, le=20_000)

    def levels(self) -> tuple[str, ...] | None:
        """Return the names of the levels that are meant, or None for all."""
        return None if self.level is None else LEVELS[LEVELS.index(self.level) :]


class SearchLogs(Request):
    """Look for a text in what all tasks logged within so many hours."""

    search: Search
    max_age_hours: Hours = 24
    limit: int = Field(default=100, ge=1, le=1_000)
