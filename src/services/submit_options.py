"""What a submit may say beside its task's own arguments: checked in one place, before anything is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack, cast

from processors.errors import InvalidArgument
from processors.moments import moment
from records.task_records import LONE
from services.celery_app import PRIORITIES

MAX_DELAY_SECONDS = 100 * 366 * 24 * 3600
MAX_KEY_CHARACTERS = 255
MAX_TENANT_CHARACTERS = 248
"""A limiter of one is named `tenant:` and it, which has to go into a column."""

MAX_TAGS = 20
MAX_TAG_CHARACTERS = 100


class OptionsBesidePriority(TypedDict, total=False):
    """The options of a method that has `priority` among its own parameters.

    Attributes:
        idempotency_key: the same key with the same method and arguments gives the same id for 7 days.
        delay_seconds: seconds from now until the task is due; or
        due_at: the moment itself, as `processors.moments.moment` takes it; one that has passed means now.
        expires_at: when a task that still waits is cancelled.
        tenant: on whose behalf; each tenant has idempotency keys of its own.
        tags: words by which people find the task.
        session: an SQLAlchemy session of the record database, with whose rows the task is committed.
    """

    idempotency_key: str | None
    delay_seconds: float | None
    due_at: datetime | str | None
    expires_at: datetime | str | None
    tenant: str | None
    tags: list[str] | tuple[str, ...] | None
    session: object | None


class SubmitOptions(OptionsBesidePriority, total=False):
    """The options of every other submitting method.

    Attributes:
        priority: `low`, `normal` or `high`; orders tasks inside their queue.
    """

    priority: str


class OptionsBesideTime(TypedDict, total=False):
    """The options of a method that has its own words for when its task is due."""

    idempotency_key: str | None
    expires_at: datetime | str | None
    tenant: str | None
    tags: list[str] | tuple[str, ...] | None
    session: object | None
    priority: str


class OptionsBesideDelay(OptionsBesideTime, total=False):
    """The options of a method that has `delay_seconds` among its own parameters."""

    due_at: datetime | str | None


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one submit, checked; attributes as those of `SubmitOptions`."""

    priority: str = "normal"
    idempotency_key: str | None = None
    delay: float = 0.0
    due_at: datetime | None = None
    expires_at: datetime | None = None
    tenant: str | None = None
    tags: tuple[str, ...] | None = None
    session: object | None = None

    @staticmethod
    def of(**options: Unpack[SubmitOptions]) -> "Options":
        """Check what a caller gave; None is as good as nothing, but for `priority`.

        Raises:
            InvalidArgument: one of them is bad, or two of them contradict each other.
        """
        if not options:
            return NO_OPTIONS
        delay, due_at = _delay(options.get("delay_seconds")), _moment("due_at", options.get("due_at"))
        if delay is not None and due_at is not None:
            raise InvalidArgument("due_at: give either delay_seconds or due_at; got both.")
        expires_at = _moment("expires_at", options.get("expires_at"))
        if expires_at is not None:
            _check_expiry(expires_at, delay or 0.0, due_at)
        return Options(
            _priority(options.get("priority", "normal")),
            checked_key(options.get("idempotency_key")),
            delay or 0.0,
            due_at,
            expires_at,
            _maybe_text("tenant", options.get("tenant"), MAX_TENANT_CHARACTERS),
            _tags(options.get("tags")),
            options.get("session"),
        )


NO_OPTIONS = Options()


def checked_key(key: Any) -> str | None:
    """Return an idempotency key, if it can be one.

    Raises:
        InvalidArgument: it cannot.
    """
    return _maybe_text("idempotency_key", key, MAX_KEY_CHARACTERS)


def refuse_unknown(method: str, keywords: Iterable[str]) -> None:
    """Refuse a keyword that is no option, as Python refuses what a function does not know.

    Raises:
        TypeError: it names the method and the keyword.
    """
    for keyword in keywords:
        if keyword not in SubmitOptions.__optional_keys__:
            raise TypeError(f"{method}() got an unexpected keyword argument {keyword!r}")


def _priority(value: Any) -> str:
    if value not in tuple(PRIORITIES):  # a tuple takes any value, a dict only what has a hash
        raise InvalidArgument(f"priority: must be low, normal or high; got {value!r}.")
    return value


def _delay(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_DELAY_SECONDS:
        raise InvalidArgument(f"delay_seconds: must be seconds, 0 to {MAX_DELAY_SECONDS}; got {value!r:.100}.")
    return float(value)


def _moment(name: str, value: Any) -> datetime | None:
    return None if value is None else moment(value, name=name)


def _check_expiry(expires_at: datetime, delay: float, due_at: datetime | None) -> None:
    now = datetime.now(UTC)
    due = max(now, due_at or now + timedelta(seconds=delay))
    if expires_at <= due:
        raise InvalidArgument(
            f"expires_at: must lie after now and after the due time, {due.isoformat()}; got {expires_at.isoformat()}."
        )


def _maybe_text(name: str, value: Any, longest: int) -> str | None:
    return None if value is None else _text(name, value, longest)


def _text(name: str, value: Any, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\0" in value or LONE.search(value):
        given = f"{len(value)} characters: {value!r:.60}" if isinstance(value, str) else f"{value!r:.60}"
        raise InvalidArgument(
            f"{name}: must be a text of 1 to {longest} characters, without NUL and lone surrogates; got {given}."
        )
    return value


def _tags(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(tags := cast("Sequence[Any]", value)) > MAX_TAGS:
        raise InvalidArgument(f"tags: must be a list of at most {MAX_TAGS} texts; got {value!r:.100}.")
    return tuple(_text("tags", tag, MAX_TAG_CHARACTERS) for tag in tags)
