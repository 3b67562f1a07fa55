"""RabbitMQ's alarms (memory, disk): what a process knows of them, from one connection to the next.

While there is one, RabbitMQ reads nothing more from a connection that publishes, and says so on that connection alone.
A new one would be told only after it had sent another message, which arrives when the alarm is over. So one that has
been told is kept here when its owner gives it up, and is asked before anything is published.
https://www.rabbitmq.com/docs/connection-blocked
"""

import os
import threading
from typing import Any

from amqp.exceptions import AMQPError, IrrecoverableChannelError
from kombu.exceptions import OperationalError


class BrokerBlocked(IrrecoverableChannelError, OperationalError):
    """The broker takes no messages for now: it is short of memory or of room on its disk."""

    def __init__(self) -> None:
        super().__init__("the broker takes no messages: it is short of memory or of room on its disk")


class Alarms:
    """The connections, one for each virtual host, on which the broker will say that it reads again."""

    def __init__(self) -> None:
        self.forget()

    def keep(self, connection: Any) -> bool:
        """Keep a connection that is blocked, and that nobody else uses any more; False where there is one already."""
        with self._lock:
            return self._told.setdefault(_place(connection), connection) is connection

    def go_on(self, connection: Any) -> bool:
        """Tell whether what is published to the virtual host of this connection is known not to be read."""
        if not self._told:
            return False
        with self._lock:
            told = self._told.get(_place(connection))
            if told is None:
                return False
            try:
                blocked = told.still_blocked()
            except (OSError, AMQPError):  # it was cut: there may be no alarm any more
                blocked = False
            if not blocked:
                del self._told[_place(connection)]
                told.collect()
            return blocked

    def forget(self) -> None:
        """Know of nothing, as a forked child does: the connections are its parent's."""
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], Any] = {}


def _place(connection: Any) -> tuple[str, str]:
    return connection.host, connection.virtual_host


alarms = Alarms()
os.register_at_fork(after_in_child=alarms.forget)
