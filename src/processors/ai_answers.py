"""What AI work needs of the answers that are kept: apart from all else, since every worker loads it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from processors.interfaces import Run


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is there: as JSON values, and whose it is."""

    answer: Any
    task_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Another run is asking for the same now; look again later."""

    task_id: str


class AiAnswers(Protocol):
    """The answers to requests, by the digest of all that shapes them: equal requests are paid once."""

    def begin(self, digest: str, run: Run, since: datetime, max_age: float) -> Answered | Asked | None:
        """Take a request for this run, unless it is answered or asked for.

        Args:
            digest: of the request.
            run: who wants the answer.
            since: an answer of this moment or later will do; the task's creation.
            max_age: seconds; so will one that is at most so old.

        Returns:
            None where this run is to ask; the same run's and task's own former answer counts as answered.
        """
        ...

    def finish(self, digest: str, run: Run, answer: Any) -> None:
        """Keep the answer."""
        ...

    def give_up(self, digest: str, run: Run) -> None:
        """Let somebody else ask: there is no answer."""
        ...
