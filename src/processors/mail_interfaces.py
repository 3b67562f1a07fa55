"""What mails need from outside, as small protocols."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from processors.interfaces import Report


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that was read: its bytes, and their SHA-256 in hex digits."""

    content: bytes = field(repr=False)
    sha256: str


class AttachmentReader(Protocol):
    """Reads the files that go with a mail, wherever they lie."""

    def read(self, place: str, max_bytes: int, report: Report) -> FileContent:
        """Return a file; one that was read for the same task before may be remembered.

        Args:
            place: as `processors.attachments.Place`.
            max_bytes: a larger one is refused before it is read whole.
            report: called while a file comes from elsewhere; its `Cancelled` ends that.

        Raises:
            FileError: it cannot be had: `not_found`, `too_large`, `empty_file`.
            PermanentError: an artefact was removed, or is damaged.
            TransientError: it cannot be had now.
        """
        ...


class Signer(Protocol):
    """Signs a mail for a domain (DKIM, RFC 6376); the same mail gets the same signature.

    Attributes:
        domain: the one that signs.
    """

    domain: str

    def sign(self, lines: Sequence[str], body_hash: bytes, date: datetime) -> str:
        """Return the header `DKIM-Signature`, with its name and folded.

        Args:
            lines: the mail's header fields, folded, ASCII, without their last line end.
            body_hash: `processors.mail_parts.Built.body_hash`.
            date: the mail's own, which becomes the time of the signature.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rest:
    """How a way out, or a recipients' domain by it, was asked to wait.

    Attributes:
        seconds: for which it still rests; 0 where that is over and it has not recovered whole yet.
        reason: what its server said.
    """

    seconds: float
    reason: str


class MailRests(Protocol):
    """The transports that rest, and the domains that rest by one; known to all processes."""

    def of(self, transport: str) -> Mapping[str, Rest]:
        """Return what rests of a transport, or has not recovered yet, by domain."""
        ...

    def note(self, transport: str, domain: str, seconds: float | None, reason: str) -> float | None:
        """Let a domain rest; returns for how many seconds, or None where it rests already.

        Args:
            transport: by which.
            domain: of recipients; an empty one is the whole transport.
            seconds: that the server asked for; None: ever longer, where it says so again and again.
            reason: what it said.
        """
        ...

    def ease(self, transport: str, domains: Collection[str]) -> None:
        """Note that mail was taken: the next rest of these domains is shorter again."""
        ...

    def pace(self, transport: str, most_per_minute: int) -> float:
        """Count one mail of a rate; returns 0, or the seconds until there is room, in which case nothing is counted."""
        ...


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template makes of a context; each is None where the template has none.

    Attributes:
        subject: not checked yet.
        html: the page.
        text: the text; without one of its own, what is readable in the page.
    """

    subject: str | None
    html: str | None
    text: str | None


class MailTemplates(Protocol):
    """Makes mails of templates."""

    def render(self, name: str, context: Mapping[str, Any]) -> Rendered:
        """Return what a template makes of a context.

        Raises:
            PermanentError: there is no such template, it is none, it needs what the context has not, or does too much.
            TransientError: it cannot be read now.
        """
        ...
