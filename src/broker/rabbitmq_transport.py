"""Kombu's transport for RabbitMQ: publishes are confirmed, many of them together, and nothing waits for ever.

Under an alarm (`broker.rabbitmq_alarms`) a message is refused at once, and what only tells of things, such as an event,
is dropped before it fills the socket.

Options, in `broker_transport_options`: `confirm_publish`, and `answer_timeout`, the seconds to wait for an answer.
"""

import time
from contextlib import suppress
from typing import Any, NamedTuple, cast

from amqp.exceptions import AMQPError, RecoverableConnectionError
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from broker import bounded_unpacking
from broker.away import BatchCut, MessageRefused
from broker.envelopes import task_id_of
from broker.rabbitmq_alarms import BrokerBlocked, alarms

ANSWER_SECONDS = 5.0
PERSISTENT = 2
DROPPED_EXCHANGES = ("celeryev", "reply.celery.pidbox")
"""Those of Celery's events and of the answers to its remote control, by their usual names."""


class Sent(NamedTuple):
    """What is known of a message that the broker has not confirmed yet."""

    routing_key: str
    task_id: str


class Channel(cast("Any", pyamqp.Channel)):
    """A channel that knows what the broker has not confirmed yet."""

    def __init__(self, connection: Any, *args: Any, **options: Any) -> None:
        self._unconfirmed = dict[int, Sent]()
        self._published = 0
        self._refused = list[Sent]()
        super().__init__(connection, *args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped

    def create_publish_batch(self, max_size: int) -> "PublishBatch":
        """Return what Kombu's `Producer.batch` publishes through."""
        return PublishBatch(self, max_size)

    def basic_publish_confirm(self, message: Any, *args: Any, **options: Any) -> Any:
        """Publish and wait until the broker has it; what need not last, such as an event, is not waited for.

        Raises:
            MessageRefused: its queue takes no more.
            TimeoutError: it did not confirm in time.
            BrokerBlocked: an alarm goes on.
            ChannelError: there is no such queue.
        """
        result = self.publish_unconfirmed(message, *args, **options)
        if message.properties.get("delivery_mode") == PERSISTENT:
            self.await_confirms(options.get("confirm_timeout"))
        return result

    def publish_unconfirmed(self, message: Any, exchange: str = "", *args: Any, **options: Any) -> Any:
        """Publish; `await_confirms` tells whether the broker has it.

        Raises:
            BrokerBlocked: an alarm goes on; nothing was sent.
        """
        connection: Any = self.connection
        if connection is None:
            raise RecoverableConnectionError("connection already closed")
        if connection.still_blocked() or alarms.go_on(connection):
            if exchange in DROPPED_EXCHANGES:
                return None
            raise BrokerBlocked
        if not self._confirm_selected:
            self._start_confirms()
        result = self._basic_publish(message, exchange, *args, **options)
        connection.publishes = True
        self._published += 1
        if message.properties.get("delivery_mode") == PERSISTENT:
            self._unconfirmed[self._published] = Sent(options.get("routing_key", ""), task_id_of(message.properties))
        return result

    def await_confirms(self, timeout: float | None = None) -> None:
        """Wait until the broker has everything that was published here.

        Args:
            timeout: seconds, for all of it.

        Raises:
            MessageRefused: the queue of one of them takes no more.
            TimeoutError: it did not confirm in time.
            BrokerBlocked: an alarm has begun; the broker may have them when it is over.
            ChannelError: there is no such queue for one of them.
        """
        deadline = time.monotonic() + (timeout or self.connection.answer_timeout)
        try:
            while self._unconfirmed:
                if self.connection.blocked and self.connection.still_blocked() and self._unconfirmed:
                    raise BrokerBlocked
                self.connection.drain_events(timeout=max(0.001, deadline - time.monotonic()))
                if self._unconfirmed and time.monotonic() >= deadline:
                    raise TimeoutError(f"the broker did not confirm {len(self._unconfirmed)} messages in time")
        finally:
            refused = self.forget_unconfirmed()
        if refused:
            raise MessageRefused({one.routing_key for one in refused}, {one.task_id for one in refused})

    def forget_unconfirmed(self) -> "list[Sent]":
        """Wait no more for what was published here; returns what of it was refused."""
        refused, self._refused = self._refused, list[Sent]()
        self._unconfirmed.clear()
        return refused

    def send_method(self, signature: Any, *args: Any, wait: Any = None, **options: Any) -> Any:
        """Send a method; one whose answer is waited for is not sent to a broker that would not read it.

        Raises:
            BrokerBlocked: an alarm goes on.
        """
        if wait:
            self._refuse_while_blocked()
        return super().send_method(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
            signature, *args, wait=wait, **options
        )

    def queue_declare(self, *args: Any, **options: Any) -> Any:
        """Make a queue, or look at it: what py-amqp waits for in a way of its own.

        Raises:
            BrokerBlocked: an alarm goes on.
        """
        self._refuse_while_blocked()
        parent: Any = super()
        found = parent.queue_declare(*args, **options)
        arguments: dict[str, Any] = options.get("arguments") or {}
        if arguments.get("x-queue-type") == "quorum" and not (found and any(found[1:])):
            self.connection.may_have_made_queues = True  # it has no messages and no consumers
        return found

    def basic_consume(self, queue: str = "", *args: Any, **options: Any) -> Any:
        """Take messages from a queue, once it has answered: what comes after it on a channel waits for it too.

        Raises:
            RecoverableConnectionError: it does not answer.
        """
        try:
            return super().basic_consume(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
                queue, *args, **options | {"nowait": False}
            )
        except TimeoutError as error:
            raise RecoverableConnectionError(
                f"the queue {queue} answers nobody: most of its members are away, or RabbitMQ was killed while the "
                f"queue was made, which `rabbitmqctl delete_queue {queue}` cures"
            ) from error

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, **options: Any) -> Any:
        """Wait for an answer, but not for ever."""
        return super().wait(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
            method, callback, timeout or getattr(self.connection, "answer_timeout", ANSWER_SECONDS), **options
        )

    def _refuse_while_blocked(self) -> None:
        if self.connection is not None and self.connection.still_blocked():
            raise BrokerBlocked

    def _start_confirms(self) -> None:
        self.forget_unconfirmed()
        self._published = 0
        self.events["basic_ack"].add(self._confirmed)
        self.events["basic_nack"].add(self._not_taken)
        self.confirm_select()
        self._confirm_selected = True

    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp's signature
        if multiple:
            self._unconfirmed = {one: sent for one, sent in self._unconfirmed.items() if one > tag}
        else:
            self._unconfirmed.pop(tag, None)

    def _not_taken(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp's signature
        sent = self._unconfirmed.items()
        self._refused += [each for one, each in sent if one == tag or (multiple and one < tag)]
        self._confirmed(tag, multiple)


class PublishBatch:
    """Messages that are published one after the other and waited for together, up to `max_size` at a time."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self._channel = channel
        self._max_size = max_size
        self._count = 0
        self._timeout: float | None = None
        self._cut = False

    @property
    def channel(self) -> Channel:
        """The channel that all of it goes over; Kombu compares it with the producer's before each message.

        Raises:
            BatchCut: it was given up; what Kombu tries again on another one would be half a batch.
        """
        if self._cut or self._channel.connection is None:
            raise BatchCut
        return self._channel

    def publish(self, message: Any, **options: Any) -> Any:
        """Publish without a wait."""
        self._timeout = options.get("confirm_timeout")
        try:
            result = self._channel.publish_unconfirmed(message, **options)
        except Exception:
            self._cut = True  # where py-amqp opens the channel anew, what went before is forgotten
            raise
        self._count += 1
        if self._count >= self._max_size:
            try:
                self.flush()
            except MessageRefused as error:  # Kombu would try the last message again, on another channel
                raise BatchCut(str(error)) from error
        return result

    def flush(self) -> None:
        """Wait until the broker has all of it.

        Raises:
            MessageRefused: it has not taken some of it.
            BatchCut: it did not say so.
        """
        self._count = 0
        try:
            self.channel.await_confirms(self._timeout)
        except MessageRefused:
            raise
        except Connection.recoverable_connection_errors as error:
            raise BatchCut(str(error)) from error

    def discard(self) -> None:
        """Forget what was published: whoever gave up the batch does not know what arrived."""
        self._count = 0
        self._channel.forget_unconfirmed()

    def close(self) -> None:
        """Do nothing: the channel is the producer's."""


class Connection(cast("Any", pyamqp.Connection)):
    """A connection that waits for an answer as long as it was told, and knows whether the broker reads from it.

    Attributes:
        publishes: whether anything was published here.
        may_have_made_queues: whether a queue was declared here that had nothing in it and was nobody's.
        blocked: whether the broker has said that it reads nothing from here, and not yet that it does again.
    """

    Channel = Channel
    publishes = blocked = may_have_made_queues = False

    def __init__(self, *args: Any, answer_timeout: float = ANSWER_SECONDS, **options: Any) -> None:
        self.answer_timeout = answer_timeout
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped

    def channel(self, channel_id: int | None = None, callback: Any = None) -> Any:
        """Return a channel.

        Raises:
            BrokerBlocked: an alarm goes on, and it is a new one.
        """
        if channel_id not in (self.channels or ()) and self.still_blocked():
            raise BrokerBlocked
        return super().channel(channel_id, callback)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, **options: Any) -> Any:
        """Wait for an answer, but not for ever."""
        return super().wait(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
            method, callback, timeout or self.answer_timeout, **options
        )

    def drain_events(self, timeout: float | None = None) -> None:
        """Read until something has come; the broker's heartbeats do not count, and give it no more time.

        Raises:
            TimeoutError: nothing has come in time.
        """
        if timeout is None:
            super().drain_events()  # pyright: ignore[reportUnknownMemberType] - untyped
            return
        deadline = time.monotonic() + timeout
        while not self.blocking_read(max(0.0, deadline - time.monotonic())):
            pass

    def still_blocked(self) -> bool:
        """Tell whether the broker reads nothing from here, after a look at all that it said meanwhile."""
        if self.publishes:
            with suppress(TimeoutError):
                while True:
                    self.drain_events(timeout=0)
        return self.blocked

    def close(self, *args: Any, **options: Any) -> None:
        """Close; a broker that reads nothing is not waited for, and tells here when it reads again."""
        with suppress(OSError, AMQPError):
            self.still_blocked()
        if not self.blocked:
            super().close(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped
        elif not alarms.keep(self):
            self.collect()

    def _on_blocked(self) -> None:
        self.blocked = True
        if any(channel._pending for channel in self.channels.values()):  # noqa: SLF001 - what py-amqp waits for
            raise BrokerBlocked

    def _on_unblocked(self) -> None:
        self.blocked = False


class Transport(cast("Any", pyamqp.Transport)):
    """Kombu's transport with our connection."""

    Connection = Connection
    implements = pyamqp.Transport.implements.extend(batch_publish=True)

    def qos_semantics_matches_spec(self, connection: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Tell Celery to limit each consumer by itself: quorum queues take no limit for a whole channel."""
        return True

    def on_readable(self, connection: Any, loop: Any) -> None:
        """Read what has come, as long as the loop listens to this connection.

        Kombu's own reads on where the loop has begun anew after an error, and ends the new one when the old connection
        is closed.

        Raises:
            RecoverableConnectionError: the connection was cut.
        """
        if (self.on_readable, (connection, loop)) not in loop.readers.values():
            return
        if not connection.connected:
            raise RecoverableConnectionError("the connection was cut")
        try:
            connection.drain_events(timeout=0)
        except (TimeoutError, BlockingIOError, InterruptedError):
            return
        loop.call_soon(self.on_readable, connection, loop)


class TlsTransport(Transport):
    """The same over TLS: the server's certificate and its name are verified.

    The options are those of a `rediss://` URL: `?ssl_ca_certs=<file>&ssl_certfile=<file>&ssl_keyfile=<file>`.
    """

    def establish_connection(self) -> Any:
        """Connect, and expect the certificate of the host that is connected to."""
        given = self.client.ssl
        options = cast("dict[str, Any]", given) if isinstance(given, dict) else dict[str, Any]()
        named = {key.removeprefix("ssl_"): value for key, value in options.items()}
        self.client.ssl = named | {"server_hostname": self.client.hostname}
        return super().establish_connection()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped


def register() -> None:
    """Let Kombu use these for every URL of RabbitMQ in this process."""
    bounded_unpacking.register()
    ours = dict.fromkeys(("amqp", "pyamqp"), f"{__name__}:Transport")
    TRANSPORT_ALIASES.update(ours | {"amqps": f"{__name__}:TlsTransport"})
