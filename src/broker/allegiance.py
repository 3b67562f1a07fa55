"""The broker remembers whose database it works for: one broker, one record database."""

from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from kombu import Connection
from redis import Redis

from broker import rabbitmq
from processors.errors import ConfigurationError

DATABASE_KEY = "database-id"
GENERATION_KEY = "generation"


@dataclass(frozen=True, slots=True)
class RedisBroker:
    """The Redis behind a Kombu connection, spoken to directly; Kombu's own client prefixes only some commands."""

    client: Any
    channel: Any

    def key(self, name: str) -> str:
        """Return a key with the prefix that all our keys carry."""
        return f"{self.channel.global_keyprefix}{name}"


def redis_broker(connection: Connection) -> RedisBroker | None:
    """Return the Redis behind a connection, or None on another broker."""
    channel = cast("Any", connection.default_channel)
    pool = getattr(channel, "pool", None)
    return None if pool is None else RedisBroker(Redis(connection_pool=pool), channel)


def swear(connection: Connection, database_id: str) -> None:
    """Bind this broker to this database, or find that it is bound to another one.

    Raises:
        ConfigurationError: the broker works for another database; the message names both.
    """
    broker = redis_broker(connection)
    if broker is None:
        rabbitmq.swear(connection, database_id)
        return
    found = _kept(broker, DATABASE_KEY, database_id)
    if found != database_id:
        raise ConfigurationError(
            f"The broker {connection.as_uri()} belongs to record database {found}, this process uses {database_id}; "
            "set DATABASE_URL or CELERY_BROKER_URL so that both belong together."
        )


def generation(connection: Connection, database_id: str) -> str | None:
    """Return what changes when the broker was started anew or lost its data; binds a broker that forgot.

    RabbitMQ keeps through a start what it has confirmed: the answer is `kept`, and None once its data is gone, until
    `remember`.
    """
    broker = redis_broker(connection)
    if broker is None:
        return "kept" if rabbitmq.has_mark(connection) else None
    swear(connection, database_id)
    return f"{broker.client.info('server')['run_id']}:{_kept(broker, GENERATION_KEY, str(uuid4()))}"


def remember(connection: Connection) -> None:
    """Note on a broker that had lost its data that what was lost is seen to."""
    rabbitmq.set_mark(connection)


def _kept(broker: RedisBroker, name: str, value: str) -> str | None:
    """Return what is kept under a name, this value where nothing was; a server that is full refuses only to keep it."""
    key = broker.key(name)
    found = broker.client.get(key)
    if found is None:
        broker.client.set(key, value, nx=True)
        found = broker.client.get(key)
    return _text(found)


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
