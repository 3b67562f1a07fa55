"""Publishes records: a connection per thread, short time-outs, and a pause when the broker is away."""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from celery.events.dispatcher import EventDispatcher
from kombu import Connection
from kombu.common import maybe_declare

from broker import rabbitmq
from broker.allegiance import swear
from broker.away import AWAY_ERRORS
from broker.bulk_publish import Message, publish_messages
from broker.location import resolve
from broker.rabbitmq_alarms import BrokerBlocked
from config.log_setup import get_logger
from config.settings import settings
from records.task_moves import Mark
from services.celery_app import celery_app
from services.task_messages import Publishable, message_of, sent_event, tell_published

SKIP_SECONDS = 5
TOGETHER = 500
"""Messages that go to the broker in one go, and their events in another."""

logger = get_logger()


class Publisher:
    """Turns records into Celery messages on the broker; never raises for a broker that is away.

    Args:
        database_id: the broker must belong to this record database.
    """

    def __init__(self, database_id: str) -> None:
        self._database_id = database_id
        self._on_rabbitmq = rabbitmq.serves(resolve(settings).url)
        self._local = threading.local()
        self._pid = os.getpid()
        self._away_until = 0.0
        self._full_until = dict[str, float]()  # queues, and until when they are not tried

    def prepare(self, records: Sequence[Publishable]) -> list[Message]:
        """Return the messages of these, ready to be sent; nothing is asked of the broker."""
        messages = [message_of(record) for record in records]
        if not self._on_rabbitmq:
            for message in messages:
                _ = message.text  # made here, where it may go on beside a commit
        return messages

    def publish(
        self, records: Sequence[Publishable], messages: Sequence[Message] | None = None
    ) -> Sequence[Publishable]:
        """Publish these; returns those that the broker took, which is not always all of one queue.

        Args:
            records: the records.
            messages: what `prepare` made of them, where that was done before.

        Raises:
            ConfigurationError: the broker belongs to another database.
        """
        messages = self.prepare(records) if messages is None else messages
        full = self.full_queues()
        waiting = [pair for pair in zip(records, messages, strict=True) if pair[1].queue not in full]
        taken: list[Publishable] = []
        while waiting and not self.is_away():
            some = waiting[:TOGETHER]
            kept, began = getattr(self._local, "link", None) is not None, time.monotonic()
            try:
                refused = self._link().publish(some)
            except BrokerBlocked as error:  # the connection is good, and will be told when the alarm is over
                self._skip(error)
            except AWAY_ERRORS as error:
                # It may be the connection alone that is stale: a new one tells. Nobody waits twice for a silent broker.
                if kept and time.monotonic() - began < settings.publish_timeout:
                    self._drop()
                else:
                    self._stay_away(error)
            else:
                taken += [record for record, message in some if message not in refused]
                waiting = waiting[TOGETHER:]
                if refused:
                    self._drop()  # RabbitMQ goes on refusing on a channel where it refused, after the limit was lifted
                    again = [pair for pair in some if pair[1] in refused]
                    waiting = again + waiting if kept else self._without_full(waiting, refused)
        return taken

    def is_away(self) -> bool:
        """Tell whether the broker did not answer a moment ago, so that it is not tried now."""
        return time.monotonic() < self._away_until

    def full_queues(self) -> set[str]:
        """Return the broker's own queues that were full a moment ago, so that they are not tried now."""
        if not self._full_until:
            return set()
        now = time.monotonic()
        return {queue for queue, until in self._full_until.items() if now < until}

    def check(self) -> None:
        """Connect once, so that a broker of another database is found before anything is recorded.

        Raises:
            ConfigurationError: the broker belongs to another database.
        """
        if getattr(self._local, "link", None) is not None or self.is_away():
            return
        try:
            self._link()
        except AWAY_ERRORS as error:
            self._stay_away(error)

    def broker_answers(self) -> None:
        """Try again at once: the broker was just reached."""
        self._away_until = 0.0
        self._full_until = {}

    def close(self) -> None:
        """Close this thread's connection."""
        if (connection := self._forget()) is not None:
            connection.release()

    def _link(self) -> "_Link":
        if self._pid != os.getpid():
            # A fork shares its parent's sockets: leave them to the parent.
            self._local, self._pid = threading.local(), os.getpid()
        link = getattr(self._local, "link", None)
        if link is None:
            connection = celery_app.connection_for_write()
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
                swear(connection, self._database_id)
                link = self._local.link = _Link(connection)
            except BaseException:
                connection.release()
                raise
        return link

    def _stay_away(self, error: BaseException) -> None:
        self._skip(error)
        self._drop()

    def _skip(self, error: BaseException) -> None:
        self._away_until = time.monotonic() + SKIP_SECONDS
        logger.warning("broker_away", error=str(error), skipping_seconds=SKIP_SECONDS)

    def _without_full(
        self, pairs: Sequence[tuple[Publishable, Message]], refused: set[Message]
    ) -> list[tuple[Publishable, Message]]:
        """Note that the queues of what was refused are full; returns what goes to others."""
        full = {message.queue for message in refused}
        self._full_until = self._full_until | dict.fromkeys(full, time.monotonic() + SKIP_SECONDS)
        logger.warning("queues_full", queues=sorted(full), skipping_seconds=SKIP_SECONDS)
        return [pair for pair in pairs if pair[1].queue not in full]

    def _drop(self) -> None:
        if (connection := self._forget()) is not None:
            connection.collect()

    def _forget(self) -> Connection | None:
        """Return this thread's connection, which is not used again; None where it has none."""
        link, self._local.link = getattr(self._local, "link", None), None
        return link.connection if link else None


class _Link:
    """One thread's connection to the broker, and what it has told it already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._queues: set[str] = set()
        self._events: Any = None
        if celery_app.conf.task_send_sent_event:
            self._events = EventDispatcher(connection, app=celery_app, buffer_group=["task"], buffer_limit=2 * TOGETHER)

    def publish(self, pairs: Sequence[tuple[Publishable, Message]]) -> set[Message]:
        """Publish these in one go, and then their events in one; returns what the broker refused."""
        for record, message in pairs:
            if message.queue not in self._queues:
                self._declare(record.queue, message)
        refused = publish_messages(self.connection, [message for _, message in pairs])
        for record, message in pairs:
            if message in refused:
                continue
            tell_published(record, message)
            if self._events is not None:
                self._events.send("task-sent", **sent_event(record, message))
        if self._events is not None:
            self._events.flush(errors=False)
        return refused

    def _declare(self, name: str, message: Message) -> None:
        """Let the broker's own queue of a message be there from now on."""
        channel = self.connection.default_channel
        maybe_declare(cast("Any", celery_app.amqp).queue_for(name, message.priority), channel)
        rabbitmq.settle(channel)
        self._queues.add(message.queue)


def ids(records: Iterable[Publishable]) -> list[Mark]:
    """Return what `TaskMoves.published` wants of these records."""
    return [Mark(record.id, record.attempt, record.run, record.holds) for record in records]
