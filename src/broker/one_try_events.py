"""Events that hold nobody up: one that cannot be sent now is kept until the worker has connected anew.

Celery's worker sends the events of its own heart until they are sent, in the loop that takes and acknowledges tasks.
"""

from contextlib import suppress
from typing import Any, cast

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher

from broker.away import AWAY_ERRORS

CONNECT_SECONDS = 2


class OneTryDispatcher(cast("Any", EventDispatcher)):
    """Celery's dispatcher, which tries each event once."""

    def _publish(self, *arguments: Any, **options: Any) -> None:
        self._connect_anew()
        super()._publish(*arguments, **options | {"retry": False})  # pyright: ignore[reportUnknownMemberType] - untyped

    def _connect_anew(self) -> None:
        """Connect where the connection was cut and nobody beats over it (the pool `solo`): nobody else notices."""
        connection = self.connection
        if connection is None or connection.heartbeat or connection.connected or self.producer is None:
            return
        with suppress(*AWAY_ERRORS):
            connection.collect()
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
            self.producer.revive(connection)


class OneTryEvents(cast("Any", Events)):
    """What an application has as `events`."""

    dispatcher_cls = "broker.one_try_events:OneTryDispatcher"
