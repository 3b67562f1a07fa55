"""Publishes records: a connection per thread, short time-outs, and a pause when the broker is away."""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from celery.app.amqp import task_message
from kombu import Producer

from broker.allegiance import swear
from broker.away import AWAY_ERRORS
from config.log_setup import get_logger
from records.task_records import Draft, TaskRecord
from services.celery_app import PRIORITIES, celery_app

Publishable = Draft | TaskRecord

SKIP_SECONDS = 5
ATTEMPT_HEADER = "csai_attempt"
GROUP = 500
"""Messages that are published together: one pipeline on Redis, one wait for all confirms on RabbitMQ."""

logger = get_logger()


class Publisher:
    """Turns records into Celery messages on the broker; never raises for a broker that is away.

    Args:
        database_id: the broker must belong to this record database.
    """

    def __init__(self, database_id: str) -> None:
        self._database_id = database_id
        self._local = threading.local()
        self._pid = os.getpid()
        self._away_until = 0.0

    def publish(self, records: Sequence[Publishable]) -> list[Publishable]:
        """Publish these; returns those that the broker took.

        Raises:
            ConfigurationError: the broker belongs to another database.
        """
        taken: list[Publishable] = []
        while len(taken) < len(records) and time.monotonic() >= self._away_until:
            kept = getattr(self._local, "producer", None) is not None
            try:
                self._publish_group(records[len(taken) : len(taken) + GROUP])
            except AWAY_ERRORS as error:
                if kept:  # it may be the connection alone that is stale: a new one tells
                    self._drop()
                else:
                    self._stay_away(error)
            else:
                taken += records[len(taken) : len(taken) + GROUP]
        return taken

    def _publish_group(self, records: Sequence[Publishable]) -> None:
        producer = self._producer()
        if len(records) == 1:
            send(producer, records[0])
            return
        with cast("Any", producer).batch(GROUP):
            for record in records:
                send(producer, record)

    def check(self) -> None:
        """Connect once, so that a broker of another database is found before anything is recorded.

        Raises:
            ConfigurationError: the broker belongs to another database.
        """
        if getattr(self._local, "producer", None) is not None or time.monotonic() < self._away_until:
            return
        try:
            self._producer()
        except AWAY_ERRORS as error:
            self._stay_away(error)

    def close(self) -> None:
        """Close this thread's connection."""
        if (connection := self._forget()) is not None:
            connection.release()

    def _producer(self) -> Producer:
        if self._pid != os.getpid():
            # A fork shares its parent's sockets: leave them to the parent.
            self._local, self._pid = threading.local(), os.getpid()
        producer = getattr(self._local, "producer", None)
        if producer is None:
            connection = celery_app.connection_for_write()
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
                swear(connection, self._database_id)
            except BaseException:
                connection.release()
                raise
            producer = Producer(connection.default_channel, serializer="json", auto_declare=False)
            self._local.producer, self._local.connection = producer, connection
        return producer

    def _stay_away(self, error: BaseException) -> None:
        self._away_until = time.monotonic() + SKIP_SECONDS
        logger.warning("broker_away", error=str(error), skipping_seconds=SKIP_SECONDS)
        self._drop()

    def _drop(self) -> None:
        if (connection := self._forget()) is not None:
            connection.collect()

    def _forget(self) -> Any:
        """Return this thread's connection, which is not used again; None where it has none."""
        connection = getattr(self._local, "connection", None)
        self._local.producer = self._local.connection = None
        return connection


def send(producer: Any, record: Publishable) -> None:
    """Send one record's message: the whole Celery message as it was kept, for the record's present attempt."""
    kept = dict(record.message)
    args, kwargs = list(record.args), dict(record.kwargs)
    message = cast("Any", celery_app.amqp).as_task_v2(
        record.id,
        record.name,
        args,
        kwargs,
        argsrepr=kept.get("argsrepr", "…"),
        kwargsrepr=kept.get("kwargsrepr", "…"),
        create_sent_event=celery_app.conf.task_send_sent_event,
    )
    headers = message.headers | kept.get("headers", {}) | {ATTEMPT_HEADER: record.attempt, "retries": record.attempt}
    body = (args, kwargs, _embedded(kept.get("embed", {})))
    whole = task_message(headers, message.properties | kept.get("properties", {}), body, message.sent_event)
    raw = cast("Any", celery_app.amqp).send_unrecorded
    raw(producer, record.name, whole, queue=record.queue, priority=PRIORITIES[record.priority], retry=False)


def _embedded(kept: dict[str, Any]) -> dict[str, Any]:
    return {"callbacks": None, "errbacks": None, "chain": None, "chord": None} | kept


def ids(records: Iterable[Publishable]) -> list[tuple[str, int, int]]:
    """Return what `TaskMoves.published` wants of these records."""
    return [(record.id, record.attempt, record.run) for record in records]
