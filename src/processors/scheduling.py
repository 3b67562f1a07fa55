"""Publishing what waits, retrying what failed, and acting on many tasks: the requests and results."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from processors.results import Request, Result

NO_NUL = r"^[^\x00]+$"
CATEGORIES = (
    "email",
    "file_processing",
    "ai_processing",
    "twilio_calls",
    "notification",
    "monitoring",
    "cleanup",
    "scheduling",
    "webhook",
)


def _known(values: list[str] | None, info: ValidationInfo) -> list[str] | None:
    """Check categories: the service's, and those that `categories` of the validation's context adds."""
    if values == []:
        raise ValueError("must not be an empty list; leave it out for all")
    if set(values or []) <= set(CATEGORIES):
        return values
    context: Mapping[str, Callable[[], Collection[str]]] = info.context or {}
    known = {*CATEGORIES, *(context["categories"]() if "categories" in context else ())}
    for value in values or []:
        if value not in known:
            raise ValueError(f"must be of {', '.join([*CATEGORIES, *sorted(known - set(CATEGORIES))])}; got {value!r}")
    return values


TaskTypes = Annotated[list[str] | None, AfterValidator(_known)]
Hours = Annotated[float, Field(gt=0, le=100 * 366 * 24, allow_inf_nan=False)]
ErrorType = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_NUL)]
Search = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
"""A text that is looked for as it stands, in whatever case."""


class ProcessPendingTasks(Request):
    """Publish at most so many tasks that are due and were not published."""

    max_tasks: int = Field(default=100, ge=1, le=100_000)
    task_types: TaskTypes = None


class FailedTasks(Request):
    """Which failed tasks are meant: by age, category, error, and what is said in their name, error or arguments."""

    max_age_hours: Hours = 24
    task_types: TaskTypes = None
    error_type: ErrorType | None = None
    search: Search | None = None


class ListFailedTasks(FailedTasks):
    """At most so many of them."""

    limit: int = Field(default=100, ge=1, le=1_000)


class RetryFailedTasks(FailedTasks):
    """Submit those again that were not retried too often."""

    max_retries: int = Field(default=3, ge=0, le=1_000)


Act = Literal["cancel", "replay"]
"""What is done to many tasks at once."""


class ActOnTasks(Request):
    """Do the same to all tasks that a filter finds and that were there at a moment.

    Attributes:
        filter: what `services.task_filters.TaskFilter` takes.
        created_before: the moment, in ISO 8601: what comes later was not counted.
        wall: the only tenant whose tasks are meant.
        most: how many were confirmed.
    """

    act: Act
    filter: dict[str, Any]
    created_before: str
    wall: str | None = None
    most: int = Field(ge=0)


class PendingProcessed(Result):
    """How many were looked at, how many the broker took, how many wait still."""

    examined: int
    published: int
    left: int


class SkippedTask(Result):
    """A failed task that was not retried, and why."""

    task_id: str
    why: str


class FailedRetried(Result):
    """The ids of the new tasks, and the failed ones that were skipped."""

    retried: list[str]
    skipped: list[SkippedTask]


class TasksActedOn(Result):
    """How many tasks were changed, the first 1 000 of them, and those that were not, with the reason."""

    changed: int = 0
    task_ids: list[str] = []
    skipped: list[SkippedTask] = []
