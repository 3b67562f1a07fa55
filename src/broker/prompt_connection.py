"""A connection that notices soon that its broker is there again."""

from collections.abc import Callable
from typing import Any, cast

from celery.app.amqp import AMQP
from kombu import Connection

FIRST_PAUSE_SECONDS = 0.5
LONGER_BY_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 2.0


class PromptConnection(Connection):
    """Kombu's connection, which asks every two seconds; Kombu's own pauses grow to half a minute."""

    def ensure_connection(self, errback: Callable[..., Any] | None = None, *more: Any, **options: Any) -> Connection:
        """Connect, however often it takes.

        Args:
            errback: called with each error and the seconds until the next try.
            more: Kombu's own.
            options: Kombu's own.
        """
        pauses = {
            "interval_start": FIRST_PAUSE_SECONDS,
            "interval_step": LONGER_BY_SECONDS,
            "interval_max": LONGEST_PAUSE_SECONDS,
        }
        return cast("Connection", super().ensure_connection(errback, *more, **pauses | options))


class PromptAMQP(cast("Any", AMQP)):
    """Celery's messages, over such connections."""

    Connection = PromptConnection
