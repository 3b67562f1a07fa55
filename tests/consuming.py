"""Kombu's own publisher and consumer, as a test of the transport uses them."""

from contextlib import contextmanager, suppress

from kombu import Connection, Consumer, Exchange, Producer, Queue

from broker.claims import ClaimKeys
from waiting import until

EXCHANGE = Exchange("work", type="direct")


@contextmanager
def connected(url: str, **options):
    """A connection that never waits for long."""
    limits = {"socket_timeout": 10, "socket_connect_timeout": 10}
    with Connection(url, transport_options=limits | options) as connection:
        yield connection


def publish(connection: Connection, name: str, *bodies, **options) -> None:
    queue = Queue(name, EXCHANGE, routing_key=name)
    producer = Producer(connection.default_channel)
    for body in bodies:
        producer.publish(
            body, exchange=EXCHANGE, routing_key=name, serializer="json", declare=[queue(connection)], **options
        )


class Taker:
    """A consumer that keeps what it got."""

    def __init__(self, connection: Connection, *names: str, prefetch: int = 0, **options) -> None:
        self.connection, self.got = connection, []
        queues = [Queue(name, EXCHANGE, routing_key=name) for name in names]
        self.consumer = Consumer(
            connection, queues, callbacks=[self.take], prefetch_count=prefetch, accept=["json"], **options
        )
        self.consumer.consume()

    def take(self, body, message) -> None:
        self.got.append((body, message))

    def until(self, count: int) -> list:
        """Return the bodies, once there are so many."""

        def enough():
            if len(self.got) < count:
                with suppress(TimeoutError):
                    self.connection.drain_events(timeout=0.1)
            return len(self.got) >= count

        until(enough, 20, f"{count} messages arrive", every=0)
        return [body for body, _ in self.got]


def claimed(client, prefix: str = "") -> dict:
    """Return everything that is in hand, of all owners."""
    found = [client.hgetall(key) for key in client.scan_iter(ClaimKeys(prefix).claim("*"))]
    return {field: raw for claims in found for field, raw in claims.items()}
