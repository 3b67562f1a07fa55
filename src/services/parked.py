"""Messages that were put aside because no worker can use them, of this service's broker."""

from collections.abc import Callable
from typing import TypeVar

from kombu import Connection

from broker import parked_messages
from broker.away import AWAY_ERRORS
from broker.location import resolve
from broker.parked_messages import Parked
from config.settings import settings
from processors.errors import CountChanged, ServiceUnavailable
from services.celery_app import celery_app

T = TypeVar("T")


def count() -> int:
    """Return how many messages are parked.

    Raises:
        ServiceUnavailable: the broker does not answer.
    """
    return _with_broker(parked_messages.count)


def look(limit: int) -> list[Parked]:
    """Return what is parked, at most `limit`.

    Raises:
        ServiceUnavailable: the broker does not answer.
    """
    return _with_broker(lambda connection: parked_messages.look(connection, limit))


def retry() -> int:
    """Put everything parked that is a task back into its queue; returns how many.

    Raises:
        ServiceUnavailable: the broker does not answer.
    """
    return _with_broker(parked_messages.retry)


def drop(confirmed: int | None = None) -> int:
    """Delete everything parked; returns how many.

    Args:
        confirmed: how many somebody was told that there are; None: however many.

    Raises:
        CountChanged: there are more than were confirmed.
        ServiceUnavailable: the broker does not answer.
    """
    if confirmed is not None and (now := count()) > confirmed:
        raise CountChanged(f"count: {confirmed} messages were confirmed, and {now} are parked now; ask again.", now)
    return _with_broker(parked_messages.drop)


def _with_broker(act: Callable[[Connection], T]) -> T:
    try:
        with celery_app.connection_for_write() as connection:
            return act(connection)
    except AWAY_ERRORS as error:
        raise ServiceUnavailable(
            f"The broker {resolve(settings).shown} does not answer, or does not take it: {str(error).rstrip('.')}."
        ) from error
