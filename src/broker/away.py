"""The errors that mean that the broker does not answer, or did not say what it took."""

from typing import Any, cast

from amqp.exceptions import AMQPError
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
    """A batch of messages cannot go on, because its channel was given up."""

    def __init__(self) -> None:
        super().__init__("the channel of a batch was cut or given up after an error; some of it may have arrived")


class MessageRefused(OperationalError):
    """Queues do not take a message, though the broker answers.

    Args:
        queues: their names.
    """

    def __init__(self, queues: set[str]) -> None:
        self.queues = queues
        super().__init__(f"{', '.join(sorted(queues))} refused a message; a policy may limit how many a queue takes")
