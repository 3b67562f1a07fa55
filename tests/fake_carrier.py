"""A carrier that keeps what it is given, and says next what a test tells it to."""

from collections import deque

from processors.carriers import AnswerLost, Notice, Receipt
from processors.errors import PermanentError


class FakeCarrier:
    """Fulfils `processors.carriers.Carrier` for every kind of endpoint; passes the contract of the real ones.

    Attributes:
        sent: the notices that arrived, with their endpoints, in order.
        next: what the next sends raise, in order; None lets one arrive. After `AnswerLost` it has arrived.
    """

    def __init__(self, name: str = "fake", deadline: float = 5.0) -> None:
        self.name, self.deadline = name, deadline
        self.sent: list[tuple[Notice, dict]] = []
        self.next: deque[Exception | None] = deque()

    def check(self, endpoint) -> None:
        if not any(isinstance(endpoint.get(key), str) and endpoint[key] for key in ("endpoint", "phone", "url")):
            raise ValueError("it must have an endpoint, a phone or a url")

    def send(self, notice: Notice, endpoint) -> Receipt:
        try:
            self.check(endpoint)
        except ValueError as error:
            raise PermanentError(f"Nothing was sent: {error}.") from None
        error = self.next.popleft() if self.next else None
        if error is None or isinstance(error, AnswerLost):
            self.sent.append((notice, dict(endpoint)))
        if error is not None:
            raise error
        return Receipt(f"fake-{len(self.sent)}", 200)
