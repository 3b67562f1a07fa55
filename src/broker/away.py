"""The errors that mean that the broker does not answer, does not take a message, or did not say what it took."""

from collections.abc import Collection
from typing import Any, cast

from amqp.exceptions import AMQPError, MessageNacked
from kombu import exceptions
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

AWAY_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    OperationalError,
    RedisError,
    AMQPError,
    # What Kombu's Redis batch makes of each of the others; its types do not know it yet.
    cast("Any", exceptions).BatchPublishError,
)


class BatchCut(OperationalError):
    """A batch of messages cannot go on; nobody knows what of it has arrived.

    Args:
        reason: what happened to its channel.
    """

    def __init__(self, reason: str = "its channel was given up after an error") -> None:
        super().__init__(reason)

    def __str__(self) -> str:
        return f"a batch was cut, and some of it may have arrived: {self.args[0]}"


class MessageRefused(MessageNacked, OperationalError):
    """Queues do not take what was published, though the broker answers; Kombu tries again as for any `MessageNacked`.

    Args:
        queues: the routing keys of what was refused.
        ids: its tasks' ids.
    """

    def __init__(self, queues: Collection[str], ids: Collection[str] = ()) -> None:
        super().__init__(sorted(queues), sorted(ids))
        self.ids = set(ids)

    def __str__(self) -> str:
        return f"{', '.join(self.args[0])} refused a message; a policy may limit how many a queue takes"
