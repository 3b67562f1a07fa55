"""What tasks are looked for by, as the API, the command line and the dashboard say it; and where a page ends."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from processors.errors import InvalidArgument
from processors.results import Request, sentence_of, storable
from records.task_lists import Place, Wanted
from records.task_records import TaskState
from records.task_words import plain, words_of
from services import cursors

LONGEST_TEXT = 200
LONGEST_NAME = 255
MOST_TAGS = 20
MOMENTS = {"created_from", "created_before", "finished_from", "finished_before"}


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be of the years 1 to 9999 in UTC") from error


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(storable)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(storable)]
Moment = Annotated[
    AwareDatetime, AfterValidator(_in_utc), PlainSerializer(datetime.isoformat, return_type=str, when_used="json")
]
State = Annotated[TaskState, Field(strict=False)]
Unstrict = Field(default=None, strict=False)


class TaskFilter(Request):
    """Which tasks: all that is given must hold. Nothing in a text is a wildcard, and no quotes hold words together.

    Attributes:
        state: one of these.
        tag: all of these.
        worker: of what runs or has ended, the worker that did it last.
        created_from: created at this moment or later; `created_before`, before it; of ends the same.
        error_type: the class of the error that a task ended with, or is tried again after.
        fingerprint: the like of that error.
        text: words, all of which are in a task's name, arguments, result or error; within 5 s of their change.
        part: a text that is in one of those; of the newest 100 000 tasks alone.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"state": ["FAILURE"], "text": "ann@example.com"}]})

    state: list[State] | None = Field(default=None, min_length=1, max_length=len(TaskState))
    category: Name | None = None
    name: Name | None = None
    queue: Name | None = None
    tenant: Name | None = None
    tag: list[Name] = Field(default=[], max_length=MOST_TAGS)
    worker: Name | None = None
    parent: Name | None = None
    created_from: Moment | None = Unstrict
    created_before: Moment | None = Unstrict
    finished_from: Moment | None = Unstrict
    finished_before: Moment | None = Unstrict
    error_type: Name | None = None
    fingerprint: Name | None = None
    text: Text | None = None
    part: Text | None = None

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        if self.text is not None and not words_of(self.text):
            raise ValueError(f"text: must have a letter or a digit; got {self.text!r:.60}")
        if self.text is not None and self.part is not None:
            raise ValueError("text, part: give one of them")
        return self

    def wanted(self, wall: str | None = None) -> Wanted | None:
        """Return what is looked for; None where that can be nothing.

        Args:
            wall: the only tenant whose tasks the caller may see.
        """
        if wall is not None and self.tenant not in (None, wall):
            return None
        return Wanted(
            states=None if self.state is None else frozenset(state.value for state in self.state),
            category=self.category,
            name=self.name,
            queue=self.queue,
            tenant=self.tenant if wall is None else wall,
            tags=tuple(self.tag),
            worker=self.worker,
            parent=self.parent,
            created_from=self.created_from,
            created_before=self.created_before,
            finished_from=self.finished_from,
            finished_before=self.finished_before,
            error_type=self.error_type,
            fingerprint=self.fingerprint,
            words=() if self.text is None else tuple(words_of(self.text)),
            part=None if self.part is None else plain(self.part),
        )


def filter_of(**given: object) -> TaskFilter:
    """Return the filter that is meant.

    Raises:
        InvalidArgument: something of it is not acceptable.
    """
    try:
        return TaskFilter.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error


def cursor_of(place: Place, asked: TaskFilter) -> str:
    """Return what stands for the end of a page, for the next one with the same filter over the same database."""
    return cursors.sealed([place.created_at.isoformat(), place.id], _list_of(asked))


def place_of(cursor: str, asked: TaskFilter) -> Place:
    """Return where the page before ended.

    Raises:
        InvalidArgument: the cursor is none that `cursor_of` returned for this filter.
    """
    created_at, task_id = cursors.opened(cursor, _list_of(asked))
    return Place(datetime.fromisoformat(created_at), task_id)


def _list_of(asked: TaskFilter) -> str:
    """Return the list that a cursor is of. Moments do not count: "the last two hours" are others at each page."""
    return f"tasks {asked.model_dump_json(exclude=MOMENTS)}"
