"""What a page of tasks was asked for: read from its address, written into one, and shown in its form again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from processors.errors import InvalidArgument
from records.task_records import TaskState
from services.task_filters import TaskFilter, filter_of

TEXTS = ("text", "part", "category", "name", "queue", "tenant", "worker", "parent", "error_type", "fingerprint")
LISTS = ("state", "tag")
MOMENTS = ("created_from", "created_before", "finished_from", "finished_before")
SINCE = "since"
NAMES = frozenset({*TEXTS, *LISTS, *MOMENTS, SINCE})
MOST_FIELDS = 100
SPANS = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last 24 hours", timedelta(days=1)),
    "7d": ("the last 7 days", timedelta(days=7)),
    "30d": ("the last 30 days", timedelta(days=30)),
}
STATES = [state.value for state in TaskState]

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What was asked for.

    Attributes:
        pairs: each name with its value, as they came; what is blank or unknown is left out.
    """

    pairs: Pairs

    @property
    def query(self) -> str:
        """What an address asks for it by."""
        return urlencode(self.pairs)

    @property
    def path(self) -> str:
        """Where the list of these tasks is."""
        return f"/tasks?{self.query}" if self.pairs else "/tasks"

    @property
    def follows(self) -> bool:
        """Whether the page looks again by itself; to search words each time would cost too much."""
        return not {"text", "part"} & {name for name, _ in self.pairs}

    @property
    def has_more(self) -> bool:
        """Whether it asks for what the form has folded away."""
        return bool({name for name, _ in self.pairs} - {"text", "state", "name", "queue", SINCE})

    def one(self, name: str) -> str:
        """Return the value of a name, or an empty text."""
        return next((value for key, value in self.pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a name."""
        return [value for key, value in self.pairs if key == name]

    def moment(self, name: str) -> str:
        """Return a moment as a form's field has it, in UTC; what is none as it was given."""
        try:
            return moment_in(name, self.one(name)).replace(tzinfo=None, microsecond=0).isoformat()
        except InvalidArgument:
            return self.one(name)

    def filter(self, now: datetime) -> TaskFilter:
        """Return the tasks that are meant.

        Raises:
            InvalidArgument: something of it is not acceptable.
        """
        given: dict[str, Any] = {name: self.one(name) for name in TEXTS if self.one(name)}
        given |= {name: self.all(name) for name in LISTS if self.all(name)}
        given |= {name: moment_in(name, self.one(name)) for name in MOMENTS if self.one(name)}
        if since := self.one(SINCE):
            if since not in SPANS:
                raise InvalidArgument(f"since: must be one of {', '.join(SPANS)}; got {since!r:.60}.")
            if "created_from" in given:
                raise InvalidArgument("since, created_from: give one of them.")
            given["created_from"] = now - SPANS[since][1]
        return filter_of(**given)


def search_of(pairs: Iterable[tuple[str, str]]) -> Search:
    """Return what these fields ask for."""
    stripped = ((name, value.strip()) for name, value in pairs if name in NAMES)
    return Search(tuple(dict.fromkeys((name, value) for name, value in stripped if value))[:MOST_FIELDS])


def search_in(query: str) -> Search:
    """Return what an address asks for."""
    return search_of(parse_qsl(query))


def moment_in(name: str, text: str) -> datetime:
    """Return a moment; without an offset it is UTC, as all times of the pages."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{name}: must be a moment such as 2026-01-31T13:00; got {text!r:.60}.") from error
