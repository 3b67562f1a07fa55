"""RabbitMQ as the broker: three quorum queues behind each queue of ours, and what it is asked at a start.

A quorum queue of RabbitMQ 3.10 knows no priorities, so that each priority is a queue of its own: `email.high`, `email`
and `email.low`. Everything above this room knows `email` alone.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, cast
from uuid import uuid4

from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu import Connection, Queue

from broker.envelopes import PARKED_QUEUE
from processors.errors import ConfigurationError, PermissionMissing

SCHEMES = ("amqp", "amqps", "pyamqp")
OLDEST_VERSION = (3, 10)
OWN_TIMEOUT_VERSION = (3, 12)

SUFFIXES = {0: ".high", 3: "", 6: ".low"}
"""What a queue's name gets, by the smallest priority number that goes there; small numbers first, as on Redis."""

DELIVERY_LIMIT = 100
"""A delivery is counted whenever a message comes back: its worker died, stopped, or had no database for a second."""

CONSUMER_TIMEOUT_MS = 7 * 24 * 3600 * 1000
"""How long a message may be unacknowledged; RabbitMQ reads it here from 3.12 on."""

HEARTBEAT_SECONDS = 3
"""RabbitMQ ends a connection two to three heartbeats after the last one, and what a frozen worker held comes back."""

ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-consumer-timeout": CONSUMER_TIMEOUT_MS,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": PARKED_QUEUE,
    # At least once is what keeps a parked message through a crash; RabbitMQ asks for this overflow with it.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
PARKED_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
"""RabbitMQ 4 limits a quorum queue to 20 deliveries where nothing is said; looking at what is parked is one."""

SETTLING_QUEUE = "csai.settling"
SETTLING_ARGUMENTS = {"x-queue-type": "quorum", "x-expires": 60_000}

DATABASE_EXCHANGE = "csai.database"
MARK_EXCHANGE = "csai.kept"
CURRENT_PATTERN = re.compile(rf"current is '{re.escape(DATABASE_EXCHANGE)}\.([^']*)'")


def serves(url: str) -> bool:
    """Tell whether a broker's URL means RabbitMQ."""
    return url.partition("://")[0] in SCHEMES


def level_names(queue: str) -> list[str]:
    """Return the names of the queues behind a queue, the most urgent first."""
    return [queue + suffix for suffix in SUFFIXES.values()]


@lru_cache
def logical_name(queue: str) -> str:
    """Return the name that everybody knows a queue by; `email` for `email.high`."""
    suffix = next((one for one in SUFFIXES.values() if one and queue.endswith(one)), "")
    return queue.removesuffix(suffix)


def urgency(queue: str) -> int:
    """Return the place of one of the queues behind a queue: 0 for the most urgent."""
    return level_names(logical_name(queue)).index(queue)


@lru_cache
def level_queues(queue: Queue) -> tuple[Queue, ...]:
    """Return the quorum queues behind a queue, the most urgent first."""
    return tuple(
        Queue(name, queue.exchange, routing_key=name, queue_arguments=ARGUMENTS) for name in level_names(queue.name)
    )


def queue_for(queue: Queue, priority: int | None) -> Queue:
    """Return the quorum queue that messages of a priority go to; the middle one where none is given."""
    steps = list(SUFFIXES)
    wanted = steps[1] if priority is None else priority
    return level_queues(queue)[max(0, sum(wanted >= step for step in steps) - 1)]


def next_urgency(priority: int) -> int:
    """Return the priority one level more urgent, or the most urgent one."""
    return max((step for step in SUFFIXES if step < priority), default=min(SUFFIXES))


def declare(connection: Connection, queues: Iterable[Queue]) -> None:
    """Make every queue that is not there.

    Raises:
        ConfigurationError: a queue of that name has other arguments.
        PermissionMissing: this user may not make one.
    """
    every = [level for queue in queues for level in level_queues(queue)]
    with _channel(connection) as channel:
        for queue in (Queue(PARKED_QUEUE, queue_arguments=PARKED_ARGUMENTS), *every):
            try:
                with _permitted(connection, f"the queue {queue.name}"):
                    cast("Any", queue(channel)).declare()
            except PreconditionFailed as error:
                raise ConfigurationError(
                    f"The queue {queue.name} of {connection.as_uri()} was made for something else "
                    f"({_said(error)}); empty it, remove it with `rabbitmqctl delete_queue {queue.name}`, start again."
                ) from error
        with _permitted(connection, f"the queues {SETTLING_QUEUE}.*"):
            settle(channel)


def settle(channel: Any) -> None:
    """Make one more queue, which goes by itself, where queues may have been made over this channel's connection.

    RabbitMQ that is killed within five seconds of making a quorum queue (seen with 3.10.8) comes back with a queue that
    has no leader and answers nobody, for ever; but only with the one that was made last.
    """
    connection = channel.connection
    if getattr(connection, "may_have_made_queues", False):
        channel.queue_declare(
            f"{SETTLING_QUEUE}.{uuid4().hex[:8]}", durable=True, auto_delete=False, arguments=SETTLING_ARGUMENTS
        )
        connection.may_have_made_queues = False


def depths(connection: Connection, queues: Sequence[str]) -> dict[str, int]:
    """Return how many messages wait in each queue, over all priorities; none in one that is not there."""
    with _channel(connection) as channel:
        return {queue: sum(_depth(channel, name) for name in level_names(queue)) for queue in queues}


def messages(connection: Connection, queue: str) -> Iterator[Any]:
    """Take every message out of one queue, over all priorities; one that cannot be decompressed is parked."""
    for name in level_names(queue):
        with _channel(connection) as channel, suppress(NotFound):
            while (raw := channel.basic_get(name)) is not None:
                message = channel.message_to_python(raw)  # Kombu's own way raises for one that cannot be decompressed
                yield message
                if message.errors:
                    message.reject()
                else:
                    message.ack()


def swear(connection: Connection, database_id: str) -> None:
    """Bind this broker to this database, or find that it is bound to another one.

    What an exchange remembers is the name of its alternate, and RabbitMQ tells it to whoever declares another.

    Raises:
        ConfigurationError: the broker works for another database; the message names both.
        PermissionMissing: this user may not make the exchange that tells.
    """
    wanted = {"alternate-exchange": f"{DATABASE_EXCHANGE}.{database_id}"}
    with _channel(connection) as channel:
        try:
            with _permitted(connection, f"the exchange {DATABASE_EXCHANGE}"):
                channel.exchange_declare(DATABASE_EXCHANGE, "fanout", durable=True, auto_delete=False, arguments=wanted)
        except PreconditionFailed as error:
            found = CURRENT_PATTERN.search(str(error))
            raise ConfigurationError(
                f"The broker {connection.as_uri()} belongs to record database {found[1] if found else 'unknown'}, "
                f"this process uses {database_id}; set DATABASE_URL or CELERY_BROKER_URL so that both belong together."
            ) from error


def has_mark(connection: Connection) -> bool:
    """Tell whether the broker still has the mark that it was given: False after it lost its data."""
    with _channel(connection) as channel:
        try:
            channel.exchange_declare(MARK_EXCHANGE, "fanout", passive=True)
        except NotFound:
            return False
    return True


def set_mark(connection: Connection) -> None:
    """Give the broker the mark that is gone when its data is.

    Raises:
        PermissionMissing: this user may not make it.
    """
    with _channel(connection) as channel, _permitted(connection, f"the exchange {MARK_EXCHANGE}"):
        channel.exchange_declare(MARK_EXCHANGE, "fanout", durable=True, auto_delete=False)


def version(connection: Connection) -> tuple[int, ...]:
    """Return the version of the RabbitMQ behind a connection.

    Raises:
        ConfigurationError: it is too old.
    """
    properties = connection.connection.server_properties
    text = str(properties.get("version", ""))
    found = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    if properties.get("product") == "RabbitMQ" and found < OLDEST_VERSION:
        raise ConfigurationError(
            f"The broker {connection.as_uri()} is RabbitMQ {text}; quorum queues as they are used here need "
            f"{'.'.join(map(str, OLDEST_VERSION))} or newer: update it."
        )
    return found


def _channel(connection: Connection) -> Any:
    """Return a channel for one question: an error that RabbitMQ answers with would close the connection's own."""
    return connection.channel()


@contextmanager
def _permitted(connection: Connection, what: str) -> Generator[None]:
    """Say which permission is missing where RabbitMQ refuses to make something."""
    try:
        yield
    except AccessRefused as error:
        raise PermissionMissing(
            f"The user of {connection.as_uri()} may not make {what} ({_said(error)}); give it all three permissions, "
            "configure, write and read, as docs/rabbitmq.md does."
        ) from error


def _depth(channel: Any, name: str) -> int:
    try:
        return channel.queue_declare(name, passive=True).message_count
    except NotFound:  # py-amqp has opened the channel anew
        return 0


def _said(error: Any) -> str:
    """Return what RabbitMQ said, without the name of the method."""
    return str(error).partition(" - ")[2] or str(error)
