"""What reading providers' events needs from outside; adapters fulfil it."""

from typing import Protocol


class Sns(Protocol):
    """Asks Amazon's notification service."""

    def certificate(self, url: str) -> bytes:
        """Return the PEM certificate at an address of SNS.

        Raises:
            NotAuthentic: there is none.
            ServiceUnavailable: it cannot be had now.
        """
        ...

    def confirm(self, url: str) -> None:
        """Confirm a subscription, by its SubscribeURL.

        Raises:
            NotAuthentic: SNS does not take it.
            ServiceUnavailable: SNS cannot be asked now.
        """
        ...
