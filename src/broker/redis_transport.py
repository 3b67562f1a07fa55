"""Kombu's Redis transports with channels that claim, under Kombu's own names.

The queues are Kombu's lists, so stock Celery can fill or drain them. What differs is how messages leave them: one
script moves up to a batch into the claim of an owner, and says at once what was settled since. Idle workers wait for
a marker that publishers set beside a message; what stock Celery put there is noticed within a second.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# Kombu's virtual transports, from which these are derived, have no types.

import socket
import weakref
from contextlib import suppress
from typing import Any, cast

from kombu.transport import TRANSPORT_ALIASES, redis

from broker import bounded_unpacking, lasting_objects
from broker.claim_channel import ClaimChannel, ClaimSentinelChannel


class Poller(cast("Any", redis.MultiChannelPoller)):
    """Kombu's poller, which other threads can wake: what they settled makes room for the next message."""

    def __init__(self) -> None:
        super().__init__()
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._fileno = -1
        self.in_worker = False
        """Whether a worker consumes over this, which no message may end."""

    def listen_for_wakes(self) -> None:
        """Open what `wake` writes to; a publisher's connection never needs it."""
        if self._reader is None:
            self._reader, self._writer = socket.socketpair()
            self._reader.settimeout(0)
            self._writer.settimeout(0)
            self._fileno = self._reader.fileno()
            self.poller.register(self._reader, self.eventflags)
            weakref.finalize(self, _close, self._reader, self._writer)

    def wake(self) -> None:
        """Let the event loop look again at once; from any thread."""
        if self._writer is not None:
            with suppress(OSError):  # it is being woken already, or there is no loop any more
                self._writer.send(b"\0")

    def close(self) -> None:
        """Close; a second time does nothing."""
        super().close()
        self._fileno = -1
        if self._reader is not None and self._writer is not None:
            _close(self._reader, self._writer)

    @property
    def fds(self) -> dict[int, Any]:
        """What the event loop watches."""
        found: dict[int, Any] = super().fds
        if self._fileno >= 0:
            found[self._fileno] = (None, "WAKE")
        return found

    def on_poll_init(self, poller: Any) -> None:
        """Begin in a worker's event loop."""
        self.in_worker = True
        super().on_poll_init(poller)

    def on_poll_start(self) -> None:
        """Ask for messages where there is room."""
        super().on_poll_start()
        for channel in self._channels:
            channel.note_room()

    def on_readable(self, fileno: int) -> Any:
        """Handle what a connection has to say."""
        if fileno == self._fileno:
            return self._woken()
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if channel is not None and channel.claim_under_way and not channel.qos.can_consume():
            return channel.read_claim()
        if channel is not None and kind == "BRPOP" and not channel._in_poll:  # noqa: SLF001 - the channel of this poller
            return channel.client.connection.disconnect()  # nothing was asked: the server has closed it
        return super().on_readable(fileno)

    def handle_event(self, fileno: int, event: int) -> Any:
        """Handle an event where there is no event loop."""
        if fileno == self._fileno:
            return self._woken()
        return super().handle_event(fileno, event)

    def _pause_brpop(self, channel: Any, fileno: int) -> None:
        """Leave Kombu's own answer unread where there is no room; ours goes back, for others."""
        if not channel.claim_under_way:
            super()._pause_brpop(channel, fileno)

    def _woken(self) -> None:
        if self._reader is not None:
            self._reader.recv(4096)


def _close(reader: socket.socket, writer: socket.socket) -> None:
    reader.close()
    writer.close()


class Transport(cast("Any", redis.Transport)):
    """Kombu's transport with our channel and poller."""

    Channel = ClaimChannel
    acknowledges_in_any_thread = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cycle = Poller()


class SentinelTransport(cast("Any", redis.SentinelTransport)):
    """Kombu's transport for Sentinel with our channel and poller."""

    Channel = ClaimSentinelChannel
    acknowledges_in_any_thread = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cycle = Poller()


def register() -> None:
    """Let Kombu use these for every URL of Redis in this process, and its workers share their memory."""
    lasting_objects.register()
    bounded_unpacking.register()
    ours = dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport")
    TRANSPORT_ALIASES.update(ours | {"sentinel": f"{__name__}:SentinelTransport"})
