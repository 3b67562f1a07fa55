"""A Kombu channel on Redis that claims what it consumes (see `broker.claims`)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# Kombu's virtual transports, from which these are derived, have no types.

import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any, cast

from kombu.transport import redis, virtual
from kombu.utils.json import JSONEncoder, loads
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from broker.away import BatchCut
from broker.bounded_unpacking import UnpacksTooLarge
from broker.claims import (
    CLAIM,
    NOT_A_MESSAGE,
    REJECTED,
    TOO_LARGE,
    ClaimKeys,
    Fenced,
    Owner,
    Parcel,
    ReplyLost,
    give_back,
    park,
    refusal,
    take_all_right,
    take_left,
)
from broker.delivery_tags import fresh_tag
from broker.envelopes import MALFORMED, MARK_BYTES, MESSAGE_BYTES, PARKED_QUEUE, UNDECODABLE, is_too_deep
from config.log_setup import get_logger
from processors.errors import InvalidArgument
from processors.json_text import writing

logger = get_logger()

JSON = "application/json"
encode = writing(JSONEncoder())

SAYS_NOTHING_OF_CERTIFICATES = {"ssl_cert_reqs": ssl.CERT_NONE}
"""What Kombu makes of `rediss://` without a query; who wants no verification says `ssl_check_hostname=false` too."""

BATCH = 64
"""Messages of one claim."""

BATCH_BYTES = 16_000_000
SETTLE_WITH_CLAIM = 1_000

LOOK_EVERY = 4
"""Messages after which a claim looks after the lists that the order has passed over."""

AGEING_SECONDS = 10
"""From then on the lists that were passed over share a fourth of what is claimed."""

MARKER_SECONDS = 3600
MARKINGS_KEPT = 1_000
"""Queues whose marker's command is kept; replies go to ever new queues."""

FRESH_SECONDS = 1.0
"""A connection that was idle for longer is asked whether the server has closed it."""

PUSH_AT_ONCE = 500
TOGETHER_BYTES = 64_000
"""So much goes to the server in one call of the system with the marker; to copy more takes memory and saves nothing."""

CLOSE_SECONDS = 5.0
SENTINEL_SECONDS = 2.0
"""So long one Sentinel is waited for, at most, before the next one is asked."""

KEEPER_TIMEOUT = 5.0
SILENCE_SECONDS = 6.0
"""After so long a silence (a frozen process) an owner asks whether it still lives before it delivers."""

SLOW_SECONDS = 0.5
"""Delivering that takes longer runs the tasks itself (the solo pool); the rest of the batch is not held back for it."""


class ClaimMessage(cast("Any", virtual.Message)):
    """Kombu's message; plain JSON is decoded without a look at every object of it."""

    _unreadable = False

    def ack(self, multiple: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Settle this message; one whose body could not be read is put aside, where Celery would drop it."""
        if self._unreadable or self.errors:
            self.reject()
        else:
            super().ack(multiple)

    @property
    def in_hand(self) -> bool:
        """Whether this message is still this worker's, and not in its queue again, for any other."""
        return self.channel.holds(self.delivery_tag)

    def put_back(self) -> None:
        """Put this message back at the front of its queue as it was: no task has seen it."""
        if not self.acknowledged:
            self.channel.qos.put_back(self.delivery_tag)
            self._state = "REQUEUED"

    def _decode(self) -> Any:
        try:
            return self._decoded()
        except Exception:
            self._unreadable = True
            raise

    def _decoded(self) -> Any:
        body = self.body
        if self.content_type == JSON and body and (self.accept is None or JSON in self.accept) and _plain(body):
            try:
                return json.loads(body)
            except ValueError:
                pass  # Kombu's own decoder says what is wrong
        return super()._decode()


class ClaimQoS(cast("Any", redis.QoS)):
    """Counts what is in hand; what becomes of it is told to the channel's owner."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message in hand: it was claimed before."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Settle a message."""
        virtual.QoS.ack(self, delivery_tag)
        self.channel.settle(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Put a message back at the front of its queue, or aside."""
        message = self._delivered.get(delivery_tag)
        if message is not None:
            self.channel.refuse(delivery_tag, message, requeue=requeue)
        virtual.QoS.ack(self, delivery_tag)
        self.channel.made_room()

    def put_back(self, delivery_tag: str) -> None:
        """Put a message that no task has seen back at the front of its queue."""
        message = self._delivered.get(delivery_tag)
        if message is not None:
            self.channel.put_back(delivery_tag, message)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002 - Kombu's signature
        """Put back everything in hand."""
        self._flush()
        for delivery_tag in reversed(list(self._delivered)):
            self.reject(delivery_tag, requeue=True)
        self._flush()

    def restore_unacked_once(self, stderr: Any = None) -> None:  # noqa: ARG002 - Kombu's signature
        """End the channel's owner; it gives back what is in hand."""
        self._on_collect.cancel()
        self.channel.leave()

    def restore_visible(self, *arguments: Any, **options: Any) -> None:
        """Put back what stock Celery left unacknowledged, where it left anything: the lock for that takes memory."""
        if self.channel.server().exists(self.channel.keys.prefix + self.unacked_index_key):
            super().restore_visible(*arguments, **options)

    def room(self) -> int:
        """Return how many messages more may be taken in hand at once."""
        if not self.can_consume():
            return 0
        return min(self.can_consume_max_estimate(), BATCH) if self.prefetch_count else BATCH


class ClaimChannel(cast("Any", redis.Channel)):
    """A channel that claims; consumers that acknowledge nothing (replies) are served as Kombu does it."""

    QoS = ClaimQoS
    Message = ClaimMessage
    queue_order_strategy = "priority"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.owner: Owner | None = None
        self._plain: tuple[Any, Any] | None = None
        self._markings: dict[str, tuple[bytes, float]] = {}
        self._idle: deque[tuple[Any, float]] = deque()
        self._acknowledges_not: set[str] = set()
        self._consuming: dict[str, Any] = {}
        self._told: list[str] | None = None
        self._waits = self._empty = True
        self._wanted = self._since_look = 0
        self._number = 1
        self.has_work: Callable[[], bool] = lambda: False
        """Whether work waits here, so that a claim of a few messages can wait; a consumer may set it."""
        self._full = self._unsure = self._owes_marker = self._delivers_broadcast = False
        super().__init__(*arguments, **options)
        self.QoS = ClaimQoS  # Kombu takes another one where `ack_emulation` is off
        self.keys = ClaimKeys(self.global_keyprefix)

    def settle(self, delivery_tag: str) -> None:
        """Note that a message is done; of one whose claim was given up there is nothing to say."""
        owner = self.owner
        if owner is None:
            return
        owner.settle(delivery_tag)
        self.made_room()

    @property
    def enough_room(self) -> bool:
        """Whether there is room, and for a whole claim as long as there is work enough."""
        room = self.qos.room()
        return room >= BATCH or (room > 0 and not self.has_work())

    def made_room(self) -> None:
        """Let the event loop ask for messages again, where it found too little room before."""
        if self._full and self.enough_room:
            self._full = False
            self.connection.cycle.wake()

    def refuse(self, delivery_tag: str, message: Any, *, requeue: bool) -> None:
        """Put a message back at the front of its queue, counted as a lost delivery, or aside."""
        owner = self.owner
        if owner is None or not _was_claimed(delivery_tag):
            return
        raw = _claimed_form(message)
        if requeue:
            give_back(self.server(), self.keys, owner.name, [(delivery_tag, raw)], self.sep, lost=True)
        else:
            park(self.server(), self.keys, owner.name, (delivery_tag, raw), self._queue_of(delivery_tag), REJECTED)

    def put_back(self, delivery_tag: str, message: Any) -> None:
        """Let the owner's thread put a message back as it was; what is put back last is served first."""
        if self.owner is not None and _was_claimed(delivery_tag):
            self.owner.put_back((delivery_tag, _claimed_form(message)))

    def holds(self, delivery_tag: str) -> bool:
        """Tell whether a message is this worker's: not once the channel was closed, or its owner declared dead."""
        if not _was_claimed(delivery_tag) or self._queue_of(delivery_tag) in self._acknowledges_not:
            return True
        return not self.closed and not (self.owner and self.owner.fenced)

    def note_room(self) -> None:
        """Ask to be woken by a settled message, where there is too little room now."""
        if self._in_poll or not self.active_queues:
            return
        self._full = True  # before the look: what is settled after it wakes
        self.made_room()

    def leave(self) -> None:
        """End the owner; where the server can be reached everything in hand is back in its queue afterwards."""
        owner = self.owner
        if owner is not None and owner.ours:
            self._untell(owner)
            reachable = self.connection is not None and self.connection.client is not None
            owner.retire(CLOSE_SECONDS if reachable else 0)
        self.owner = None  # only now: what other threads settle meanwhile counts

    def close(self) -> None:
        """Close; what is in hand is given back, over another connection where this one was lost."""
        if not self.closed:
            if self._told is not None and self._in_poll:
                self._in_poll.disconnect()
                self._in_poll = None
            self.leave()
        super().close()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Acknowledge a message; one of a closed channel was given back."""
        if not self.closed:
            super().basic_ack(delivery_tag, multiple)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Reject a message; one of a closed channel was given back."""
        if not self.closed:
            super().basic_reject(delivery_tag, requeue)

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any) -> None:  # noqa: FBT001 - Kombu's signature
        """Consume from a queue."""
        (self._acknowledges_not.add if no_ack else self._acknowledges_not.discard)(queue)
        super().basic_consume(queue, no_ack, callback, consumer_tag, **options)
        self._consuming[queue] = callback

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        """Take one message out of a queue; None where there is none."""
        if no_ack:
            return super().basic_get(queue, no_ack, **options)
        owner = self._living_owner()
        while claimed := self._claim_one(owner, queue):
            message = self._opened(owner, claimed[0].decode(), claimed[1])
            if message is not None:
                self.qos.append(message, message.delivery_tag)
                return message
        return None

    def _claim_one(self, owner: Owner, queue: str) -> Any:
        with self._doubt():
            return CLAIM(owner.client, *self._claim(owner, [queue], 1))

    @contextmanager
    def _doubt(self) -> Generator[None]:
        """Let only another owner go on where a claim may have been made and not been read."""
        try:
            yield
        except (RedisError, *self.connection_errors):
            self._unsure = True
            raise

    def server(self) -> Redis:
        """Return a client that adds no prefix, for keys of ours."""
        return Redis(connection_pool=self.pool)

    def _living_owner(self) -> Owner:
        owner = self.owner
        if owner is None:
            self.connection.cycle.listen_for_wakes()
            owner = Owner(self._keepers_client(), self.keys, self.sep, self.connection.cycle.wake)
            owner.announce()
            self.owner = owner
        if owner.fenced:
            raise Fenced
        if self._unsure:
            raise ReplyLost
        return owner

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Kombu's signature
        """Return how to connect; certificates are verified unless the URL says otherwise."""
        found: dict[str, Any] = super()._connparams(asynchronous)
        if self.connection.client.ssl == SAYS_NOTHING_OF_CERTIFICATES:
            found.pop("ssl_cert_reqs", None)
        return found

    def _keepers_client(self) -> Redis:
        """Return a client whose connections outlive this channel and never wait for long."""
        kept = self._sentinel_manager
        pool: Any = self._get_pool()
        manager, self._sentinel_manager = self._sentinel_manager, kept
        sentinels: list[Any] = manager.sentinels if manager else []
        pools: list[Any] = [pool, *(one.connection_pool for one in sentinels)]
        for limits in (one.connection_kwargs for one in pools):
            for name in ("socket_timeout", "socket_connect_timeout"):
                limits[name] = min(limits.get(name) or KEEPER_TIMEOUT, KEEPER_TIMEOUT)
            limits["retry"] = Retry(NoBackoff(), 0)
        return Redis(connection_pool=pool)

    @property
    def _claiming(self) -> bool:
        return any(queue not in self._acknowledges_not for queue in self.active_queues)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if not self._claiming:
            super()._brpop_start(timeout)
            return
        # Kombu drops a connection by itself when an answer is overdue.
        self._unsure = self._unsure or self._told is not None
        owner = self._living_owner()
        if not self.enough_room:
            return
        wanted = self.qos.room()
        queues = self._queue_cycle.consume(len(self.active_queues))
        self._waits, self._wanted = self._empty, wanted
        # A claim that waits says nothing of what is settled: that would wait with it.
        self._told = [] if self._waits else owner.take_settled(SETTLE_WITH_CLAIM)
        commands = [CLAIM.command(*self._claim(owner, queues, wanted, self._told))]
        if self._waits:
            commands.insert(0, ("BZPOPMIN", *map(self.keys.marker, queues), timeout or self.brpop_timeout))
        connection = self.client.connection
        self._in_poll, self._brpop_sent_at = connection, time.monotonic()
        connection.send_packed_command(connection.pack_commands(commands))

    def _claim(
        self, owner: Owner, queues: Sequence[str], wanted: int, settled: Sequence[str] = ()
    ) -> tuple[list[str], list[Any]]:
        """Return keys and arguments of the script."""
        lists = [name for queue in queues for name in self._lists(queue)]
        markers = [self.keys.marker(queue) for queue in queues]
        self._since_look += wanted
        look = int(self._since_look >= LOOK_EVERY)
        self._since_look *= 1 - look
        first, self._number = self._number, self._number + wanted
        took_marker = int(self._waits or self._owes_marker)
        flags = (look, took_marker, len(queues), AGEING_SECONDS)
        keys = [self.keys.owners, owner.claim_key, self.keys.passed_over, *markers, *lists]
        return keys, [owner.name, first, wanted, BATCH_BYTES, *flags, *settled]

    def _basic_cancel(self, consumer_tag: str) -> None:
        super()._basic_cancel(consumer_tag)
        if self.claim_under_way and not self.active_queues:
            # Nobody may look at this connection again for long: Celery waits for its running tasks now.
            with suppress(Empty):
                self.read_claim(CLOSE_SECONDS)

    @property
    def claim_under_way(self) -> bool:
        """Whether a claim was sent and its answer is still to be read."""
        return self._told is not None and bool(self._in_poll)

    def _brpop_read(self, **options: Any) -> Any:
        if self._told is None:
            return super()._brpop_read(**options)
        return self.read_claim()

    def read_claim(self, timeout: float | None = None) -> bool:
        """Read what a claim took and deliver it; what there is no room for goes back.

        Args:
            timeout: seconds to wait for the answer; None for the connection's own time-out.

        Raises:
            Empty: it took nothing.
            RedisError: the answer was lost, or the server refuses.
        """
        try:
            claimed = self._read_claim(timeout)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not claimed:
            raise Empty
        self._deliver_claimed(claimed)
        return True

    def _read_claim(self, timeout: float | None) -> deque[tuple[str, bytes]]:
        owner, connection = self._living_owner(), self.client.connection
        try:
            if timeout is not None and not connection.can_read(timeout):
                raise ReplyLost
            if self._waits:
                connection.read_response()
            found = connection.read_response()
        except NoScriptError:
            self._untell(owner)
            self.server().script_load(CLAIM.source)
            self._empty, self._owes_marker = False, self._owes_marker or self._waits
            return deque()
        except (ResponseError, *self.connection_errors) as error:
            self._unsure = True
            self._untell(owner)
            connection.disconnect()
            if isinstance(error, ResponseError):
                raise refusal(error) from error
            raise
        self._told, self._empty, self._owes_marker = None, len(found) < 2 * self._wanted, False
        if owner.silent_for > SILENCE_SECONDS:
            with self._doubt():
                owner.confirm()
        return deque((found[place].decode(), found[place + 1]) for place in range(0, len(found), 2))

    def _untell(self, owner: Owner) -> None:
        """Take back what the server may not have heard."""
        told, self._told = self._told, None
        for delivery_tag in told or ():
            owner.settle(delivery_tag)

    def _deliver_claimed(self, claimed: deque[tuple[str, bytes]]) -> None:
        """Deliver, as long as there is room and delivering is quick; the rest goes back as it was."""
        owner, began = self._living_owner(), time.monotonic()
        try:
            with owner.delivering(claimed):
                while not self._has_enough(began) and (parcel := take_left(claimed)) is not None:
                    if self._is_consumed(parcel):
                        self._deliver_one(owner, *parcel)
                    else:
                        self._give_back_unwanted(owner, parcel, claimed)
        finally:
            rest = list(take_all_right(claimed))
            if rest and not self.closed:
                with self._doubt():
                    give_back(self.server(), self.keys, owner.name, rest, self.sep, marked=False)

    def _has_enough(self, began: float) -> bool:
        """Tell whether to deliver no more: closed, a consumer wants to be cancelled, no room, or tasks run here."""
        if self.closed or self.connection.cycle.after_read or not self.qos.can_consume():
            return True
        return time.monotonic() - began > SLOW_SECONDS

    def _is_consumed(self, parcel: Parcel) -> bool:
        return self._queue_of(parcel[0]) in self.connection._callbacks  # noqa: SLF001 - the transport of this channel

    def _give_back_unwanted(self, owner: Owner, first: Parcel, claimed: deque[Parcel]) -> None:
        """Give back, in their order, this and all the others that nobody consumes any more."""
        unwanted: list[Parcel] = []
        for parcel in list(take_all_right(claimed)):
            if self._is_consumed(parcel):
                claimed.appendleft(parcel)
            else:
                unwanted.append(parcel)
        unwanted.append(first)
        with self._doubt():
            give_back(self.server(), self.keys, owner.name, unwanted, self.sep, marked=False)

    def _deliver_one(self, owner: Owner, field: str, raw: bytes) -> None:
        queue = self._queue_of(field)
        message = self._opened(owner, field, raw)
        if message is None:
            return
        self._queue_cycle.rotate(queue)
        if queue in self._acknowledges_not:
            owner.settle(field)
        else:
            self.qos.append(message, field)
        self._consuming[queue](message)

    def _opened(self, owner: Owner, field: str, raw: bytes) -> Any:
        """Return a claimed message; what is none is put aside."""
        reason = TOO_LARGE
        # What is parked and parked again would grow for ever.
        if len(raw) <= MESSAGE_BYTES + MARK_BYTES or self._queue_of(field) == PARKED_QUEUE:
            try:
                payload: Any = json.loads(raw) if _plain(raw) else loads(raw)
                payload["properties"]["delivery_tag"] = field
                message = self.Message(payload, channel=self)
                if self._queue_of(field) == PARKED_QUEUE:
                    return message
                if is_too_deep(raw, payload):
                    reason = NOT_A_MESSAGE
                elif not _unpacks_too_large(message):
                    return message
            except MALFORMED:
                reason = NOT_A_MESSAGE
        with self._doubt():
            park(self.server(), self.keys, owner.name, (field, raw), self._queue_of(field), reason)
        return None

    def _receive_one(self, client: Any) -> Any:
        """Deliver one broadcast message; one that nobody can use is dropped, where it ended every worker at once.

        A worker drops what a consumer of it stumbles over, too; elsewhere that is the error of who consumes.
        """
        self._delivers_broadcast = False
        try:
            return super()._receive_one(client)
        except (*MALFORMED, *UNDECODABLE) as error:
            if self._delivers_broadcast and not self.connection.cycle.in_worker:
                raise
            logger.exception("malformed_broadcast", error=str(error))
            return None

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        for _, error, _ in self.Message(message, channel=self).errors:
            raise error
        self._delivers_broadcast = True
        return super()._deliver_fanout_message(message, exchange)

    def _queue_of(self, field: str) -> str:
        return self.keys.queue_of(field.split(":", 1)[1], self.sep)

    # Publishing

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        """Return the client; that for single commands is made once and not for every message."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        pool: Any = self.pool
        if self._plain is None or self._plain[0] is not pool:
            self._plain = (pool, super()._create_client())
        return self._plain[1]

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        """Put a message into its queue, and a marker beside it.

        Raises:
            InvalidArgument: the message is larger than any worker would take.
        """
        if queue in self._expires:
            super()._put(queue, message, **options)
            return
        text = encode(message)
        check_size(queue, text)
        priority = self._get_message_priority(message, reverse=False)
        batch = options.get("_publish_batch")
        if batch is not None:
            batch.add_message(queue, self._q_for_pri(queue, priority), text)
        else:
            self.push(queue, priority, [text])

    def push(self, queue: str, priority: int, texts: Sequence[str], *, first: bool = False) -> None:
        """Put encoded messages into a queue, in their order, and a marker beside them; from any thread.

        Args:
            queue: the queue's name.
            priority: 0 to 9, the smallest served first.
            texts: messages as they lie in Redis.
            first: put them before what is there.

        Raises:
            InvalidArgument: a message is larger than any worker would take; none was put.
            RedisError: the server cannot be reached, or refuses; some may have been put.
        """
        for text in texts:
            check_size(queue, text)
        key = self.keys.prefix + self._q_for_pri(queue, priority)
        connection = self._idle_connection()
        try:
            way, ordered = ("RPUSH", texts[::-1]) if first else ("LPUSH", texts)
            commands = [(way, key, *some) for some in _chunks(ordered)]
            packed: list[bytes] = (
                connection.pack_commands(commands) if len(commands) > 1 else connection.pack_command(*commands[0])
            )
            marking, replies = self._marking(connection, queue)
            together = sum(map(len, packed)) <= TOGETHER_BYTES
            connection.send_packed_command([b"".join([*packed, marking])] if together else [*packed, marking])
            for _ in commands:
                connection.read_response()
            self._read_marked(connection, queue, replies)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._idle.append((connection, time.monotonic()))

    def _read_marked(self, connection: Any, queue: str, replies: int) -> None:
        """Read whether the marker is set; where it is not, what was put is found within a second all the same."""
        try:
            for _ in range(replies):
                connection.read_response()
        except (RedisError, OSError) as error:
            connection.disconnect()
            logger.warning("marker_not_set", queue=queue, error=str(error))

    def _idle_connection(self) -> Any:
        """Return a connection to publish on: redis-py's pool does much more for each message than this needs."""
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self.pool.get_connection()
        if time.monotonic() - since > FRESH_SECONDS and _was_closed(connection):
            connection.disconnect()
        return connection

    def close_idle(self) -> None:
        """Close the connections over which no thread publishes just now."""
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].disconnect()

    def _disconnect_pools(self) -> None:
        self._idle.clear()
        super()._disconnect_pools()

    def _marking(self, connection: Any, queue: str) -> tuple[bytes, int]:
        """Return the packed commands that set a queue's marker, and how many they are.

        A queue that no claims empty (one for replies) keeps its marker: that must end by itself.
        """
        known = self._markings.get(queue)
        if known is None or time.monotonic() - known[1] > MARKER_SECONDS / 4:
            marker = self.keys.marker(queue)
            set_it = b"".join(connection.pack_command("ZADD", marker, 0, "x"))
            if len(self._markings) >= MARKINGS_KEPT:
                self._markings.clear()
            self._markings[queue] = (set_it, time.monotonic())
            return set_it + b"".join(connection.pack_command("EXPIRE", marker, MARKER_SECONDS)), 2
        return known[0], 1

    def create_publish_batch(self, max_size: int) -> "ClaimPublishBatch":
        """Return what collects messages for one round trip."""
        return ClaimPublishBatch(self, max_size)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Bind a queue; a server that is full may refuse: a worker must start all the same, to make room there.

        Tasks need no binding: they are put into their queue by its name.
        """
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except ResponseError as error:
            # What a script of Redis 6.2 is refused has only the word in it.
            if not isinstance(error, OutOfMemoryError) and "OOM" not in str(error):
                raise
            logger.warning("queue_not_bound", queue=queue, exchange=exchange, error=str(error))

    # A server that is full refuses a transaction, also one that only asks or makes room.

    def _size(self, queue: str) -> int:
        """Return how many messages wait."""
        return sum(self._lengths(queue).values())

    def _lengths(self, queue: str) -> dict[str, int]:
        """Return the length of each list of a queue; a key of another program by such a name is none, and is told."""
        found: dict[str, int] = {}
        lists = self._lists(queue)
        with self.server().pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.llen(name)
            lengths: list[Any] = pipe.execute(raise_on_error=False)
        for name, length in zip(lists, lengths, strict=True):
            if isinstance(length, ResponseError) and str(length).startswith("WRONGTYPE"):
                logger.error("queue_is_no_list", queue=queue, key=name, cure="rename that key, or give us a prefix")
            elif isinstance(length, Exception):
                raise length
            else:
                found[name] = length
        return found

    def _has_queue(self, queue: str, **options: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Tell whether a queue has messages, which is all there is of one on Redis."""
        return bool(self.server().exists(*self._lists(queue)))

    def _purge(self, queue: str) -> int:
        """Empty a queue; returns how many messages were in it."""
        lists = self._lengths(queue)
        with self.server().pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.llen(name)
                pipe.delete(name)
            return sum(pipe.execute()[::2])

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *_: Any, **options: Any) -> None:  # noqa: ARG002 - Kombu's signature
        """Delete a queue, with its binding and its marker."""
        self.auto_delete_queues.discard(queue)
        member = self.sep.join([routing_key or "", pattern or "", queue])
        server = self.server()
        for table in (self.keyprefix_queue, self.keyprefix_binding_permanent):
            server.srem(f"{self.keys.prefix}{table % (exchange,)}", member)
        server.delete(*self._lists(queue), self.keys.marker(queue))

    def _lists(self, queue: str) -> list[str]:
        """Return the keys of a queue's lists, the most urgent first."""
        return [self.keys.prefix + self._q_for_pri(queue, step) for step in self.priority_steps]


class ClaimPublishBatch(cast("Any", redis).PublishBatch):
    """Kombu's batch, with the queues' markers behind the messages."""

    def __init__(self, channel: ClaimChannel, max_size: int) -> None:
        self._queues: set[str] = set()
        super().__init__(channel, max_size)

    @property
    def channel(self) -> ClaimChannel:
        """The channel that all of it goes over; Kombu compares it with the producer's before each message.

        Raises:
            BatchCut: it was given up; what Kombu tries again on another one would be half a batch.
        """
        if self._channel.closed:
            raise BatchCut
        return self._channel

    @channel.setter
    def channel(self, channel: ClaimChannel) -> None:
        self._channel = channel

    def add_message(self, queue: str, key: str, text: str) -> None:
        """Collect one message."""
        self.add("lpush", key, text)
        self._queues.add(queue)

    def flush(self) -> None:
        """Send what was collected, once."""
        if self._buffered:
            for queue in self._queues:
                marker = ClaimKeys("").marker(queue)
                self.pipeline.zadd(marker, {"x": 0})
                self.pipeline.pexpire(marker, MARKER_SECONDS * 1000)
            self._queues.clear()
        super().flush()


class ClaimSentinelChannel(ClaimChannel, cast("Any", redis.SentinelChannel)):
    """The same, for a server that Sentinel names."""

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        """Return the pool; each Sentinel is asked once, and not waited for long: every channel asks anew."""
        waits = {key: value for key, value in self._connparams(asynchronous).items() if key.startswith("socket_")}
        for name in ("socket_timeout", "socket_connect_timeout"):
            waits[name] = min(waits.get(name) or SENTINEL_SECONDS, SENTINEL_SECONDS)
        own: dict[str, Any] = getattr(self, "sentinel_kwargs", None) or {}
        self.sentinel_kwargs = {**waits, "retry": Retry(NoBackoff(), 0), **own}
        return super()._sentinel_managed_pool(asynchronous)


def _was_claimed(delivery_tag: str) -> bool:
    """Tell a claimed message from a broadcast one, which lies in no list and has Kombu's own tag."""
    return ":" in delivery_tag


def _unpacks_too_large(message: Any) -> bool:
    return any(isinstance(error, UnpacksTooLarge) for _, error, _ in message.errors)


def _claimed_form(message: Any) -> bytes:
    """Return a message as it goes back: with a tag that no other message in its queue has."""
    envelope = message._raw  # noqa: SLF001 - the envelope as it was claimed
    return encode({**envelope, "properties": {**envelope["properties"], "delivery_tag": fresh_tag()}}).encode()


def _was_closed(connection: Any) -> bool:
    """Tell whether the server has closed a connection that waits for nothing."""
    try:
        return bool(connection._sock and connection.can_read())  # noqa: SLF001 - no public way to ask
    except (RedisError, OSError):
        return True


def _plain(text: bytes | str) -> bool:
    """Tell whether JSON holds nothing that Kombu has a form of its own for: a date, a UUID and the like."""
    return (b"__type__" not in text) if isinstance(text, bytes) else ("__type__" not in text)


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), PUSH_AT_ONCE):
        yield texts[start : start + PUSH_AT_ONCE]


def check_size(queue: str, text: str) -> None:
    """Raise `InvalidArgument` for a message that no worker would take."""
    if len(text) > MESSAGE_BYTES:
        raise InvalidArgument(
            f"The message for {queue} has {len(text)} bytes, at most {MESSAGE_BYTES} are accepted; "
            "put large data into a file or a database and pass its name."
        )
