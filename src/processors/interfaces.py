"""What the work needs from outside, as small protocols; adapters, engines and records fulfil them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


class Report(Protocol):
    """Tells how far a task is; raises `errors.Cancelled` once the task was cancelled.

    Long work calls it at every step: it is also the place where a cancellation is noticed.
    """

    def __call__(self, percent: float, text: str) -> None:
        """Report `percent` (0 to 100) and what the task does now, in a few words."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """One start of a task, the fence of what is written for it: the task's id and the number of the run."""

    task_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An effect happened; `outcome` is what its call would have returned."""

    outcome: Any = None


@dataclass(frozen=True, slots=True)
class Absent:
    """An effect did not happen, and what was begun of it has ended: it may be begun again."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It cannot be told whether an effect happened, and why not."""

    why: str


Reconcile = Callable[[str], Happened | Absent | Unknown]
"""Looks up by an effect's key whether it happened, and changes nothing; raises `TransientError` to be asked later."""


class ObjectStorage(Protocol):
    """Keeps artefacts: files that a task made, addressed by their content."""

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:
        """Store `content` and return its address (`store://sha256/<digest>`); the same bytes are kept once."""
        ...

    def get(self, address: str) -> bytes:
        """Return the bytes behind an address; raises `PermanentError` when there are none."""
        ...

    def remove(self, task_id: str) -> int:
        """Remove what only this task refers to; returns the bytes freed."""
        ...


class FileSandbox(Protocol):
    """Opens untrusted files in a child process that has no network, no environment and hard limits."""

    def run(self, job: str, path: Path, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Open `path` and let the child do `job` on it.

        Args:
            job: the name of a job that the child knows, e.g. `document`.
            path: the file; opened here once, read-only, and handed over as a descriptor.
            options: JSON values for the job.
            report: called with the child's progress; its `Cancelled` ends the child.

        Returns:
            The JSON object that the job returned, with `sandbox` telling which protections held.

        Raises:
            FileError: the file cannot be opened, or the job said so; `code` is one of the envelope's codes.
            TransientError: the child was killed from outside; another attempt may succeed.
            Cancelled: as raised by `report`.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line that a reader of pictures found: its text, confidence 0..1 and box (x0, y0, x1, y1) 0..1."""

    text: str
    confidence: float
    box: tuple[float, float, float, float]


class TextReader(Protocol):
    """Reads text in a picture (OCR)."""

    name: str
    version: str

    def read(self, pixels: Any) -> Sequence[TextLine]:
        """Return the lines of text in reading order."""
        ...


DeliveryState = Literal["queued", "handing", "accepted", "deferred", "refused", "invalid", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: the state, and the server's code, enhanced code and text where it answered."""

    state: DeliveryState
    code: int | None = None
    enhanced: str | None = None
    text: str = ""


class Handing(Protocol):
    """Is told just before the body of a mail goes out: from then on it cannot be known whether it arrived."""

    def __call__(self, addresses: Sequence[str]) -> None:
        """Commit durably that the mail is being handed over for these addresses; raise to stop it.

        It looks at the clock last: the first byte must follow at once.
        """
        ...


class Mailer(Protocol):
    """Hands one finished mail to the outside world.

    Attributes:
        name: what the outcome calls it.
        repeatable: whether the same mail id handed over twice is still one mail.
        deadline: seconds by which a mail that is not repeatable is handed over, or will not be any more.
    """

    name: str
    repeatable: bool
    deadline: float

    def send(
        self, sender: str, recipients: Sequence[str], content: bytes, *, mail_id: str, handing: Handing
    ) -> dict[str, Outcome]:
        """Send `content` (a complete RFC 5322 message) to the envelope recipients.

        Args:
            sender: the envelope's sender.
            recipients: addresses as they go into the envelope.
            content: the message; never contains Bcc.
            mail_id: names this mail for ever: the same id is the same mail, tried again.
            handing: called once all is ready and before the first byte of the content is sent.

        Returns:
            One outcome for each recipient of this turn, at least one; who is left out is to be sent to by another call.
            Only `handing` outcomes that got no answer are `unknown`.

        Raises:
            TransportFault: nothing was handed over, and it is nobody's refusal (no connection, no login, TLS).
        """
        ...


class Deliveries(Protocol):
    """The rows of one mail's recipients."""

    def open(self, task_id: str, position: int, addresses: Mapping[str, str]) -> dict[str, Outcome]:
        """Create the rows that do not exist yet (address to role: to, cc, bcc); return every row's outcome so far."""
        ...

    def handing(self, task_id: str, position: int, addresses: Sequence[str], run: Run) -> None:
        """Mark, durably, that this run hands the mail over for these: all of them, or none.

        Raises:
            TransientError: the task was cancelled, or another run of it has one of these; nothing may go out.
        """
        ...

    def handed_since(self, task_id: str, position: int) -> float:
        """Return how many seconds ago the last of those that are being handed over was marked; infinity for none."""
        ...

    def close(self, task_id: str, position: int, outcomes: Mapping[str, Outcome], run: Run) -> None:
        """Store what became of these, unless that is known already or a later run looks after them."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One part of a parent: its place in the list, its arguments, and its task's own id where it has one."""

    position: int
    arguments: Mapping[str, Any]


class Members(Protocol):
    """The rows of one parent's parts."""

    def waiting(self, parent_id: str, first: int, count: int) -> Sequence[Member]:
        """Return the members at positions first .. first + count - 1 that have no final state yet."""
        ...

    def close(self, parent_id: str, position: int, state: str, outcome: Mapping[str, Any]) -> None:
        """Store a member's final state and outcome, unless it has one."""
        ...


@dataclass(frozen=True, slots=True)
class OldFile:
    """A file that a clean-up found: its path, size in bytes, and the age in seconds that it has at least."""

    path: Path
    size: int
    age: float


class OldRecords(Protocol):
    """Finds and removes the records of tasks that ended long ago."""

    def final_before(self, hours: float, limit: int) -> Sequence[str]:
        """Return ids of final records that finished more than `hours` ago, the oldest first."""
        ...

    def remove(self, task_ids: Sequence[str]) -> int:
        """Remove those of these that are final, with all their rows; returns how many that were."""
        ...


class FileCleaner(Protocol):
    """Finds and removes old files below the roots that may be cleaned; never follows a link.

    Attributes:
        errors: what the last `find` could not look into.
    """

    errors: list[str]

    def find(self, directory: Path, min_age: float) -> Sequence[OldFile]:
        """List regular files below `directory` older than `min_age` seconds that may be removed.

        Raises:
            PermanentError: the directory lies outside the roots, is a link, or does not exist.
        """
        ...

    def remove(self, directory: Path, file: OldFile) -> bool:
        """Remove one file that `find` listed, if it is still the same one; tells whether it was removed."""
        ...
