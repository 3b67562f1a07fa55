"""What the work needs from outside, as small protocols; adapters, engines and records fulfil them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeVar

Answer = TypeVar("Answer")


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

    def put_file(self, file: IO[bytes], *, sha256: str, mime: str, task_id: str) -> str:
        """Store a file as `put` stores bytes, without holding it in memory.

        Args:
            file: can be read again from its start; stays open, and is not written any more where it has no name.
            sha256: of its bytes, in hex digits: they were hashed when they came, and are not hashed again.
            mime: its type.
            task_id: who refers to it.
        """
        ...

    def chunks(self, address: str, first: int = 0, count: int | None = None) -> Iterator[bytes]:
        """Return the bytes behind an address piece by piece, to be read once, without holding them in memory.

        They are not compared with the digest: who reads all of them can do that.

        Args:
            address: of an artefact.
            first: how many are left out at its start.
            count: the most that are read; None: all that follow.

        Raises:
            PermanentError: there are none; at once, not when the first piece is asked for.
        """
        ...

    def size(self, address: str) -> int:
        """Return how many bytes are behind an address; raises `PermanentError` when there are none."""
        ...

    def refer(self, address: str, task_id: str) -> None:
        """Keep what is at an address for this task too; raises `PermanentError` when there is nothing."""
        ...

    def remove(self, task_id: str) -> int:
        """Remove what only this task refers to; returns the bytes freed."""
        ...


class SideBySide(Protocol):
    """Does pieces of work side by side."""

    @property
    def at_once(self) -> int:
        """How many are done at a time."""
        ...

    def run(self, works: Sequence[Callable[[Report], Answer]], report: Report) -> list[Answer]:
        """Do every piece of work.

        Args:
            works: each is given a report of its own; what that raises it lets pass.
            report: called in the calling thread alone, with the mean of what all report, and while none does.

        Returns:
            What each returned, in their order.

        Raises:
            Exception: what `report` or the first of them that failed raised; by then all have ended.
        """
        ...


class JobReport(Report, Protocol):
    """What a job in a child tells its parent: how far it is, and the files that it makes."""

    def piece(self, number: int, content: bytes) -> None:
        """Hand over the next bytes of a file that the job makes, which is known by its number from 0 on."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """A folder for the files that a job makes, each named by its number, and how much may lie there.

    Attributes:
        folder: exists, and only its owner can read it.
        max_files: their numbers are below it.
        max_bytes: of all of them.
    """

    folder: Path
    max_files: int
    max_bytes: int


class FileSource(Protocol):
    """Brings files from elsewhere to this machine."""

    def fetch(self, address: str, into: IO[bytes], report: Report) -> None:
        """Write the bytes of the file at `address` into `into`, without holding them all in memory.

        Args:
            address: begins with the scheme that this source is for.
            into: an empty file, open for writing.
            report: told how far it is, often; its `Cancelled` ends the fetch.

        Raises:
            FileError: it cannot be had: `not_found`, `network_forbidden`, `too_large`.
            TransientError: it cannot be had now, with `retry_after` where the other side said when.
            Cancelled: as raised by `report`.
        """
        ...


class FileSandbox(Protocol):
    """Opens untrusted files in a child process that has no network, no environment and hard limits."""

    def run(
        self, job: str, path: Path, options: Mapping[str, Any], report: Report, room: Room | None = None
    ) -> dict[str, Any]:
        """Open `path` and let the child do `job` on it.

        Args:
            job: the name of a job that the child knows, e.g. `document`.
            path: the file; opened here once, read-only, and handed over as a descriptor.
            options: JSON values for the job.
            report: called with the child's progress; its `Cancelled` ends the child.
            room: where the files that the job makes are put; without one it may make none.

        Returns:
            The JSON object that the job returned, with `sandbox` telling which protections held.

        Raises:
            FileError: the file cannot be opened, or the job said so; `code` is one of the envelope's codes.
            TransientError: the child was killed from outside; another attempt may succeed.
            Cancelled: as raised by `report`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Converted:
    """What a converter made: a file that is there until its context ends, its ending, and which protections held."""

    path: Path
    ending: str
    protections: tuple[str, ...]


class OfficeConverter(Protocol):
    """Converts documents of the Office before 2007 into those of today, in a process with few rights."""

    name: str

    @property
    def version(self) -> str | None:
        """The version of what converts, or None where it cannot be told."""
        ...

    def converted(self, path: Path, kind: str, sha256: str, report: Report) -> AbstractContextManager[Converted]:
        """Convert a file.

        Args:
            path: the file.
            kind: `doc`, `xls` or `ppt`.
            sha256: of the file that was looked at; another one is refused.
            report: called while it works; its `Cancelled` ends it.

        Raises:
            FileError: it cannot be converted; `code` says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line that a reader of pictures found: its text, confidence 0..1 and box (x0, y0, x1, y1) 0..1.

    `upside_down` tells that the reader had to turn it by 180 degrees.
    """

    text: str
    confidence: float
    box: tuple[float, float, float, float]
    upside_down: bool = False


class TextReader(Protocol):
    """Reads text in a picture (OCR)."""

    name: str
    version: str

    def read(self, pixels: Any, *, turn_lines: bool = True) -> Sequence[TextLine]:
        """Return the lines of text in reading order.

        Args:
            pixels: height x width x 3 bytes (BGR).
            turn_lines: whether each line that seems to be upside down is turned before it is read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One thing in a picture: its label, confidence 0..1, box (x0, y0, x1, y1) 0..1 and the engine that found it."""

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    engine: str


class ObjectFinder(Protocol):
    """Finds things in a picture.

    Attributes:
        quality: `rough` where much is missed and more is taken for something, else `model`.
    """

    name: str
    version: str
    quality: Literal["rough", "model"]

    def find(self, pixels: Any) -> Sequence[FoundObject]:
        """Return what is in a picture of height x width x 3 bytes (RGB), the surest first."""
        ...


@dataclass(frozen=True, slots=True)
class FoundFace:
    """One face.

    Attributes:
        confidence: 0..1.
        box: (x0, y0, x1, y1) 0..1.
        encoding: 128 numbers that stand for it, or None.
        landmarks: five points (x, y) 0..1, or None: the outer and the inner corner of the eye on the picture's right,
            those of the eye on its left, and the lower end of the nose.
    """

    confidence: float
    box: tuple[float, float, float, float]
    encoding: Sequence[float] | None
    landmarks: Sequence[tuple[float, float]] | None = None


class FaceFinder(Protocol):
    """Finds faces in a picture.

    Attributes:
        missing: why no encodings can be had, in a sentence; None where every face has one.
    """

    name: str
    version: str
    missing: str | None

    def find(self, pixels: Any) -> Sequence[FoundFace]:
        """Return the faces in a picture of height x width x 3 bytes (RGB), the surest first."""
        ...


class People(Protocol):
    """The people who were enrolled to be known again."""

    def encodings(self) -> Mapping[str, Sequence[Sequence[float]]]:
        """Return each person's face encodings, by name."""
        ...


class Enrolment(People, Protocol):
    """Enrolls people."""

    def enroll(self, name: str, consent: str, encoding: Sequence[float]) -> int:
        """Add an encoding of 128 numbers to a person, with the consent; returns how many the person has now.

        Raises:
            PermanentError: the person has the most that are kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word that was heard: its text, times in seconds, and confidence 0..1 where the engine says one."""

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said in one breath; the last three are Whisper's own figures."""

    text: str
    start: float
    end: float
    words: Sequence[SpokenWord] = ()
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of sound as text, its language and how that is known; `assumed` is an engine that knows only one."""

    segments: Sequence[Spoken]
    language: str | None
    language_source: Literal["given", "detected", "assumed"]
    language_confidence: float | None = None


class SpeechReader(Protocol):
    """Turns speech into text; `quality` is a word of warning, such as `rough`, or None."""

    name: str
    version: str
    model: str
    quality: str | None

    def read(self, samples: Any, spans: Sequence[tuple[float, float]], language: str | None) -> Heard:
        """Return what is said, in times from the first sample.

        Args:
            samples: float32, mono, 16 kHz.
            spans: where somebody speaks, in seconds from the first sample.
            language: its primary code (ISO 639); None to detect it.

        Raises:
            FileError: the language is not known to the engine (`language_unavailable`).
        """
        ...


class SpeechEndpoint(Protocol):
    """Turns speech into text on another machine."""

    name: str
    model: str

    def read(self, sound: bytes, language: str | None, look: Callable[[], None]) -> Heard:
        """Return what is said in a FLAC file, in times from its beginning.

        Args:
            sound: at most 25 MB.
            language: its primary code (ISO 639); None to detect it.
            look: called while the answer is waited for; what it raises ends the wait.

        Raises:
            FileError: the endpoint refuses, or its answer is none; `code` says why.
            TransientError: another attempt may succeed, after `retry_after` seconds.
        """
        ...


class VoiceActivity(Protocol):
    """Tells where somebody speaks."""

    name: str
    version: str
    step_seconds: float

    def listen(self, blocks: Iterable[Any]) -> Iterator[Any]:
        """Yield arrays of how likely speech is, 0 to 1, one figure a step; blocks are float32, mono, 16 kHz."""
        ...


class VoiceEncoder(Protocol):
    """Turns parts of a voice into vectors of length 1, which are the more alike the more the voices are."""

    name: str
    version: str
    model_sha256: str

    def encode(self, parts: Any) -> Any:
        """Return parts x dimensions for parts x samples: float32, mono, 16 kHz, all of one length."""
        ...


DeliveryState = Literal[
    "queued",
    "handing",
    "accepted",
    "deferred",
    "refused",
    "invalid",
    "skipped",
    "suppressed",
    "expired",
    "cancelled",
    "unknown",
]

WAITING_STATES = ("queued", "deferred")
"""Of a recipient who is still to be mailed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: the state, and the server's code, enhanced code and text where it answered.

    `retry_after` is of one who was put off: the seconds that the server asked for, or that are waited. `of_whole_mail`
    says that it tells nothing of the address: the server decided about the mail or its sender, or it went elsewhere.
    """

    state: DeliveryState
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    retry_after: float | None = None
    of_whole_mail: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail as it goes out.

    Attributes:
        id: names this mail for ever: the same id is the same mail, tried again.
        sender: the envelope's sender.
        recipients: addresses as they go into the envelope.
        content: a complete RFC 5322 message; never contains Bcc.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes


Told = tuple[Letter, Mapping[str, Outcome]]
Handed = tuple[Letter, Sequence[str]]


class MailQueue(Protocol):
    """The mails that a mailer is to send: it lends them, and keeps what becomes of them."""

    def take(self) -> Letter | None:
        """Return the next mail, or None.

        Raises:
            Cancelled: none may go out any more.
        """
        ...

    def give_back(self, letter: Letter) -> None:
        """Have a mail back that was handed over to nobody; it is the next to be taken."""
        ...

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        """Keep, in one durable commit, what became of some mails and that others are being handed over.

        It looks at the clock last: the first bytes of those that are handed over must follow at once. Who was lent and
        is not told of is lent again.

        Args:
            told: outcomes of mails that were taken, each told once.
            handed: mails whose content goes out next, and for whom.

        Raises:
            TransientError: nothing may go out of what was to be handed over; what was told is kept.
        """
        ...


class Mailer(Protocol):
    """Hands finished mails to the outside world.

    Attributes:
        name: what the outcome calls it.
        repeatable: whether the same mail id handed over twice is still one mail.
        deadline: seconds by which a mail that is not repeatable is handed over, or will not be any more.
    """

    name: str
    repeatable: bool
    deadline: float

    def send(self, queue: MailQueue) -> None:
        """Send all mails of a queue, in any order.

        Each is taken, announced by `turn` once all is ready and before the first byte of its content goes out, and told
        of by `turn`. Only announced ones that got no answer are `unknown`. Who is told of as `queued`, with
        `retry_after`, was not tried, because their server rests by this way.

        Raises:
            TransportFault: what is left could not be handed over, and it is nobody's refusal (no connection, no login,
                TLS); it was given back, and all others were told of.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient's row.

    Attributes:
        outcome: so far.
        attempts: how often it was handed over.
        wait: seconds until it may be tried again; 0 for now.
        handed_ago: seconds since it was marked as being handed over; None if it never was.
    """

    outcome: Outcome
    attempts: int = 0
    wait: float = 0.0
    handed_ago: float | None = None


Closed = tuple[int, str, Outcome]
"""What became of one recipient: which mail of its task, the address, and the outcome."""


class Deliveries(Protocol):
    """The rows of the recipients of a task's mails; each mail is known by its place in it, 0 for a single one."""

    def open(
        self, task_id: str, mails: Mapping[int, Mapping[str, str]], run: Run
    ) -> Mapping[int, Mapping[str, Delivery]]:
        """Create the rows that do not exist yet (by mail: address to role); return every row of these mails.

        Args:
            task_id: whose mails they are.
            mails: by their places.
            run: who sends them.

        Raises:
            TransientError: the task was cancelled, or the run has ended; none was created.
        """
        ...

    def turn(self, task_id: str, closed: Sequence[Closed], handed: Sequence[tuple[int, str]], run: Run) -> None:
        """Store what became of some, and mark that this run hands mails over to others: all of it durably, or nothing.

        Args:
            task_id: whose mails they are.
            closed: unless that is known already, or a later run looks after them.
            handed: by mail and address.
            run: who says so.

        Raises:
            TransientError: the task was cancelled, or another run of it has one of these; nothing may go out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One part of a parent: its place in the list, its arguments, and its task's own id where it has one."""

    position: int
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MemberEnd:
    """What became of one part of a parent: its place in the list, its state, and its outcome, None while it waits."""

    position: int
    state: str
    outcome: Mapping[str, Any] | None


class Members(Protocol):
    """The rows of one parent's parts."""

    def waiting(self, parent_id: str, first: int, count: int) -> Sequence[Member]:
        """Return the members at positions first .. first + count - 1 that have no final state yet."""
        ...

    def close_all(self, parent_id: str, ends: Sequence[MemberEnd], run: Run | None = None) -> None:
        """Store the final states and outcomes of those that have none, all of them or nothing.

        Where a run is given that is not its task's newest any more, nothing is stored: that one decides.
        """
        ...

    def ends(self, parent_id: str, first: int, count: int) -> Sequence[MemberEnd]:
        """Return what became of the members at positions first .. first + count - 1, in their order."""
        ...


class Pauses(Protocol):
    """Stops parents: none of their tasks starts, and those under way end where they can."""

    def paused(self, task_id: str) -> bool:
        """Tell whether a parent is paused."""
        ...

    def pause(self, task_id: str, why: str | None = None) -> bool:
        """Pause a parent; False where it was paused before."""
        ...


@dataclass(frozen=True, slots=True)
class EndedPart:
    """A task of a parent that ended without success: its members at first .. first + count - 1, its end, its error."""

    first: int
    count: int
    fate: Literal["failed", "expired", "cancelled"]
    error: str


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


@dataclass(frozen=True, slots=True)
class OldUpload:
    """A file that came over HTTP and whose time is over: its id, and what the storage knows it by."""

    id: str
    reference: str


class OldUploads(Protocol):
    """Finds and removes uploads whose time is over."""

    def expired(self, after: str, limit: int) -> Sequence[OldUpload]:
        """Return some, in the order of their ids, from behind an id on."""
        ...

    def remove(self, ids: Sequence[str]) -> Sequence[str]:
        """Forget those of these whose bytes can come no more; returns which."""
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
