"""Claims: what a worker has in hand lies in Redis under the name of an owner, as long as that owner's heart beats.

A message is always in its queue or in one claim, because each way between them is one script. All times are the
server's. Every key but the queues begins with `claims:`.
"""

import hashlib
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.sentinel import SentinelConnectionPool

from broker import envelopes
from config.log_setup import get_logger

logger = get_logger()

LUA = Path(__file__).parent / "lua"
BEAT_SECONDS = 2.0
LOOK_SECONDS = 0.5
DEAD_SECONDS = 8.0
FLUSH_SECONDS = 0.004
"""How long a settled message may wait for others before the server is told."""

KNOWN_SECONDS = 86_400.0
"""How long owners that are announced look whether one who is gone has a claim again."""

BUSY_SECONDS = 0.5
"""A consumer that takes longer to take what was claimed for it runs the tasks itself."""

SETTLE_AT_ONCE = 1_000
MOVE_AT_ONCE = 16
MOVE_BYTES = 16_000_000
"""What is read at once of a dead owner's claims ends with the message that exceeds this."""

BLOCKED_SECONDS = 10.0
"""After so long it is tried again to give back what a list has refused."""

MAX_DELIVERIES = 20
"""Claims of one message that ended with the death of their owner, before it is parked; RabbitMQ's own default."""

REJECTED, DELIVERY_LIMIT, TOO_LARGE, NOT_A_MESSAGE = "rejected", "delivery_limit", "too_large", "not_a_message"
"""Why something is parked; the first two are RabbitMQ's own words."""


class Fenced(RedisConnectionError):
    """This owner was declared dead: its claims are others' now, and it must begin anew as another owner."""

    def __init__(self) -> None:
        cast("Any", super()).__init__(
            "This worker was silent for too long and its messages were given to others; it begins anew."
        )


class ReplyLost(RedisConnectionError):
    """A claim was sent and its answer did not come: only the server knows what it handed out."""

    def __init__(self) -> None:
        cast("Any", super()).__init__(
            "The Redis server's answer was lost; what it may have handed out goes back when this connection closes."
        )


class ServerRefused(RedisConnectionError):
    """The server answers and refuses (read-only, no memory left, a right is missing); connecting anew may help."""


class Script:
    """One of the scripts in `broker/lua`, called by its digest and loaded where the server does not know it."""

    def __init__(self, name: str) -> None:
        self.source = (LUA / f"{name}.lua").read_text()
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Return the command that runs it."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)

    def __call__(self, client: Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run on the server.

        Raises:
            Fenced: the owner in the arguments was declared dead.
            ServerRefused: the server answered with another error.
        """
        call = cast("Any", client).execute_command
        command = self.command(keys, arguments)
        try:
            try:
                return call(*command)
            except NoScriptError:
                client.script_load(self.source)
                return call(*command)
        except ResponseError as error:
            raise refusal(error) from error


def refusal(error: Exception) -> RedisConnectionError:
    """Return what a server's error means for a worker."""
    text = str(error)
    if "FENCED" in text:
        return Fenced()
    return ServerRefused(f"The Redis server refuses to hand out messages: {text}.")


CLAIM = Script("claim")
SETTLE = Script("settle")
MOVE = Script("move")
READ = Script("read")
ANNOUNCE = Script("announce")
BEAT = Script("beat")
RETIRE = Script("retire")


class ClaimKeys:
    """The names of the keys.

    Args:
        prefix: what every key of this installation begins with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.owners = f"{prefix}claims:owners"
        self.dead = f"{prefix}claims:dead"
        self.grace = f"{prefix}claims:grace"
        self.looked = f"{prefix}claims:looked"
        self.known = f"{prefix}claims:known"
        self.passed_over = f"{prefix}claims:passed-over"
        self.parked = f"{prefix}{envelopes.PARKED_QUEUE}"

    def claim(self, owner: str) -> str:
        """Return the hash of what an owner has claimed: `number:list` to message."""
        return f"{self.prefix}claims:of:{owner}"

    def marker(self, queue: str) -> str:
        """Return the sorted set that is not empty while this queue may have messages: what idle workers wait for."""
        return f"{self.prefix}claims:ready:{queue}"

    def queue_of(self, key: str, separator: str) -> str:
        """Return the queue that a list belongs to."""
        return key[len(self.prefix) :].rsplit(separator, 1)[0]


Parcel = tuple[str, bytes]
"""A claimed message: its field, and itself."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of messages that were to leave a claim.

    Args:
        count: how many left it; others may not have been in it.
        refused: the lists that took none, and what the server said; what was meant for them is still claimed.
    """

    count: int
    refused: dict[str, str]


class Owner:
    """One consumer's claims, kept by a thread with a connection of its own that no task blocks.

    The thread beats, tells the server what is settled, and gives back what dead owners had claimed.

    Args:
        client: its connections must never wait for long, nor repeat what they sent.
        keys: the names of the keys.
        separator: what stands between a queue's name and its priority in a list's key.
        on_fenced: called by the thread when this owner was declared dead.
    """

    def __init__(self, client: Redis, keys: ClaimKeys, separator: str, on_fenced: Callable[[], None]) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        self.keys = keys
        self.claim_key = keys.claim(self.name)
        self.fenced = False
        self._separator = separator
        self.client = client
        self._on_fenced = on_fenced
        self._process = os.getpid()
        self._settled: deque[str] = deque()
        self._undelivered: deque[Parcel] = deque()
        self._delivering_since: float | None = None
        self._put_back: deque[Parcel] = deque()
        self._returning: list[Parcel] = []
        self._return_at = 0.0
        self._blocked: dict[str, float] = {}
        self._due = threading.Event()
        self._retiring = False
        self._born = self._reached = self._looked = self._beaten = self._beat_sent = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="claims", daemon=True)

    @property
    def ours(self) -> bool:
        """Whether this is the process that claims; a fork inherits the object and must not speak for it."""
        return self._process == os.getpid()

    @property
    def silent_for(self) -> float:
        """Seconds since the server last heard from this owner."""
        return time.monotonic() - self._reached

    def announce(self) -> None:
        """Tell the server of this owner, before its first claim, and begin to beat.

        Raises:
            RedisError: the server cannot be reached, or refuses.
        """
        self._beat_sent = time.monotonic()
        announce(self.client, self.keys, self.name)
        self._beaten = time.monotonic()
        self._thread.start()

    def settle(self, field: str) -> None:
        """Note that a message is done; the server hears of it within milliseconds, together with others."""
        self._settled.append(field)
        if not self._due.is_set():
            self._due.set()

    def take_settled(self, most: int) -> list[str]:
        """Take what the caller tells the server of; what it could not tell must be `settle`d again."""
        taken: list[str] = []
        while len(taken) < most:
            try:
                taken.append(self._settled.popleft())
            except IndexError:
                break
        return taken

    def put_back(self, parcel: Parcel) -> None:
        """Note that a message that no task has seen is to go back to the front of its queue, within milliseconds."""
        self._put_back.append(parcel)
        self._due.set()

    @contextmanager
    def delivering(self, undelivered: deque[Parcel]) -> Generator[None]:
        """Give back from the right, within seconds, what a consumer that runs the tasks itself has no time for."""
        self._undelivered, self._delivering_since = undelivered, time.monotonic()
        try:
            yield
        finally:
            self._delivering_since = None

    def confirm(self) -> None:
        """Ask the server whether this owner still lives.

        Raises:
            Fenced: it was declared dead.
        """
        self._look(beat=True)

    def retire(self, wait: float) -> None:
        """Say what is settled, give everything else back, and end.

        Args:
            wait: seconds to wait until it is done; the thread goes on trying for as long as others think it alive.
        """
        if not self.ours or not self._thread.is_alive():
            return
        self._retiring = True
        self._due.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait)

    def _keep(self) -> None:
        while not self.fenced:
            self._due.wait(LOOK_SECONDS)
            if self._due.is_set() and not self._retiring:
                time.sleep(FLUSH_SECONDS)
            self._due.clear()
            try:
                self._flush()
                if self._retiring:
                    self._finish()
                    break
                self._return_unseen()
                self._look_when_due()
            except Fenced:
                self._give_up()
            except (RedisError, OSError) as error:
                logger.warning("claims_unreachable", owner=self.name, error=str(error))
                if self._retiring and time.monotonic() - self._beaten > DEAD_SECONDS:
                    break
                time.sleep(LOOK_SECONDS)
            except Exception as error:  # a heart that stops has its living worker declared dead
                logger.exception("claims_not_kept", owner=self.name, error=str(error))
                time.sleep(LOOK_SECONDS)
        self._disconnect()

    def _disconnect(self) -> None:
        pool = self.client.connection_pool
        pool.disconnect()
        if isinstance(pool, SentinelConnectionPool):
            cast("Any", pool).sentinel_manager.close()

    def _give_up(self) -> None:
        self.fenced = True
        logger.warning("declared_dead", owner=self.name, unsettled=len(self._settled))
        self._settled.clear()
        self._on_fenced()

    def _flush(self) -> None:
        while taken := self.take_settled(SETTLE_AT_ONCE):
            try:
                SETTLE(self.client, [self.keys.owners, self.claim_key], [self.name, *taken])
            except BaseException:
                self._settled.extendleft(reversed(taken))
                raise
            self._reached = time.monotonic()

    def _return_unseen(self) -> None:
        since, now = self._delivering_since, time.monotonic()
        taken = list(iter(partial(take_left, self._put_back), None))
        if since is not None and now - since > BUSY_SECONDS:
            taken += take_all_right(self._undelivered)
        if taken:
            self._returning += taken
            self._return_at = now
        if self._returning and now >= self._return_at:
            moved = move_back(self.client, self.keys, self.name, self._returning, self._separator, marked=False)
            _log_refused(self.name, moved)
            self._returning = [parcel for parcel in self._returning if _list(parcel[0]) in moved.refused]
            self._return_at = now + BLOCKED_SECONDS

    def _look_when_due(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        dead = self._look(beat=now - self._beaten >= BEAT_SECONDS - LOOK_SECONDS / 2)
        self._blocked = {one: until for one, until in self._blocked.items() if one in dead and now < until}
        for one in (one for one in dead if one not in self._blocked):
            if time.monotonic() - now > LOOK_SECONDS:
                break  # the others at the next look, after a beat
            given = give_back_all(self.client, self.keys, one, self._separator, lost=True, seconds=LOOK_SECONDS)
            if given.refused:
                self._blocked[one] = now + BLOCKED_SECONDS

    def _look(self, *, beat: bool) -> list[str]:
        """Beat where it is time, and return whose claims wait to be given back."""
        found = self._asked(beat=beat, again=False)
        if found is None:
            found = self._asked(beat=beat, again=True)
        return [_text(owner) for owner in found or ()]

    def _asked(self, *, beat: bool, again: bool) -> list[bytes] | None:
        """Return what the server says; None where its clock does not agree with this owner's, at the first time."""
        now = time.monotonic()
        was_away = now - self._beaten > DEAD_SECONDS / 2
        may_declare = now - self._born > BEAT_SECONDS
        keys = [self.keys.owners, self.keys.dead, self.keys.grace, self.keys.looked]
        least, most = (int((now - moment) * 1000) for moment in (self._beaten, self._beat_sent))
        flags = (beat, was_away, may_declare, DEAD_SECONDS * 1000, least, most, again)
        found = BEAT(self.client, keys, [self.name, *map(int, flags)])
        self._reached = self._looked = time.monotonic()
        if beat and found is not None:
            self._beaten, self._beat_sent = self._reached, now
        return found

    def _finish(self) -> None:
        if RETIRE(self.client, [self.keys.owners, self.keys.dead], [self.name]):
            while taken := self.take_settled(SETTLE_AT_ONCE):  # by other threads since it was flushed
                self.client.hdel(self.claim_key, *taken)
            give_back_all(self.client, self.keys, self.name, self._separator, lost=False)


def announce(client: Redis, keys: ClaimKeys, owner: str) -> None:
    """Tell the server of an owner, before its first claim; a claim that is of nobody waits to be given back then.

    Raises:
        RedisError: the server cannot be reached, or refuses.
    """
    names = [keys.owners, keys.claim(owner), keys.dead, keys.known]
    ANNOUNCE(client, names, [owner, keys.claim(""), int(KNOWN_SECONDS * 1000)])


def give_back_all(
    client: Redis, keys: ClaimKeys, owner: str, separator: str, *, lost: bool, seconds: float = math.inf
) -> Moved:
    """Give back everything that a dead or retired owner has claimed; safe to repeat, and for several at once.

    What a list refuses is still claimed, and its owner still among the dead.

    Args:
        client: reaches the server.
        keys: the names of the keys.
        owner: whose claims; it must be in the set of the dead.
        separator: what stands between a queue's name and its priority in a list's key.
        lost: whether the owner died, which counts as a delivery of each message.
        seconds: how long to go on; the rest is for the next call, so that a caller's heart beats meanwhile.
    """
    claim, began = keys.claim(owner), time.monotonic()
    names: Any = client.hkeys(claim)
    waiting = deque(sorted(map(_text, names), key=_number, reverse=True))
    count, refused = 0, dict[str, str]()
    while some := _take_fields(waiting, refused):
        found: Any = READ(client, [claim], [MOVE_BYTES, *some])
        waiting.extendleft(reversed(some[len(found) :]))
        parcels = [(field, raw) for field, raw in zip(some, found, strict=False) if raw is not None]
        moved = move_back(client, keys, owner, parcels, separator, lost=lost)
        count += moved.count
        refused |= moved.refused
        if moved.count and time.monotonic() - began > seconds:
            refused.clear()  # they are tried again with the rest
            break
    else:
        if not refused:
            client.srem(keys.dead, owner)
    if count and lost:
        logger.warning("claims_given_back", dead_owner=owner, messages=count)
    given = Moved(count, refused)
    _log_refused(owner, given)
    return given


def give_back(
    client: Redis,
    keys: ClaimKeys,
    owner: str,
    parcels: Sequence[Parcel],
    separator: str,
    *,
    lost: bool = False,
    marked: bool = True,
) -> None:
    """Move claimed messages back to the front of their queues, as `move_back` does.

    Raises:
        ServerRefused: a list took none; what was meant for it is still claimed.
    """
    _check_taken(move_back(client, keys, owner, parcels, separator, lost=lost, marked=marked))


def move_back(
    client: Redis,
    keys: ClaimKeys,
    owner: str,
    parcels: Sequence[Parcel],
    separator: str,
    *,
    lost: bool = False,
    marked: bool = True,
) -> Moved:
    """Move claimed messages back to the front of their queues; the first given is served last.

    Args:
        client: reaches the server.
        keys: the names of the keys.
        owner: whose claim they are in.
        parcels: field and message of each.
        separator: what stands between a queue's name and its priority in a list's key.
        lost: whether this counts as a delivery; past `MAX_DELIVERIES` a message is parked.
        marked: whether the messages say that they were delivered before; not when no task saw them.
    """
    arguments: list[Any] = []
    for field, raw in parcels:
        key = _list(field)
        message, count = envelopes.redelivered(raw, lost=lost) if marked else (raw, 0)
        if count > MAX_DELIVERIES:
            message = envelopes.parked(message, keys.queue_of(key, separator), DELIVERY_LIMIT)
            arguments += [field, keys.parked, "", message]
        else:
            arguments += [field, key, keys.marker(keys.queue_of(key, separator)), message]
    return _move(client, keys.claim(owner), arguments)


def park(client: Redis, keys: ClaimKeys, owner: str, parcel: Parcel, queue: str, reason: str) -> None:
    """Put something claimed aside, where it is counted and can be looked at; nothing is dropped.

    Raises:
        ServerRefused: it could not be put aside and is still claimed.
    """
    field, raw = parcel
    parked = envelopes.parked(raw, queue, reason, message=reason == REJECTED)
    _check_taken(_move(client, keys.claim(owner), [field, keys.parked, "", parked]))
    logger.error("message_parked", reason=reason, queue=queue, bytes=len(raw))


def take_left(parcels: deque[Parcel]) -> Parcel | None:
    """Take the first, where another thread may take from the other end."""
    try:
        return parcels.popleft()
    except IndexError:
        return None


def take_all_right(parcels: deque[Parcel]) -> Iterator[Parcel]:
    """Take everything, the last first, where another thread may take from the other end."""
    while True:
        try:
            yield parcels.pop()
        except IndexError:
            return


def _move(client: Redis, claim: str, arguments: Sequence[Any]) -> Moved:
    if not arguments:
        return Moved(0, {})
    count, *refused = MOVE(client, [claim], arguments)
    said = [_text(one) for one in refused]
    return Moved(int(count), dict(zip(said[::2], said[1::2], strict=True)))


def _check_taken(moved: Moved) -> None:
    for name, error in moved.refused.items():
        raise ServerRefused(f"The Redis server does not let a message into {name}: {error}.")


def _log_refused(owner: str, moved: Moved) -> None:
    for name, error in moved.refused.items():
        logger.error("claims_blocked", owner=owner, list=name, error=error, next_try_seconds=BLOCKED_SECONDS)


def _take_fields(waiting: deque[str], refused: Container[str]) -> list[str]:
    """Take the next fields; what a list refused is not tried again now."""
    some: list[str] = []
    while waiting and len(some) < MOVE_AT_ONCE:
        field = waiting.popleft()
        if _list(field) not in refused:
            some.append(field)
    return some


def _number(field: str) -> int:
    return int(field.split(":", 1)[0])


def _list(field: str) -> str:
    return field.split(":", 1)[1]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
