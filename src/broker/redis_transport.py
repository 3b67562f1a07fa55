"""Kombu's Redis transport, which outlives a server that goes away while tasks run.

Kombu acknowledges and restores over a channel whose connection was given up, and the worker ends with an error.
What was in hand then needs neither: its record tells what became of it.
"""

from functools import cached_property
from typing import Any, cast

from kombu.transport import TRANSPORT_ALIASES, redis


class LastingChannel(cast("Any", redis.Channel)):
    """A channel that is silent once its connection is gone."""

    @cached_property
    def publishing_client(self) -> Any:
        """One client for all that is published; Kombu makes a new one for every message."""
        return self._create_client()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Acknowledge a message; one of a closed channel is its record's business."""
        if not self.closed:
            super().basic_ack(delivery_tag, multiple)  # pyright: ignore[reportUnknownMemberType] - untyped

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Reject a message; one of a closed channel is its record's business."""
        if not self.closed:
            super().basic_reject(delivery_tag, requeue)  # pyright: ignore[reportUnknownMemberType] - untyped

    def close(self) -> None:
        """Close; nothing is put back over a connection that was given up."""
        if not self.closed and self.connection.client is None:
            self.do_restore = False
        super().close()  # pyright: ignore[reportUnknownMemberType] - untyped


class LastingSentinelChannel(LastingChannel, cast("Any", redis.SentinelChannel)):
    """The same, for a server that Sentinel names."""


class Transport(cast("Any", redis.Transport)):
    """Kombu's transport with our channel."""

    Channel = LastingChannel


class SentinelTransport(cast("Any", redis.SentinelTransport)):
    """Kombu's transport for Sentinel with our channel."""

    Channel = LastingSentinelChannel


def register() -> None:
    """Let Kombu use these for every URL of Redis in this process."""
    ours = dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport")
    TRANSPORT_ALIASES.update(ours | {"sentinel": f"{__name__}:SentinelTransport"})
