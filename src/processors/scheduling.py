"""Publishing what waits and retrying what failed: the requests and results."""

from typing import Annotated

from pydantic import AfterValidator, Field

from processors.results import Request, Result

CATEGORIES = (
    "email",
    "file_processing",
    "ai_processing",
    "twilio_calls",
    "notification",
    "monitoring",
    "cleanup",
    "scheduling",
)


def _known(values: list[str] | None) -> list[str] | None:
    if values == []:
        raise ValueError("must not be an empty list; leave it out for all")
    for value in values or []:
        if value not in CATEGORIES:
            raise ValueError(f"must be of {', '.join(CATEGORIES)}; got {value!r}")
    return values


TaskTypes = Annotated[list[str] | None, AfterValidator(_known)]


class ProcessPendingTasks(Request):
    """Publish at most so many tasks that are due and were not published."""

    max_tasks: int = Field(default=100, ge=1, le=100_000)
    task_types: TaskTypes = None


class RetryFailedTasks(Request):
    """Submit again what failed within so many hours and was not retried too often."""

    max_retries: int = Field(default=3, ge=0, le=1_000)
    max_age_hours: float = Field(default=24, gt=0, le=100 * 366 * 24, allow_inf_nan=False)
    task_types: TaskTypes = None


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
