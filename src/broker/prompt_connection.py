"""A connection that notices soon that its broker is there again, and never hides that it was cut."""

from collections.abc import Callable
from typing import Any, cast

from amqp.exceptions import RecoverableConnectionError
from celery.app.amqp import AMQP
from kombu import Connection

PAUSES = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
"""Seconds: the first pause, how much longer each next one is, and the longest; in the order of Kombu's arguments."""


class PromptConnection(Connection):
    """Kombu's connection, which asks every two seconds; Kombu's own pauses grow to half a minute."""

    def ensure_connection(self, errback: Callable[..., Any] | None = None, *more: Any, **options: Any) -> Connection:
        """Connect, however often it takes.

        Args:
            errback: called with each error and the seconds until the next try.
            more: Kombu's own.
            options: Kombu's own.
        """
        given = ("max_retries", *PAUSES)[: len(more)]
        pauses = {name: seconds for name, seconds in PAUSES.items() if name not in given}
        return cast("Connection", super().ensure_connection(errback, *more, **pauses | options))

    def heartbeat_check(self, rate: int = 2) -> None:
        """Beat, and look whether the broker does.

        Kombu's own connects anew here where the connection was cut. Whoever consumed from it would never learn of it,
        and whoever goes on with a channel of the old one would connect again and again.

        Args:
            rate: how often this is called in the time in which the broker expects one beat.

        Raises:
            RecoverableConnectionError: the connection was cut.
        """
        if not self.connected:
            raise RecoverableConnectionError("the connection was cut")
        super().heartbeat_check(rate)


class PromptAMQP(cast("Any", AMQP)):
    """Celery's messages, over such connections."""

    Connection = PromptConnection
