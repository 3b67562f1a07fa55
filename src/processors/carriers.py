"""What carries a notification to one endpoint of a person, as a small protocol; adapters fulfil it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from processors.errors import PermanentError, WorkError


class AnswerLost(WorkError):
    """The notification may have been handed over, and nobody knows: its answer was lost, or says neither yes nor no."""


class EndpointGone(PermanentError):
    """The endpoint does not exist any more: nothing is sent to it again, and its contact loses it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a person is told.

    Attributes:
        id: names this notification for ever; the same id is the same notification, tried again.
        type: what it is about, such as `welcome`.
        title: one line.
        message: plain text.
        expires_at: after it nobody wants to know; None for never.
        language: what the person reads, a code of BCP 47; None where that is not known.
    """

    id: str
    type: str
    title: str
    message: str
    expires_at: datetime | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side said when it took a notification: its own id for it, its code, and its words."""

    remote_id: str | None = None
    code: int | None = None
    text: str = ""


class Carrier(Protocol):
    """Hands one notification over to one endpoint; called as the call of an effect, which happens once.

    Attributes:
        name: what the outcome calls it.
        deadline: seconds by which `send` has ended, whatever the other side does.
    """

    name: str
    deadline: float

    def check(self, endpoint: Mapping[str, Any]) -> None:
        """Let an endpoint pass that this carrier could send to, without asking anybody.

        Raises:
            ValueError: it is none, and why; nothing secret of it is told.
        """
        ...

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        """Send.

        Args:
            notice: what to say; shortened where the channel takes less.
            endpoint: for web push `{"endpoint": …, "keys": {"p256dh": …, "auth": …}}`, for sms `{"phone": "+49…"}`, for
                a chat service `{"url": "slack://…"}`.

        Raises:
            EndpointGone: it was refused, because there is no such endpoint any more.
            PermanentError: it was refused.
            TransientError: another attempt may succeed, after `retry_after` seconds where told: nothing was sent, or
                what is sent again takes the place of what was sent before.
            TransportFault: one of those: this installation's own login or number is refused, whatever the endpoint.
            AnswerLost: nobody knows whether it was sent; so it is with any other error that is none of these.
        """
        ...
